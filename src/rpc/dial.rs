//! How a worker reaches a coordinator's worker port: TCP, with TLS where it is configured.

use super::CONNECT_LIMIT;
use crate::tls::TlsMaterial;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A channel to `address` (`host:port`); nothing is dialled before the first call.
pub(super) fn channel(address: &str, tls: Option<TlsMaterial>) -> Result<Channel, tonic::transport::Error> {
    // TLS is the connector's, so that certificates are read anew; to tonic the connection is a plain one.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .http2_keep_alive_interval(super::PING_EVERY)
        .keep_alive_timeout(super::PING_LIMIT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(Dialler { tls }))
}

struct Dialler {
    tls: Option<TlsMaterial>,
}

type Dialled = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Io>>>> + Send>>;

impl Service<Uri> for Dialler {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Dialled;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialled {
        let tls = self.tls.clone();
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_LIMIT, dial(&uri, tls)).await {
                Ok(dialled) => dialled.map(TokioIo::new),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
            }
        })
    }
}

async fn dial(uri: &Uri, tls: Option<TlsMaterial>) -> io::Result<Box<dyn Io>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the address is not host:port");
    let host = uri.host().ok_or_else(invalid)?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((host, uri.port_u16().ok_or_else(invalid)?)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(tokio_rustls::TlsConnector::from(tls.client_config()).connect(name, stream).await?))
}
