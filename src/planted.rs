//! Defects that tests must find: a test that has never failed has shown nothing.
//!
//! Only a build with the feature `planted-bugs` has them, and it behaves like any other until the variable `PLANTED_BUG` names
//! one. Without the feature every question here is answered by a constant `false`, so that the compiler drops the branch.
//! `scripts/planted.sh` builds with it and says for each defect which test must fail.

/// A mistake that a service like this one could contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Entries are acknowledged before the disk has them.
    AcknowledgeBeforeDisk,
    /// A report on a lease counts though the lease is another's by now.
    NoAttemptFence,
    /// A task that somebody holds a lease of is given to another worker, too.
    DoubleLease,
    /// A read is answered from the local copy, whoever leads.
    StaleRead,
    /// A proof that cannot be handed in at once is thrown away.
    LostResult,
    /// A new leader does not know the idempotency keys that an earlier one answered.
    ForgottenKey,
    /// A worker gives out a proof without verifying it.
    UncheckedProof,
}

/// Whether this process is to make the mistake.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(defect: Defect) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Defect>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        Some(match std::env::var("PLANTED_BUG").ok()?.as_str() {
            "acknowledge-before-disk" => Defect::AcknowledgeBeforeDisk,
            "no-attempt-fence" => Defect::NoAttemptFence,
            "double-lease" => Defect::DoubleLease,
            "stale-read" => Defect::StaleRead,
            "lost-result" => Defect::LostResult,
            "forgotten-key" => Defect::ForgottenKey,
            "unchecked-proof" => Defect::UncheckedProof,
            _ => return None,
        })
    });
    *chosen == Some(defect)
}

/// Never: this build has no planted defects.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_: Defect) -> bool {
    false
}

/// Whether the term is another than when this was asked before, for [`Defect::ForgottenKey`].
#[must_use]
pub fn is_another_term(term: u64) -> bool {
    static LATEST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    LATEST.swap(term, std::sync::atomic::Ordering::SeqCst) != term
}
