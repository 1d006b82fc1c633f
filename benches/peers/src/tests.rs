//! The comparison compares: every prover proves every circuit's rows, and the circuits are what they are said to be.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use blstrs::Scalar;
use clap::ValueEnum;
use ff::Field;

use crate::circuits::{Witness, Workload};
use crate::keys::Keys;
use crate::provers::ProverName;
use crate::recording::Recording;

fn recorded(workload: Workload) -> Recording<Scalar> {
    Recording::of(workload.circuit(Witness::Known).unwrap()).unwrap()
}

#[test]
fn every_prover_makes_proofs_that_hold_for_their_inputs_alone() {
    let keys = Keys::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-keys"));
    keys.make(Workload::Merkle12).unwrap();
    for name in ProverName::value_variants() {
        let mut prover = name.prepare(Workload::Merkle12, &keys).unwrap();
        assert!(prover.check().is_err(), "{name:?} has a proof before it made one");
        prover.prove().unwrap();
        prover.check().unwrap();
    }
}

#[test]
fn the_recorded_rows_are_all_rows_and_fill_the_domain_that_the_name_tells() {
    let log_of_domain = [13, 16, 16, 12, 13, 14, 17];
    for (workload, log) in Workload::value_variants().iter().zip(log_of_domain) {
        let (shape, recording) = (workload.shape().unwrap(), recorded(*workload));
        assert_eq!(recording.rows().count() as u64, shape.constraints, "{workload:?}");
        assert_eq!(recording.aux.len() as u64, shape.private_variables, "{workload:?}");
        assert_eq!(recording.inputs.len() as u64, shape.public_inputs + 1, "{workload:?}");
        let rows = shape.constraints + shape.public_inputs + 1;
        assert_eq!(rows.next_power_of_two(), 1 << log, "{workload:?} has {rows} rows");
    }
}

#[test]
fn the_witness_of_the_field_heavy_circuit_has_no_small_value_and_that_of_the_boolean_one_few_others() {
    let small = |workload: Workload| {
        let aux = recorded(workload).aux;
        let count =
            |value: Scalar| aux.iter().filter(|element| **element == value).count() as f64 / aux.len() as f64;
        [count(Scalar::ZERO), count(Scalar::ONE)]
    };
    assert_eq!(small(Workload::Field13), [0.0, 0.0]);
    let [zeros, ones] = small(Workload::Boolean16);
    assert!(zeros > 0.2 && ones > 0.2 && zeros + ones > 0.98, "{zeros} and {ones}");
}

#[test]
fn a_circuit_without_a_witness_is_not_recorded() {
    assert!(Recording::of(Workload::Field13.circuit::<Scalar>(Witness::Blank).unwrap()).is_err());
}
