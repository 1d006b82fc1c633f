//! Boolean: chains of NAND gates, every 63 of them followed by a product of two packed words.
//!
//! Owns the shape of hash functions that were not made for proofs: nearly every private variable is a bit, most
//! combinations are short, and a few are long. Provers that treat the scalars 0 and 1 apart gain here.

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;

use super::{Witness, weyl};

/// Bits that are given rather than computed.
const FIRST_BITS: usize = 512;
/// Gates between two packed products.
const GATES: usize = 63;
/// Bits of a packed word.
const WORD_BITS: usize = 32;
/// Where a gate takes its inputs, counted back from the newest bit. With these two the chain does not fall into a short
/// cycle, and half of its bits are set.
const TAPS: [usize; 2] = [3, 61];

/// The circuit: `512 + 64 · groups + 1` constraints, one public input, the last product.
#[derive(Clone)]
pub struct Boolean {
    pub(super) groups: usize,
    pub(super) witness: Witness,
}

/// A bit: a variable, or one minus it.
#[derive(Clone, Copy)]
struct Bit {
    variable: Variable,
    negated: bool,
    /// Meaningless in a blank circuit, where nobody asks for it.
    value: bool,
}

impl Bit {
    fn add_to<F: PrimeField>(
        self,
        lc: LinearCombination<F>,
        weight: F,
        one: Variable,
    ) -> LinearCombination<F> {
        if self.negated { lc + (weight, one) - (weight, self.variable) } else { lc + (weight, self.variable) }
    }
}

fn alloc_bit<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    witness: Witness,
    value: bool,
) -> Result<Variable, SynthesisError> {
    let element = if value { F::ONE } else { F::ZERO };
    cs.alloc(|| "bit", || witness.value(element).ok_or(SynthesisError::AssignmentMissing))
}

/// The bits as a number, the first the least.
fn packed(bits: &[Bit]) -> u64 {
    bits.iter().rev().fold(0, |number, bit| number << 1 | u64::from(bit.value))
}

/// The same as a combination; the ones of negated bits are summed first, so that no variable is repeated.
fn pack<F: PrimeField>(bits: &[Bit], one: Variable, lc: LinearCombination<F>) -> LinearCombination<F> {
    let (mut weight, mut constant) = (F::ONE, F::ZERO);
    let mut terms = Vec::with_capacity(bits.len());
    for bit in bits {
        if bit.negated {
            constant += weight;
            terms.push((-weight, bit.variable));
        } else {
            terms.push((weight, bit.variable));
        }
        weight = weight.double();
    }
    terms.into_iter().fold(lc + (constant, one), |lc, term| lc + term)
}

impl<F: PrimeField> Circuit<F> for Boolean {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let one = CS::one();
        let mut bits = Vec::with_capacity(FIRST_BITS + self.groups * GATES);
        for place in 0..FIRST_BITS as u64 {
            let value = weyl(place) >> 37 & 1 == 1;
            let variable = alloc_bit(cs, self.witness, value)?;
            cs.enforce(|| "is a bit", |lc| lc + variable, |lc| lc + one - variable, |lc| lc);
            bits.push(Bit { variable, negated: false, value });
        }
        let mut last = None;
        for _ in 0..self.groups {
            for _ in 0..GATES {
                let [left, right] = TAPS.map(|tap| bits[bits.len() - tap]);
                let both = left.value & right.value;
                let variable = alloc_bit(cs, self.witness, both)?;
                cs.enforce(
                    || "both",
                    |lc| left.add_to(lc, F::ONE, one),
                    |lc| right.add_to(lc, F::ONE, one),
                    |lc| lc + variable,
                );
                bits.push(Bit { variable, negated: true, value: !both });
            }
            let (before, low) = bits.split_at(bits.len() - WORD_BITS);
            let high = &before[before.len() - WORD_BITS..];
            let value = self.witness.value(F::from(packed(low)) * F::from(packed(high)));
            let product = cs.alloc(|| "product", || value.ok_or(SynthesisError::AssignmentMissing))?;
            cs.enforce(|| "product", |lc| pack(low, one, lc), |lc| pack(high, one, lc), |lc| lc + product);
            last = Some((product, value));
        }
        let (product, value) = last.ok_or(SynthesisError::Unsatisfiable)?;
        let output = cs.alloc_input(|| "output", || value.ok_or(SynthesisError::AssignmentMissing))?;
        cs.enforce(|| "output", |lc| lc + product, |lc| lc + one, |lc| lc + output);
        Ok(())
    }
}
