//! The worker's side: finds the leader among the coordinators, keeps one stream of orders with it, and carries what the
//! session says.
//!
//! One connection is current. A call that shows that its coordinator does not lead, or cannot be reached, moves on to whom
//! that coordinator named, else to the next one known; the session says the same again and so reaches whoever leads. When
//! the stream of orders ends, or its connection is left, the session is told to register again.

use super::addresses::Addresses;
use super::dial::channel;
use super::wire::{self, proto};
use super::{LEADER_KEY, MESSAGE_BYTES_MAX};
use crate::actors::prover_pool::KeySource;
use crate::actors::session::{CallError, Coordinator};
use crate::actors::worker_registry::{Drain, Heartbeat, Order, Register, Registered, Report, WorkerLink};
use crate::ledger::Incarnation;
use crate::proof::Digest32;
use crate::tls::{ClusterToken, TlsMaterial};
use futures_util::future::BoxFuture;
use proto::worker_client::WorkerClient;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use zeroize::Zeroizing;

/// A registration takes a quorum.
const REGISTER_LIMIT: Duration = Duration::from_secs(5);
/// A heartbeat is answered from memory.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(3);
/// A report takes a check and a quorum.
const REPORT_LIMIT: Duration = Duration::from_secs(15);
/// The first bytes of a key.
const FETCH_START_LIMIT: Duration = Duration::from_secs(10);
/// A whole key.
const FETCH_LIMIT: Duration = Duration::from_secs(120);
/// An order that finds the session's queue full is offered again after this pause.
const PUSH_PAUSE: Duration = Duration::from_millis(20);

/// How a worker reaches its coordinators.
#[derive(Clone)]
pub struct ClientOptions {
    /// Worker ports of one or several coordinators, as `host:port`; the others are learned.
    pub coordinators: Vec<String>,
    /// The cluster's token, when there is one.
    pub token: Option<ClusterToken>,
    /// TLS, when it is spoken.
    pub tls: Option<TlsMaterial>,
}

/// The coordinators could not be spoken to with these options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no address.
    #[error("no coordinator is named: set worker.coordinator_address")]
    NoAddress,
    /// The token cannot be sent.
    #[error("the cluster's token holds characters that no header takes: use printable ASCII")]
    Token,
}

/// The coordinators, as one. Cloning shares it.
#[derive(Clone)]
pub struct RemoteCoordinator(Arc<Shared>);

struct Shared {
    token: Option<MetadataValue<Ascii>>,
    tls: Option<TlsMaterial>,
    addresses: Mutex<Addresses>,
    current: Mutex<Arc<Connection>>,
    /// Counts registrations: only the newest one's stream tells the session of its end.
    registrations: AtomicU64,
    /// The coordinator whose orders come in.
    registered_with: watch::Sender<Option<String>>,
    runtime: tokio::runtime::Handle,
}

/// A coordinator that is spoken to.
struct Connection {
    address: String,
    channel: Channel,
    /// Turned when somebody moves on from it.
    left: watch::Sender<bool>,
}

impl RemoteCoordinator {
    /// Nothing is dialled before the first call. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let first = options.coordinators.first().ok_or(ClientError::NoAddress)?;
        let token = options.token.map(|token| {
            let text = Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value: MetadataValue<Ascii> = text.parse().map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let current = connect(first, options.tls.as_ref()).ok_or(ClientError::NoAddress)?;
        Ok(Self(Arc::new(Shared {
            token: token.transpose()?,
            tls: options.tls,
            current: Mutex::new(current),
            addresses: Mutex::new(Addresses::new(options.coordinators)),
            registrations: AtomicU64::new(0),
            registered_with: watch::Sender::new(None),
            runtime: tokio::runtime::Handle::current(),
        })))
    }

    /// The coordinator whose orders come in; none while the worker looks for one.
    #[must_use]
    pub fn registered_with(&self) -> Option<String> {
        self.0.registered_with.borrow().clone()
    }

    async fn open(&self, request: &Register) -> Result<Registered, CallError> {
        let shared = &self.0;
        let message = wire::register_message(request);
        let call = async |mut client: WorkerClient<Channel>| {
            let mut orders = client.work(shared.request(message)).await?.into_inner();
            let first = orders.message().await?.and_then(|order| order.order);
            match first {
                Some(proto::order::Order::Registered(registered)) => Ok((registered, orders)),
                _ => Err(Status::internal("the stream does not begin with a registration")),
            }
        };
        let number = shared.registrations.fetch_add(1, Ordering::SeqCst) + 1;
        let opened = shared.call(REGISTER_LIMIT, call).await;
        let (connection, (registered, orders)) = opened.inspect_err(|_| {
            shared.registered_with.send_replace(None);
        })?;
        lock(&shared.addresses).learn(registered.coordinators);
        shared.registered_with.send_replace(Some(connection.address.clone()));
        tracing::info!(coordinator = connection.address, "takes orders");
        let reader = Arc::clone(shared).read(connection, orders, Arc::clone(&request.link), number);
        shared.runtime.spawn(reader);
        Ok(Registered {
            incarnation: Incarnation(registered.incarnation),
            lease: Duration::from_millis(registered.lease_ms.max(1)),
        })
    }

    async fn try_fetch(&self, address: &str, digest: &Digest32) -> Result<Vec<u8>, String> {
        let connection = connect(address, self.0.tls.as_ref()).ok_or("not an address")?;
        let request = self.0.request(proto::FetchKeyRequest { digest: digest.as_bytes().to_vec() });
        // One that hangs must not use up the time in which another one could give the key.
        let mut client = client(&connection.channel);
        let pieces = tokio::time::timeout(FETCH_START_LIMIT, client.fetch_key(request)).await;
        let pieces = pieces.map_err(|_| "no answer in time")?;
        super::keys::collect(pieces.map_err(|status| status.message().to_owned())?.into_inner()).await
    }

    async fn fetch_from_any(&self, digest: &Digest32) -> Result<Vec<u8>, String> {
        let current = lock(&self.0.current).address.clone();
        let others = lock(&self.0.addresses).all().into_iter().filter(|address| *address != current);
        let mut failures = Vec::new();
        for address in std::iter::once(current.clone()).chain(others) {
            match self.try_fetch(&address, digest).await {
                Ok(key) => return Ok(key),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        Err(format!("no coordinator gave key {digest}: {}", failures.join("; ")))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(address: &str, tls: Option<&TlsMaterial>) -> Option<Arc<Connection>> {
    let channel = channel(address, tls.cloned()).ok()?;
    Some(Arc::new(Connection { address: address.to_owned(), channel, left: watch::Sender::new(false) }))
}

fn client(channel: &Channel) -> WorkerClient<Channel> {
    WorkerClient::new(channel.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

impl Shared {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Calls the current coordinator, and moves on when it is not the one to ask.
    async fn call<T>(
        &self,
        limit: Duration,
        call: impl AsyncFnOnce(WorkerClient<Channel>) -> Result<T, Status>,
    ) -> Result<(Arc<Connection>, T), CallError> {
        let connection = Arc::clone(&lock(&self.current));
        let mut left = connection.left.subscribe();
        let status = tokio::select! {
            called = tokio::time::timeout(limit, call(client(&connection.channel))) => match called {
                Ok(Ok(reply)) => return Ok((connection, reply)),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            },
            // Another call has found that this coordinator is not the one to ask: no use in waiting for it.
            _ = left.wait_for(|left| *left) => Status::unavailable("left for another coordinator"),
        };
        let text = format!("{}: {}", connection.address, status.message());
        Err(match status.code() {
            Code::NotFound => CallError::UnknownWorker,
            Code::AlreadyExists => CallError::NameInUse(status.message().to_owned()),
            Code::Aborted | Code::InvalidArgument => CallError::Refused(status.message().to_owned()),
            // Busy, or the outcome is unknown: the same coordinator is the one to ask again.
            Code::ResourceExhausted => CallError::Unavailable(text),
            _ => {
                let named = status.metadata().get(LEADER_KEY).and_then(|value| value.to_str().ok());
                self.leave(&connection, named.map(str::to_owned));
                CallError::Unavailable(text)
            }
        })
    }

    /// Moves on from a coordinator, unless somebody has already.
    fn leave(&self, connection: &Arc<Connection>, named: Option<String>) {
        let mut current = lock(&self.current);
        if Arc::ptr_eq(&current, connection) {
            let next = lock(&self.addresses).after(&connection.address, named);
            if let Some(next) = next.and_then(|next| connect(&next, self.tls.as_ref())) {
                *current = next;
            }
        }
        drop(current);
        connection.left.send_replace(true);
    }

    /// Passes on the orders of a stream until it ends, and has the session register again then.
    async fn read(
        self: Arc<Self>,
        connection: Arc<Connection>,
        mut orders: Streaming<proto::Order>,
        link: WorkerLink,
        number: u64,
    ) {
        let mut left = connection.left.subscribe();
        loop {
            let message = tokio::select! {
                message = orders.message() => message,
                _ = left.wait_for(|left| *left) => break,
            };
            match message.map(|message| message.map(wire::order)) {
                Ok(Some(Ok(Some(Order::Reregister)))) | Ok(None) => break,
                Ok(Some(Ok(Some(order)))) => {
                    if let Err(error) = link.push(order) {
                        // What the worker does not speak of in its heartbeats, the coordinator gives to another one.
                        tracing::warn!(%error, "an order could not be taken");
                    }
                }
                Ok(Some(Ok(None))) => tracing::debug!("an order of a kind that this version does not know"),
                Ok(Some(Err(error))) => tracing::error!(error = error.message(), "an order is not readable"),
                Err(status) => {
                    tracing::info!(coordinator = connection.address, error = status.message(), "lost");
                    break;
                }
            }
        }
        while self.registrations.load(Ordering::SeqCst) == number {
            self.registered_with.send_replace(None);
            match link.push(Order::Reregister) {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(PUSH_PAUSE).await,
            }
        }
    }
}

impl Coordinator for RemoteCoordinator {
    fn register(&self, request: Register) -> BoxFuture<'_, Result<Registered, CallError>> {
        Box::pin(async move {
            // Each failure moves on to another coordinator: all are asked before the session makes a pause.
            let rounds = lock(&self.0.addresses).all().len();
            for _ in 0..rounds {
                match self.open(&request).await {
                    Err(CallError::Unavailable(error)) => tracing::debug!(error, "asks the next coordinator"),
                    settled => return settled,
                }
            }
            self.open(&request).await
        })
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            if self.0.registered_with.borrow().is_none() {
                return Err(CallError::UnknownWorker);
            }
            let message = self.0.request(wire::heartbeat_message(&heartbeat));
            let call = async |mut client: WorkerClient<Channel>| client.heartbeat(message).await;
            let (_, reply) = self.0.call(HEARTBEAT_LIMIT, call).await?;
            lock(&self.0.addresses).learn(reply.into_inner().coordinators);
            Ok(())
        })
    }

    fn report(&self, report: Report) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let message = self.0.request(wire::report_message(&report));
            let call = async |mut client: WorkerClient<Channel>| client.report(message).await;
            self.0.call(REPORT_LIMIT, call).await.map(|_| ())
        })
    }

    fn drain(&self, drain: Drain) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let worker = drain.worker.as_str().to_owned();
            let incarnation = drain.incarnation.0;
            let message = self.0.request(proto::DrainRequest { worker, incarnation });
            let call = async |mut client: WorkerClient<Channel>| client.drain(message).await;
            self.0.call(REGISTER_LIMIT, call).await.map(|_| ())
        })
    }
}

impl KeySource for RemoteCoordinator {
    fn fetch(&self, digest: &Digest32) -> Result<Vec<u8>, String> {
        let fetch = async { tokio::time::timeout(FETCH_LIMIT, self.fetch_from_any(digest)).await };
        self.0.runtime.block_on(fetch).unwrap_or_else(|_| Err("the key did not come in time".to_owned()))
    }
}
