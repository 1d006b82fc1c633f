//! Scalars that tell of a witness, overwritten when they are dropped.
//!
//! Best effort: copies that the compiler kept in registers or on the stack are out of reach, and so is what a vector left
//! behind when it grew, so these never grow.

use std::ops::{Deref, DerefMut};

use blstrs::Scalar;
use ff::Field;

/// A fixed number of secret scalars.
pub(super) struct Wiped(Vec<Scalar>);

impl Wiped {
    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Wiped {
        Wiped(vec![Scalar::ZERO; len])
    }
}

impl Deref for Wiped {
    type Target = [Scalar];

    fn deref(&self) -> &[Scalar] {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [Scalar] {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(Scalar::ZERO);
        // Without a reader the compiler could leave the writes out.
        std::hint::black_box(&mut self.0);
    }
}
