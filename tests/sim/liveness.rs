//! What must happen in the end: every open task ends once there is a healthy worker and time passes, and no priority
//! starves another.

use crate::cluster::Cluster;
use crate::fixtures::{circuit, circuit_id, new_task, worker_id};
use crate::harness::check;
use crate::model::Checked;
use crate::ops::{CIRCUITS, WORKERS, history};
use proptest::prelude::*;
use std::collections::VecDeque;
use uuid::Uuid;
use zkpnet::ledger::*;

const HEAD_START_MS: u64 = Policy::PRIORITY_HEAD_START_MS;

/// After any history: the cluster gets its circuits, a worker, and a leader whose clock goes on.
fn heal(cluster: &mut Cluster, capacity: u32) -> Checked<FleetMember> {
    cluster.term.0 += 1;
    for number in 0..CIRCUITS {
        if cluster.ledger().circuit(&circuit_id(number)).is_none() {
            cluster.deliver(&Command::RegisterCircuit(Box::new(circuit(number, 0))))?;
        }
    }
    let (worker, incarnation) = (worker_id(WORKERS), Incarnation(1));
    cluster.deliver(&Command::RegisterWorker {
        worker: worker.clone(),
        incarnation,
        session: 77,
        capacity,
        circuits: (0..CIRCUITS).map(circuit_id).collect(),
        version: "1".into(),
        at: cluster.at(),
    })?;
    // Whatever the other workers hold is lost with them.
    let others: Vec<(WorkerId, Incarnation)> =
        cluster.ledger().workers().map(|known| (known.id.clone(), known.incarnation)).collect();
    for (other, incarnation) in others.into_iter().filter(|(other, _)| *other != worker) {
        let (term, at) = (cluster.term, cluster.at());
        cluster.deliver(&Command::LoseWorker { term, worker: other, incarnation, at })?;
    }
    Ok(FleetMember { worker, incarnation, held_keys: Default::default() })
}

fn open_tasks(ledger: &Ledger) -> u64 {
    [TaskStatus::Pending, TaskStatus::Assigned, TaskStatus::InProgress]
        .into_iter()
        .map(|status| ledger.count(status))
        .sum()
}

/// One round of a scheduler and its worker. `fails` says of each attempt whether it fails.
fn round(cluster: &mut Cluster, member: &FleetMember, fails: &mut impl FnMut() -> bool) -> Checked<usize> {
    let at = cluster.at();
    if cluster.ledger().next_sweep_at().is_some_and(|due| due <= at) {
        cluster.deliver(&Command::AdvanceClock { at })?;
    }
    let placements = cluster.ledger().place(std::slice::from_ref(member), at, 3);
    for Placement { task, attempt, worker, incarnation } in placements.clone() {
        let term = cluster.term;
        let grant = Command::GrantLease { term, task, attempt, worker: worker.clone(), incarnation, at };
        cluster.deliver(&grant)?;
        cluster.deliver(&Command::StartAttempt { task, attempt, worker: worker.clone(), at })?;
        let record = cluster.ledger().task(task).unwrap();
        cluster.deliver(&if fails() {
            let cause = FailureCause::new(FailureKind::ProverError, "because");
            Command::FailAttempt { task, attempt, worker, cause, at }
        } else {
            let result = Box::new(ProvenResult {
                proof: vec![1],
                public_inputs: record.public_inputs.clone(),
                verifying_key: cluster.ledger().circuit(&record.circuit).unwrap().verifying_key,
                proving_ms: 1,
                verifying_ms: 1,
            });
            Command::CompleteTask { task, attempt, worker, result, at }
        })?;
    }
    Ok(placements.len())
}

#[test]
fn every_open_task_ends_once_a_worker_is_healthy_and_time_passes() {
    let name = "every_open_task_ends_once_a_worker_is_healthy_and_time_passes";
    let strategy = (history(1..90), 1_u32..4, 0_u64..1_000_000);
    check(name, 250, &strategy, |(steps, capacity, luck)| {
        let mut cluster = Cluster::new()?;
        for step in steps {
            cluster.run(step)?;
        }
        let member = heal(&mut cluster, capacity)?;
        let mut luck = luck;
        let mut fails = || {
            luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            luck >> 62 == 0
        };
        // Each round ends an attempt or waits for one back-off; a task has at most 16 attempts.
        let rounds_max = 2 * open_tasks(cluster.ledger()) * u64::from(Policy::MAX_ATTEMPTS_LIMIT) + 2;
        let mut rounds = 0;
        while open_tasks(cluster.ledger()) > 0 {
            rounds += 1;
            prop_assert!(rounds <= rounds_max, "not drained after {} rounds", rounds_max);
            if round(&mut cluster, &member, &mut fails)? == 0 {
                let now = cluster.at().max(cluster.ledger().now());
                let next = [cluster.ledger().next_backoff_end(), cluster.ledger().next_sweep_at()];
                let next = next.into_iter().flatten().min().unwrap_or(now);
                cluster.set_clock(now.plus(1).max(next.min(now.plus(60_000))));
            }
        }
        Ok(())
    });
}

/// One worker proves one task at a time, `service_ms` each. A new urgent task arrives every `arrival_ms`, faster than they
/// can be proved, without end.
///
/// The rank of a task of `steps` priorities below the stream is its submission plus `steps` head starts. So only the
/// stream's tasks of that window go first, however many come later: with `n = ceil(steps · head start / arrival)` of them the
/// wait is at most `max(steps · head start, (n + 1) · service)`.
fn grant_of_the_patient_task(patient: Priority, steps: u64, arrival_ms: u64, service_ms: u64) -> (u64, u64) {
    let mut ledger = Ledger::default();
    let mut log = 0;
    let mut apply = |ledger: &mut Ledger, command: Command| {
        log += 1;
        let outcome = ledger.apply(LogPosition { term: Term(1), index: LogIndex(log) }, &command);
        assert!(outcome.reply.is_ok(), "{command:?}: {:?}", outcome.reply);
    };
    apply(&mut ledger, Command::RegisterCircuit(Box::new(circuit(0, 0))));
    let (worker, incarnation) = (worker_id(0), Incarnation(1));
    apply(
        &mut ledger,
        Command::RegisterWorker {
            worker: worker.clone(),
            incarnation,
            session: 1,
            capacity: 1,
            circuits: vec![circuit_id(0)],
            version: "1".into(),
            at: UnixMillis(1),
        },
    );
    let fleet = [FleetMember { worker: worker.clone(), incarnation, held_keys: Default::default() }];
    let start_ms = 1_000_000;
    let id = |n: u64| TaskId(Uuid::from_u64_pair(n, 0));
    let submit = |n: u64, priority: Priority, at: u64| {
        let at = UnixMillis(at);
        Command::SubmitTask(Box::new(NewTask { priority, ..new_task(id(n), 0, at) }))
    };
    let mut arrivals = 0;
    let mut running: VecDeque<(Placement, u64)> = VecDeque::new();
    apply(&mut ledger, submit(u64::MAX, patient, start_ms));
    let window = steps * HEAD_START_MS;
    let bound = window.max((window.div_ceil(arrival_ms) + 1) * service_ms) + arrival_ms;
    let mut now = start_ms;
    while now <= start_ms + bound + 1 {
        while start_ms + arrivals * arrival_ms <= now {
            arrivals += 1;
            apply(&mut ledger, submit(arrivals, Priority::High, now));
        }
        if let Some((done, _)) = running.pop_front_if(|(_, end)| *end <= now) {
            let result = Box::new(ProvenResult {
                proof: vec![1],
                public_inputs: vec![Digest([0; 32])],
                verifying_key: circuit(0, 0).verifying_key,
                proving_ms: 1,
                verifying_ms: 1,
            });
            let Placement { task, attempt, worker, .. } = done;
            apply(&mut ledger, Command::CompleteTask { task, attempt, worker, result, at: UnixMillis(now) });
        }
        for placement in ledger.place(&fleet, UnixMillis(now), 1) {
            if placement.task == id(u64::MAX) {
                return (now - start_ms, bound);
            }
            let Placement { task, attempt, worker, incarnation } = placement.clone();
            let (term, at) = (Term(1), UnixMillis(now));
            apply(&mut ledger, Command::GrantLease { term, task, attempt, worker, incarnation, at });
            running.push_back((placement, now + service_ms));
        }
        let next_arrival = start_ms + arrivals * arrival_ms;
        now = running.front().map_or(next_arrival, |(_, end)| next_arrival.min(*end));
    }
    (u64::MAX, bound)
}

#[test]
fn a_patient_task_is_placed_within_the_bound_under_an_endless_stream_of_urgent_ones() {
    let name = "a_patient_task_is_placed_within_the_bound_under_an_endless_stream_of_urgent_ones";
    check(name, 60, &(1_000_u64..20_000, 1_u64..4, any::<bool>()), |(arrival_ms, overload, is_low)| {
        let (patient, steps) = if is_low { (Priority::Low, 2) } else { (Priority::Normal, 1) };
        let (waited, bound) =
            grant_of_the_patient_task(patient, steps, arrival_ms, arrival_ms * overload + 1);
        prop_assert!(waited <= bound, "waited {} ms, more than {} ms", waited, bound);
        prop_assert!(waited >= HEAD_START_MS, "priority bought nothing: waited only {} ms", waited);
        Ok(())
    });
}
