//! Making a connection: the name's address, TCP, TLS, the handshake; each within a time of its own.

use super::Shared;
use super::frame::Stream;
use super::handshake::{self, Claim, Credentials, HandshakeError, Hello, Judge, Purpose, Welcome};
use super::refusal::Refusal;
use crate::raft::types::{NodeId, StoreId};
use crate::tls::role_of;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For the name and TCP. A lost first packet is repeated after a second; trying anew after two finds a peer that came back
/// sooner than TCP's own, ever longer pauses would.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(2);
/// For TLS and the handshake, which cost three to four round trips.
pub(super) const HANDSHAKE_TIME_LIMIT: Duration = Duration::from_secs(5);

/// No connection could be made; nothing was asked of the peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Unreachable(String),
    #[error("refused: {0}")]
    Refused(Refusal),
}

/// Dials a member. `this` is this node and its storage.
pub(super) async fn dial_member(
    shared: &Shared,
    to: NodeId,
    address: &str,
    this: (NodeId, StoreId),
) -> Result<Stream, DialError> {
    let (node, store) = this;
    let purpose = Purpose::Member { node, store, expects: to };
    let result = dial(shared, address, purpose, |welcome| {
        let claim = Claim {
            identity: Some((welcome.node, welcome.store)),
            expected: Some((to, welcome.node)),
            recorded: shared.recorded_store(welcome.node),
            ..claim(welcome)
        };
        shared.judge(Some(node), |judge: Judge<'_>| judge.judge(&claim))
    });
    let peer = format!("node {to}");
    match result.await {
        Ok((stream, welcome)) => {
            shared.met(to, welcome.store);
            Ok(stream)
        }
        Err(Failed::Unreachable(reason)) => Err(DialError::Unreachable(reason)),
        Err(Failed::Refused(refusal)) => {
            if shared.reports.is_new(&peer, &refusal.to_string()) {
                tracing::warn!(peer = %to, %address, "a member is not spoken to: {refusal}");
            }
            Err(DialError::Refused(refusal))
        }
        // No word against this node, and over in a moment when the node there is just being added.
        Err(Failed::RefusedByPeer(refusal @ Refusal::Waiting)) => {
            if shared.reports.is_new(&peer, &refusal.to_string()) {
                tracing::info!(peer = %to, %address, "{refusal}");
            }
            Err(DialError::Unreachable(refusal.to_string()))
        }
        Err(Failed::RefusedByPeer(refusal)) => {
            if shared.reports.is_new(&peer, &refusal.to_string()) {
                tracing::warn!(peer = %to, %address, "a member refuses this node: {refusal}");
            }
            shared.was_refused(to, refusal.clone());
            Err(DialError::Refused(refusal))
        }
    }
}

/// Dials an address where some member is hoped to be, to ask for admission.
pub(super) async fn dial_as_applicant(shared: &Shared, address: &str) -> Result<Stream, DialError> {
    let result = dial(shared, address, Purpose::Applicant, |welcome| {
        let claim = claim(welcome);
        shared.judge(None, |judge: Judge<'_>| judge.judge(&claim))
    });
    match result.await {
        Ok((stream, _)) => Ok(stream),
        Err(Failed::Unreachable(reason)) => Err(DialError::Unreachable(reason)),
        Err(Failed::Refused(refusal) | Failed::RefusedByPeer(refusal)) => Err(DialError::Refused(refusal)),
    }
}

/// What is judged of everybody.
fn claim(welcome: &Welcome) -> Claim<'_> {
    Claim {
        identity: None,
        expected: None,
        name: &welcome.name,
        cluster: welcome.cluster,
        data_key_print: &welcome.data_key_print,
        recorded: None,
    }
}

enum Failed {
    Unreachable(String),
    Refused(Refusal),
    RefusedByPeer(Refusal),
}

async fn dial(
    shared: &Shared,
    address: &str,
    purpose: Purpose,
    judge: impl FnOnce(&Welcome) -> Result<(), Refusal>,
) -> Result<(Stream, Welcome), Failed> {
    let connected = tokio::time::timeout(CONNECT_TIME_LIMIT, TcpStream::connect(address)).await;
    let tcp = match connected {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(Failed::Unreachable(format!("{address}: {error}"))),
        Err(_) => {
            let reason = format!("{address} did not answer within {CONNECT_TIME_LIMIT:?}");
            return Err(Failed::Unreachable(reason));
        }
    };
    // Heartbeats are small and must not wait to be sent together. Without it the connection is slower, and no worse.
    let _ = tcp.set_nodelay(true);
    let hello = Hello {
        purpose,
        name: shared.options.name.clone(),
        cluster: shared.cluster(),
        data_key_print: shared.options.data_key_print.clone(),
    };
    let shaken = tokio::time::timeout(HANDSHAKE_TIME_LIMIT, async {
        let (mut stream, credentials) = secure(shared, tcp, address).await.map_err(Failed::Unreachable)?;
        match handshake::dial(&mut stream, &credentials, &hello, judge).await {
            Ok(welcome) => Ok((stream, welcome)),
            Err(HandshakeError::Refused(refusal)) => Err(Failed::Refused(refusal)),
            Err(HandshakeError::RefusedByPeer(refusal)) => Err(Failed::RefusedByPeer(refusal)),
            Err(error) => Err(Failed::Unreachable(format!("{address}: {error}"))),
        }
    });
    let late =
        || Failed::Unreachable(format!("{address} did not shake hands within {HANDSHAKE_TIME_LIMIT:?}"));
    shaken.await.unwrap_or_else(|_| Err(late()))
}

/// TLS, where it is set up; and by what the other side is known.
async fn secure(shared: &Shared, tcp: TcpStream, address: &str) -> Result<(Stream, Credentials), String> {
    let Some(material) = shared.options.tls.clone() else {
        return Ok((Box::new(tcp), Credentials::of_token(shared.options.token.as_ref())));
    };
    // Looking at the files may block.
    let config = tokio::task::spawn_blocking(move || material.client_config()).await;
    let config = config.map_err(|error| error.to_string())?;
    let host = host_of(address);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host:?} is neither a host name nor an IP address"))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| {
        let text = format!("{address}: TLS: {error}");
        if shared.reports.is_new(address, &text) {
            tracing::warn!("no TLS with another member: {text}; see docs/tls.md");
        }
        text
    })?;
    shared.reports.forget(address);
    let role = role_of(stream.get_ref().1.peer_certificates().unwrap_or_default());
    Ok((Box::new(stream), Credentials::Certificate(role)))
}

/// The host in `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn a_host_is_what_precedes_the_port() {
        for (address, host) in [
            ("coordinator-1:7000", "coordinator-1"),
            ("10.0.0.1:7000", "10.0.0.1"),
            ("[::1]:7000", "::1"),
            ("bare", "bare"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }
}
