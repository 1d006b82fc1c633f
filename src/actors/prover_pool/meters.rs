//! What is measured of proofs. A proof takes milliseconds at least, so its handles are looked up where they are used.

use super::NoProof;
use crate::ledger::CircuitId;
use crate::proof::{MadeProof, catalog};
use crate::telemetry::table;
use metrics::Gauge;
use std::time::Duration;

/// The circuit as a label: a name of the catalog, since an order may name anything.
pub(super) fn circuit_label(circuit: &CircuitId) -> &'static str {
    catalog::find(circuit.as_str()).map_or("unknown", |spec| spec.name)
}

/// Records a proof's phases.
pub(super) fn record_phases(circuit: &'static str, wait: Duration, made: &MadeProof) {
    let times = &made.times;
    let sums = times.msm_a + times.msm_b_g1 + times.msm_b_g2 + times.msm_l + times.msm_h;
    let phases = [
        ("wait", wait),
        ("synthesis", times.synthesis),
        ("products", times.products),
        ("fft", times.fft),
        ("msm", sums),
        ("check", made.proof.took()),
    ];
    for (phase, took) in phases {
        table::PROVER_PHASE_DURATION.histogram(&[circuit, phase]).record(took);
    }
}

/// Records what came of an order, and for a proof how long it took.
pub(super) fn record_outcome(circuit: &'static str, result: Result<Duration, &NoProof>) {
    let outcome = match result {
        Ok(took) => {
            table::PROVER_DURATION.histogram(&[circuit]).record(took);
            "proved"
        }
        Err(NoProof::Failed(_)) => "failed",
        Err(NoProof::NotTried(_)) => "not_tried",
        Err(NoProof::Stopped) => "stopped",
    };
    table::PROVER_PROOFS.counter(&[circuit, outcome]).increment(1);
}

/// Counts a proof while it is being made, also when making it panics.
pub(super) struct Running(Gauge);

impl Running {
    pub(super) fn enter(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
