//! Hosts to listen on, addresses to reach others at, and Raft peers.
//!
//! A `Host` may be a wildcard (`0.0.0.0`), since listening on every interface is sensible. An `Address` is given to
//! others and so must name one place: wildcards and missing hosts are refused with what to write instead.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::yaml::{Content, Node};
use super::{Id, NodeFault, Reason, Value, expected, quote};

/// RFC 1035: the longest name, and the longest label in it.
const HOST_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// An IP address or a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// The host as text; an IPv6 address is without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port as a socket address is written: an IPv6 address in brackets.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        if self.0.contains(':') { format!("[{}]:{port}", self.0) } else { format!("{}:{port}", self.0) }
    }

    /// Whether it stands for every interface.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0 == "localhost" || self.0.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text is a host name. Underscores are allowed, since names of containers have them; a name whose last
/// label is a number is a mistyped IPv4 address.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric_end =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= HOST_CHARS_MAX && name.split('.').all(label) && !numeric_end
}

impl Value for Host {
    const EXPECTED: &'static str = "a host name or an IP address";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<Ipv6Addr>().is_ok() {
            return Ok(Host(bare.to_owned()));
        }
        if text.parse::<Ipv4Addr>().is_ok() || is_host_name(text) {
            return Ok(Host(text.to_owned()));
        }
        if text.contains("://") || text.contains('/') {
            return Err(format!("{} (not a URL)", expected::<Self>(text)));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && is_host_name(host)
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!("{} (the port has a key of its own)", expected::<Self>(text)));
        }
        Err(expected::<Self>(text))
    }

    fn render(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

/// A place that others connect to: a host that is no wildcard, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

impl Address {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never zero.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.0.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for Address {
    const EXPECTED: &'static str = "an address such as coordinator-1:7000";

    fn from_text(text: &str) -> Result<Self, Reason> {
        if text.contains("://") {
            return Err(format!("{} (host and port, not a URL)", expected::<Self>(text)));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("{} (the port is missing)", expected::<Self>(text)));
        };
        let elsewhere = "write the name or IP address at which the others reach it, such as coordinator-1";
        if host.is_empty() {
            return Err(format!("the address {} names no host: {elsewhere}:{port}", quote(text)));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(format!(
                "{} (an IPv6 address stands in brackets: [::1]:7000)",
                expected::<Self>(text)
            ));
        }
        let port = u16::from_text(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("the port of {} is not a number from 1 to 65535", quote(text)))?;
        if host == "*" {
            return Err(format!("{} is a wildcard and reaches nobody: {elsewhere}:{port}", quote(text)));
        }
        let host = Host::from_text(host)?;
        if host.is_wildcard() {
            return Err(format!("{} is a wildcard and reaches nobody: {elsewhere}:{port}", quote(text)));
        }
        Ok(Address { host, port })
    }

    fn render(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The URL of a service that is spoken to over HTTP. It is printed, so that it holds neither a user nor a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for HttpUrl {
    const EXPECTED: &'static str = "a URL such as http://127.0.0.1:4318";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| expected::<Self>(text))?;
        if rest.contains('@') {
            // Not quoted: what stands before it is a secret.
            return Err(format!("expected {}, found one with a user or a password", Self::EXPECTED));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if u16::from_text(port).is_ok_and(|port| port > 0) => host,
            Some((host, _)) if !host.starts_with('[') || !authority.ends_with(']') => {
                return Err(expected::<Self>(text));
            }
            _ => authority,
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if !is_path || Host::from_text(host).is_err() {
            return Err(expected::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn render(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

/// A member of the Raft group: its node id and the address of its Raft port. In a file a mapping, in a variable
/// `id=address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The member's `raft.node_id`.
    pub id: Id,
    /// Where the other members reach it.
    pub address: Address,
}

impl Value for Peer {
    const EXPECTED: &'static str =
        "a peer with an id and an address, such as coordinator-1=coordinator-1:7000";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let (id, address) = text.split_once('=').ok_or_else(|| expected::<Self>(text))?;
        Ok(Peer { id: Id::from_text(id.trim())?, address: Address::from_text(address.trim())? })
    }

    fn from_node(node: &Node) -> Result<Self, Vec<NodeFault>> {
        let entries = match &node.content {
            Content::Map(entries) => entries,
            Content::Scalar { text, .. } => {
                return Self::from_text(text).map_err(|reason| vec![NodeFault::new(node, reason)]);
            }
            Content::List(_) => {
                return Err(vec![NodeFault::new(node, format!("expected {}, found a list", Self::EXPECTED))]);
            }
        };
        let mut faults = Vec::new();
        let (mut id, mut address) = (None, None);
        for (key, value) in entries {
            let below = format!(".{}", key.text);
            let under =
                |list: Vec<NodeFault>| list.into_iter().map(|fault| fault.under(&below)).collect::<Vec<_>>();
            match key.text.as_str() {
                "id" => id = Some(Id::from_node(value).map_err(under)),
                "address" => address = Some(Address::from_node(value).map_err(under)),
                other => faults.push(NodeFault {
                    below: String::new(),
                    at: key.at,
                    reason: String::new(),
                    unknown: Some(other.to_owned()),
                }),
            }
        }
        if id.is_none() {
            faults.push(NodeFault::new(node, "the peer has no id"));
        }
        if address.is_none() {
            faults.push(NodeFault::new(node, "the peer has no address"));
        }
        match (id, address) {
            (Some(Ok(id)), Some(Ok(address))) if faults.is_empty() => Ok(Peer { id, address }),
            (id, address) => {
                faults.extend(id.and_then(Result::err).into_iter().flatten());
                faults.extend(address.and_then(Result::err).into_iter().flatten());
                Err(faults)
            }
        }
    }

    fn render(&self) -> Option<String> {
        Some(format!("{}={}", self.id, self.address))
    }
}
