//! The listening side: connections from other members, their handshakes, and their requests.
//!
//! A stranger may hold one of a few places for a few seconds, and is given a few kilobytes; whoever has shown that it belongs
//! here may have some requests in hand, and is read no more than a buffer further while it has that many. Whatever is wrong with a connection
//! ends that connection and nothing else.

use super::Shared;
use super::dial::HANDSHAKE_TIME_LIMIT;
use super::frame::{self, Failure, Stream, ToAcceptor, ToDialler, WireError};
use super::handshake::{self, Claim, Credentials, HandshakeError, Hello, Judge, Purpose, Welcome};
use super::lane::AbortOnDrop;
use super::refusal::Refusal;
use crate::raft::transport::{PeerReply, PeerRequest};
use crate::raft::types::{ClusterId, NodeId};
use crate::tls::role_of;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{BufReader, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Requests of one connection that are being answered.
const IN_FLIGHT_MAX: usize = 64;
/// A connection on which nothing comes for so long is closed; its dialler would have closed it before.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// A reply that is not taken for so long will not be.
const WRITE_TIME_LIMIT: Duration = Duration::from_secs(30);
/// The pause after the system had no connection to give, for want of file descriptors most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until it is dropped, and then drops them.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => match shared.handshakes.clone().try_acquire_owned() {
                    Ok(place) => {
                        connections.spawn(serve(shared.clone(), tcp, from, place));
                        shared.reports.forget("places");
                    }
                    Err(_) if shared.reports.is_new("places", "") => {
                        tracing::warn!(%from, "too many connections wait for their handshake; more are closed");
                    }
                    Err(_) => {}
                },
                Err(error) => {
                    if shared.reports.is_new("accept", &error.to_string()) {
                        tracing::warn!(%error, "no connection of another member can be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Who has been let in.
struct Visitor {
    stream: Stream,
    who: Who,
}

/// What was found out about it.
#[derive(Clone, Copy, Debug)]
struct Who {
    /// `None` for an applicant.
    member: Option<NodeId>,
    /// The cluster that it belonged to when it came.
    cluster: Option<ClusterId>,
}

async fn serve(
    shared: Arc<Shared>,
    tcp: TcpStream,
    from: SocketAddr,
    place: tokio::sync::OwnedSemaphorePermit,
) {
    let visitor = timeout(HANDSHAKE_TIME_LIMIT, let_in(&shared, tcp, from)).await;
    drop(place);
    let Ok(Some(Visitor { stream, who })) = visitor else { return };
    let Ok(_connection) = shared.connections.clone().try_acquire_owned() else {
        if shared.reports.is_new("connections", "") {
            tracing::warn!(%from, "too many connections of other members; more are closed");
        }
        return;
    };
    shared.reports.forget("connections");
    let (reader, writer) = tokio::io::split(stream);
    let reader = BufReader::with_capacity(frame::READ_BYTES, reader);
    let (replies, outbox) = mpsc::channel(IN_FLIGHT_MAX);
    let mut writing = AbortOnDrop(tokio::spawn(write_replies(writer, outbox)));
    let reason = tokio::select! {
        error = answer(&shared, reader, who, replies) => error.to_string(),
        _ = &mut writing.0 => "replies are not taken".to_owned(),
    };
    tracing::debug!(?who, %from, %reason, "a connection of a member ended");
}

/// TLS and the handshake.
async fn let_in(shared: &Shared, tcp: TcpStream, from: SocketAddr) -> Option<Visitor> {
    let _ = tcp.set_nodelay(true);
    let host = from.ip().to_string();
    let warn = |cause: &str| {
        if shared.reports.is_new(&host, cause) {
            tracing::warn!(%from, "a connection to the Raft port is refused: {cause}");
        }
    };
    let (mut stream, credentials) = match secure(shared, tcp).await {
        Ok(secured) => secured,
        Err(cause) => {
            warn(&cause);
            return None;
        }
    };
    let (node, store) = shared.this_node()?;
    let welcome = Welcome {
        node,
        store,
        name: shared.options.name.clone(),
        cluster: shared.cluster(),
        data_key_print: shared.options.data_key_print.clone(),
    };
    let judge = |hello: &Hello| judge(shared, node, hello);
    match handshake::accept(&mut stream, &credentials, welcome, judge).await {
        Ok(hello) => {
            shared.reports.forget(&host);
            let member = match hello.purpose {
                Purpose::Member { node, store, .. } => {
                    shared.met(node, store);
                    Some(node)
                }
                Purpose::Applicant => None,
            };
            Some(Visitor { stream, who: Who { member, cluster: hello.cluster } })
        }
        Err((hello, error)) => {
            report(shared, hello.as_ref(), &error, &warn);
            None
        }
    }
}

fn judge(shared: &Shared, node: NodeId, hello: &Hello) -> Result<(), Refusal> {
    let (identity, expected) = match hello.purpose {
        Purpose::Member { node: dialler, store, expects } => (Some((dialler, store)), Some((expects, node))),
        Purpose::Applicant => (None, None),
    };
    let recorded = identity.and_then(|(dialler, _)| shared.recorded_store(dialler));
    let claim = Claim {
        identity,
        expected,
        name: &hello.name,
        cluster: hello.cluster,
        data_key_print: &hello.data_key_print,
        recorded,
    };
    shared.judge(Some(node), |judge: Judge<'_>| judge.judge(&claim))
}

/// Tells of a handshake that failed: of a member under its number, of a stranger under its address.
fn report(shared: &Shared, hello: Option<&Hello>, error: &HandshakeError, warn: &dyn Fn(&str)) {
    let member = hello.and_then(|hello| match hello.purpose {
        Purpose::Member { node, .. } => Some(node),
        Purpose::Applicant => None,
    });
    match (error, member) {
        // A probe of the port by a load balancer, or a peer that was stopped: nothing to see to.
        (HandshakeError::Wire(WireError::Closed | WireError::Io(_)), _) => {}
        (HandshakeError::RefusedByPeer(refusal), Some(by)) => {
            if shared.reports.is_new(&format!("node {by}"), &refusal.to_string()) {
                tracing::warn!(peer = %by, "a member refuses this node: {refusal}");
            }
            shared.was_refused(by, refusal.clone());
        }
        (HandshakeError::Refused(refusal), Some(node)) => {
            if shared.reports.is_new(&format!("node {node}"), &refusal.to_string()) {
                tracing::warn!(peer = %node, "a member is not spoken to: {refusal}");
            }
        }
        _ => warn(&error.to_string()),
    }
}

pub(super) async fn secure(shared: &Shared, tcp: TcpStream) -> Result<(Stream, Credentials), String> {
    let Some(material) = shared.options.tls.clone() else {
        return Ok((Box::new(tcp), Credentials::of_token(shared.options.token.as_ref())));
    };
    let config = tokio::task::spawn_blocking(move || material.server_config()).await;
    let config = config.map_err(|error| error.to_string())?;
    let stream = TlsAcceptor::from(config).accept(tcp).await.map_err(|error| format!("TLS: {error}"))?;
    let role = role_of(stream.get_ref().1.peer_certificates().unwrap_or_default());
    Ok((Box::new(stream), Credentials::Certificate(role)))
}

/// Reads requests and has each answered on a task of its own, until the connection fails.
async fn answer(
    shared: &Arc<Shared>,
    mut reader: BufReader<ReadHalf<Stream>>,
    who: Who,
    replies: mpsc::Sender<Vec<u8>>,
) -> WireError {
    let bytes_max = shared.options.frame_bytes_max;
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut handlers = JoinSet::new();
    loop {
        let message = match timeout(IDLE_MAX, frame::read(&mut reader, bytes_max)).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => return error,
            Err(_) => return WireError::Io(std::io::ErrorKind::TimedOut.into()),
        };
        while handlers.try_join_next().is_some() {}
        match message {
            ToAcceptor::Ping => {
                let Ok(pong) = frame::encode(&ToDialler::Pong, bytes_max) else { return WireError::Closed };
                if replies.send(pong).await.is_err() {
                    return WireError::Closed;
                }
            }
            ToAcceptor::Request { id, request } => {
                let Ok(permit) = room.clone().acquire_owned().await else { return WireError::Closed };
                let (shared, replies) = (shared.clone(), replies.clone());
                handlers.spawn(async move {
                    let reply = handle(&shared, who, *request).await;
                    // Nobody waits for it once the connection is gone.
                    let _ = replies.send(encode_reply(id, reply, bytes_max)).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn handle(
    shared: &Shared,
    Who { member, cluster }: Who,
    request: PeerRequest,
) -> Result<PeerReply, Failure> {
    // Since the handshake this node may have become another cluster's, by another member's word.
    if let (Some(theirs), Some(ours)) = (cluster, shared.cluster())
        && theirs != ours
    {
        return Err(Failure::Unreachable(Refusal::Cluster { ours, theirs }.to_string()));
    }
    if member.is_none() && !may_be_asked_by_anybody(&request) {
        return Err(Failure::Failed(
            "who is not a member may ask for admission and for nothing else".to_owned(),
        ));
    }
    let Some(endpoint) = shared.endpoint() else {
        return Err(Failure::Unreachable("the node stops".to_owned()));
    };
    Ok(endpoint.handle(member, request).await?)
}

/// What one who is no member may ask: to be admitted, how this node does, and who it is.
const fn may_be_asked_by_anybody(request: &PeerRequest) -> bool {
    matches!(
        request,
        PeerRequest::Admit(_) | PeerRequest::Probe(_) | PeerRequest::Identify | PeerRequest::Enrol(_)
    )
}

pub(super) fn encode_reply(id: u64, reply: Result<PeerReply, Failure>, bytes_max: u32) -> Vec<u8> {
    frame::encode(&ToDialler::Reply { id, reply: Box::new(reply) }, bytes_max).unwrap_or_else(|error| {
        let failure = Failure::Failed(format!("the reply cannot be sent: {error}"));
        // Of some hundred bytes; if even that fails, an empty frame ends the connection.
        frame::encode(&ToDialler::Reply { id, reply: Box::new(Err(failure)) }, bytes_max).unwrap_or_default()
    })
}

async fn write_replies(mut writer: WriteHalf<Stream>, mut outbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = outbox.recv().await {
        match timeout(WRITE_TIME_LIMIT, frame::write(&mut writer, &frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
