//! TLS to PostgreSQL: which certificates of the server are accepted.
//!
//! `disable`, `prefer` and `require` accept any (they keep out who only listens); `verify-ca` asks for a trusted authority,
//! `verify-full` for the host's name as well. Names are those of the certificate's alternative names; the common name does not
//! count. A self-signed certificate is trusted by standing in the CA file itself, as libpq has it, within its time.

use super::error::ArchiveError;
use super::settings::{ArchiveSettings, ArchiveSslMode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

const OPERATION: &str = "set up TLS";

/// A connector for the settings' mode. Reads the CA file, once.
///
/// # Errors
/// A verifying mode without a CA file, or with one that cannot be used.
pub(super) fn connector(settings: &ArchiveSettings) -> Result<MakeRustlsConnect, ArchiveError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match (&settings.ca_file, settings.ssl_mode) {
        (Some(path), mode) if mode.verifies() => Some(Trust::read(path, mode)?),
        (None, mode) if mode.verifies() => {
            return Err(rejected(
                "verifying the server's certificate needs the file of its authority".to_owned(),
            ));
        }
        _ => None,
    };
    let verifier = Verifier { trust, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| rejected(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn rejected(detail: String) -> ArchiveError {
    ArchiveError::Rejected { operation: OPERATION, detail }
}

/// Whom to trust.
#[derive(Debug)]
struct Trust {
    authorities: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    is_name_checked: bool,
}

impl Trust {
    fn read(path: &Path, mode: ArchiveSslMode) -> Result<Self, ArchiveError> {
        let unusable = |detail: String| rejected(format!("CA file {}: {detail}", path.display()));
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(error.to_string()))?;
        let mut authorities = RootCertStore::empty();
        let (_, ignored) = authorities.add_parsable_certificates(certificates.iter().cloned());
        if certificates.is_empty() || ignored > 0 {
            return Err(unusable("does not hold certificates alone, in PEM".to_owned()));
        }
        Ok(Self { authorities, certificates, is_name_checked: mode == ArchiveSslMode::VerifyFull })
    }

    fn check(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(shown)?;
        if self.certificates.iter().any(|trusted| trusted.as_ref() == shown.as_ref()) {
            check_time(shown, now)?;
        } else {
            let (authorities, algorithms) = (&self.authorities, algorithms.all);
            verify_server_cert_signed_by_trust_anchor(&parsed, authorities, intermediates, now, algorithms)?;
        }
        if self.is_name_checked { verify_server_name(&parsed, name) } else { Ok(()) }
    }
}

/// Whether a certificate that is itself trusted is within its time.
fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if seconds < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if seconds > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Checks the server's certificate as far as the mode asks, and its signature always.
#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            trust.check(end_entity, intermediates, server_name, now, &self.algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
