//! A worker that the test plays by hand.

use crate::support::{LIMIT, Rig, all_circuits, real_prover};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use zkpnet::actors::ask::AskError;
use zkpnet::actors::prover_pool::{Made, Prove};
use zkpnet::actors::worker_registry::{
    Assignment, Heartbeat, News, Order, OrderSink, Register, Registered, Report, WorkerError, WorkerLink,
    WorkerRegistryHandle,
};
use zkpnet::ledger::{Attempt, Incarnation, TaskId, WorkerId};

/// A way to a worker that knows whether somebody is at the other end.
struct Line(mpsc::UnboundedSender<Order>);

impl OrderSink for Line {
    fn push(&self, order: Order) -> Result<(), AskError> {
        self.0.send(order).map_err(|_| AskError::Stopped("the test's worker"))
    }

    fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

/// A lease, by its name.
pub(crate) type LeaseName = (TaskId, Attempt);

static SESSIONS: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Hand {
    pub(crate) name: WorkerId,
    pub(crate) session: u64,
    pub(crate) incarnation: Incarnation,
    registry: WorkerRegistryHandle,
    orders: mpsc::UnboundedReceiver<Order>,
    link: WorkerLink,
}

impl Hand {
    /// A new process of that name that makes up to `capacity` proofs at once.
    pub(crate) async fn join(rig: &Rig, name: &str, capacity: u32) -> Self {
        let (sender, orders) = mpsc::unbounded_channel();
        Self::join_by(rig, name, capacity, Arc::new(Line(sender)), orders).await
    }

    pub(crate) async fn join_by(
        rig: &Rig,
        name: &str,
        capacity: u32,
        link: WorkerLink,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let session = SESSIONS.fetch_add(1, Ordering::SeqCst);
        let hand = Self::stranger(rig, name, session, link, orders);
        let incarnation = hand.register(capacity).await.unwrap().incarnation;
        Self { incarnation, ..hand }
    }

    /// A new process of that name that has not registered.
    pub(crate) fn applicant(rig: &Rig, name: &str) -> Self {
        let (sender, orders) = mpsc::unbounded_channel();
        let session = SESSIONS.fetch_add(1, Ordering::SeqCst);
        Self::stranger(rig, name, session, Arc::new(Line(sender)), orders)
    }

    fn stranger(
        rig: &Rig,
        name: &str,
        session: u64,
        link: WorkerLink,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            name: WorkerId::new(name).unwrap(),
            session,
            incarnation: Incarnation(0),
            registry: rig.registry.clone(),
            orders,
            link,
        }
    }

    /// The process is gone, and its connection with it.
    pub(crate) fn hang_up(&mut self) {
        self.orders.close();
    }

    /// The same process, speaking to another coordinator.
    pub(crate) fn at(self, rig: &Rig) -> Self {
        Self { registry: rig.registry.clone(), ..self }
    }

    /// Registers (again), as the same process.
    pub(crate) async fn register(&self, capacity: u32) -> Result<Registered, WorkerError> {
        let request = Register {
            worker: self.name.clone(),
            session: self.session,
            capacity,
            circuits: all_circuits(),
            version: "0".into(),
            held_keys: BTreeSet::new(),
            link: Arc::clone(&self.link),
        };
        self.registry.register(request).await
    }

    /// The next order.
    pub(crate) async fn order(&mut self) -> Order {
        tokio::time::timeout(LIMIT, self.orders.recv()).await.expect("an order").expect("a link")
    }

    /// The next task to prove.
    pub(crate) async fn assignment(&mut self) -> Assignment {
        loop {
            if let Order::Assign(assignment) = self.order().await {
                return assignment;
            }
        }
    }

    pub(crate) async fn beat(&self, holds: &[LeaseName]) -> Result<(), WorkerError> {
        let heartbeat = Heartbeat {
            worker: self.name.clone(),
            incarnation: self.incarnation,
            holds: holds.iter().copied().collect(),
            held_keys: BTreeSet::new(),
        };
        self.registry.heartbeat(heartbeat).await
    }

    pub(crate) async fn report(&self, (task, attempt): LeaseName, news: News) -> Result<(), WorkerError> {
        let worker = self.name.clone();
        self.registry.report(Report { worker, task, attempt, news, trace: None }).await
    }
}

pub(crate) fn lease_of(assignment: &Assignment) -> LeaseName {
    (assignment.task, assignment.attempt)
}

/// A true proof of what was assigned, as it comes over a network.
pub(crate) fn proof_of(assignment: Assignment) -> News {
    News::Proven {
        proof: make(assignment).bytes().to_vec(),
        proving: Duration::from_millis(1),
        checked: None,
    }
}

/// A true proof of what was assigned, with what its maker found of it.
pub(crate) fn checked_proof_of(assignment: Assignment) -> News {
    let made = make(assignment);
    let (proof, proving) = (made.bytes().to_vec(), Duration::from_millis(1));
    News::Proven { proof, proving, checked: made.checked().map(Arc::new) }
}

fn make(assignment: Assignment) -> Made {
    let Assignment { circuit, proving_key, input, .. } = assignment;
    real_prover().make(&Prove { circuit, proving_key, input, stop: zkpnet::proof::Stop::new() }).unwrap()
}
