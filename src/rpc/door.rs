//! The door of the worker port: accepts connections, speaks TLS where it is configured, and says who may come in.
//!
//! TLS configurations are read anew for every connection, and a certificate admits workers, coordinators and operators. A
//! handshake that does not end, or a peer that never says anything, costs a bounded time and one of a bounded number of
//! places.

use super::CONNECT_LIMIT;
use crate::tls::{CertRole, ClusterToken, TlsMaterial, role_of};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::transport::server::Connected;
use tonic::{Extensions, Status, metadata::MetadataMap};

/// Open connections at most.
const CONNECTIONS_MAX: usize = 4096;
/// A failing `accept`, of open files for one, is tried again after this pause.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is known of who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Whether a certificate admits it.
    is_certified: bool,
}

/// Who may speak.
#[derive(Clone)]
pub(super) struct Doorkeeper {
    pub(super) token: Option<ClusterToken>,
    pub(super) tls: Option<TlsMaterial>,
}

impl Doorkeeper {
    /// Lets a request pass: anybody's when neither token nor TLS is configured, else one with the token or from a
    /// connection with a good certificate.
    pub(super) fn admit(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<(), Status> {
        if self.token.is_none() && self.tls.is_none() {
            return Ok(());
        }
        if extensions.get::<Peer>().is_some_and(|peer| peer.is_certified) {
            return Ok(());
        }
        let bearer = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        match (bearer, &self.token) {
            (Some(bearer), Some(token)) if token.matches(bearer) => Ok(()),
            (Some(_), Some(_)) => Err(Status::unauthenticated(
                "this is not the cluster's token: cluster.token_file must hold the same on worker and coordinator",
            )),
            _ => Err(Status::unauthenticated(
                "this port wants the cluster's token (set cluster.token_file) or the certificate of a worker (set \
                 worker.tls_enabled, worker.cert_file, worker.key_file, worker.ca_file)",
            )),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that was let in.
pub(super) struct Accepted {
    io: Box<dyn Io>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Accepts for as long as somebody takes what is accepted.
pub(super) async fn accept(listener: TcpListener, tls: Option<TlsMaterial>, out: mpsc::Sender<Accepted>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = out.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a worker's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, out) = (tls.clone(), out.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(CONNECT_LIMIT * 5, greet(stream, tls)).await {
                Ok(Ok((io, peer))) => {
                    let _ = out.send(Accepted { io, peer, _place: place }).await;
                }
                Ok(Err(error)) => refused(from, &error),
                Err(elapsed) => refused(from, &elapsed),
            }
        });
    }
}

fn refused(from: SocketAddr, error: &dyn std::fmt::Display) {
    tracing::info!(%from, %error, "a connection to the worker port came to nothing");
}

async fn greet(stream: TcpStream, tls: Option<TlsMaterial>) -> io::Result<(Box<dyn Io>, Peer)> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        // Who connects and says nothing must not keep a place for ever.
        stream.peek(&mut [0]).await?;
        return Ok((Box::new(stream), Peer { is_certified: false }));
    };
    let stream = tokio_rustls::TlsAcceptor::from(tls.server_config()).accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let admitted = [CertRole::Worker, CertRole::Coordinator, CertRole::Admin];
    let is_certified = match role_of(certificates) {
        Ok(role) => admitted.contains(&role),
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok((Box::new(stream), Peer { is_certified }))
}
