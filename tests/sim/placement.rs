//! Placement against its definition: sort all, try all. The ledger's own does it with heaps over indices.

use crate::cluster::Cluster;
use crate::fixtures::{circuit_id, worker_id};
use crate::harness::check;
use crate::ops::{CIRCUITS, WORKERS, history};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use zkpnet::ledger::*;

/// Fleets may be wrong about everything: unknown workers, other lives, the same worker twice.
fn fleet() -> impl Strategy<Value = Vec<(u8, u64, std::collections::BTreeSet<u8>)>> {
    vec((0..=WORKERS, prop_oneof![5 => Just(0_u64), 1 => 1_u64..3], btree_set(0..CIRCUITS, 0..3)), 0..6)
}

fn members(ledger: &Ledger, picks: &[(u8, u64, std::collections::BTreeSet<u8>)]) -> Vec<FleetMember> {
    let member = |(worker, life, keys): &(u8, u64, std::collections::BTreeSet<u8>)| {
        let worker = worker_id(*worker);
        let known = ledger.worker(&worker).map_or(1, |known| known.incarnation.0);
        FleetMember {
            incarnation: Incarnation(known + life),
            worker,
            held_keys: keys.iter().copied().map(circuit_id).collect(),
        }
    };
    picks.iter().map(member).collect()
}

/// The definition.
fn naive(ledger: &Ledger, fleet: &[FleetMember], now: UnixMillis, limit: usize) -> Vec<Placement> {
    let now = now.max(ledger.now());
    let steps = |task: &Task| match task.priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    };
    let mut queue: Vec<Task> = ledger
        .records()
        .filter_map(|record| match record {
            Record::Task(task) => Some(*task),
            _ => None,
        })
        .filter(|task| matches!(task.state, TaskState::Pending { not_before } if not_before <= now))
        .filter(|task| task.deadline.is_none_or(|deadline| deadline > now))
        .filter(|task| ledger.circuit(&task.circuit).is_some())
        .collect();
    queue.sort_by_key(|task| {
        (task.created_at.plus(steps(task) * Policy::PRIORITY_HEAD_START_MS), task.sequence)
    });
    let mut leases: BTreeMap<WorkerId, u64> =
        ledger.workers().map(|worker| (worker.id.clone(), ledger.leases_of(&worker.id))).collect();
    let mut seen: Vec<&FleetMember> = Vec::new();
    for member in fleet {
        if !seen.iter().any(|other| other.worker == member.worker && other.incarnation == member.incarnation)
        {
            seen.push(member);
        }
    }
    let mut placements = Vec::new();
    for task in queue {
        if placements.len() == limit {
            break;
        }
        let best = seen
            .iter()
            .filter_map(|member| {
                let record = ledger.worker(&member.worker)?;
                let held = leases[&member.worker];
                let is_fit = record.state == WorkerState::Active
                    && record.incarnation == member.incarnation
                    && record.circuits.contains(&task.circuit)
                    && held < u64::from(record.capacity);
                let load = held * 1000 / u64::from(record.capacity);
                is_fit.then_some(((!member.held_keys.contains(&task.circuit), load, &member.worker), member))
            })
            .min_by(|a, b| a.0.cmp(&b.0));
        let Some((_, member)) = best else { continue };
        *leases.get_mut(&member.worker).unwrap() += 1;
        placements.push(Placement {
            task: task.id,
            attempt: Attempt(task.latest_attempt.0 + 1),
            worker: member.worker.clone(),
            incarnation: member.incarnation,
        });
    }
    placements
}

#[test]
fn placement_is_what_its_definition_says() {
    let strategy = (history(1..90), fleet(), -50_000_i64..50_000, 0_usize..12);
    check("placement_is_what_its_definition_says", 500, &strategy, |(steps, picks, skew_ms, limit)| {
        let mut cluster = Cluster::new()?;
        for step in steps {
            cluster.run(step)?;
        }
        let ledger = cluster.ledger();
        let fleet = members(ledger, &picks);
        let now = UnixMillis(ledger.now().0.saturating_add_signed(skew_ms));
        let placements = ledger.place(&fleet, now, limit);
        prop_assert_eq!(&placements, &naive(ledger, &fleet, now, limit));
        let restored = Ledger::restore(ledger.records()).unwrap();
        prop_assert_eq!(
            &placements,
            &restored.place(&fleet, now, limit),
            "a restored ledger places otherwise"
        );
        Ok(())
    });
}

#[test]
fn every_placement_is_granted() {
    let strategy = (history(1..90), fleet(), -50_000_i64..50_000);
    check("every_placement_is_granted", 300, &strategy, |(steps, picks, skew_ms)| {
        let mut cluster = Cluster::new()?;
        for step in steps {
            cluster.run(step)?;
        }
        let fleet = members(cluster.ledger(), &picks);
        let now = UnixMillis(cluster.ledger().now().0.saturating_add_signed(skew_ms));
        for placement in cluster.ledger().place(&fleet, now, usize::MAX) {
            let Placement { task, attempt, worker, incarnation } = placement;
            let granted = cluster.ledger().counters().leases_granted;
            let term = cluster.term;
            cluster.deliver(&Command::GrantLease { term, task, attempt, worker, incarnation, at: now })?;
            prop_assert_eq!(cluster.ledger().counters().leases_granted, granted + 1);
        }
        Ok(())
    });
}
