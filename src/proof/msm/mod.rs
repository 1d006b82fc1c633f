//! Multi-scalar multiplication in G1 and G2: Σ s_i P_i for points known beforehand and scalars that come with each proof.
//!
//! Pippenger's bucket method with signed digits ([`digits`]): buckets are filled by a counting sort ([`buckets`]) and summed as trees
//! of affine additions that share inversions ([`sum`]), eight at a time where the processor can (`vector`), one at a time
//! elsewhere ([`portable`]); scalars are cut into parts that belong to cheap multiples of the points and share buckets
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
use super::arith::curve::{G1, G2};
use super::memory::MemoryBound;
use group::Group;
use rayon::prelude::{ParallelIterator, ParallelSlice};
use std::sync::{Arc, PoisonError, RwLock};

/// Scalars whose lengths one task counts.
const CHUNK_SCALARS: usize = 4096;

/// A curve with an adder for this machine's processor.
pub(crate) trait MsmCurve: Endomorphic + Sized {
    /// The adder that wants special instructions.
    type Fast: Adder<Self>;
    /// It, if the processor has them.
    fn fast() -> Option<Self::Fast>;
}

#[cfg(target_arch = "x86_64")]
mod fast {
    use super::super::arith::ifma::Ifma;
    use super::{G1, G2, MsmCurve, vector::Vectorised};

    impl MsmCurve for G1 {
        type Fast = Vectorised<1>;
        fn fast() -> Option<Vectorised<1>> {
            Ifma::detect().map(Vectorised)
        }
    }

    impl MsmCurve for G2 {
        type Fast = Vectorised<2>;
        fn fast() -> Option<Vectorised<2>> {
            Ifma::detect().map(Vectorised)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod fast {
    use super::{G1, G2, MsmCurve, portable::Portable};

    impl MsmCurve for G1 {
        type Fast = Portable;
        fn fast() -> Option<Portable> {
            None
        }
    }

    impl MsmCurve for G2 {
        type Fast = Portable;
        fn fast() -> Option<Portable> {
            None
        }
    }
}

/// The points of a multi-scalar multiplication, made ready, with tables of their multiples or without.
pub(crate) struct Bases<C: MsmCurve> {
    plain: Form<C>,
    /// Made and dropped while multiplications run; each keeps what it began with.
    tables: RwLock<Option<Arc<Form<C>>>>,
    len: usize,
}

/// Points as one of the adders wants them.
enum Form<C: MsmCurve> {
    Portable(Tables<C, Portable>),
    Fast(Tables<C, C::Fast>),
}

/// Which of the processor's instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// The fastest that the processor has.
    Best,
    /// Without the vectors of AVX-512, as where a processor has none. For comparisons.
    Portable,
}

impl<C: MsmCurve> Bases<C> {
    /// Makes points ready, [`BASES_MAX`] of them at most. Points at infinity are allowed.
    pub(crate) fn new(points: &[C::Affine], instructions: Instructions) -> Self {
        let plain = match fast::<C>(instructions) {
            Some(adder) => Form::Fast(Tables::plain(adder, points)),
            None => Form::Portable(Tables::plain(Portable, points)),
        };
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
        let tables = match fast::<C>(instructions) {
            Some(adder) => Tables::with_tables(adder, points, bytes_max, pause).map(Form::Fast),
            None => Tables::with_tables(Portable, points, bytes_max, pause).map(Form::Portable),
        };
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = tables.map(Arc::new);
    }

    /// Bytes of the tables that [`Self::make_tables`] would make.
    pub(crate) fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        match &self.plain {
            Form::Portable(plain) => plain.tables_bytes_for(bytes_max),
            Form::Fast(plain) => plain.tables_bytes_for(bytes_max),
        }
    }

    /// Lets go of the tables.
    pub(crate) fn drop_tables(&self) {
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tables(&self) -> Option<Arc<Form<C>>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the points themselves, without their images: a measure of what tables of them take.
    pub(crate) fn bytes_of_points(&self) -> u64 {
        match &self.plain {
            Form::Portable(plain) => plain.bytes_of_bases(),
            Form::Fast(plain) => plain.bytes_of_bases(),
        }
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
    tables: Option<Arc<Form<C>>>,
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
        tables.unwrap_or(plain).multiply(&lengths, scalars)
    }
}

fn fast<C: MsmCurve>(instructions: Instructions) -> Option<C::Fast> {
    (instructions == Instructions::Best).then(C::fast).flatten()
}

impl<C: MsmCurve> Form<C> {
    fn bytes(&self) -> u64 {
        match self {
            Form::Portable(tables) => tables.bytes(),
            Form::Fast(tables) => tables.bytes(),
        }
    }

    fn bound(&self) -> MemoryBound {
        match self {
            Form::Portable(tables) => tables.bound(),
            Form::Fast(tables) => tables.bound(),
        }
    }

    fn cost(&self, lengths: &Lengths) -> u64 {
        match self {
            Form::Portable(tables) => tables.plan(lengths).1,
            Form::Fast(tables) => tables.plan(lengths).1,
        }
    }

    fn multiply(&self, lengths: &Lengths, scalars: &[Integer]) -> C::Projective {
        match self {
            Form::Portable(tables) => tables.multiply(&tables.plan(lengths).0, scalars),
            Form::Fast(tables) => tables.multiply(&tables.plan(lengths).0, scalars),
        }
    }
}

#[cfg(test)]
mod tests;
