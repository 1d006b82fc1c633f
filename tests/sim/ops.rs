//! What may happen in a simulated history. An [`Op`] names things relatively ("the third open task", "one attempt too
//! many") and is turned into a command when its turn comes, so that a history still means something when proptest has
//! cut steps out of it.

use proptest::collection::vec;
use proptest::prelude::*;
use zkpnet::ledger::{FailureKind, Policy, Priority};

/// Workers, circuits and tenants that histories speak of.
pub(crate) const WORKERS: u8 = 3;
pub(crate) const CIRCUITS: u8 = 3;
pub(crate) const TENANTS: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) route: Route,
}

/// What becomes of the command that a step proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// It enters the log now.
    Direct,
    /// It is under way, and enters the log later or never.
    Held,
    /// It enters the log twice in a row.
    Twice,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit(Submission),
    Cancel { task: TaskPick, tenant: u8 },
    RegisterWorker { worker: u8, life: Life, session: u8, capacity: u8, circuits: u8 },
    DrainWorker { worker: u8, life: Life },
    LoseWorker { worker: u8, life: Life },
    Place { limit: u8, held_keys: u8 },
    Grant { task: TaskPick, attempt: AttemptPick, worker: u8, life: Life },
    Start { task: TaskPick, attempt: AttemptPick, worker: WorkerPick },
    Complete { task: TaskPick, attempt: AttemptPick, worker: WorkerPick, result: ResultPick },
    Fail { task: TaskPick, attempt: AttemptPick, worker: WorkerPick, kind: FailureKind },
    Return { task: TaskPick, attempt: AttemptPick, worker: WorkerPick },
    Expire { task: TaskPick, attempt: AttemptPick },
    AdvanceClock,
    SetPolicy(Policy),
    RegisterCircuit { circuit: u8, key: u8 },
    Clock(ClockMove),
    ElectLeader { skew_ms: i64 },
    Redeliver { command: u16 },
    DeliverHeld { command: u16 },
    Restart { replica: u8, shuffle: u64 },
    InstallSnapshot { from: u8, to: u8, shuffle: u64 },
    Pause,
    Resume { by_snapshot: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// `None`: a fresh id; otherwise one that was used before.
    pub(crate) known_id: Option<u16>,
    /// Equal requests have equal fingerprints, circuits and inputs.
    pub(crate) request: u8,
    pub(crate) tenant: u8,
    pub(crate) key: Option<u8>,
    pub(crate) is_cacheable: bool,
    pub(crate) priority: Priority,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) input_bytes: u8,
    pub(crate) flaw: Option<Flaw>,
}

/// What no door would let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    NoPublicInputs,
    TooManyPublicInputs,
    NoInput,
    ZeroAttempts,
    TooManyAttempts,
    ZeroDeadline,
    LongSummary,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum TaskPick {
    /// Among the open ones.
    Open(u16),
    /// Among the leased ones.
    Leased(u16),
    /// Among all that ever were, forgotten ones too.
    Any(u16),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum AttemptPick {
    /// The latest for what holds a lease, the next for a grant.
    Fitting,
    Earlier(u8),
    Later(u8),
    Zero,
    Largest,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum WorkerPick {
    /// Whoever was granted that attempt.
    Holder,
    Named(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// The recorded one (the next one for a registration).
    Fitting,
    Earlier,
    Later,
    Largest,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ResultPick {
    Valid,
    OtherKey,
    OtherInputs,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ClockMove {
    Forward(u64),
    Back(u64),
    ToTheEnd,
}

pub(crate) fn history(steps: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    vec((op(), route()).prop_map(|(op, route)| Step { op, route }), steps)
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![12 => Just(Route::Direct), 1 => Just(Route::Held), 1 => Just(Route::Twice)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => submission().prop_map(Op::Submit),
        3 => (task(), 0..TENANTS).prop_map(|(task, tenant)| Op::Cancel { task, tenant }),
        6 => (0..WORKERS, life(), 0_u8..3, 0_u8..4, any::<u8>()).prop_map(
            |(worker, life, session, capacity, circuits)| {
                Op::RegisterWorker { worker, life, session, capacity, circuits }
            }
        ),
        1 => (0..WORKERS, life()).prop_map(|(worker, life)| Op::DrainWorker { worker, life }),
        2 => (0..WORKERS, life()).prop_map(|(worker, life)| Op::LoseWorker { worker, life }),
        10 => (1_u8..5, any::<u8>()).prop_map(|(limit, held_keys)| Op::Place { limit, held_keys }),
        5 => (task(), attempt(), 0..WORKERS, life())
            .prop_map(|(task, attempt, worker, life)| Op::Grant { task, attempt, worker, life }),
        4 => (task(), attempt(), holder())
            .prop_map(|(task, attempt, worker)| Op::Start { task, attempt, worker }),
        8 => (task(), attempt(), holder(), result())
            .prop_map(|(task, attempt, worker, result)| Op::Complete { task, attempt, worker, result }),
        7 => (task(), attempt(), holder(), failure())
            .prop_map(|(task, attempt, worker, kind)| Op::Fail { task, attempt, worker, kind }),
        4 => (task(), attempt(), holder())
            .prop_map(|(task, attempt, worker)| Op::Return { task, attempt, worker }),
        4 => (task(), attempt()).prop_map(|(task, attempt)| Op::Expire { task, attempt }),
        6 => Just(Op::AdvanceClock),
        2 => policy().prop_map(Op::SetPolicy),
        2 => (0..CIRCUITS, 0_u8..4)
            .prop_map(|(circuit, key)| Op::RegisterCircuit { circuit, key: key / 3 }),
        12 => clock().prop_map(Op::Clock),
        2 => (-60_000_i64..60_000).prop_map(|skew_ms| Op::ElectLeader { skew_ms }),
        5 => any::<u16>().prop_map(|command| Op::Redeliver { command }),
        3 => any::<u16>().prop_map(|command| Op::DeliverHeld { command }),
        1 => (0_u8..3, any::<u64>()).prop_map(|(replica, shuffle)| Op::Restart { replica, shuffle }),
        1 => (0_u8..2, 0_u8..3, any::<u64>())
            .prop_map(|(from, to, shuffle)| Op::InstallSnapshot { from, to, shuffle }),
        1 => Just(Op::Pause),
        2 => any::<bool>().prop_map(|by_snapshot| Op::Resume { by_snapshot }),
    ]
}

fn submission() -> impl Strategy<Value = Submission> {
    let identity =
        (prop::option::weighted(0.06, any::<u16>()), 0_u8..6, 0..TENANTS, prop::option::of(0_u8..5));
    let terms = (
        any::<bool>(),
        prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)],
        prop::option::weighted(0.3, prop_oneof![20 => 1_u64..30_000, 1 => Just(u64::MAX)]),
        prop::option::of(1_u32..=Policy::MAX_ATTEMPTS_LIMIT),
        1_u8..60,
        prop::option::weighted(0.04, flaw()),
    );
    (identity, terms).prop_map(|((known_id, request, tenant, key), terms)| {
        let (is_cacheable, priority, deadline_ms, max_attempts, input_bytes, flaw) = terms;
        Submission {
            known_id,
            request,
            tenant,
            key,
            is_cacheable,
            priority,
            deadline_ms,
            max_attempts,
            input_bytes,
            flaw,
        }
    })
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop::sample::select(vec![
        Flaw::NoPublicInputs,
        Flaw::TooManyPublicInputs,
        Flaw::NoInput,
        Flaw::ZeroAttempts,
        Flaw::TooManyAttempts,
        Flaw::ZeroDeadline,
        Flaw::LongSummary,
    ])
}

fn task() -> impl Strategy<Value = TaskPick> {
    prop_oneof![
        10 => any::<u16>().prop_map(TaskPick::Open),
        20 => any::<u16>().prop_map(TaskPick::Leased),
        6 => any::<u16>().prop_map(TaskPick::Any),
        1 => Just(TaskPick::Unknown),
    ]
}

fn attempt() -> impl Strategy<Value = AttemptPick> {
    prop_oneof![
        16 => Just(AttemptPick::Fitting),
        4 => (1_u8..6).prop_map(AttemptPick::Earlier),
        1 => (1_u8..3).prop_map(AttemptPick::Later),
        1 => Just(AttemptPick::Zero),
        1 => Just(AttemptPick::Largest),
    ]
}

fn holder() -> impl Strategy<Value = WorkerPick> {
    prop_oneof![12 => Just(WorkerPick::Holder), 1 => (0..=WORKERS).prop_map(WorkerPick::Named)]
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        16 => Just(Life::Fitting),
        2 => Just(Life::Earlier),
        1 => Just(Life::Later),
        1 => Just(Life::Largest)
    ]
}

fn result() -> impl Strategy<Value = ResultPick> {
    prop_oneof![8 => Just(ResultPick::Valid), 1 => Just(ResultPick::OtherKey), 1 => Just(ResultPick::OtherInputs)]
}

fn failure() -> impl Strategy<Value = FailureKind> {
    prop_oneof![
        6 => Just(FailureKind::ProverError),
        2 => Just(FailureKind::InvalidProof),
        1 => Just(FailureKind::WitnessUnsatisfied),
        1 => Just(FailureKind::InputUnreadable),
    ]
}

fn clock() -> impl Strategy<Value = ClockMove> {
    prop_oneof![
        60 => (0_u64..3_000).prop_map(ClockMove::Forward),
        20 => (0_u64..40_000).prop_map(ClockMove::Forward),
        6 => (0_u64..30_000).prop_map(ClockMove::Back),
        2 => any::<u64>().prop_map(|far| ClockMove::Forward(far >> 8)),
        1 => Just(ClockMove::ToTheEnd),
    ]
}

/// Narrow limits, so that a short history reaches them; now and then one that must be refused.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let limits = (
        prop_oneof![20 => 1_u32..=16, 1 => Just(0), 1 => Just(17), 1 => Just(u32::MAX)],
        0_u64..12,
        prop_oneof![6 => 200_u64..1_000, 1 => 0_u64..100],
        prop_oneof![6 => 10_u64..40, 1 => 0_u64..10],
    );
    let times = (0_u64..1_000, 0_u64..6_000, 0_u64..60_000, 0_u64..200_000);
    (limits, times).prop_map(
        |((max_attempts_default, retention_count, open_input_bytes_max, open_tasks_max), times)| Policy {
            max_attempts_default,
            retry_backoff_base_ms: times.0,
            retry_backoff_max_ms: times.1,
            open_tasks_max,
            open_input_bytes_max,
            cache_ttl_ms: times.2,
            retention_age_ms: times.3,
            retention_count,
        },
    )
}
