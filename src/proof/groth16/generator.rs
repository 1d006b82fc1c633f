//! Key generation: Groth16's setup (eprint 2016/260, section 3.2) for a circuit and given toxic values.
//!
//! Owns the steps from constraints to points and their order, which is bellman's: the same values make the same key,
//! byte for byte, and the tests hold that. Refuses what bellman refuses, by the same errors: a gamma or delta of 0,
//! too many constraints, a private variable that no constraint mentions.
//!
//! The toxic values, and the scalars made of them, are wiped on every way out. Copies that the compiler makes in
//! registers and on the stack are out of reach.

use std::sync::Arc;

use bellman::groth16::{Parameters, VerifyingKey};
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use blstrs::{Bls12, G1Affine, G1Projective, G2Projective, Scalar};
use ff::Field;
use group::Curve as _;
use group::prime::PrimeCurveAffine;
use rand_core::{CryptoRng, RngCore};
use rayon::prelude::*;

use super::assembly::{Assembly, Values, lagrange, powers};
use super::fixed_base::{BATCH, FixedBase};
use super::progress::{KeygenPhase, KeygenProgress};
use crate::proof::arith::curve::{Curve, G1, G2};
use crate::proof::wiped::{Wiped, wipe};

/// The secrets of a setup: whoever knows them can prove anything. Wiped when dropped.
pub(crate) struct ToxicValues {
    /// alpha, beta, gamma, delta, tau: in an array, so that they are wiped together.
    scalars: [Scalar; 5],
}

impl ToxicValues {
    /// Draws them.
    pub(crate) fn random(rng: &mut (impl RngCore + CryptoRng)) -> ToxicValues {
        ToxicValues { scalars: std::array::from_fn(|_| Scalar::random(&mut *rng)) }
    }
}

impl Drop for ToxicValues {
    fn drop(&mut self) {
        wipe(&mut self.scalars, Scalar::ZERO);
    }
}

/// Makes the parameters of a circuit over the given generators, on the threads of the caller's rayon pool, or of the
/// process's where the caller is in none.
///
/// # Errors
/// Those of bellman's `generate_parameters`.
pub(crate) fn generate(
    circuit: impl Circuit<Scalar>,
    generators: (G1Projective, G2Projective),
    toxic: &ToxicValues,
    progress: &KeygenProgress,
) -> Result<Parameters<Bls12>, SynthesisError> {
    progress.enter(KeygenPhase::Constraints);
    let mut assembly = Assembly::default();
    assembly.alloc_input(|| "", || Ok(Scalar::ONE))?;
    circuit.synthesize(&mut assembly)?;
    assembly.bind_inputs();

    progress.enter(KeygenPhase::Polynomials);
    let scalars = KeyScalars::new(&assembly, toxic)?;
    drop(assembly);

    progress.enter(KeygenPhase::Tables);
    let (in_g1, in_g2) = scalars.counts();
    progress.expect(in_g1 + in_g2);
    let (g1, g2) = rayon::join(
        || FixedBase::<G1>::new(&generators.0, in_g1),
        || FixedBase::<G2>::new(&generators.1, in_g2),
    );

    progress.enter(KeygenPhase::Points);
    let vk = scalars.verifying_key(toxic, &g1, &g2);
    let l = multiples(&g1, &scalars.l, progress);
    // The prover needs every private variable in L, and a variable in no constraint could have any value.
    if l.iter().any(|point| bool::from(point.is_identity())) {
        return Err(SynthesisError::UnconstrainedVariable);
    }
    let h = multiples(&g1, &scalars.h, progress);
    let a = multiples(&g1, &scalars.a, progress);
    let b_g1 = multiples(&g1, &scalars.b, progress);
    let b_g2 = multiples(&g2, &scalars.b, progress);
    progress.enter(KeygenPhase::Finished);
    let [h, l, a, b_g1] = [h, l, a, b_g1].map(Arc::new);
    Ok(Parameters { vk, h, l, a, b_g1, b_g2: Arc::new(b_g2) })
}

/// What the points of a key are multiples by, in the key's order.
struct KeyScalars {
    h: Wiped,
    l: Wiped,
    ic: Wiped,
    /// Those that are not 0: a query leaves out the identity.
    a: Wiped,
    /// The same of B.
    b: Wiped,
}

impl KeyScalars {
    fn new(assembly: &Assembly, toxic: &ToxicValues) -> Result<KeyScalars, SynthesisError> {
        let [alpha, beta, gamma, delta, tau] = toxic.scalars;
        let bits = assembly.domain_bits()?;
        let invert = |value: Scalar| Option::from(value.invert()).ok_or(SynthesisError::UnexpectedIdentity);
        let (gamma_inverse, delta_inverse): (Scalar, Scalar) = (invert(gamma)?, invert(delta)?);
        let len = 1usize << bits;
        let vanishing = tau.pow_vartime([len as u64]) - Scalar::ONE;
        let h = powers(vanishing * delta_inverse, tau, len - 1);
        let [a, b, c] = assembly.evaluate(&lagrange(tau, bits));
        let combine = |choose: fn(&Values) -> &[Scalar], factor: Scalar| {
            let mut combined = Wiped::zeros(choose(&a).len());
            let rows = choose(&a).iter().zip(choose(&b)).zip(choose(&c));
            for (out, ((a, b), c)) in combined.iter_mut().zip(rows) {
                *out = (a * beta + b * alpha + c) * factor;
            }
            combined
        };
        let (ic, l) = (
            combine(|values| &values.inputs, gamma_inverse),
            combine(|values| &values.private, delta_inverse),
        );
        let present = |values: &Values| {
            let mut found = Wiped::with_capacity(Scalar::ZERO, values.inputs.len() + values.private.len());
            let all = values.inputs.iter().chain(&values.private);
            all.filter(|value| !bool::from(value.is_zero())).for_each(|value| found.push(*value));
            found
        };
        Ok(KeyScalars { h, l, ic, a: present(&a), b: present(&b) })
    }

    /// Numbers of multiples in G1 and G2 that are counted as progress.
    fn counts(&self) -> (usize, usize) {
        let [h, l, a, b] = [&self.h, &self.l, &self.a, &self.b].map(|scalars| scalars.len());
        (h + l + a + b, b)
    }

    fn verifying_key(
        &self,
        toxic: &ToxicValues,
        g1: &FixedBase<G1>,
        g2: &FixedBase<G2>,
    ) -> VerifyingKey<Bls12> {
        let [alpha, beta, gamma, delta, _] = &toxic.scalars;
        let mut ic = vec![G1Affine::identity(); self.ic.len()];
        g1.multiply(&self.ic, &mut ic);
        VerifyingKey {
            alpha_g1: g1.multiply_one(alpha).to_affine(),
            beta_g1: g1.multiply_one(beta).to_affine(),
            beta_g2: g2.multiply_one(beta).to_affine(),
            gamma_g2: g2.multiply_one(gamma).to_affine(),
            delta_g1: g1.multiply_one(delta).to_affine(),
            delta_g2: g2.multiply_one(delta).to_affine(),
            ic,
        }
    }
}

/// The multiples by all scalars, a batch a task.
fn multiples<C: Curve>(base: &FixedBase<C>, scalars: &[Scalar], progress: &KeygenProgress) -> Vec<C::Affine> {
    let mut points = vec![C::Affine::identity(); scalars.len()];
    points.par_chunks_mut(BATCH).zip(scalars.par_chunks(BATCH)).for_each(|(points, scalars)| {
        base.multiply(scalars, points);
        progress.advance(points.len());
    });
    points
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
