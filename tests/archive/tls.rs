//! Every mode of TLS against a server with each kind of certificate.

use crate::postgres::{Postgres, PostgresOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use std::path::PathBuf;
use time::{Duration, OffsetDateTime};
use zkpnet::archive::{ArchiveError, ArchiveSslMode, ArchiveStore};

const ADDRESS: &str = "127.0.0.1";

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.to_owned().try_into().unwrap()),
    }];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(2);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(2);
    params
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = params("authority.example");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key for a name, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params(name).signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A self-signed certificate that calls itself an authority, as `openssl req -x509` makes them.
fn self_signed(name: &str, not_after: OffsetDateTime) -> (String, String) {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = not_after;
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

struct Bench {
    server: Postgres,
    folder: tempfile::TempDir,
    databases: std::cell::Cell<u32>,
}

impl Bench {
    fn new(tls: Option<(String, String)>) -> Self {
        let server = Postgres::start_with(PostgresOptions { fsync: false, tls, ..Default::default() });
        Self { server, folder: tempfile::tempdir().unwrap(), databases: std::cell::Cell::new(0) }
    }

    fn file(&self, pem: &str) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        path
    }

    /// Whether the connection that this mode makes is TLS; or why there is none.
    async fn is_tls(&self, mode: ArchiveSslMode, authority: Option<&str>) -> Result<bool, ArchiveError> {
        let number = self.databases.get() + 1;
        self.databases.set(number);
        let name = format!("archive_{number}");
        self.server.create_database(&name);
        let mut settings = self.server.settings(&name);
        settings.ssl_mode = mode;
        settings.ca_file = authority.map(|pem| self.file(pem));
        let store = ArchiveStore::open(settings)?;
        store.migrate().await?;
        store.counts().await?;
        let seen = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'zkpnet' AND datname = current_database()";
        Ok(self.server.sql(&name, seen) == "t")
    }

    async fn is_refused(&self, mode: ArchiveSslMode, authority: Option<&str>) -> bool {
        let result = self.is_tls(mode, authority).await;
        match result {
            Err(ArchiveError::Rejected { .. }) => true,
            Ok(_) => false,
            Err(other) => panic!("{mode:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_is_checked_as_far_as_the_mode_says() {
    let authority = Authority::new();
    let (own, other) = (authority.pem.as_str(), Authority::new().pem);
    let bench = Bench::new(Some(authority.issue(ADDRESS)));
    assert!(!bench.is_tls(ArchiveSslMode::Disable, None).await.unwrap());
    for mode in [ArchiveSslMode::Prefer, ArchiveSslMode::Require] {
        assert!(bench.is_tls(mode, None).await.unwrap());
        assert!(bench.is_tls(mode, Some(&other)).await.unwrap(), "{mode:?} looks at no authority");
    }
    for mode in [ArchiveSslMode::VerifyCa, ArchiveSslMode::VerifyFull] {
        assert!(bench.is_tls(mode, Some(own)).await.unwrap());
        assert!(bench.is_tls(mode, Some(&format!("{other}{own}"))).await.unwrap());
        assert!(bench.is_refused(mode, Some(&other)).await, "{mode:?} accepts another authority");
        assert!(bench.is_refused(mode, None).await, "{mode:?} without an authority");
        assert!(bench.is_refused(mode, Some("no certificate")).await);
    }
}

#[tokio::test]
async fn only_the_full_check_asks_for_the_name() {
    let authority = Authority::new();
    let bench = Bench::new(Some(authority.issue("database.example")));
    assert!(bench.is_tls(ArchiveSslMode::VerifyCa, Some(&authority.pem)).await.unwrap());
    assert!(bench.is_refused(ArchiveSslMode::VerifyFull, Some(&authority.pem)).await);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_by_name_of_itself_while_it_is_valid() {
    let valid = self_signed(ADDRESS, OffsetDateTime::now_utc() + Duration::days(1));
    let bench = Bench::new(Some(valid.clone()));
    assert!(bench.is_tls(ArchiveSslMode::VerifyFull, Some(&valid.0)).await.unwrap());
    let twin = self_signed(ADDRESS, OffsetDateTime::now_utc() + Duration::days(1));
    assert!(bench.is_refused(ArchiveSslMode::VerifyCa, Some(&twin.0)).await);
    let expired = self_signed(ADDRESS, OffsetDateTime::now_utc() - Duration::days(1));
    let bench = Bench::new(Some(expired.clone()));
    assert!(bench.is_refused(ArchiveSslMode::VerifyCa, Some(&expired.0)).await);
    assert!(bench.is_tls(ArchiveSslMode::Require, None).await.unwrap());
}

#[tokio::test]
async fn a_server_without_tls_is_good_enough_for_prefer_alone() {
    let bench = Bench::new(None);
    let authority = Authority::new().pem;
    assert!(!bench.is_tls(ArchiveSslMode::Prefer, None).await.unwrap());
    assert!(bench.is_refused(ArchiveSslMode::Require, None).await);
    assert!(bench.is_refused(ArchiveSslMode::VerifyFull, Some(&authority)).await);
}
