//! SHA-256 as bellman's own gadget makes it: the circuit that people compare provers with.
//!
//! Owns nothing of the hash. Private: the message. Public: its digest, packed into two elements.

use bellman::gadgets::boolean::{AllocatedBit, Boolean};
use bellman::gadgets::multipack::{bytes_to_bits, pack_into_inputs};
use bellman::gadgets::sha256::sha256;
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use ff::PrimeField;

use super::{Witness, weyl};

/// The circuit for a message of so many bytes.
#[derive(Clone)]
pub struct Sha256 {
    pub(super) bytes: u64,
    pub(super) witness: Witness,
}

impl<F: PrimeField> Circuit<F> for Sha256 {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let message: Vec<u8> = (0..self.bytes).map(|place| weyl(place).to_be_bytes()[0]).collect();
        let bits = bytes_to_bits(&message)
            .into_iter()
            .enumerate()
            .map(|(place, bit)| {
                let cs = cs.namespace(|| format!("message bit {place}"));
                Ok(Boolean::from(AllocatedBit::alloc(cs, self.witness.value(bit))?))
            })
            .collect::<Result<Vec<_>, SynthesisError>>()?;
        let digest = sha256(cs.namespace(|| "SHA-256"), &bits)?;
        pack_into_inputs(cs.namespace(|| "digest"), &digest)
    }
}
