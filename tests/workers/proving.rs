//! The ordinary life of a worker, its drain, and two processes of one name.

use crate::provers::{Gate, Scripted, real_prover, shared_keys};
use crate::remote::{Guards, Remote, open_one, reach};
use crate::support::{LIMIT, LONG_LEASE, Rig, Worker, poll_until};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zkpnet::actors::prover_pool::{Groth16Prover, ProofMaker as _};
use zkpnet::actors::session::Spool;
use zkpnet::actors::tasks::messages::Cancel;
use zkpnet::ledger::{Incarnation, TaskStatus, TenantId, WorkerId, WorkerState};
use zkpnet::proof::KeyStore;

async fn in_progress(rig: &Rig, task: zkpnet::ledger::TaskId) {
    rig.ledger_says("it has begun", |ledger| {
        (ledger.task(task)?.status() == TaskStatus::InProgress).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn a_worker_proves_what_the_leader_hands_out_over_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let remote = Remote::start("worker-1", reach(&port.addr(), Guards::default()), real_prover()).await;
    remote.session.registered().await;
    assert_eq!(remote.coordinator.registered_with(), Some(port.addr().to_string()));
    for number in 1..=3 {
        let task = rig.submit(number).await;
        let view = rig.ended(task).await;
        assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Completed, 1));
        assert_eq!(view.task.attempts[0].worker.as_str(), "worker-1");
    }
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_draining_worker_finishes_what_it_holds_and_is_given_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let remote = Remote::start("worker-1", reach(&port.addr(), Guards::default()), gate.prover()).await;
    let held = rig.submit(1).await;
    in_progress(&rig, held).await;
    let session = remote.session.clone();
    let drain = actix_rt::spawn(async move { session.drain(LIMIT).await });
    rig.ledger_says("it drains", |ledger| {
        let worker = ledger.worker(&WorkerId::new("worker-1").unwrap())?;
        (worker.state == WorkerState::Draining).then_some(())
    })
    .await;
    let new = rig.submit(2).await;
    gate.open();
    drain.await.unwrap();
    assert_eq!(rig.view(held).await.task.status(), TaskStatus::Completed);
    let view = rig.view(new).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Pending, 0));
    assert_eq!(remote.session.unreported(), []);
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

/// The coordinator goes away, the proof is finished, the worker is told to end, and starts again when the coordinator is
/// back: the proof counts.
#[actix_rt::test]
async fn a_proof_that_nobody_acknowledged_is_reported_by_the_workers_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, never) = (Gate::closed(), Gate::closed());
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let remote = Remote::start("worker-1", reach(&port.addr(), Guards::default()), gate.prover()).await;
    let task = rig.submit(1).await;
    in_progress(&rig, task).await;
    port.stop(Duration::ZERO).await;
    poll_until("it notices", async || remote.coordinator.registered_with().is_none().then_some(())).await;
    gate.open();
    poll_until("the proof is made", async || (remote.session.unreported().len() == 1).then_some(())).await;
    remote.session.drain(Duration::from_millis(100)).await;
    assert_eq!(remote.session.status().unacknowledged, 1, "a drain threw a proof away");
    let spool = Spool::of(folder.path(), &WorkerId::new("worker-1").unwrap());
    spool.write(&remote.session.unreported()).unwrap();
    assert!(rig.view(task).await.task.is_open());

    // Another port: what the first life still says is not heard.
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let next = Remote::start("worker-1", reach(&port.addr(), Guards::default()), never.prover()).await;
    next.session.resume(spool.read().unwrap());
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    poll_until("it is acknowledged", async || next.session.unreported().is_empty().then_some(())).await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_second_running_process_of_a_name_is_told_to_take_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let start = async |addr: SocketAddr| {
        Remote::start("worker-1", reach(&addr, Guards::default()), real_prover()).await
    };
    let first = start(port.addr()).await;
    first.session.registered().await;
    let second = start(port.addr()).await;
    let problem = poll_until("it is refused", async || second.session.status().problem).await;
    assert_eq!(
        problem,
        "worker name worker-1 is in use by another running process; give each worker its own worker.id"
    );
    let status = first.session.status();
    assert_eq!((status.incarnation, status.problem), (Some(Incarnation(1)), None));
    let task = rig.submit(1).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

/// Its task is withdrawn while a proof is under way: the prover is told so over the network and ends between two phases,
/// nothing is reported, and the worker's only thread is there for the next task.
#[actix_rt::test]
async fn a_proof_that_nobody_wants_any_more_ends_while_it_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    // One that remembers no proof would have to make it.
    let forgetful = Groth16Prover::new(KeyStore::open(shared_keys()).unwrap());
    let (sender, outcome) = mpsc::channel();
    let prover = Scripted::prover(move |call, request, real| {
        if call > 0 {
            return real.make(request);
        }
        let began = Instant::now();
        while !request.stop.is_stopped() && began.elapsed() < LIMIT {
            std::thread::yield_now();
        }
        let made = forgetful.make(request);
        sender.send(made.as_ref().map(drop).map_err(|cause| cause.message().to_owned())).unwrap();
        made
    });
    let remote = Remote::start("worker-1", reach(&port.addr(), Guards::default()), prover).await;
    let unwanted = rig.submit(1).await;
    in_progress(&rig, unwanted).await;
    rig.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task: unwanted }).await.unwrap();
    let next = rig.submit(2).await;
    assert_eq!(rig.ended(next).await.task.status(), TaskStatus::Completed);
    assert_eq!(outcome.try_recv().unwrap(), Err("the proof was given up".to_owned()));
    assert_eq!(rig.view(unwanted).await.task.status(), TaskStatus::Cancelled);
    poll_until("nothing is in hand", async || (remote.session.status().leases == 0).then_some(())).await;
    assert_eq!((rig.counters().tasks_completed, remote.session.unreported()), (1, vec![]));
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}
