//! Circuits of any size for tests: random sparse products, with witnesses that satisfy them.

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError};
use blstrs::Scalar;
use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// A circuit in which each step multiplies two random sums of what came before.
#[derive(Clone, Debug)]
pub(super) struct Synthetic {
    /// Public inputs; chance decides whether any step uses one.
    pub(super) inputs: usize,
    /// Steps: each is a private variable and a constraint.
    pub(super) steps: usize,
    /// Private variables that no constraint mentions.
    pub(super) unconstrained: usize,
    /// Decides the sums.
    pub(super) seed: u64,
}

impl Synthetic {
    /// The values of the public inputs, without the constant 1.
    pub(super) fn public_inputs(&self) -> Vec<Scalar> {
        (0..self.inputs).map(|place| Scalar::from(place as u64 + 2)).collect()
    }
}

/// Factors that sums have: those that code treats apart, and others.
fn factor(rng: &mut ChaCha20Rng) -> Scalar {
    match rng.next_u32() % 5 {
        0 => Scalar::ONE,
        1 => -Scalar::ONE,
        2 => Scalar::ZERO,
        3 => Scalar::from(u64::from(rng.next_u32())),
        _ => Scalar::random(rng),
    }
}

impl Circuit<Scalar> for Synthetic {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let mut known = vec![(CS::one(), Scalar::ONE)];
        for value in self.public_inputs() {
            known.push((cs.alloc_input(|| "input", || Ok(value))?, value));
        }
        for _ in 0..self.unconstrained {
            cs.alloc(|| "unconstrained", || Ok(Scalar::ZERO))?;
        }
        for _ in 0..self.steps {
            let mut sum = || {
                let (mut terms, mut total) = (LinearCombination::zero(), Scalar::ZERO);
                for _ in 0..rng.next_u32() % 4 {
                    let (variable, value) = known[rng.next_u32() as usize % known.len()];
                    let factor = factor(&mut rng);
                    terms = terms + (factor, variable);
                    total += factor * value;
                }
                (terms, total)
            };
            let ((left, left_value), (right, right_value)) = (sum(), sum());
            let value = left_value * right_value;
            let product = cs.alloc(|| "product", || Ok(value))?;
            cs.enforce(|| "step", |_| left, |_| right, |lc| lc + product);
            known.push((product, value));
        }
        Ok(())
    }
}
