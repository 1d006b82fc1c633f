//! What was measured: latencies in a histogram of bounded size, and errors by kind.

use super::connection::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Values below this are exact; above, a bucket is at most a thousandth of its value wide.
const EXACT_BITS: u32 = 11;
const STEPS: usize = 1 << (EXACT_BITS - 1);
/// Buckets up to 2^32 µs, more than an hour.
const BUCKETS: usize = (32 - EXACT_BITS as usize + 2) * STEPS;

/// Durations in microseconds, as counts in buckets that widen with the value.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(super) const fn count(&self) -> u64 {
        self.total
    }

    /// The value in milliseconds that `per_mille` of a thousand do not exceed; none of nothing.
    fn percentile_ms(&self, per_mille: u64) -> Option<f64> {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_end(found).min(self.max) as f64 / 1e3)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "p50": self.percentile_ms(500), "p90": self.percentile_ms(900), "p99": self.percentile_ms(990),
            "max": (self.total > 0).then_some(self.max as f64 / 1e3),
        })
    }

    pub(super) fn text(&self) -> String {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2} ms"));
        let max = (self.total > 0).then_some(self.max as f64 / 1e3);
        format!(
            "p50 {}, p90 {}, p99 {}, max {}",
            shown(self.percentile_ms(500)),
            shown(self.percentile_ms(900)),
            shown(self.percentile_ms(990)),
            shown(max)
        )
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.min(u64::from(u32::MAX));
    let shift = (64 - micros.leading_zeros()).saturating_sub(EXACT_BITS);
    // Below 2^32, so that it fits everywhere.
    shift as usize * STEPS + (micros >> shift) as usize
}

/// The largest value in a bucket.
fn upper_end(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = (bucket - shift * STEPS) as u64;
    ((step + 1) << shift) - 1
}

/// The lower quartile, the median and the upper quartile, between neighbours by straight lines; not numbers of nothing.
pub(super) fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| {
        let place = part * (sorted.len().max(1) - 1) as f64;
        let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
        let (below, above) = (at(place.floor()), at(place.ceil()));
        below + (above - below) * place.fract()
    })
}

/// Errors by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(BTreeMap<String, u64>);

impl Faults {
    pub(super) fn record(&mut self, kind: &Kind) {
        *self.0.entry(kind.0.clone()).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }

    pub(super) fn json(&self) -> Value {
        json!(self.0)
    }

    pub(super) fn text(&self) -> String {
        let each: Vec<String> = self.0.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if each.is_empty() { "none".to_owned() } else { super::super::output::printable(&each.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_known_values_are_known() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentile_ms(500), None);
        (1..=1000).for_each(|ms| latencies.record(Duration::from_micros(ms)));
        assert_eq!(latencies.percentile_ms(500), Some(0.5));
        assert_eq!(latencies.percentile_ms(990), Some(0.99));
        assert_eq!(latencies.percentile_ms(1000), Some(1.0));
        let mut two = latencies.clone();
        two.merge(&latencies);
        assert_eq!((two.count(), two.percentile_ms(500)), (2000, Some(0.5)));
    }

    #[test]
    fn quartiles_are_values_or_lie_between_two() {
        assert_eq!(quartiles(&[5.0, 1.0, 2.0, 4.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
        assert!(quartiles(&[]).iter().all(|value| value.is_nan()));
    }

    proptest! {
        #[test]
        fn a_value_is_in_a_bucket_that_ends_within_a_thousandth_of_it(micros in 0u64..1 << 32) {
            let end = upper_end(bucket(micros));
            prop_assert!(end >= micros && end - micros <= micros / 1000, "{micros} in a bucket up to {end}");
            prop_assert!(bucket(micros) < BUCKETS);
        }
    }
}
