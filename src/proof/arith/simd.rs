//! Eight base-field elements at a time, by whichever instructions the processor has.
//!
//! An element is eight limbs, little-endian, in Montgomery form with R = 2^(8 · limb bits). The modulus p has 381 bits, and limbs have
//! room for 27 more at least: sums and differences need not be reduced before they are multiplied, only their carries must be moved on.
//! Every function states the bounds that it needs and keeps, in multiples of p.
//!
//! Values of the types that implement [`Simd`] are evidence that the processor has the instructions: only asking it makes them.

use super::packed::Packed;
use blst::blst_fp;

/// What uses the operations; [`Work::run`] is to be inlined always. A closure, which cannot be told to be, would do otherwise.
pub(crate) trait Work {
    type Made;
    fn run(self) -> Self::Made;
}

/// The operations on eight elements. All but the products are inlined into what [`Self::with_instructions`] runs; elsewhere they are
/// slow, not wrong.
pub(crate) trait Simd: Copy + Send + Sync {
    /// An element in memory.
    type Element: Packed;
    /// Eight elements, limb by limb. Carries are moved on wherever a function takes or returns this.
    type Lanes: Copy + Send;

    /// Eight zeros.
    const ZERO: Self::Lanes;

    /// Runs work that is compiled for the instructions, as far as it is inlined.
    fn with_instructions<W: Work>(self, work: W) -> W::Made;

    /// Eight elements into lanes.
    fn gather(self, elements: [&Self::Element; 8]) -> Self::Lanes;
    /// Lanes into eight elements.
    fn scattered(self, lanes: &Self::Lanes) -> [Self::Element; 8];

    /// `a · b`, below 1.001 p. Needs the product of the bounds below 2^16.
    fn mul(self, a: &Self::Lanes, b: &Self::Lanes) -> Self::Lanes;
    /// `a · b + c · d` with one reduction, below 1.001 p. Needs each product of bounds below 2^15.
    fn mul_add(self, a: &Self::Lanes, b: &Self::Lanes, c: &Self::Lanes, d: &Self::Lanes) -> Self::Lanes;
    /// `a + b`.
    fn add(self, a: &Self::Lanes, b: &Self::Lanes) -> Self::Lanes;
    /// `a - b + K · p`, which must not be negative: `K` is at least the bound of `b`.
    fn sub<const K: u64>(self, a: &Self::Lanes, b: &Self::Lanes) -> Self::Lanes;
    /// `a - 2 · b - c + K · p`, which must not be negative.
    fn sub_twice<const K: u64>(self, a: &Self::Lanes, b: &Self::Lanes, c: &Self::Lanes) -> Self::Lanes;
    /// `K · p - a` in the lanes of `mask`, `a` in the others.
    fn negate_where<const K: u64>(self, a: &Self::Lanes, mask: u8) -> Self::Lanes;
    /// The same element below 1.001 p, from one below 2^10 p.
    fn weakly_reduced(self, a: &Self::Lanes) -> Self::Lanes;
    /// The elements, each `BY` lanes further down, around the end. `BY` is 1, 2 or 4.
    fn rotated<const BY: i64>(self, a: &Self::Lanes) -> Self::Lanes;

    /// One element in every lane.
    #[inline(always)]
    fn everywhere(self, element: &Self::Element) -> Self::Lanes {
        self.gather([element; 8])
    }

    /// The inverse of each lane, by one inversion of the product of all; none if a lane is zero.
    #[inline(always)]
    fn inverses(self, lanes: &Self::Lanes) -> Option<Self::Lanes> {
        // The products of one, two and four other lanes: together all seven.
        let one = self.rotated::<1>(lanes);
        let pair = self.mul(lanes, &one);
        let two = self.rotated::<2>(&pair);
        let quad = self.mul(&pair, &two);
        let four = self.rotated::<4>(&quad);
        let [product, ..] = self.scattered(&self.mul(&quad, &four));
        let inverse = inverse(&product)?;
        Some(self.mul(&self.mul(&self.everywhere(&inverse), &one), &self.mul(&two, &four)))
    }
}

/// The inverse of a packed element; zero has none.
fn inverse<E: Packed>(element: &E) -> Option<E> {
    use super::field::BaseField as _;
    let element: blst_fp = element.unpack();
    (!element.is_zero()).then(|| E::pack(&element.invert()))
}

/// Implements [`Simd`] by the functions of the modules `kernel` and `memory`. Who uses this promises that a value of the type exists only where
/// the processor has been asked for the features, and that these are what the functions are compiled for.
macro_rules! simd_by_kernel {
    ($evidence:ty, $features:literal) => {
        impl Simd for $evidence {
            type Element = Packed;
            type Lanes = kernel::Lanes;

            // SAFETY: vectors of integers, for which all bits zero is a value.
            const ZERO: kernel::Lanes = unsafe { std::mem::zeroed() };

            #[inline(always)]
            fn with_instructions<W: Work>(self, work: W) -> W::Made {
                #[target_feature(enable = $features)]
                fn run<W: Work>(work: W) -> W::Made {
                    work.run()
                }
                // SAFETY: who uses the macro promises that the processor has the instructions.
                unsafe { run(work) }
            }

            #[inline(always)]
            fn gather(self, elements: [&Packed; 8]) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { memory::gather(elements) }
            }

            #[inline(always)]
            fn scattered(self, lanes: &kernel::Lanes) -> [Packed; 8] {
                // SAFETY: as above.
                unsafe { memory::scattered(lanes) }
            }

            #[inline(always)]
            fn mul(self, a: &kernel::Lanes, b: &kernel::Lanes) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::mul(a, b) }
            }

            #[inline(always)]
            fn mul_add(
                self,
                a: &kernel::Lanes,
                b: &kernel::Lanes,
                c: &kernel::Lanes,
                d: &kernel::Lanes,
            ) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::mul_add(a, b, c, d) }
            }

            #[inline(always)]
            fn add(self, a: &kernel::Lanes, b: &kernel::Lanes) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::add(a, b) }
            }

            #[inline(always)]
            fn sub<const K: u64>(self, a: &kernel::Lanes, b: &kernel::Lanes) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::sub::<K>(a, b) }
            }

            #[inline(always)]
            fn sub_twice<const K: u64>(
                self,
                a: &kernel::Lanes,
                b: &kernel::Lanes,
                c: &kernel::Lanes,
            ) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::sub_twice::<K>(a, b, c) }
            }

            #[inline(always)]
            fn negate_where<const K: u64>(self, a: &kernel::Lanes, mask: u8) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::negate_where::<K>(a, mask) }
            }

            #[inline(always)]
            fn weakly_reduced(self, a: &kernel::Lanes) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::weakly_reduced(a) }
            }

            #[inline(always)]
            fn rotated<const BY: i64>(self, a: &kernel::Lanes) -> kernel::Lanes {
                // SAFETY: as above.
                unsafe { kernel::rotated::<BY>(a) }
            }
        }
    };
}
pub(super) use simd_by_kernel;
