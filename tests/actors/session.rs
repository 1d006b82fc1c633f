//! The worker's session: takes orders, keeps results until they are heard, drains.

use crate::support::{
    Gate, LIMIT, LONG_LEASE, Options, Prover, Rig, SHORT_LEASE, Worker, poll_until, profile,
    prover_elsewhere, quick_policy, real_prover,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::prover_pool::{Made, ProofMaker, Prove, ProverPool};
use zkpnet::actors::session::Session;
use zkpnet::actors::tasks::messages::Cancel;
use zkpnet::ledger::{
    AttemptEnd, CircuitId, FailureCause, Incarnation, Ledger, Policy, TaskStatus, TenantId, WorkerId,
    WorkerState,
};

fn state_of(ledger: &Ledger, worker: &str) -> Option<(WorkerState, Incarnation)> {
    ledger.worker(&WorkerId::new(worker).unwrap()).map(|worker| (worker.state, worker.incarnation))
}

/// A prover that makes the session panic: the session asks it for its keys. It does so as often as it has been told to.
struct Trap {
    panics: AtomicU32,
    real: Prover,
}

impl Trap {
    fn set(panics: u32, real: Prover) -> Arc<Self> {
        Arc::new(Self { panics: panics.into(), real })
    }
}

impl ProofMaker for Trap {
    fn make(&self, request: &Prove) -> Result<Made, FailureCause> {
        self.real.make(request)
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        let springs = |left: u32| left.checked_sub(1);
        let sprung = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, springs);
        assert!(sprung.is_err(), "as planned: the held keys");
        self.real.held_keys()
    }
}

#[actix_rt::test]
async fn a_draining_worker_finishes_what_it_holds_and_takes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let rig = Rig::single(folder.path(), Worker::Session(gate.prover()), LONG_LEASE).await;
    let session = rig.session.clone().unwrap();
    let held = rig.submit(1).await;
    rig.ledger_says("it has begun", |ledger| {
        (ledger.task(held)?.status() == TaskStatus::InProgress).then_some(())
    })
    .await;
    let drain = actix_rt::spawn(async move { session.drain(LIMIT).await });
    rig.ledger_says("it drains", |ledger| {
        (state_of(ledger, "worker-1")?.0 == WorkerState::Draining).then_some(())
    })
    .await;
    let new = rig.submit(2).await;
    gate.open();
    drain.await.unwrap();
    assert_eq!(rig.view(held).await.task.status(), TaskStatus::Completed);
    let view = rig.view(new).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Pending, 0));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_drained_worker_gives_back_what_it_could_not_finish() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let rig = Rig::single(folder.path(), Worker::Session(gate.prover()), LONG_LEASE).await;
    let task = rig.submit(1).await;
    rig.ledger_says("it has begun", |ledger| {
        (ledger.task(task)?.status() == TaskStatus::InProgress).then_some(())
    })
    .await;
    rig.session.as_ref().unwrap().drain(Duration::from_millis(50)).await;
    let view = rig.view(task).await;
    assert_eq!((view.task.status(), view.task.attempts_used), (TaskStatus::Pending, 0));
    assert!(matches!(view.task.attempts[0].end, Some((_, AttemptEnd::Returned))));
    // What it proves in the end is a proof all the same.
    gate.open();
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_worker_that_began_to_drain_without_a_leader_takes_nothing_when_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::lone(folder.path(), Worker::Session(real_prover()), Options::default()).await;
    let session = rig.session.clone().unwrap();
    session.drain(Duration::ZERO).await;
    rig.found().await;
    session.registered().await;
    let task = rig.submit(1).await;
    rig.ledger_says("it is known to drain", |ledger| {
        (state_of(ledger, "worker-1")?.0 == WorkerState::Draining).then_some(())
    })
    .await;
    rig.ledger_says("nobody holds the task", |ledger| ledger.task(task)?.lease().is_none().then_some(()))
        .await;
    let view = rig.view(task).await;
    assert_eq!((view.task.status(), view.task.attempts_used), (TaskStatus::Pending, 0));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_result_is_kept_until_the_coordinator_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(prover_elsewhere()), LONG_LEASE).await;
    // The verifier takes nothing more: every report of a proof is answered with "try again".
    let gate = Gate::closed();
    gate.fill(&rig.verifier_pool).await;
    let task = rig.submit(1).await;
    rig.ledger_says("it has begun", |ledger| {
        (ledger.task(task)?.status() == TaskStatus::InProgress).then_some(())
    })
    .await;
    // The Raft node fails as well, and everything that is asked of it meanwhile.
    let _ = rig.node.local(|_: &Ledger| -> () { panic!("as planned: the question") }).await;
    gate.open();
    rig.ledger_says("it is proved", |ledger| (!ledger.task(task)?.is_open()).then_some(())).await;
    let view = rig.ended(task).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Completed, 1));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_rebuilt_session_is_the_same_worker_and_keeps_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let trap = Trap::set(0, gate.prover());
    let rig = Rig::single(folder.path(), Worker::Session(trap.clone()), SHORT_LEASE).await;
    let task = rig.submit(1).await;
    rig.ledger_says("it has begun", |ledger| {
        (ledger.task(task)?.status() == TaskStatus::InProgress).then_some(())
    })
    .await;
    trap.panics.store(2, Ordering::SeqCst);
    poll_until("the session has failed twice", async || {
        (trap.panics.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    rig.session.as_ref().unwrap().registered().await;
    // A worker that joins now and keeps silent is lost after a lease's time: this one is not.
    let silent = crate::support::Hand::join(&rig, "silent", 1).await;
    rig.ledger_says("the silent worker is lost", |ledger| {
        (ledger.worker(&silent.name)?.state == WorkerState::Lost).then_some(())
    })
    .await;
    let life = rig.raft.with_ledger(|ledger| state_of(ledger, "worker-1"));
    assert_eq!(life, Some((WorkerState::Active, Incarnation(1))));
    gate.open();
    let view = rig.ended(task).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Completed, 1));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_session_that_is_rebuilt_while_it_drains_goes_on_draining() {
    let folder = tempfile::tempdir().unwrap();
    let trap = Trap::set(0, real_prover());
    let rig = Rig::lone(folder.path(), Worker::Session(trap.clone()), Options::default()).await;
    let session = rig.session.clone().unwrap();
    session.drain(Duration::ZERO).await;
    // It registers again and again while there is no leader, and asks for the keys every time.
    trap.panics.store(1, Ordering::SeqCst);
    poll_until("the session has failed", async || (trap.panics.load(Ordering::SeqCst) == 0).then_some(()))
        .await;
    rig.found().await;
    session.registered().await;
    let task = rig.submit(1).await;
    rig.ledger_says("it is known to drain", |ledger| {
        (state_of(ledger, "worker-1")?.0 == WorkerState::Draining).then_some(())
    })
    .await;
    rig.ledger_says("nobody holds the task", |ledger| ledger.task(task)?.lease().is_none().then_some(()))
        .await;
    assert_eq!(rig.view(task).await.task.status(), TaskStatus::Pending);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_session_that_keeps_failing_is_given_up_and_its_task_goes_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let trap = Trap::set(0, Gate::closed().prover());
    let mut rig = Rig::single(folder.path(), Worker::Session(trap.clone()), SHORT_LEASE).await;
    trap.panics.store(u32::MAX, Ordering::SeqCst);
    let given_up = tokio::time::timeout(LIMIT, rig.given_up.recv()).await.unwrap().unwrap();
    assert_eq!((given_up.name, given_up.failures), ("worker session", 6));
    let task = rig.submit(1).await;
    let pool = CpuPool::start("prover", 1, 1).unwrap();
    let pool = ProverPool::launch(&rig.guardian, pool, real_prover()).await;
    let _other = Session::launch(&rig.guardian, profile("other"), rig.registry.clone(), pool).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    rig.stop().await;
}

/// A cancelled task's lease is free in the ledger at once, while its prover goes on for as long as it takes.
#[actix_rt::test]
async fn cancelling_what_is_being_proved_costs_no_other_task_an_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy { max_attempts_default: 1, ..quick_policy() };
    let options = Options { policy, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::Session(real_prover()), options).await;
    rig.ledger_says("the limits hold", |ledger| (ledger.policy().max_attempts_default == 1).then_some(()))
        .await;
    let mut tasks = Vec::new();
    for number in 1..=40 {
        tasks.push(rig.submit(number).await);
    }
    let mut cancelled = BTreeSet::new();
    while cancelled.len() < 30 {
        let leased = rig
            .ledger_says("something is leased", |ledger| ledger.leases().next().map(|(task, _)| task))
            .await;
        // It may have been completed in between.
        if rig.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task: leased }).await.is_ok() {
            cancelled.insert(leased);
        }
        if rig.raft.with_ledger(|ledger| ledger.count(TaskStatus::Pending)) < 5 {
            break;
        }
    }
    assert!(cancelled.len() > 5, "{} cancelled", cancelled.len());
    for task in tasks.into_iter().filter(|task| !cancelled.contains(task)) {
        let view = rig.ended(task).await;
        assert_eq!(view.task.status(), TaskStatus::Completed, "{:?}", view.task);
    }
    rig.stop().await;
}
