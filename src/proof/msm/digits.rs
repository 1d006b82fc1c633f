//! Scalars as signed digits, and the choice of how many bits a digit has.
//!
//! A scalar s above half the order is taken as -(r - s), so that -1 is as cheap as 1; then s = Σ d_w 2^(c w) with digits
//! between -2^(c-1) and 2^(c-1). A digit is the number of a bucket, its sign that of the point that falls into it. A scalar is
//! cut into digits as a whole, or in parts, each of which belongs to another multiple of the point ([`endomorphism`](super::endomorphism)).

use super::endomorphism::Parts;

/// A scalar as a canonical little-endian integer below the order r.
pub(crate) type Integer = [u64; 4];

/// The order r of the groups.
const ORDER: Integer =
    [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];

/// (r - 1) / 2.
const HALF_ORDER: Integer =
    [0x7fff_ffff_8000_0000, 0xa9de_d201_7fff_2dff, 0x199c_ec04_04d0_ec02, 0x39f6_d3a9_94ce_bea4];

/// Bits of the largest magnitude, half the order.
const MAGNITUDE_BITS: u32 = Parts::One.bits();

/// Narrowest digit: the bound of [`full_windows`] on the topmost digit holds from here on.
pub(super) const DIGIT_BITS_MIN: u32 = 5;
/// Widest digit: beyond, buckets outgrow caches and gain nothing up to 2^24 scalars.
pub(super) const DIGIT_BITS_MAX: u32 = 17;

/// A scalar's magnitude and sign.
#[derive(Clone, Copy)]
pub(super) struct Signed {
    pub(super) magnitude: Integer,
    pub(super) negative: bool,
}

impl Signed {
    pub(super) const ZERO: Signed = Signed { magnitude: [0; 4], negative: false };

    #[inline]
    pub(super) fn new(scalar: &Integer) -> Signed {
        let negative = exceeds(scalar, &HALF_ORDER);
        let magnitude = if negative { difference(&ORDER, scalar) } else { *scalar };
        Signed { magnitude, negative }
    }

    /// A scalar's part: `value`, or its negative.
    #[inline]
    pub(super) fn of(value: i128, is_negated: bool) -> Signed {
        let magnitude = value.unsigned_abs();
        Signed {
            magnitude: [magnitude as u64, (magnitude >> 64) as u64, 0, 0],
            negative: (value < 0) != is_negated,
        }
    }

    /// Bits of the magnitude: 0 for zero, 254 at most.
    #[inline]
    pub(super) fn bits(&self) -> u32 {
        let top = (0..4).rev().find(|word| self.magnitude[*word] != 0);
        top.map_or(0, |word| 64 * word as u32 + 64 - self.magnitude[word].leading_zeros())
    }
}

fn exceeds(a: &Integer, b: &Integer) -> bool {
    (0..4).rev().find(|i| a[*i] != b[*i]).is_some_and(|i| a[i] > b[i])
}

fn difference(a: &Integer, b: &Integer) -> Integer {
    let mut words = [0; 4];
    let mut borrow = false;
    for i in 0..4 {
        let (word, below) = a[i].overflowing_sub(b[i]);
        let (word, below_too) = word.overflowing_sub(u64::from(borrow));
        words[i] = word;
        borrow = below || below_too;
    }
    words
}

/// How many scalars have how many bits.
#[derive(Clone)]
pub(super) struct Lengths([u32; MAGNITUDE_BITS as usize + 1]);

impl Lengths {
    pub(super) fn of<'a>(scalars: impl Iterator<Item = &'a Integer>) -> Lengths {
        let mut counts = [0; MAGNITUDE_BITS as usize + 1];
        scalars.for_each(|scalar| counts[Signed::new(scalar).bits() as usize] += 1);
        Lengths(counts)
    }

    /// So many scalars of full length. Others may be cut into more digits each, if a few long ones are among many short ones; their
    /// buckets are fewer by more than that.
    pub(super) fn full(scalars: usize) -> Lengths {
        Lengths::uniform(scalars, MAGNITUDE_BITS)
    }

    /// So many scalars of any length, for each length that there is.
    pub(super) fn uniforms(scalars: usize) -> impl Iterator<Item = Lengths> {
        (1..=MAGNITUDE_BITS).map(move |bits| Lengths::uniform(scalars, bits))
    }

    fn uniform(scalars: usize, bits: u32) -> Lengths {
        let mut counts = [0; MAGNITUDE_BITS as usize + 1];
        counts[bits as usize] = scalars as u32;
        Lengths(counts)
    }

    pub(super) fn merged(mut self, other: &Lengths) -> Lengths {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
        self
    }

    /// Bits of the longest.
    fn longest(&self) -> u32 {
        (0..=MAGNITUDE_BITS).rev().find(|bits| self.0[*bits as usize] > 0).unwrap_or(0)
    }

    /// Whether no scalar is other than zero.
    pub(super) fn are_all_zero(&self) -> bool {
        self.longest() == 0
    }

    /// Points that fall into buckets: about one for each digit of each scalar. All parts but the topmost count as full.
    fn additions(&self, parts: Parts, digit_bits: u32) -> u64 {
        let of_full = u64::from((parts.bits() + 1).div_ceil(digit_bits));
        let digits = |bits: u32| {
            let bits = bits.min(parts.count() * parts.bits());
            let rest = bits % parts.bits();
            let of_rest = if rest == 0 { 0 } else { (rest + 1).div_ceil(digit_bits) };
            u64::from(bits / parts.bits()) * of_full + u64::from(of_rest)
        };
        // Most lengths do not occur, and digits take divisions.
        let counts = (0..).zip(self.0).skip(1).filter(|(_, count)| *count > 0);
        counts.map(|(bits, count)| u64::from(count) * digits(bits)).sum()
    }

    /// What a multiplication costs, in additions in batches, if there are so many sets of buckets or as many as windows if these are fewer.
    pub(super) fn cost(&self, parts: Parts, digit_bits: u32, sets: u32) -> u64 {
        let sets = u64::from(sets.min(self.windows(parts, digit_bits)));
        self.additions(parts, digit_bits) + sets * bucket_cost(digit_bits)
    }

    /// The parts, of `parts_max` at most, and the digits' width that cost least where every window has a set of its own.
    pub(super) fn cheapest(&self, parts_max: Parts) -> (Parts, u32) {
        // Of equal ones the first: fewer parts for scalars that have but one.
        let ways = Parts::ALL.into_iter().filter(|parts| parts.count() <= parts_max.count());
        let ways = ways.flat_map(|parts| (DIGIT_BITS_MIN..=DIGIT_BITS_MAX).map(move |bits| (parts, bits)));
        ways.min_by_key(|(parts, bits)| self.cost(*parts, *bits, u32::MAX))
            .unwrap_or((Parts::One, DIGIT_BITS_MIN))
    }

    /// Windows that the longest part needs.
    pub(super) fn windows(&self, parts: Parts, digit_bits: u32) -> u32 {
        let longest = self.longest();
        if longest < parts.bits() {
            window_count(longest, digit_bits)
        } else {
            full_windows(parts, digit_bits)
        }
    }
}

/// What summing up one window's buckets costs, in additions in batches: two for each bucket (its row and its column), and the
/// running sums over rows and columns, whose projective additions cost about ten each.
fn bucket_cost(digit_bits: u32) -> u64 {
    let buckets = 1u64 << (digit_bits - 1);
    2 * buckets + 4 * 10 * (1 << (digit_bits / 2))
}

/// Windows of `digit_bits` for any magnitudes of `bits`. The topmost digit must not pass 2^(c-1) with the carry from below: two
/// bits to spare do it.
const fn window_count(bits: u32, digit_bits: u32) -> u32 {
    if bits == 0 { 0 } else { (bits + 2).div_ceil(digit_bits) }
}

/// Windows of `digit_bits` for all parts of all scalars. W windows hold what is below 2^(cW-1) (1 - 1/(2^c - 1)), which with c = 5
/// is 0.967 · 2^(cW-1): the magnitudes are at most 0.906 · 2^254, 0.673 · 2^127 and 0.821 · 2^63, so that one bit to spare does it.
pub(super) const fn full_windows(parts: Parts, digit_bits: u32) -> u32 {
    (parts.bits() + 1).div_ceil(digit_bits)
}

/// Cuts magnitudes into digits. All digits of a scalar come from one addition: `Σ 2^(c-1) 2^(c w)` is added to it, and then
/// 2^(c-1) taken from every c bits, which needs no carry from digit to digit.
pub(super) struct Cutter {
    digit_bits: u32,
    windows: u32,
    offset: [u64; 5],
}

impl Cutter {
    pub(super) fn new(digit_bits: u32, windows: u32) -> Cutter {
        let mut offset = [0u64; 5];
        for window in 0..windows {
            let bit = window * digit_bits + digit_bits - 1;
            offset[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        Cutter { digit_bits, windows, offset }
    }

    /// Calls `put(window, digit)` for each window, lowest first; the digit's magnitude is 2^(c-1) at most.
    #[inline]
    pub(super) fn cut(&self, scalar: &Signed, mut put: impl FnMut(u32, i32)) {
        let [a, b, c, d] = scalar.magnitude;
        let mut words = [a, b, c, d, 0, 0];
        let mut carry = false;
        for (word, offset) in words.iter_mut().zip(self.offset) {
            let (sum, over) = word.overflowing_add(offset);
            let (sum, over_too) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over || over_too;
        }
        let half = 1i32 << (self.digit_bits - 1);
        let mask = (1u64 << self.digit_bits) - 1;
        for window in 0..self.windows {
            let bit = window * self.digit_bits;
            let (word, shift) = ((bit / 64) as usize, bit % 64);
            // Two words side by side hold the digit, wherever it begins.
            let wide = u128::from(words[word + 1]) << 64 | u128::from(words[word]);
            let digit = ((wide >> shift) as u64 & mask) as i32 - half;
            put(window, if scalar.negative { -digit } else { digit });
        }
    }
}
