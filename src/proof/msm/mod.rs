//! Multi-scalar multiplication in G1 and G2: Σ s_i P_i for points known beforehand and scalars that come with each proof.
//!
//! Pippenger's bucket method with signed digits ([`digits`]): buckets are filled by a counting sort ([`buckets`]) and summed as trees
//! of affine additions that share inversions ([`sum`]), eight at a time where the processor has vectors that multiply
//! (`vector`), one at a time elsewhere ([`portable`]); scalars are cut into parts that belong to cheap multiples of the points and share buckets
//! ([`endomorphism`]); a set of buckets is then summed by rows and columns ([`reduce`]), again in batches.
//!
//! Runs on the threads of the rayon pool that it is called in. Time depends on the scalars, on how many are zero, small or
//! large: that is what makes boolean witnesses cheap, and why this does not claim to run in constant time.

mod adder;
mod buckets;
mod digits;
mod endomorphism;
mod multiply;
mod portable;
mod reduce;
mod sum;
#[cfg(target_arch = "x86_64")]
mod vector;

use self::adder::Adder;
pub(crate) use self::digits::Integer;
use self::digits::Lengths;
use self::endomorphism::Endomorphic;
pub(crate) use self::multiply::BASES_MAX;
use self::multiply::Tables;
use self::portable::Portable;
use super::arith::curve::{Curve, G1, G2};
use super::arith::field::Components;
use super::memory::MemoryBound;
use group::Group;
use rayon::prelude::{ParallelIterator, ParallelSlice};
use std::sync::{Arc, PoisonError, RwLock};

/// Scalars whose lengths one task counts.
const CHUNK_SCALARS: usize = 4096;

/// A curve with adders.
pub(crate) trait MsmCurve: Endomorphic + Sized {
    /// Gives the fastest adder of those that may be used, and that this machine's processor has, to what wants one.
    fn with_adder<W: ForAdder<Self>>(instructions: Instructions, work: W) -> W::Made;
}

/// What is made for an adder, whichever it is.
pub(crate) trait ForAdder<C: MsmCurve> {
    type Made;
    fn make<A: Adder<C> + 'static>(self, adder: A) -> Self::Made;
}

impl MsmCurve for G1 {
    fn with_adder<W: ForAdder<Self>>(instructions: Instructions, work: W) -> W::Made {
        by_instructions::<1, Self, W>(instructions, work)
    }
}

impl MsmCurve for G2 {
    fn with_adder<W: ForAdder<Self>>(instructions: Instructions, work: W) -> W::Made {
        by_instructions::<2, Self, W>(instructions, work)
    }
}

fn by_instructions<const K: usize, C, W>(instructions: Instructions, work: W) -> W::Made
where
    C: MsmCurve + Curve<Field: Components<K>>,
    W: ForAdder<C>,
{
    #[cfg(target_arch = "x86_64")]
    {
        use super::arith::{fma::Fma, ifma::Ifma};
        use vector::Vectorised;

        if instructions == Instructions::Best
            && let Some(ifma) = Ifma::detect()
        {
            return work.make(Vectorised::<Ifma, K>(ifma));
        }
        if instructions != Instructions::Portable
            && let Some(fma) = Fma::detect()
        {
            return work.make(Vectorised::<Fma, K>(fma));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = instructions;
    work.make(Portable)
}

/// The points of a multi-scalar multiplication, made ready, with tables of their multiples or without.
pub(crate) struct Bases<C: MsmCurve> {
    plain: Box<dyn Form<C>>,
    /// Made and dropped while multiplications run; each keeps what it began with.
    tables: RwLock<Option<Arc<dyn Form<C>>>>,
    len: usize,
}

/// Points as one of the adders wants them.
trait Form<C: MsmCurve>: Send + Sync {
    /// Bytes that they hold with their images, and the tables.
    fn bytes(&self) -> u64;
    /// Bytes of the points themselves.
    fn bytes_of_bases(&self) -> u64;
    /// Bytes of the tables that would be made within a bound.
    fn tables_bytes_for(&self, bytes_max: u64) -> u64;
    /// What a multiplication takes of memory at most.
    fn bound(&self) -> MemoryBound;
    /// What a multiplication costs, in additions.
    fn cost(&self, lengths: &Lengths) -> u64;
    fn multiply(&self, lengths: &Lengths, scalars: &[Integer]) -> C::Projective;
}

impl<C: MsmCurve, A: Adder<C>> Form<C> for Tables<C, A> {
    fn bytes(&self) -> u64 {
        self.bytes()
    }

    fn bytes_of_bases(&self) -> u64 {
        self.bytes_of_bases()
    }

    fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        self.tables_bytes_for(bytes_max)
    }

    fn bound(&self) -> MemoryBound {
        self.bound()
    }

    fn cost(&self, lengths: &Lengths) -> u64 {
        self.plan(lengths).1
    }

    fn multiply(&self, lengths: &Lengths, scalars: &[Integer]) -> C::Projective {
        self.multiply(&self.plan(lengths).0, scalars)
    }
}

/// Makes points ready.
struct Plain<'a, C: MsmCurve>(&'a [C::Affine]);

impl<C: MsmCurve> ForAdder<C> for Plain<'_, C> {
    type Made = Box<dyn Form<C>>;

    fn make<A: Adder<C> + 'static>(self, adder: A) -> Self::Made {
        Box::new(Tables::plain(adder, self.0))
    }
}

/// Makes tables of points, if they save something.
struct WithTables<'a, C: MsmCurve> {
    points: &'a [C::Affine],
    bytes_max: u64,
    pause: &'a dyn Fn(),
}

impl<C: MsmCurve> ForAdder<C> for WithTables<'_, C> {
    type Made = Option<Arc<dyn Form<C>>>;

    fn make<A: Adder<C> + 'static>(self, adder: A) -> Self::Made {
        let tables = Tables::with_tables(adder, self.points, self.bytes_max, self.pause)?;
        Some(Arc::new(tables))
    }
}

/// Which of the processor's instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// The fastest that the processor has.
    Best,
    /// At most those of AVX2 and FMA, as where a processor has no more. For comparisons.
    Avx2,
    /// Without vectors, as where a processor has none that multiply. For comparisons.
    Portable,
}

impl<C: MsmCurve> Bases<C> {
    /// Makes points ready, [`BASES_MAX`] of them at most. Points at infinity are allowed.
    pub(crate) fn new(points: &[C::Affine], instructions: Instructions) -> Self {
        let plain = C::with_adder(instructions, Plain(points));
        Bases { plain, tables: RwLock::new(None), len: points.len() }
    }

    /// Computes multiples of the points, of `bytes_max` at most, that make later multiplications cheaper. They cost as much
    /// as some multiplications do; `pause` is called after each few milliseconds of a thread's work. Nothing happens if they would
    /// save next to nothing.
    pub(crate) fn make_tables(
        &self,
        points: &[C::Affine],
        instructions: Instructions,
        bytes_max: u64,
        pause: &dyn Fn(),
    ) {
        let tables = C::with_adder(instructions, WithTables { points, bytes_max, pause });
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = tables;
    }

    /// Bytes of the tables that [`Self::make_tables`] would make.
    pub(crate) fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        self.plain.tables_bytes_for(bytes_max)
    }

    /// Lets go of the tables.
    pub(crate) fn drop_tables(&self) {
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tables(&self) -> Option<Arc<dyn Form<C>>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the points themselves, without their images: a measure of what tables of them take.
    pub(crate) fn bytes_of_points(&self) -> u64 {
        self.plain.bytes_of_bases()
    }

    /// Bytes that the points hold with their images, and the tables.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.plain.bytes(), self.tables().map_or(0, |tables| tables.bytes()))
    }

    /// The points for one proof, with the tables of now, which then stay as long as the proof.
    pub(crate) fn of_now(&self) -> Held<'_, C> {
        Held { bases: self, tables: self.tables() }
    }

    /// The points without tables.
    pub(crate) fn without_tables(&self) -> Held<'_, C> {
        Held { bases: self, tables: None }
    }
}

/// The points, and the tables that one proof uses, whatever becomes of them meanwhile.
pub(crate) struct Held<'a, C: MsmCurve> {
    bases: &'a Bases<C>,
    tables: Option<Arc<dyn Form<C>>>,
}

impl<C: MsmCurve> Held<'_, C> {
    /// What [`Self::multiply`] takes of memory at most.
    pub(crate) fn bound(&self) -> MemoryBound {
        let of_tables = self.tables.as_ref().map(|tables| tables.bound());
        self.bases.plain.bound().or(of_tables.unwrap_or_default())
    }

    /// Σ s_i P_i over as many scalars as there are points; those that are missing count as zero.
    ///
    /// # Panics
    /// More scalars than points.
    pub(crate) fn multiply(&self, scalars: &[Integer]) -> C::Projective {
        let Bases { plain, len, .. } = self.bases;
        assert!(scalars.len() <= *len, "{} scalars for {len} points", scalars.len());
        let lengths = scalars
            .par_chunks(CHUNK_SCALARS)
            .map(|scalars| Lengths::of(scalars.iter()))
            .reduce(|| Lengths::of([].iter()), |a, b| a.merged(&b));
        if lengths.are_all_zero() {
            return C::Projective::identity();
        }
        let tables = self.tables.as_deref().filter(|tables| tables.cost(&lengths) < plain.cost(&lengths));
        tables.unwrap_or(plain.as_ref()).multiply(&lengths, scalars)
    }
}

#[cfg(test)]
mod tests;
