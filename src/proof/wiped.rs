//! Values that tell of a witness, or of a key's secrets, overwritten when they are dropped.
//!
//! Best effort: copies that the compiler kept in registers or on the stack are out of reach, and so is what a vector left
//! behind when it grew, so these never grow.
//!
//! For types that have no `Zeroize`, and for large ones: `zeroize` writes what a vector has room for byte by byte.

use std::ops::{Deref, DerefMut};

use blstrs::Scalar;
use ff::Field;

/// A fixed number of secret values, or room for so many.
pub(super) struct Wiped<T: Copy = Scalar> {
    values: Vec<T>,
    /// What they are overwritten with.
    blank: T,
}

impl<F: Field> Wiped<F> {
    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Wiped<F> {
        Wiped::blanks(F::ZERO, len)
    }
}

impl<T: Copy> Wiped<T> {
    /// So many blanks.
    pub(super) fn blanks(blank: T, len: usize) -> Wiped<T> {
        Wiped { values: vec![blank; len], blank }
    }

    /// Room for so many.
    pub(super) fn with_capacity(blank: T, capacity: usize) -> Wiped<T> {
        Wiped { values: Vec::with_capacity(capacity), blank }
    }

    /// These, which are the caller's from now on only through this.
    pub(super) fn of(values: Vec<T>, blank: T) -> Wiped<T> {
        Wiped { values, blank }
    }

    /// Puts one more where there is room for it.
    ///
    /// # Panics
    /// There is none: growing would leave a copy behind.
    pub(super) fn push(&mut self, value: T) {
        assert!(self.values.len() < self.values.capacity(), "room for {} values", self.values.capacity());
        self.values.push(value);
    }
}

impl<T: Copy> Clone for Wiped<T> {
    fn clone(&self) -> Wiped<T> {
        Wiped { values: self.values.clone(), blank: self.blank }
    }
}

impl<T: Copy> Deref for Wiped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: Copy> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

impl<T: Copy> Drop for Wiped<T> {
    fn drop(&mut self) {
        wipe(&mut self.values, self.blank);
    }
}

/// Overwrites values.
pub(super) fn wipe<T: Copy>(values: &mut [T], blank: T) {
    values.fill(blank);
    // Without a reader the compiler could leave the writes out.
    std::hint::black_box(values);
}

/// Overwrites all that a vector has room for, since what it held before may have been longer, and leaves it empty.
pub(super) fn wipe_room<T: Copy>(values: &mut Vec<T>, blank: T) {
    values.clear();
    values.resize(values.capacity(), blank);
    std::hint::black_box(&mut *values);
    values.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_leaves_blanks_where_values_were() {
        let mut values = vec![1u8, 2, 3];
        wipe(&mut values, 0);
        assert_eq!(values, [0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "room for 2 values")]
    fn secret_values_never_grow_beyond_their_room() {
        let mut values = Wiped::with_capacity(0u8, 2);
        (1..=3).for_each(|value| values.push(value));
    }
}
