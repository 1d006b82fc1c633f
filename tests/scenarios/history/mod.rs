//! What clients asked and were told, and whether one machine that does one thing at a time could have told them so.
//!
//! Each task is an object of its own, and a history is linearizable when that of each object is (Herlihy and Wing, 1990), so
//! the search sees some dozens of operations at a time.

mod model;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use model::{Call, Phase, Reply};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// What it is about: the idempotency key of the submission that made the task.
    pub(crate) object: String,
    /// Who asked.
    pub(crate) client: String,
    /// What was asked.
    pub(crate) call: Call,
    /// What was answered.
    pub(crate) reply: Reply,
    /// When it was sent, since the recording began.
    pub(crate) invoked: Duration,
    /// When the answer was there; `None` when none came that says what happened, so that it may take effect at any later time.
    pub(crate) returned: Option<Duration>,
}

/// A history that clients write together.
#[derive(Clone)]
pub(crate) struct Recorder {
    began: Instant,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), operations: Arc::default() }
    }

    /// Notes a request that was sent at `invoked` and whose reply, if there is one, has just come. A look that saw nothing and a
    /// request that was refused for sure are no operations.
    pub(crate) fn note(&self, client: &str, object: &str, call: Call, reply: Reply, invoked: Instant) {
        if reply == Reply::Refused || (call == Call::Look && reply == Reply::Unknown) {
            return;
        }
        let returned = (reply != Reply::Unknown).then(|| self.began.elapsed());
        self.operations.lock().unwrap().push(Operation {
            object: object.to_owned(),
            client: client.to_owned(),
            call,
            reply,
            invoked: invoked - self.began,
            returned,
        });
    }

    /// What has been noted so far.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap().clone()
    }
}

/// Searches an order for every object.
///
/// # Errors
/// The objects for which there is none, with their operations in the order in which they were sent.
pub(crate) fn check(operations: &[Operation]) -> Result<usize, String> {
    let mut objects: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        objects.entry(&operation.object).or_default().push(operation);
    }
    let mut wrong = String::new();
    for (object, operations) in &mut objects {
        operations.sort_by_key(|operation| operation.invoked);
        if !search::is_linearizable(operations) {
            let _ = writeln!(wrong, "no order explains what was seen of {object}:");
            for operation in operations {
                let _ = writeln!(wrong, "  {}", line(operation));
            }
        }
    }
    if wrong.is_empty() { Ok(objects.len()) } else { Err(wrong) }
}

fn line(operation: &Operation) -> String {
    let returned =
        operation.returned.map_or("          …".to_owned(), |at| format!("{:>10.4}s", at.as_secs_f64()));
    let invoked = operation.invoked.as_secs_f64();
    format!(
        "{invoked:>10.4}s {returned} {:<12} {:?} -> {:?}",
        operation.client, operation.call, operation.reply
    )
}
