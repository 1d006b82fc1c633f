//! Certificates for development and for clusters without an authority of their own: an authority made on the spot, and one
//! certificate a role.
//!
//! Keys are ECDSA on P-256. Coordinators and gateways may serve and call; workers and admins may only call, and carry no host
//! name, so that their certificates cannot pass for a server's.

use super::role::CertRole;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use std::fmt;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// Clocks of different machines differ.
const BACKDATED: Duration = Duration::days(1);
/// The authority's life.
const AUTHORITY_LIFE: Duration = Duration::days(3650);
/// The other certificates' life; what browsers accept at most, and long for a development cluster.
const CERTIFICATE_LIFE: Duration = Duration::days(825);

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: Zeroizing<String>,
}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A host is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
    /// Making or signing failed.
    #[error("cannot make a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// An authority that issues certificates with roles.
pub struct DevelopmentCertificates {
    authority: PemPair,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for DevelopmentCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentCertificates").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl DevelopmentCertificates {
    /// Makes a new authority.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn new() -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("zkpnet development authority");
        (params.not_before, params.not_after) = validity(AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        let authority = PemPair { certificate, key: Zeroizing::new(key.serialize_pem()) };
        Ok(Self { authority, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate and key.
    #[must_use]
    pub const fn authority(&self) -> &PemPair {
        &self.authority
    }

    /// Makes a certificate of this role. `hosts` are the DNS names and IP addresses under which others reach its holder.
    ///
    /// # Errors
    /// When a host is neither, or making failed.
    pub fn issue(&self, role: CertRole, hosts: &[String]) -> Result<PemPair, IssueError> {
        let serves = matches!(role, CertRole::Coordinator | CertRole::Gateway);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("zkpnet {role}"));
        (params.not_before, params.not_after) = validity(CERTIFICATE_LIFE);
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(role.uri().try_into()?)];
        if serves {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            for host in hosts {
                params.subject_alt_names.push(host_name(host)?);
            }
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(PemPair { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn host_name(host: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = host.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || IssueError::Host(host.to_owned());
    // The reader's own rules, so that no certificate is made that it would not accept.
    let pattern = host.strip_prefix("*.").unwrap_or(host);
    rustls::pki_types::DnsName::try_from(pattern).map_err(|_| refused())?;
    Ok(SanType::DnsName(host.to_owned().try_into().map_err(|_| refused())?))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn validity(life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - BACKDATED, now + life)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tls::{RoleError, role_of};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_carries_the_role_that_it_was_issued_for() {
        let authority = DevelopmentCertificates::new().unwrap();
        for role in CertRole::ALL {
            let pair =
                authority.issue(role, &["localhost".into(), "127.0.0.1".into(), "::1".into()]).unwrap();
            assert_eq!(role_of(&[der(&pair.certificate)]), Ok(role));
            assert!(!format!("{pair:?}").contains("PRIVATE KEY"));
        }
    }

    #[test]
    fn a_certificate_without_a_role_or_with_two_has_none() {
        assert_eq!(role_of(&[]), Err(RoleError::NoCertificate));
        let authority = DevelopmentCertificates::new().unwrap();
        assert_eq!(
            role_of(&[der(&authority.authority().certificate)]),
            Err(RoleError::NotOneRole { found: 0 })
        );
        let mut params = CertificateParams::default();
        params.subject_alt_names = [CertRole::Worker, CertRole::Coordinator]
            .map(|role| SanType::URI(role.uri().try_into().unwrap()))
            .to_vec();
        let two = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(role_of(std::slice::from_ref(two.der())), Err(RoleError::NotOneRole { found: 2 }));
        params.subject_alt_names = vec![SanType::URI("zkpnet://role/king".try_into().unwrap())];
        let king = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(role_of(std::slice::from_ref(king.der())), Err(RoleError::NotOneRole { found: 0 }));
        assert!(matches!(role_of(&[CertificateDer::from(vec![1, 2, 3])]), Err(RoleError::Unreadable(_))));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let authority = DevelopmentCertificates::new().unwrap();
        for wrong in ["", "a b", "http://host", "host:7000", "[::1]"] {
            let issued = authority.issue(CertRole::Coordinator, &[wrong.to_owned()]);
            assert!(matches!(issued, Err(IssueError::Host(_))), "{wrong:?}");
        }
        for right in ["coordinator-1", "zkp.example.com", "*.zkp.svc.cluster.local", "10.0.0.1", "::1"] {
            assert!(authority.issue(CertRole::Coordinator, &[right.to_owned()]).is_ok(), "{right:?}");
        }
    }
}
