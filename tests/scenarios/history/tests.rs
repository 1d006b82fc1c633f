//! Histories that are wrong in one known way are found wrong, and every history of an object that is right is found right.

use super::{Call, Operation, Phase, Reply, check};
use rand_core::{RngCore as _, SeedableRng as _};
use std::time::Duration;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn operation(call: Call, reply: Reply, invoked: u64, returned: u64) -> Operation {
    let returned = (reply != Reply::Unknown).then(|| at(returned));
    let (object, client) = ("key".to_owned(), "client".to_owned());
    Operation { object, client, call, reply, invoked: at(invoked), returned }
}

fn submit(invoked: u64, returned: u64) -> Operation {
    operation(Call::Submit, Reply::Taken("task".to_owned()), invoked, returned)
}

fn look(phase: Phase, invoked: u64, returned: u64) -> Operation {
    operation(Call::Look, Reply::Seen("task".to_owned(), phase), invoked, returned)
}

fn completed(proof: &str) -> Phase {
    Phase::Completed(Some(proof.to_owned()))
}

#[test]
fn an_acknowledged_task_that_is_not_there_is_found() {
    assert!(check(&[submit(0, 1), operation(Call::Look, Reply::NotThere, 2, 3)]).is_err());
    // While the answer was under way it was allowed.
    assert!(check(&[submit(0, 5), operation(Call::Look, Reply::NotThere, 2, 3)]).is_ok());
}

#[test]
fn a_stale_read_is_found() {
    let seen = [submit(0, 1), look(completed("p"), 2, 3), look(Phase::Open, 4, 5)];
    assert!(check(&seen).is_err());
    let overlapping = [submit(0, 1), look(completed("p"), 2, 6), look(Phase::Open, 4, 5)];
    assert!(check(&overlapping).is_ok());
}

#[test]
fn a_forgotten_idempotency_key_is_found() {
    let again = operation(Call::Submit, Reply::Taken("another task".to_owned()), 2, 3);
    assert!(check(&[submit(0, 1), again]).is_err());
    assert!(check(&[submit(0, 1), submit(2, 3)]).is_ok());
}

#[test]
fn a_second_proof_is_found() {
    assert!(check(&[submit(0, 1), look(completed("p"), 2, 3), look(completed("q"), 4, 5)]).is_err());
    assert!(check(&[submit(0, 1), look(completed("p"), 2, 3), look(completed("p"), 4, 5)]).is_ok());
}

#[test]
fn a_task_that_is_completed_after_its_cancellation_was_acknowledged_is_found() {
    let cancel = operation(Call::Cancel, Reply::Withdrawn, 2, 3);
    assert!(check(&[submit(0, 1), cancel.clone(), look(completed("p"), 4, 5)]).is_err());
    assert!(check(&[submit(0, 1), cancel, look(Phase::Cancelled, 4, 5)]).is_ok());
}

#[test]
fn a_task_that_is_cancelled_without_anybody_having_asked_is_found() {
    assert!(check(&[submit(0, 1), look(Phase::Cancelled, 2, 3)]).is_err());
}

#[test]
fn a_completed_task_that_could_be_cancelled_is_found() {
    let cancel = operation(Call::Cancel, Reply::Withdrawn, 4, 5);
    assert!(check(&[submit(0, 1), look(completed("p"), 2, 3), cancel]).is_err());
}

#[test]
fn a_cancellation_that_was_too_late_for_an_open_task_is_found() {
    let cancel = operation(Call::Cancel, Reply::TooLate, 2, 3);
    assert!(check(&[submit(0, 1), cancel.clone(), look(Phase::Open, 4, 5)]).is_err());
    assert!(check(&[submit(0, 1), cancel, look(completed("p"), 4, 5)]).is_ok());
}

#[test]
fn a_request_without_an_answer_may_have_been_done_or_not_and_later() {
    let unknown = |call, invoked| operation(call, Reply::Unknown, invoked, 0);
    assert!(check(&[unknown(Call::Submit, 0), submit(2, 3)]).is_ok());
    assert!(check(&[unknown(Call::Submit, 0), operation(Call::Look, Reply::NotThere, 2, 3)]).is_ok());
    let late =
        [submit(0, 1), unknown(Call::Cancel, 2), look(Phase::Open, 4, 5), look(Phase::Cancelled, 6, 7)];
    assert!(check(&late).is_ok());
    // It has not been done before it was asked.
    assert!(check(&[submit(0, 1), look(Phase::Cancelled, 2, 3), unknown(Call::Cancel, 4)]).is_err());
    // Once it was seen undone and could not be done any more, it was not done.
    let done_twice =
        [submit(0, 1), unknown(Call::Cancel, 2), look(completed("p"), 4, 5), look(Phase::Cancelled, 6, 7)];
    assert!(check(&done_twice).is_err());
}

#[test]
fn objects_are_judged_each_for_itself_and_the_wrong_one_is_named() {
    let mut other = look(Phase::Open, 2, 3);
    other.object = "other key".to_owned();
    let told = check(&[submit(0, 1), look(Phase::Open, 2, 3), other]).unwrap_err();
    assert!(told.contains("other key") && !told.contains("of key"), "{told}");
}

/// What an object that does one thing at a time answers to clients that overlap, in a random order.
fn history_of_one_machine(seed: u64) -> Vec<Operation> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut phase: Option<Phase> = None;
    let mut operations = Vec::new();
    for effect in 1..=30_u64 {
        // Effects are 10 ms apart; a request is sent up to 60 ms before its own and answered up to 60 ms after it.
        let (moment, before, after) = (100 + effect * 10, rng.next_u64() % 60, rng.next_u64() % 60);
        if phase == Some(Phase::Open) && rng.next_u64().is_multiple_of(8) {
            phase = Some(completed("p"));
        }
        let (call, reply) = match rng.next_u64() % 4 {
            0 => {
                phase.get_or_insert(Phase::Open);
                (Call::Submit, Reply::Taken("task".to_owned()))
            }
            1 if rng.next_u64().is_multiple_of(3) => match &phase {
                None => (Call::Cancel, Reply::NotThere),
                Some(Phase::Open | Phase::Cancelled) => {
                    phase = Some(Phase::Cancelled);
                    (Call::Cancel, Reply::Withdrawn)
                }
                Some(_) => (Call::Cancel, Reply::TooLate),
            },
            _ => match &phase {
                None => (Call::Look, Reply::NotThere),
                Some(phase) => (Call::Look, Reply::Seen("task".to_owned(), phase.clone())),
            },
        };
        let unanswered = call != Call::Look && rng.next_u64().is_multiple_of(5);
        let reply = if unanswered { Reply::Unknown } else { reply };
        operations.push(operation(call, reply, moment - before, moment + after));
    }
    operations
}

#[test]
fn what_one_machine_answers_is_always_found_right() {
    for seed in 0..500 {
        let history = history_of_one_machine(seed);
        assert!(check(&history).is_ok(), "seed {seed}: {}", check(&history).unwrap_err());
    }
}

#[test]
fn a_look_at_the_past_after_all_else_is_found_in_every_history_that_ended() {
    let mut judged = 0;
    for seed in 0..500 {
        let mut history = history_of_one_machine(seed);
        let ended = history.iter().any(|operation| {
            matches!(&operation.reply, Reply::Seen(_, Phase::Completed(_) | Phase::Cancelled))
        });
        history.push(look(Phase::Open, 10_000, 10_001));
        if ended {
            judged += 1;
            assert!(check(&history).is_err(), "seed {seed}");
        }
    }
    assert!(judged > 100, "only {judged} histories ended");
}
