//! A hint to the memory system.

// One instruction that reads nothing that the program can see.
#![allow(unsafe_code)]

/// Brings a value of at most five cache lines closer; a hint, which some processors lack.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines_of::<T>().min(5) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // The last byte of a value that does not begin with a line may be in one more.
        let offset = (64 * line).min(size_of::<T>() - 1);
        let address = std::ptr::from_ref(value).cast::<i8>().wrapping_add(offset);
        // SAFETY: a prefetch is no access: it neither faults nor changes anything, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Cache lines that a value may be in.
#[cfg(target_arch = "x86_64")]
const fn lines_of<T>() -> usize {
    let more = if align_of::<T>() < 64 { 63 } else { 0 };
    (size_of::<T>() + more).div_ceil(64)
}
