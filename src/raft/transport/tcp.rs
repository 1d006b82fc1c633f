//! Raft's requests over TCP, between processes: the transport of a cluster.
//!
//! Owned here: the port, the connections to the other members, who may speak ([`handshake`]) and how much at once. Nothing is
//! decided here beyond that: requests go to the node's [`PeerEndpoint`], replies go back. In reading order: `frame` (bytes),
//! `handshake` and `refusal` (who), `dial`, `lane` and `address` (calling), `accept` (serving), `waiting` (before there is a
//! number to serve under).
//!
//! Each pair of members has up to four connections: either side dials for what it has to ask, one connection for what is
//! urgent and one for files. Everything is bounded: frames, connections, handshakes and their time, requests in hand. A peer
//! that is down costs its callers nothing but a refusal, at once.

mod accept;
mod address;
mod dial;
mod frame;
mod handshake;
mod lane;
mod refusal;
mod waiting;

pub use address::AddressError;
pub use refusal::{Refusal, Refused};

use super::{Enrolment, Identity, PeerEndpoint, PeerReply, PeerRequest, PeerTransport, TransportError};
use crate::raft::files::lock;
use crate::raft::types::{ClusterId, Member, NodeId, StoreId};
use crate::tls::{ClusterToken, TlsMaterial};
use frame::{Failure, ToAcceptor};
use futures_util::future::BoxFuture;
use handshake::Judge;
use lane::{Lane, LaneKind, Outgoing, QUEUE_MAX, Ticket};
use refusal::Reports;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// Connections whose other side has not shown yet who it is.
const HANDSHAKES_MAX: usize = 64;
/// Members whose first storage is remembered: more than a cluster ever has.
const STORES_MAX: usize = 1024;

/// How the transport is set up.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Where to listen, `host:port`.
    pub listen: String,
    /// This node's name, for people.
    pub name: String,
    /// A one-way digest of the data key: equal on all coordinators, and of no use to whoever reads it.
    pub data_key_print: String,
    /// Certificates, when the members speak TLS. Then the role in them says who may speak, and the token is not asked for.
    pub tls: Option<TlsMaterial>,
    /// The cluster's token. Without it and without certificates whoever reaches the port may speak.
    pub token: Option<ClusterToken>,
    /// The largest message, in bytes; it must hold the largest entry and the largest piece of a snapshot.
    pub frame_bytes_max: u32,
    /// Connections of members at once.
    pub connections_max: u32,
}

impl TcpOptions {
    /// The defaults: no protection, frames of 32 MiB, 256 connections.
    #[must_use]
    pub fn new(
        listen: impl Into<String>,
        name: impl Into<String>,
        data_key_print: impl Into<String>,
    ) -> Self {
        Self {
            listen: listen.into(),
            name: name.into(),
            data_key_print: data_key_print.into(),
            tls: None,
            token: None,
            frame_bytes_max: 32 << 20,
            connections_max: 256,
        }
    }
}

/// The Raft port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for the other members: {source}; set raft.raft_port to a free port, or stop what uses this one"
)]
pub struct BindError {
    /// What was wanted.
    pub address: String,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

/// What the transport needs to know of the cluster, to judge who speaks. [`PeerEndpoint`] is one, and is asked unless another
/// is set.
pub trait MembershipView: Send + Sync + 'static {
    /// The cluster that this node belongs to.
    fn cluster(&self) -> Option<ClusterId>;
    /// A member of it.
    fn member(&self, node: NodeId) -> Option<Member>;
}

impl MembershipView for PeerEndpoint {
    fn cluster(&self) -> Option<ClusterId> {
        self.members().into_values().find_map(|member| member.cluster)
    }

    fn member(&self, node: NodeId) -> Option<Member> {
        self.members().remove(&node)
    }
}

/// The transport. It ends with [`PeerTransport::close`], or when the last handle is dropped.
pub struct TcpTransport {
    shared: Arc<Shared>,
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
}

/// What the connections' tasks share.
struct Shared {
    options: TcpOptions,
    endpoint: Mutex<Option<PeerEndpoint>>,
    view: Mutex<Option<Arc<dyn MembershipView>>>,
    store: watch::Sender<Option<StoreId>>,
    runtime: OnceLock<Handle>,
    lanes: Mutex<BTreeMap<(NodeId, LaneKind), mpsc::Sender<Outgoing>>>,
    next_id: AtomicU64,
    seen: Mutex<BTreeMap<NodeId, StoreId>>,
    refused: watch::Sender<Option<Refused>>,
    refusers: Mutex<BTreeSet<NodeId>>,
    reports: Reports,
    closing: watch::Sender<bool>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("address", &self.address).finish_non_exhaustive()
    }
}

impl TcpTransport {
    /// Takes the port. Nobody is answered before Raft runs and [`Self::set_store`] was called.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(options: TcpOptions) -> Result<Arc<Self>, BindError> {
        let failed = |source| BindError { address: options.listen.clone(), source };
        let listener = TcpListener::bind(&options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            endpoint: Mutex::default(),
            view: Mutex::default(),
            store: watch::Sender::new(None),
            runtime: OnceLock::new(),
            lanes: Mutex::default(),
            next_id: AtomicU64::new(0),
            seen: Mutex::default(),
            refused: watch::Sender::new(None),
            refusers: Mutex::default(),
            reports: Reports::default(),
            closing: watch::Sender::new(false),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            connections: Arc::new(Semaphore::new(options.connections_max as usize)),
            options,
        };
        Ok(Arc::new(Self { shared: Arc::new(shared), listener: Mutex::new(Some(listener)), address }))
    }

    /// Where it listens: the port that was taken where port 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says which storage this node has ([`RaftService::store_id`](crate::raft::RaftService::store_id)), once that is known.
    /// The other members are spoken to from then on.
    pub fn set_store(&self, store: StoreId) {
        self.shared.store.send_replace(Some(store));
    }

    /// Has another source than Raft's own membership asked who the members are.
    pub fn set_view(&self, view: Arc<dyn MembershipView>) {
        *lock(&self.shared.view) = Some(view);
    }

    /// The storages that members were first seen with since this process began. A membership that records no storage for
    /// a member may take it from here.
    #[must_use]
    pub fn seen_stores(&self) -> BTreeMap<NodeId, StoreId> {
        lock(&self.shared.seen).clone()
    }

    /// The last refusal of this node by a member; `None` when that member has been spoken to since.
    #[must_use]
    pub fn refusals(&self) -> watch::Receiver<Option<Refused>> {
        self.shared.refused.subscribe()
    }

    /// The members that refused this node, and were not spoken to since.
    #[must_use]
    pub fn refusers(&self) -> BTreeSet<NodeId> {
        lock(&self.shared.refusers).clone()
    }

    /// Asks an address rather than a member, as one who is no member yet: see [`PeerTransport::call_address`]. Needs no running
    /// Raft.
    ///
    /// # Errors
    /// When nobody is there, when the two nodes do not belong together, or when there is no reply within `time_limit`.
    pub async fn call_address(
        &self,
        address: &str,
        request: PeerRequest,
        time_limit: Duration,
    ) -> Result<PeerReply, AddressError> {
        address::call(&self.shared, address.to_owned(), request, time_limit).await
    }

    /// Answers on the port, before Raft runs, as a process without a number that an operator is to have added; gives what the
    /// leader that adds it says. Dropping the future stops it.
    ///
    /// # Errors
    /// When the port cannot be served.
    pub async fn wait_to_be_added(&self, identity: Identity) -> Result<Enrolment, BindError> {
        let listener = lock(&self.listener).as_ref().map(TcpListener::try_clone);
        let failed = |source| BindError { address: self.address.to_string(), source };
        let taken = || failed(std::io::Error::other("Raft serves it already"));
        let listener = listener.ok_or_else(taken)?.and_then(tokio::net::TcpListener::from_std);
        Ok(waiting::wait(self.shared.clone(), listener.map_err(failed)?, identity).await)
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl PeerTransport for TcpTransport {
    fn serve(&self, endpoint: PeerEndpoint) {
        *lock(&self.shared.endpoint) = Some(endpoint);
        let runtime = self.shared.runtime.get_or_init(Handle::current);
        let Some(listener) = lock(&self.listener).take() else { return };
        let shared = self.shared.clone();
        runtime.spawn(async move {
            tokio::select! {
                () = shared.closed() => {}
                () = listen(shared.clone(), listener) => {}
            }
        });
    }

    fn call(
        &self,
        to: NodeId,
        member: &Member,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, TransportError>> {
        let lane = self.shared.lane(to, LaneKind::of(&request));
        let (shared, address) = (self.shared.clone(), member.address.clone());
        Box::pin(async move {
            let deadline = Instant::now() + time_limit;
            let unreachable = |reason: String| TransportError::Unreachable { to, reason };
            let lane = lane.ok_or_else(|| unreachable("this node has not started, or stops".to_owned()))?;
            let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
            let message = frame::encode(
                &ToAcceptor::Request { id, request: Box::new(request) },
                shared.options.frame_bytes_max,
            );
            let frame = message.map_err(|error| TransportError::Failed { to, reason: error.to_string() })?;
            let (reply, received) = oneshot::channel();
            let ticket = Arc::new(Ticket::default());
            let outgoing = Outgoing { id, address, frame, ticket: ticket.clone(), reply };
            // Dropped with this future, so that a lane does not send what nobody waits for any more.
            let asked = timeout_at(deadline, async {
                lane.send(outgoing).await.ok()?;
                received.await.ok()
            });
            match asked.await {
                Ok(Some(Ok(reply))) => Ok(reply),
                Ok(Some(Err(Failure::Unreachable(reason)))) => Err(unreachable(reason)),
                Ok(Some(Err(Failure::Failed(reason)))) => Err(TransportError::Failed { to, reason }),
                Ok(None) if ticket.give_up() => Err(unreachable("this node stops".to_owned())),
                Ok(None) => Err(TransportError::Failed { to, reason: "this node stops".to_owned() }),
                Err(_) if ticket.give_up() => {
                    Err(unreachable(format!("no connection within {time_limit:?}")))
                }
                Err(_) => Err(TransportError::TimedOut { to, time_limit }),
            }
        })
    }

    fn call_address(
        &self,
        address: String,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, AddressError>> {
        let shared = self.shared.clone();
        Box::pin(async move { address::call(&shared, address, request, time_limit).await })
    }

    fn close(&self) {
        self.shared.closing.send_replace(true);
        lock(&self.listener).take();
        // The lanes end when nobody can send to them.
        lock(&self.shared.lanes).clear();
        lock(&self.shared.endpoint).take();
        lock(&self.shared.view).take();
    }
}

/// Serves the port once this node knows its storage.
async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let is_ready = shared.store.subscribe().wait_for(Option::is_some).await.is_ok();
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) if is_ready => accept::listen(shared, listener).await,
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the Raft port cannot be served; restart this node"),
    }
}

impl Shared {
    async fn closed(&self) {
        // It fails when the sender is gone, which is as good.
        let _ = self.closing.subscribe().wait_for(|is_closing| *is_closing).await;
    }

    /// The way into a lane, which begins with the first request.
    fn lane(self: &Arc<Self>, peer: NodeId, kind: LaneKind) -> Option<mpsc::Sender<Outgoing>> {
        let runtime = self.runtime.get()?;
        let mut lanes = lock(&self.lanes);
        // Looked at under the lock that `close` takes after it has said so.
        if *self.closing.borrow() {
            return None;
        }
        let lane = lanes.entry((peer, kind)).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            runtime.spawn(Lane { shared: self.clone(), peer, kind, queue }.run());
            sender
        });
        Some(lane.clone())
    }

    fn endpoint(&self) -> Option<PeerEndpoint> {
        lock(&self.endpoint).clone()
    }

    /// This node's number and storage, once both are known.
    fn this_node(&self) -> Option<(NodeId, StoreId)> {
        let node = lock(&self.endpoint).as_ref().map(PeerEndpoint::node)?;
        let store = *self.store.borrow();
        Some((node, store?))
    }

    fn with_view<R>(&self, ask: impl FnOnce(&dyn MembershipView) -> Option<R>) -> Option<R> {
        let view = lock(&self.view).clone();
        match view {
            Some(view) => ask(view.as_ref()),
            None => self.endpoint().and_then(|endpoint| ask(&endpoint)),
        }
    }

    fn cluster(&self) -> Option<ClusterId> {
        self.with_view(MembershipView::cluster)
    }

    /// The storage of a number: as the membership records it, else as it was first seen.
    fn recorded_store(&self, node: NodeId) -> Option<StoreId> {
        let admitted = self.with_view(|view| view.member(node)).and_then(|member| member.store);
        admitted.or_else(|| lock(&self.seen).get(&node).copied())
    }

    fn judge<R>(&self, node: Option<NodeId>, judge: impl FnOnce(Judge<'_>) -> R) -> R {
        judge(Judge { node, cluster: self.cluster(), data_key_print: &self.options.data_key_print })
    }

    /// A member refuses this node.
    fn was_refused(&self, by: NodeId, refusal: Refusal) {
        let mut refusers = lock(&self.refusers);
        if refusers.len() < STORES_MAX {
            refusers.insert(by);
        }
        drop(refusers);
        self.refused.send_replace(Some(Refused { by, refusal }));
    }

    /// A handshake with a member succeeded.
    fn met(&self, node: NodeId, store: StoreId) {
        lock(&self.refusers).remove(&node);
        self.reports.forget(&format!("node {node}"));
        self.refused.send_if_modified(|refused| refused.take_if(|refused| refused.by == node).is_some());
        let mut seen = lock(&self.seen);
        if seen.len() < STORES_MAX || seen.contains_key(&node) {
            seen.insert(node, store);
        }
    }
}
