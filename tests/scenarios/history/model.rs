//! One task as its clients may see it: what each request may find, and what it leaves behind.
//!
//! Workers, retries and deadlines are not requests: that an open task has ended is found out by who looks. It never opens
//! again, never gets another proof, and is never withdrawn without anybody having asked.

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// To take the task.
    Submit,
    /// How the task is.
    Look,
    /// To withdraw it.
    Cancel,
}

/// How a task is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Pending, assigned or in progress: it may go back and forth among these, since attempts are lost.
    Open,
    /// Proved; the proof where it was seen.
    Completed(Option<String>),
    /// Given up.
    Failed,
    /// Withdrawn.
    Cancelled,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The task is taken under this id.
    Taken(String),
    /// The task of this id is like this.
    Seen(String, Phase),
    /// There is no such task.
    NotThere,
    /// It is withdrawn.
    Withdrawn,
    /// It had ended before it could be withdrawn.
    TooLate,
    /// Nothing that says whether it was done.
    Unknown,
    /// It was surely not done.
    Refused,
}

/// The state of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Nobody has submitted it.
    Absent,
    /// It is there; the id where anybody was told.
    There(Option<String>, Phase),
}

/// The states in which the object may be after a request was answered like this; none when it cannot have been.
pub(crate) fn after(state: &State, call: Call, reply: &Reply) -> Vec<State> {
    match (call, reply) {
        (Call::Submit, Reply::Taken(id)) => match state {
            State::Absent => vec![State::There(Some(id.clone()), Phase::Open)],
            State::There(known, phase) => named(known.as_ref(), id, phase.clone()),
        },
        (Call::Submit, Reply::Unknown) => match state {
            State::Absent => vec![State::There(None, Phase::Open)],
            State::There(..) => vec![state.clone()],
        },
        (Call::Look, Reply::Seen(id, seen)) => match state {
            State::Absent => Vec::new(),
            State::There(known, phase) => {
                found(phase, seen).map_or_else(Vec::new, |phase| named(known.as_ref(), id, phase))
            }
        },
        (Call::Cancel, Reply::Withdrawn) => match state {
            State::There(id, Phase::Open | Phase::Cancelled) => {
                vec![State::There(id.clone(), Phase::Cancelled)]
            }
            _ => Vec::new(),
        },
        (Call::Cancel, Reply::TooLate) => match state {
            State::There(id, Phase::Open) => vec![
                State::There(id.clone(), Phase::Completed(None)),
                State::There(id.clone(), Phase::Failed),
            ],
            State::There(_, Phase::Completed(_) | Phase::Failed) => vec![state.clone()],
            _ => Vec::new(),
        },
        (Call::Cancel, Reply::Unknown) => match state {
            State::There(id, Phase::Open) => vec![State::There(id.clone(), Phase::Cancelled)],
            _ => vec![state.clone()],
        },
        (Call::Look | Call::Cancel, Reply::NotThere) if *state == State::Absent => vec![State::Absent],
        _ => Vec::new(),
    }
}

/// An object whose id is told; it has one for ever.
fn named(known: Option<&String>, id: &String, phase: Phase) -> Vec<State> {
    if known.is_some_and(|known| known != id) {
        return Vec::new();
    }
    vec![State::There(Some(id.clone()), phase)]
}

/// The phase in which a task is that was in `phase` when last heard of and is seen like this.
fn found(phase: &Phase, seen: &Phase) -> Option<Phase> {
    match (phase, seen) {
        (Phase::Open, Phase::Open | Phase::Completed(_) | Phase::Failed)
        | (Phase::Completed(None), Phase::Completed(_)) => Some(seen.clone()),
        _ => (phase == seen).then(|| seen.clone()),
    }
}
