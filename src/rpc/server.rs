//! The coordinator's side: gRPC calls made into the worker registry's messages.
//!
//! Every worker has one stream with a bounded queue of orders. The registry lets go of a stream when it gives the worker
//! nothing more (it does not lead any more, the worker was lost, or registered elsewhere), which ends it; a worker that is
//! gone ends it from the other side, which the registry sees on the queue.

use super::door::{Accepted, Doorkeeper, accept};
use super::keys::{KeyPieces, KeyServer};
use super::wire::{self, proto};
use super::{LEADER_KEY, MESSAGE_BYTES_MAX, PING_EVERY, PING_LIMIT};
use crate::actors::ask::AskError;
use crate::actors::worker_registry::{
    Drain, Order, OrderSink, Registered, WorkerError, WorkerLink, WorkerRegistryHandle,
};
use crate::ledger::{Incarnation, Rejection};
use crate::proof::KeyStore;
use crate::tls::{ClusterToken, TlsMaterial};
use futures_util::stream::{BoxStream, StreamExt as _};
use proto::worker_server::{Worker, WorkerServer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Orders that may wait for one worker beyond its capacity: revocations.
const ORDERS_SPARE: usize = 32;
/// A worker's capacity counts at most so much here; the ledger refuses more.
const ORDERS_MAX: usize = 1024;
/// Connections whose handshake is done and that wait to be served.
const ACCEPTED_MAX: usize = 64;
/// Calls of one connection at a time: reports of a large worker's proofs, and its stream.
const CALLS_PER_CONNECTION_MAX: u32 = 2048;
/// A call's headers: a token and a few names.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Where workers reach the coordinators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The leader's worker port as `host:port`, when a leader is known.
    pub leader_grpc: Option<String>,
    /// Every coordinator's.
    pub all_grpc: Vec<String>,
}

/// What the worker port serves.
#[derive(Clone)]
pub struct ServeOptions {
    /// Judges what workers say.
    pub registry: WorkerRegistryHandle,
    /// Where keys are fetched from.
    pub keys: KeyStore,
    /// The coordinators at the moment of asking; must not block.
    pub topology: Arc<dyn Fn() -> Topology + Send + Sync>,
    /// The cluster's token, when there is one.
    pub token: Option<ClusterToken>,
    /// TLS, when it is spoken.
    pub tls: Option<TlsMaterial>,
}

/// A worker port that is being served.
pub struct RunningRpc {
    addr: SocketAddr,
    closing: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Serves workers on a listener that is bound already. Must be called within a tokio runtime.
///
/// # Errors
/// The listener has no address.
pub fn serve(listener: TcpListener, options: ServeOptions) -> std::io::Result<RunningRpc> {
    let addr = listener.local_addr()?;
    let (closing, is_closing) = watch::channel(false);
    let (accepted, incoming) = mpsc::channel::<Accepted>(ACCEPTED_MAX);
    tokio::spawn(accept(listener, options.tls.clone(), accepted));
    let service = Service {
        registry: options.registry,
        topology: options.topology,
        doorkeeper: Doorkeeper { token: options.token, tls: options.tls },
        keys: KeyServer::new(options.keys),
        closing: is_closing.clone(),
    };
    let service = WorkerServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_LIMIT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX);
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
    let serving = server.serve_with_incoming_shutdown(service, incoming, until(is_closing));
    tracing::info!(%addr, "serving workers over gRPC");
    Ok(RunningRpc { addr, closing, serving: tokio::spawn(serving) })
}

/// Comes back when the port is to close, or its owner is gone.
async fn until(mut closing: watch::Receiver<bool>) {
    let _ = closing.wait_for(|is_closing| *is_closing).await;
}

impl RunningRpc {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Comes back when the server has ended by itself, which only happens when something is wrong.
    pub async fn ended(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "the worker port has ended".to_owned(),
            Ok(Err(error)) => format!("the worker port has failed: {error}"),
            Err(error) => format!("the worker port has failed: {error}"),
        }
    }

    /// Ends every worker's stream, so that workers look for another coordinator, lets calls finish for at most `grace`, and
    /// closes.
    pub async fn stop(mut self, grace: Duration) {
        self.closing.send_replace(true);
        if tokio::time::timeout(grace, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

struct Service {
    registry: WorkerRegistryHandle,
    topology: Arc<dyn Fn() -> Topology + Send + Sync>,
    doorkeeper: Doorkeeper,
    keys: KeyServer,
    closing: watch::Receiver<bool>,
}

/// The queue of one worker's orders.
struct Outgoing(mpsc::Sender<Result<proto::Order, Status>>);

impl OrderSink for Outgoing {
    fn push(&self, order: Order) -> Result<(), AskError> {
        self.0.try_send(Ok(wire::order_message(order))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Full("the worker's stream"),
            mpsc::error::TrySendError::Closed(_) => AskError::Stopped("the worker's stream"),
        })
    }

    fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

impl Service {
    fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.doorkeeper.admit(request.metadata(), request.extensions())?;
        Ok(request.into_inner())
    }

    /// An error of a stream's or a worker's; what the ledger does not know of it, it is to register for.
    fn of_worker(&self, error: WorkerError) -> Status {
        match error {
            WorkerError::Refused(Rejection::UnknownWorker(_) | Rejection::StaleIncarnation(_)) => {
                Status::not_found(error.to_string())
            }
            error => self.of_report(error),
        }
    }

    fn of_report(&self, error: WorkerError) -> Status {
        match error {
            WorkerError::Refused(rejection) => Status::aborted(rejection.to_string()),
            WorkerError::NameInUse(_) => Status::already_exists(error.to_string()),
            WorkerError::TryAgain(reason) => Status::resource_exhausted(reason),
            WorkerError::NotLeader { .. } => not_leader((self.topology)().leader_grpc),
        }
    }

    fn registered(&self, registered: Registered) -> proto::Order {
        let registered = proto::Registered {
            incarnation: registered.incarnation.0,
            lease_ms: crate::actors::clock::millis(registered.lease),
            coordinators: (self.topology)().all_grpc,
        };
        proto::Order { order: Some(proto::order::Order::Registered(registered)) }
    }
}

/// Says where to go, in words and for programs.
fn not_leader(leader: Option<String>) -> Status {
    let Some(leader) = leader else {
        return Status::failed_precondition("not leader, and no leader is known");
    };
    let mut status = Status::failed_precondition(format!("not leader, connect to: {leader}"));
    if let Ok(value) = leader.parse() {
        status.metadata_mut().insert(LEADER_KEY, value);
    }
    status
}

#[tonic::async_trait]
impl Worker for Service {
    type WorkStream = BoxStream<'static, Result<proto::Order, Status>>;
    type FetchKeyStream = KeyPieces;

    async fn work(&self, request: Request<proto::WorkRequest>) -> Result<Response<Self::WorkStream>, Status> {
        let request = self.admit(request)?;
        if *self.closing.borrow() {
            return Err(Status::unavailable("this coordinator is about to end"));
        }
        let room = (request.capacity as usize).min(ORDERS_MAX) + ORDERS_SPARE;
        let (sender, orders) = mpsc::channel(room);
        let link: WorkerLink = Arc::new(Outgoing(sender));
        let registered = self.registry.register(wire::register(request, link)?).await;
        let registered = registered.map_err(|error| self.of_worker(error))?;
        // Before any order that stands in the queue already.
        let first = futures_util::stream::iter([Ok(self.registered(registered))]);
        let orders = first.chain(ReceiverStream::new(orders)).take_until(until(self.closing.clone()));
        Ok(Response::new(orders.boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatReply>, Status> {
        let heartbeat = wire::heartbeat(self.admit(request)?)?;
        self.registry.heartbeat(heartbeat).await.map_err(|error| self.of_worker(error))?;
        Ok(Response::new(proto::HeartbeatReply { coordinators: (self.topology)().all_grpc }))
    }

    async fn report(
        &self,
        request: Request<proto::ReportRequest>,
    ) -> Result<Response<proto::ReportReply>, Status> {
        let report = wire::report(self.admit(request)?)?;
        self.registry.report(report).await.map_err(|error| self.of_report(error))?;
        Ok(Response::new(proto::ReportReply {}))
    }

    async fn drain(
        &self,
        request: Request<proto::DrainRequest>,
    ) -> Result<Response<proto::DrainReply>, Status> {
        let request = self.admit(request)?;
        let worker = wire::worker(&request.worker)?;
        let drain = Drain { worker, incarnation: Incarnation(request.incarnation) };
        self.registry.drain(drain).await.map_err(|error| self.of_worker(error))?;
        Ok(Response::new(proto::DrainReply {}))
    }

    async fn fetch_key(
        &self,
        request: Request<proto::FetchKeyRequest>,
    ) -> Result<Response<Self::FetchKeyStream>, Status> {
        let request = self.admit(request)?;
        let digest = wire::digest(&request.digest, "digest")?;
        Ok(Response::new(self.keys.pieces(digest).await?))
    }
}
