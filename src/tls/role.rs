//! The role that a certificate carries: a URI among its subject alternative names, `zkpnet://role/<role>`.
//!
//! A name there survives every authority that people use, needs no private extension, and cannot be mistaken for a host.
//! Exactly one is wanted: a certificate that could be either is refused, whichever the reader would have liked.

use rustls::pki_types::CertificateDer;
use std::fmt;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What precedes the role in the URI.
const URI_PREFIX: &str = "zkpnet://role/";

/// What the holder of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertRole {
    /// A member of the cluster: speaks Raft, serves workers.
    Coordinator,
    /// Proves; may never speak Raft.
    Worker,
    /// Stands before the coordinators' HTTP.
    Gateway,
    /// A person or a program that administers the cluster.
    Admin,
}

impl CertRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::Worker, Self::Gateway, Self::Admin];

    /// Its name, as in the URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }

    /// The URI that a certificate of this role carries.
    #[must_use]
    pub fn uri(self) -> String {
        format!("{URI_PREFIX}{}", self.name())
    }
}

impl fmt::Display for CertRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No role could be read from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// The other side showed none.
    #[error("no certificate was shown")]
    NoCertificate,
    /// It is not one.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// It names no role that is known, or several.
    #[error(
        "the certificate names {found} zkpnet roles instead of one; issue it with the URI {URI_PREFIX}<role> among its subject \
         alternative names, where <role> is coordinator, worker, gateway or admin"
    )]
    NotOneRole {
        /// How many it names.
        found: usize,
    },
}

/// The role in a chain's first certificate. The caller has verified the chain: this only reads.
///
/// # Errors
/// When there is no certificate, or it does not name exactly one role.
pub fn role_of(chain: &[CertificateDer<'_>]) -> Result<CertRole, RoleError> {
    let first = chain.first().ok_or(RoleError::NoCertificate)?;
    let unreadable = |error: &dyn fmt::Display| RoleError::Unreadable(error.to_string());
    let (_, certificate) = X509Certificate::from_der(first).map_err(|error| unreadable(&error))?;
    let names = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(URI_PREFIX),
            _ => None,
        })
        .collect();
    let known = |name: &str| CertRole::ALL.into_iter().find(|role| role.name() == name);
    match uris[..] {
        [name] => known(name).ok_or(RoleError::NotOneRole { found: 0 }),
        _ => Err(RoleError::NotOneRole { found: uris.len() }),
    }
}
