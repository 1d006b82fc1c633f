//! Certificate, key and authorities from their files, as configurations of rustls; read anew when the files change.
//!
//! Whoever renews certificates replaces files, and not all at once: a set that does not fit together (a key without its
//! certificate) is reported once and the old one stays in use until a whole one is there. Connections that exist keep the
//! certificates that they were made with; new ones use the new.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at, at most. Looking means asking for three files' times.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the certificate, its key and the trusted authorities are. All PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the process's own certificate first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates are trusted, in both directions.
    pub ca: PathBuf,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{what} file {}: {source}; check the path and its permissions, or make one with `zkpnet tls init`", path.display())]
    Unreadable {
        /// `certificate`, `key` or `authority`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{what} file {} holds no PEM section of a {what}: {detail}", path.display())]
    Malformed {
        /// `certificate`, `key` or `authority`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The files can be read and cannot be used together.
    #[error(
        "certificate file {} and key file {} cannot be used: {detail}; they must belong together, and the key must be of a \
         kind for TLS 1.3",
        cert.display(), key.display()
    )]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        detail: String,
    },
}

/// The material; clones share it.
#[derive(Clone)]
pub struct TlsMaterial {
    inner: Arc<Inner>,
}

struct Inner {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    configs: Configs,
    /// The files that `configs` were read from.
    stamps: Stamps,
    /// The last files that could not be used, so that they are reported once.
    broken: Option<Stamps>,
    looked: Instant,
}

#[derive(Clone)]
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Time of change and length of each file; `None` where it cannot be had.
type Stamps = [Option<(SystemTime, u64)>; 3];

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("files", &self.inner.files).finish_non_exhaustive()
    }
}

impl TlsMaterial {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not fit together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        // Before reading: what changes meanwhile is read again.
        let stamps = files.stamps();
        let configs = files.read()?;
        let state = State { configs, stamps, broken: None, looked: Instant::now() };
        Ok(Self { inner: Arc::new(Inner { files, state: Mutex::new(state) }) })
    }

    /// For serving: TLS 1.3, a certificate of a trusted authority asked of every client. No ALPN is set. Reads files when
    /// they changed, so not for an actor's thread.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current(LOOK_EVERY).server
    }

    /// For calling: TLS 1.3, the server's name checked against its certificate, and the own certificate shown. No ALPN is
    /// set. Reads files when they changed, so not for an actor's thread.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.current(LOOK_EVERY).client
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.inner.files
    }

    fn current(&self, look_every: Duration) -> Configs {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < look_every {
            return state.configs.clone();
        }
        state.looked = Instant::now();
        let stamps = self.inner.files.stamps();
        if stamps == state.stamps {
            return state.configs.clone();
        }
        match self.inner.files.read() {
            Ok(configs) => {
                tracing::info!(certificate = %self.inner.files.cert.display(), "new certificates are in use");
                (state.configs, state.stamps, state.broken) = (configs, stamps, None);
            }
            Err(error) if state.broken != Some(stamps) => {
                tracing::warn!(%error, "the new certificates cannot be used, the old ones stay");
                state.broken = Some(stamps);
            }
            Err(_) => {}
        }
        state.configs.clone()
    }
}

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        [&self.cert, &self.key, &self.ca].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read(&self) -> Result<Configs, TlsError> {
        let chain = certificates("certificate", &self.cert)?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| pem_error("key", &self.key, error))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("authority", &self.ca)? {
            roots.add(authority).map_err(|error| TlsError::Malformed {
                what: "authority",
                path: self.ca.clone(),
                detail: error.to_string(),
            })?;
        }
        let unusable = |error: &dyn fmt::Display| TlsError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            detail: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        // Connections are few and live long: each shows its certificates anew, so that a replaced authority counts at once.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let sections = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = sections.map_err(|error| pem_error(what, path, error))?;
    if certificates.is_empty() {
        return Err(pem_error(what, path, rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn pem_error(what: &'static str, path: &Path, error: rustls::pki_types::pem::Error) -> TlsError {
    match error {
        rustls::pki_types::pem::Error::Io(source) => {
            TlsError::Unreadable { what, path: path.to_owned(), source }
        }
        // The other errors may quote the file, and one of the files is a secret.
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::Malformed { what, path: path.to_owned(), detail: "there is no such section".to_owned() }
        }
        _ => TlsError::Malformed { what, path: path.to_owned(), detail: "it is not well-formed".to_owned() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tls::{CertRole, DevelopmentCertificates};

    fn write(folder: &Path, authority: &DevelopmentCertificates) -> TlsFiles {
        let files =
            TlsFiles { cert: folder.join("c.pem"), key: folder.join("k.pem"), ca: folder.join("ca.pem") };
        let pair = authority.issue(CertRole::Coordinator, &["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, pair.certificate).unwrap();
        std::fs::write(&files.key, pair.key.as_bytes()).unwrap();
        std::fs::write(&files.ca, &authority.authority().certificate).unwrap();
        files
    }

    fn error(files: &TlsFiles) -> String {
        TlsMaterial::open(files.clone()).unwrap_err().to_string()
    }

    #[test]
    fn each_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &DevelopmentCertificates::new().unwrap());
        assert!(TlsMaterial::open(files.clone()).is_ok());
        let missing = TlsFiles { cert: folder.path().join("nowhere.pem"), ..files.clone() };
        assert!(error(&missing).contains("nowhere.pem"), "{}", error(&missing));
        let swapped = TlsFiles { key: files.cert.clone(), ..files.clone() };
        assert!(error(&swapped).starts_with("key file"), "{}", error(&swapped));
        let other = tempfile::tempdir().unwrap();
        let stranger = write(other.path(), &DevelopmentCertificates::new().unwrap());
        let mixed = TlsFiles { key: stranger.key, ..files.clone() };
        assert!(error(&mixed).contains("cannot be used"), "{}", error(&mixed));
        std::fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap();
        assert!(!error(&files).contains("c2Vj"), "{}", error(&files));
    }

    #[test]
    fn replaced_files_are_used_and_broken_ones_leave_the_old_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &DevelopmentCertificates::new().unwrap());
        let material = TlsMaterial::open(files.clone()).unwrap();
        let first = material.current(Duration::ZERO);
        assert!(Arc::ptr_eq(&first.server, &material.current(Duration::ZERO).server), "read without need");
        // A renewal that is half done: of another length, so that it is noticed whatever the clock's grain.
        std::fs::write(&files.key, "half a key").unwrap();
        let during = material.current(Duration::ZERO);
        assert!(Arc::ptr_eq(&first.server, &during.server) && Arc::ptr_eq(&first.client, &during.client));
        write(folder.path(), &DevelopmentCertificates::new().unwrap());
        let after = material.current(Duration::ZERO);
        assert!(!Arc::ptr_eq(&first.server, &after.server) && !Arc::ptr_eq(&first.client, &after.client));
        // Between two looks nothing is read.
        std::fs::write(&files.cert, "something else").unwrap();
        assert!(Arc::ptr_eq(&after.server, &material.current(Duration::from_secs(3600)).server));
    }
}
