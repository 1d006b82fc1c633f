//! Making proofs: one circuit's key made ready, and the way from a witness to a proof.
//!
//! The proof is bellman 0.14's, byte for byte, for the same key, witness and randomness. Refuses a key without the points
//! that the circuit needs, and a witness that breaks a constraint, which it names: a proof of it would be false.
//!
//! Everything runs on the rayon pool that [`Prover::prove`] is called in, and on as many threads. Nothing here claims to run in
//! constant time: how long a proof takes tells how many values of the witness are zero, one or small. Values, products,
//! coefficients, blinding, and what multiplication makes of them, are overwritten when they are dropped.

use std::time::Duration;

use bellman::Circuit;
use bellman::groth16::{Parameters, Proof};
use blstrs::{Bls12, G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use ff::Field;
use group::Curve;
use group::prime::PrimeCurveAffine;
use rand_core::{CryptoRng, RngCore};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::domain::{Domain, integer};
use super::errors::{PrepareError, ProveError};
use super::matrices::{Matrices, Products, Unsatisfied};
use super::stop::Stop;
use super::witness::{AssignError, Assignment};
use crate::proof::arith::curve::{G1, G2};
use crate::proof::circuits::constraints::name_of;
use crate::proof::memory::MemoryBound;
use crate::proof::msm::{BASES_MAX, Bases, Held, Instructions, Integer};
use crate::proof::wiped::Wiped;

/// Values that one task turns into integers.
const TASK_LEN: usize = 1 << 12;

/// One circuit's key made ready.
pub struct Prover {
    matrices: Matrices,
    domain: Domain,
    a: Bases<G1>,
    b_g1: Bases<G1>,
    b_g2: Bases<G2>,
    h: Bases<G1>,
    l: Bases<G1>,
    fixed: FixedPoints,
    instructions: Instructions,
}

/// The points as one proof uses them, from its beginning to its end.
struct Queries<'a> {
    a: Held<'a, G1>,
    b_g1: Held<'a, G1>,
    b_g2: Held<'a, G2>,
    h: Held<'a, G1>,
    l: Held<'a, G1>,
}

/// The points that every proof contains.
struct FixedPoints {
    alpha_g1: G1Affine,
    beta_g1: G1Affine,
    beta_g2: G2Affine,
    delta_g1: G1Affine,
    delta_g2: G2Affine,
}

/// A proof, and what it took.
pub struct Proven {
    /// The proof.
    pub proof: Proof<Bls12>,
    /// The public inputs that it is for, without the constant 1.
    pub public_inputs: Vec<Scalar>,
    /// The time of each phase.
    pub times: PhaseTimes,
}

/// Time by phase, as the caller's clock counts it. Phases run beside each other when there are several threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// Computing the witness.
    pub synthesis: Duration,
    /// Multiplying the matrices with it, checking every constraint, and turning values into integers.
    pub products: Duration,
    /// The quotient polynomial.
    pub fft: Duration,
    /// The sum over the A query.
    pub msm_a: Duration,
    /// The sum over the B query in G1.
    pub msm_b_g1: Duration,
    /// The sum over the B query in G2.
    pub msm_b_g2: Duration,
    /// The sum over the L query.
    pub msm_l: Duration,
    /// The sum over the H query.
    pub msm_h: Duration,
}

/// The caller's clock (this module reads none): any moment's distance from one fixed moment.
type Clock<'a> = &'a (dyn Fn() -> Duration + Sync);

/// The sums over the five queries.
struct Sums {
    a: G1Projective,
    b_g1: G1Projective,
    b_g2: G2Projective,
    h: G1Projective,
    l: G1Projective,
}

impl Prover {
    /// Makes a key ready: records the constraints, and brings the points into the form that sums want.
    ///
    /// # Errors
    /// The circuit is too large or states no constraints, or the key is for another circuit.
    pub fn new<C: Circuit<Scalar>>(blank: C, parameters: &Parameters<Bls12>) -> Result<Prover, PrepareError> {
        Self::with_instructions(blank, parameters, Instructions::Best)
    }

    /// As [`Prover::new`], with the choice of instructions, which changes the time of a proof and nothing else.
    ///
    /// # Errors
    /// As [`Prover::new`].
    pub fn with_instructions<C: Circuit<Scalar>>(
        blank: C,
        parameters: &Parameters<Bls12>,
        instructions: Instructions,
    ) -> Result<Prover, PrepareError> {
        let matrices = Matrices::of(blank)?.ok_or(PrepareError::TooLarge)?;
        let rows = matrices.constraints() + matrices.inputs();
        let domain = Domain::for_rows(rows, instructions).ok_or(PrepareError::TooLarge)?;
        check_lengths(&matrices, &domain, parameters)?;
        let vk = &parameters.vk;
        let deltas = [("delta_g1", vk.delta_g1.is_identity()), ("delta_g2", vk.delta_g2.is_identity())];
        if let Some((point, _)) = deltas.into_iter().find(|(_, identity)| bool::from(*identity)) {
            return Err(PrepareError::Identity { point });
        }
        Ok(Prover {
            a: Bases::new(&parameters.a, instructions),
            b_g1: Bases::new(&parameters.b_g1, instructions),
            b_g2: Bases::new(&parameters.b_g2, instructions),
            h: Bases::new(&parameters.h, instructions),
            l: Bases::new(&parameters.l, instructions),
            fixed: FixedPoints {
                alpha_g1: vk.alpha_g1,
                beta_g1: vk.beta_g1,
                beta_g2: vk.beta_g2,
                delta_g1: vk.delta_g1,
                delta_g2: vk.delta_g2,
            },
            matrices,
            domain,
            instructions,
        })
    }

    /// Proves that the circuit's witness satisfies it.
    ///
    /// # Errors
    /// The witness breaks a constraint or cannot be computed, the circuit is another one, or somebody wished the end.
    pub fn prove<C: Circuit<Scalar> + Clone>(
        &self,
        circuit: C,
        rng: &mut (impl RngCore + CryptoRng),
        stop: &Stop,
    ) -> Result<Proof<Bls12>, ProveError> {
        self.prove_timed(circuit, rng, stop, &|| Duration::ZERO).map(|proven| proven.proof)
    }

    /// As [`Prover::prove`], with the public inputs and the time of each phase.
    ///
    /// # Errors
    /// As [`Prover::prove`].
    pub fn prove_timed<C: Circuit<Scalar> + Clone>(
        &self,
        circuit: C,
        rng: &mut (impl RngCore + CryptoRng),
        stop: &Stop,
        clock: Clock<'_>,
    ) -> Result<Proven, ProveError> {
        self.prove_within(circuit, rng, &MemoryBound::ANY, stop, clock)
    }

    /// As [`Prover::prove_timed`], in no more memory than `within`, which [`Prover::proof_bound`] once told: tables that were made since
    /// are used only if they do not want more.
    ///
    /// # Errors
    /// As [`Prover::prove`].
    pub fn prove_within<C: Circuit<Scalar> + Clone>(
        &self,
        circuit: C,
        rng: &mut (impl RngCore + CryptoRng),
        within: &MemoryBound,
        stop: &Stop,
        clock: Clock<'_>,
    ) -> Result<Proven, ProveError> {
        let mut blinding = Wiped::zeros(2);
        blinding.fill_with(|| Scalar::random(&mut *rng));
        self.prove_with(circuit, &blinding[0], &blinding[1], within, stop, clock)
    }

    /// As [`Prover::prove_within`], with the randomness given. Two proofs of different witnesses with the same `r` and `s`
    /// tell of the witnesses, so this is not public.
    pub(super) fn prove_with<C: Circuit<Scalar> + Clone>(
        &self,
        circuit: C,
        r: &Scalar,
        s: &Scalar,
        within: &MemoryBound,
        stop: &Stop,
        clock: Clock<'_>,
    ) -> Result<Proven, ProveError> {
        check(stop)?;
        let queries = self.queries_within(within);
        let mut times = PhaseTimes::default();
        let assignment = timed(clock, &mut times.synthesis, || self.assign(circuit.clone()))?;
        check(stop)?;
        let products = timed(clock, &mut times.products, || {
            self.matrices.products(assignment.values(), self.domain.size())
        });
        let products = match products {
            Ok(products) => products,
            Err(Unsatisfied { constraint }) => {
                return Err(ProveError::Unsatisfied { constraint: name_of(&circuit, constraint)? });
            }
        };
        check(stop)?;
        let public_inputs = assignment.public()[1..].to_vec();
        let sums = self.sums(&queries, assignment, products, stop, clock, &mut times)?;
        Ok(Proven { proof: self.assemble(&sums, r, s), public_inputs, times })
    }

    /// Computes multiples of the key's points, of `bytes_max` at most, which make later proofs cheaper. Costs as much as some
    /// proofs do; proofs that run beside it go on with what they have. The key is the one that this was made of.
    pub fn make_tables(&self, parameters: &Parameters<Bls12>, bytes_max: u64) {
        self.make_tables_in_pieces(parameters, bytes_max, &|| {});
    }

    /// As [`Prover::make_tables`], and calls `pause` after each few milliseconds of a thread's work.
    pub fn make_tables_in_pieces(&self, parameters: &Parameters<Bls12>, bytes_max: u64, pause: &dyn Fn()) {
        let share = self.table_shares(bytes_max);
        let of_g1 = [
            (&self.a, &parameters.a),
            (&self.b_g1, &parameters.b_g1),
            (&self.h, &parameters.h),
            (&self.l, &parameters.l),
        ];
        for (bases, points) in of_g1 {
            bases.make_tables(points, self.instructions, share(bases.bytes_of_points()), pause);
        }
        let of_g2 = share(self.b_g2.bytes_of_points());
        self.b_g2.make_tables(&parameters.b_g2, self.instructions, of_g2, pause);
    }

    /// Bytes of the tables that [`Prover::make_tables`] would make.
    pub fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        let share = self.table_shares(bytes_max);
        let of_g1 = [&self.a, &self.b_g1, &self.h, &self.l];
        let of_g1: u64 =
            of_g1.map(|bases| bases.tables_bytes_for(share(bases.bytes_of_points()))).iter().sum();
        of_g1 + self.b_g2.tables_bytes_for(share(self.b_g2.bytes_of_points()))
    }

    /// Each query gets its share of the bytes that all points take without their images: a point of G2 takes and costs more than one
    /// of G1.
    fn table_shares(&self, bytes_max: u64) -> impl Fn(u64) -> u64 + use<> {
        let of_g1: u64 = [&self.a, &self.b_g1, &self.h, &self.l].map(Bases::bytes_of_points).iter().sum();
        let all = of_g1 + self.b_g2.bytes_of_points();
        move |points| (u128::from(bytes_max) * u128::from(points) / u128::from(all.max(1))) as u64
    }

    /// Lets go of the tables. Proofs that run keep them to their end.
    pub fn drop_tables(&self) {
        for bases in [&self.a, &self.b_g1, &self.h, &self.l] {
            bases.drop_tables();
        }
        self.b_g2.drop_tables();
    }

    /// A bound of what one proof takes of memory while it is made, beyond what the key holds, with the tables of now or without.
    pub fn proof_bound(&self) -> MemoryBound {
        self.bound_with(&self.queries())
    }

    /// The points, with all tables of now.
    fn queries(&self) -> Queries<'_> {
        Queries {
            a: self.a.of_now(),
            b_g1: self.b_g1.of_now(),
            b_g2: self.b_g2.of_now(),
            h: self.h.of_now(),
            l: self.l.of_now(),
        }
    }

    /// The points, with the tables of now if a proof with them takes no more than that.
    fn queries_within(&self, within: &MemoryBound) -> Queries<'_> {
        let queries = self.queries();
        if within.covers(&self.bound_with(&queries)) {
            return queries;
        }
        Queries {
            a: self.a.without_tables(),
            b_g1: self.b_g1.without_tables(),
            b_g2: self.b_g2.without_tables(),
            h: self.h.without_tables(),
            l: self.l.without_tables(),
        }
    }

    fn bound_with(&self, queries: &Queries<'_>) -> MemoryBound {
        let values = self.matrices.inputs() + self.matrices.private();
        // The witness, its integers, those of the A or B query, and the products that the witness leaves behind; the quotient.
        let values = MemoryBound {
            whole: (32 * 4 * values) as u64 + self.domain.quotient_bytes_max(),
            each_thread: 0,
        };
        // The sum over H runs beside one of the others.
        let beside = [queries.a.bound(), queries.b_g1.bound(), queries.l.bound()];
        values + queries.h.bound() + beside.into_iter().fold(queries.b_g2.bound(), MemoryBound::or)
    }

    /// What the key holds in memory.
    pub fn key_bytes(&self) -> u64 {
        let (points, tables) = self.point_bytes();
        points + tables + self.matrices.bytes() + self.domain.bytes()
    }

    /// What the tables hold of that.
    pub fn tables_bytes(&self) -> u64 {
        self.point_bytes().1
    }

    /// What the points hold with their images, and their tables.
    fn point_bytes(&self) -> (u64, u64) {
        let of_g1 = [&self.a, &self.b_g1, &self.h, &self.l].map(Bases::bytes);
        of_g1.into_iter().fold(self.b_g2.bytes(), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    fn assign(&self, circuit: impl Circuit<Scalar>) -> Result<Assignment, ProveError> {
        let (inputs, private) = (self.matrices.inputs(), self.matrices.private());
        Assignment::of(circuit, inputs, private).map_err(|error| match error {
            AssignError::Synthesis(source) => ProveError::Synthesis(source),
            AssignError::OtherCircuit => ProveError::OtherCircuit,
        })
    }

    /// The sums over the queries. The quotient and its sum depend on nothing else, so that they run beside the others.
    fn sums(
        &self,
        queries: &Queries<'_>,
        assignment: Assignment,
        products: Products,
        stop: &Stop,
        clock: Clock<'_>,
        times: &mut PhaseTimes,
    ) -> Result<Sums, ProveError> {
        let PhaseTimes { products: time_products, fft, msm_a, msm_b_g1, msm_b_g2, msm_l, msm_h, .. } = times;
        let quotient = || {
            let h = timed(clock, fft, || self.domain.quotient(products));
            check(stop)?;
            Ok(timed(clock, msm_h, || queries.h.multiply(&h)))
        };
        let of_witness = || {
            let started = clock();
            let integers = integers(assignment.values());
            drop(assignment);
            let (public, private) = integers.split_at(self.matrices.inputs());
            let of_b = picked(&[], &integers, self.matrices.b_variables());
            *time_products += clock().saturating_sub(started);
            check(stop)?;
            let b_g2 = timed(clock, msm_b_g2, || queries.b_g2.multiply(&of_b));
            check(stop)?;
            let b_g1 = timed(clock, msm_b_g1, || queries.b_g1.multiply(&of_b));
            drop(of_b);
            check(stop)?;
            let l = timed(clock, msm_l, || queries.l.multiply(private));
            check(stop)?;
            let of_a = picked(public, private, self.matrices.a_private());
            let a = timed(clock, msm_a, || queries.a.multiply(&of_a));
            Ok((a, b_g1, b_g2, l))
        };
        let (h, of_witness): (Result<_, ProveError>, Result<_, ProveError>) =
            rayon::join(quotient, of_witness);
        let (h, (a, b_g1, b_g2, l)) = (h?, of_witness?);
        Ok(Sums { a, b_g1, b_g2, h, l })
    }

    /// The proof from the sums: A = α + Σa + rδ, B = β + Σb + sδ, C = sA + r(β + Σb) + Σh + Σl, which is the paper's
    /// sA + rB − rsδ with B taken in G1.
    fn assemble(&self, sums: &Sums, r: &Scalar, s: &Scalar) -> Proof<Bls12> {
        let FixedPoints { alpha_g1, beta_g1, beta_g2, delta_g1, delta_g2 } = &self.fixed;
        let a = sums.a + alpha_g1 + delta_g1 * r;
        let b = sums.b_g2 + beta_g2 + delta_g2 * s;
        let c = a * s + (sums.b_g1 + beta_g1) * r + sums.h + sums.l;
        Proof { a: a.to_affine(), b: b.to_affine(), c: c.to_affine() }
    }
}

/// bellman's prover would notice a wrong length half-way, or never.
fn check_lengths(
    matrices: &Matrices,
    domain: &Domain,
    parameters: &Parameters<Bls12>,
) -> Result<(), PrepareError> {
    let b = matrices.b_variables().len();
    let lengths = [
        ("ic", parameters.vk.ic.len(), matrices.inputs()),
        ("h", parameters.h.len(), domain.size() - 1),
        ("l", parameters.l.len(), matrices.private()),
        ("a", parameters.a.len(), matrices.inputs() + matrices.a_private().len()),
        ("b_g1", parameters.b_g1.len(), b),
        ("b_g2", parameters.b_g2.len(), b),
    ];
    if let Some((query, found, expected)) = lengths.into_iter().find(|(_, found, expected)| found != expected)
    {
        return Err(PrepareError::OtherCircuit { query, found, expected });
    }
    if lengths.iter().any(|(_, found, _)| *found > BASES_MAX) {
        return Err(PrepareError::TooLarge);
    }
    Ok(())
}

fn check(stop: &Stop) -> Result<(), ProveError> {
    if stop.is_stopped() { Err(ProveError::Stopped) } else { Ok(()) }
}

fn timed<T>(clock: Clock<'_>, time: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = clock();
    let result = work();
    *time = clock().saturating_sub(started);
    result
}

fn integers(values: &[Scalar]) -> Zeroizing<Vec<Integer>> {
    let mut integers = Zeroizing::new(vec![[0; 4]; values.len()]);
    integers.par_iter_mut().zip(values).with_min_len(TASK_LEN).for_each(|(out, value)| *out = integer(value));
    integers
}

/// `all`, then those of `from` at the places.
fn picked(all: &[Integer], from: &[Integer], places: &[u32]) -> Zeroizing<Vec<Integer>> {
    // Exactly as large as needed, so that growing leaves no copy behind.
    let mut picked = Zeroizing::new(Vec::with_capacity(all.len() + places.len()));
    picked.extend_from_slice(all);
    picked.extend(places.iter().map(|place| from[*place as usize]));
    picked
}

#[cfg(test)]
#[path = "prover_tests.rs"]
mod tests;
