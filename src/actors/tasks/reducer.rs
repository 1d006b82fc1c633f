//! Where submissions are reduced: what waits when a thread comes round is reduced together, since eight hashes at a time cost
//! little more than one, and under load a wake of the thread serves many.
//!
//! Owned here: the bound on what waits (the pool's queue), on what is taken at a time, and the answer to each submission,
//! exactly one. Refused: what waited so long that its client has given up. A submission that makes the reduction
//! panic fails alone.

use super::messages::TaskError;
use super::reduce::{QUICK_LEAVES_MAX, Raw, Reduced, reduce_all, weight};
use crate::actors::ask::ReplyTo;
use crate::actors::cpu_pool::{CpuPool, JobError};
use crate::sealing::DataKey;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A submission whose reduction has not begun by then is refused as overloaded: the client would give up before its end.
const START_LIMIT: Duration = Duration::from_secs(8);
/// Leaves that are hashed at a time; one submission always is. Some milliseconds of work.
const LEAVES_AT_A_TIME_MAX: usize = 2 * QUICK_LEAVES_MAX;

/// A reducer; clones are the same.
#[derive(Clone)]
pub(super) struct Reducer {
    pool: CpuPool,
    data_key: DataKey,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

struct Waiting {
    raw: Raw,
    queued: Instant,
    reply: ReplyTo<Result<Reduced, TaskError>>,
}

impl Reducer {
    pub(super) fn new(pool: CpuPool, data_key: DataKey) -> Self {
        Self { pool, data_key, waiting: Arc::default() }
    }

    /// Has a submission reduced; `reply` is given on the reducer's thread, or on this one when the submission is not taken.
    pub(super) fn reduce(&self, raw: Raw, reply: ReplyTo<Result<Reduced, TaskError>>) {
        let reducer = self.clone();
        // Held until the submission is in its place: the job looks there.
        let mut waiting = lock(&self.waiting);
        match self.pool.queue(move || reducer.reduce_waiting()) {
            Ok(()) => waiting.push_back(Waiting { raw, queued: Instant::now(), reply }),
            Err(error) => {
                drop(waiting);
                reply.send(Err(TaskError::Overloaded(error.to_string())));
            }
        }
    }

    /// Each submission has queued a job, and each job takes as many as there are: many find nothing to do.
    fn reduce_waiting(&self) {
        let (mut all, mut replies) = (Vec::new(), Vec::new());
        for Waiting { raw, queued, reply } in self.take() {
            if queued.elapsed() > START_LIMIT {
                reply.send(Err(TaskError::Overloaded("submissions wait too long to be reduced".into())));
            } else {
                all.push(raw);
                replies.push(reply);
            }
        }
        // Should one of them panic, each is tried by itself, and that one fails alone.
        let reduced = self.try_to_reduce(&all).unwrap_or_else(|| {
            let alone = |raw| self.try_to_reduce(std::slice::from_ref(raw)).and_then(|mut one| one.pop());
            // To send it again would only make it panic again.
            let panicked = || Err(TaskError::Internal(JobError::Panicked("reducer").to_string()));
            all.iter().map(|raw| alone(raw).unwrap_or_else(panicked)).collect()
        });
        replies.into_iter().zip(reduced).for_each(|(reply, reduced)| reply.send(reduced));
    }

    fn try_to_reduce(&self, all: &[Raw]) -> Option<Vec<Result<Reduced, TaskError>>> {
        catch_unwind(AssertUnwindSafe(|| reduce_all(&self.data_key, all))).ok()
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.waiting);
        let mut leaves = 0;
        let mut taken = Vec::new();
        while let Some(next) = waiting.front() {
            leaves += weight(&next.raw.statement);
            if !taken.is_empty() && leaves > LEAVES_AT_A_TIME_MAX {
                break;
            }
            taken.extend(waiting.pop_front());
        }
        taken
    }
}

fn lock(waiting: &Mutex<VecDeque<Waiting>>) -> MutexGuard<'_, VecDeque<Waiting>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
