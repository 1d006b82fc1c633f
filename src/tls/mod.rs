//! Who may speak to a zkpnet process: certificates that carry a role, and the cluster's shared token.
//!
//! Owned here: reading the PEM files and noticing that they were replaced ([`TlsMaterial`]), the role in a certificate
//! ([`role_of`]), the token ([`ClusterToken`]), and making both for development ([`DevelopmentCertificates`],
//! [`random_secret`]). Refused here: a certificate without exactly one role, a key that does not fit, a short token. What a
//! role may do is said by whoever speaks the protocol: the Raft port takes coordinators only.
//!
//! TLS 1.3 only, with the ring provider named explicitly, so that no other library's default can change it; client
//! certificates are always asked for. See `docs/tls.md`.

mod files;
mod issue;
mod material;
mod role;
mod token;

pub use files::write_private;
pub use issue::{DevelopmentCertificates, IssueError, PemPair};
pub use material::{TlsError, TlsFiles, TlsMaterial};
pub use role::{CertRole, RoleError, role_of};
pub use token::{ClusterToken, TokenError, random_secret};
