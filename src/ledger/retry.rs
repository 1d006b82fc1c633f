//! How long a task waits between attempts: exponential back-off with a jitter that every replica computes alike.

use super::ids::TaskId;
use super::policy::Policy;

/// The wait in milliseconds after `attempts_used` attempts (from 1) have been used up.
///
/// Between half and all of `base · 2^(attempts_used − 1)`, capped. The jitter spreads tasks that failed together; it
/// comes from the task's id, since the ledger has no randomness of its own.
pub(super) fn backoff_ms(policy: &Policy, task: TaskId, attempts_used: u32) -> u64 {
    let doublings = attempts_used.saturating_sub(1).min(63);
    let full = policy
        .retry_backoff_base_ms
        .saturating_mul(1_u64 << doublings.min(62))
        .min(policy.retry_backoff_max_ms.max(policy.retry_backoff_base_ms));
    let half = full / 2;
    half + mix(task, attempts_used) % (full - half).saturating_add(1)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014) over the id and the attempt.
fn mix(task: TaskId, attempts_used: u32) -> u64 {
    let (high, low) = task.0.as_u64_pair();
    let mut z = high ^ low.rotate_left(32) ^ u64::from(attempts_used).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_wait_lies_between_half_and_all_of_the_capped_doubling(id: u128, used in 1_u32..100) {
            let policy = Policy::default();
            let wait = backoff_ms(&policy, TaskId(uuid::Uuid::from_u128(id)), used);
            let full = (u128::from(policy.retry_backoff_base_ms) << (used - 1).min(64))
                .min(u128::from(policy.retry_backoff_max_ms));
            prop_assert!(u128::from(wait) <= full && u128::from(wait) >= full / 2);
        }
    }

    #[test]
    fn tasks_that_failed_together_do_not_come_back_together() {
        let policy = Policy { retry_backoff_base_ms: 10_000, ..Policy::default() };
        let waits: std::collections::BTreeSet<u64> =
            (0..100).map(|n| backoff_ms(&policy, TaskId(uuid::Uuid::from_u128(n)), 1)).collect();
        assert!(waits.len() > 90, "{} different waits of 100", waits.len());
    }

    #[test]
    fn extreme_policies_do_not_overflow() {
        let policy = Policy {
            retry_backoff_base_ms: u64::MAX,
            retry_backoff_max_ms: u64::MAX - 1,
            ..Policy::default()
        };
        assert!(backoff_ms(&policy, TaskId(uuid::Uuid::nil()), u32::MAX) >= u64::MAX / 2);
    }
}
