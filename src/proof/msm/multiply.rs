//! One multi-scalar multiplication, from scalars to the sum, over one form of the bases.

use super::super::arith::curve::Curve;
use super::super::memory::MemoryBound;
use super::adder::{Adder, Operand, SOURCES_MAX};
use super::buckets::{self, Layout, Sorted};
use super::digits::{DIGIT_BITS_MIN, Integer, Lengths, MAGNITUDE_BITS, bucket_cost, window_count};
use super::reduce::{groups, weighted_sums};
use super::sum::Room;
use crate::proof::wiped::Wiped;
use group::prime::PrimeCurveAffine;
use group::{Curve as _, Group};
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator, ParallelSlice,
    ParallelSliceMut,
};
use std::mem::size_of;
use std::ops::{AddAssign, Range};
use std::sync::{Mutex, PoisonError};

/// Operands that one task sums: enough for full batches in every round, few enough for the second-level cache.
const TASK_OPERANDS: usize = 16 << 10;

/// Buckets that one task sums by rows and columns at least, for the same reason.
const TASK_BUCKETS: usize = 4 << 10;

/// Most bases: in the narrowest digits of all, the number of all operands fits the 32 bits that it is counted in.
pub(crate) const BASES_MAX: usize = u32::MAX as usize / window_count(MAGNITUDE_BITS, DIGIT_BITS_MIN) as usize;

/// Points whose multiples one task of a thread computes between two pauses, when tables are made: some milliseconds in G1.
const TASK_MULTIPLES: usize = 64;

/// Bases as one adder likes them: tables of `2^(c S j)` times the bases for j = 0, 1, …, of which there is often only the first.
pub(super) struct Tables<C: Curve, A: Adder<C>> {
    adder: A,
    points: Vec<A::Point>,
    bases: usize,
    /// Bases at infinity, ascending. Their scalars count as zero.
    infinite: Vec<u32>,
    /// How the tables were laid out; digits of any width go with a single one.
    layout: Option<Layout>,
    /// What [`Self::multiply`] takes of memory at most.
    bound: MemoryBound,
}

impl<C: Curve, A: Adder<C>> Tables<C, A> {
    /// The bases alone.
    ///
    /// # Panics
    /// More than [`BASES_MAX`] bases, beyond what memory holds.
    pub(super) fn plain(adder: A, bases: &[C::Affine]) -> Self {
        assert!(bases.len() <= BASES_MAX, "{} bases", bases.len());
        let points = bases.par_iter().with_min_len(1024).map(|base| A::pack(&C::coordinates(base))).collect();
        let infinite = (0u32..).zip(bases).filter(|(_, base)| C::coordinates(base).is_infinity());
        let mut plain = Tables {
            adder,
            points,
            bases: bases.len(),
            infinite: infinite.map(|(i, _)| i).collect(),
            layout: None,
            bound: MemoryBound::default(),
        };
        plain.bound = plain.bound_of_multiply();
        plain
    }

    /// As many tables as fit into `bytes_max`; none if not even two do, or if they would not help. Calls `pause` between two pieces of
    /// the work.
    pub(super) fn with_tables(
        adder: A,
        bases: &[C::Affine],
        bytes_max: u64,
        pause: &dyn Fn(),
    ) -> Option<Self> {
        let layout = table_layout(bases.len(), bytes_max / size_of::<A::Point>() as u64)?;
        let mut tables = Self::plain(adder, bases);
        let mut shifted = bases.to_vec();
        let more = table_count(&layout) - 1;
        tables.points.reserve_exact(more as usize * bases.len());
        for _ in 0..more {
            for piece in shifted.chunks_mut(TASK_MULTIPLES * rayon::current_num_threads()) {
                piece.par_chunks_mut(TASK_MULTIPLES).for_each(|bases| shift::<C>(bases, &layout));
                pause();
            }
            tables.points.extend(shifted.iter().map(|point| A::pack(&C::coordinates(point))));
        }
        tables.layout = Some(layout);
        tables.bound = tables.bound_of_multiply();
        Some(tables)
    }

    /// Bytes of what [`Self::with_tables`] would make of these bases.
    pub(super) fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        let layout = table_layout(self.bases, bytes_max / size_of::<A::Point>() as u64);
        let tables = layout.map_or(0, |layout| table_count(&layout) as usize);
        (tables * self.bases * size_of::<A::Point>()) as u64
    }

    /// Bytes of the points.
    pub(super) fn bytes(&self) -> u64 {
        (self.points.len() * size_of::<A::Point>()) as u64
    }

    /// The layout for scalars of such lengths, and what it costs in additions.
    pub(super) fn plan(&self, lengths: &Lengths) -> (Layout, u64) {
        let layout = self.layout.unwrap_or_else(|| {
            let digit_bits = lengths.digit_bits();
            let windows = lengths.windows(digit_bits);
            Layout { digit_bits, windows, sets: windows, bases: self.bases as u32 }
        });
        let sets = u64::from(layout.sets.min(lengths.windows(layout.digit_bits)));
        (layout, lengths.additions(layout.digit_bits) + sets * bucket_cost(layout.digit_bits))
    }

    /// What [`Self::multiply`] takes of memory at most.
    pub(super) fn bound(&self) -> MemoryBound {
        self.bound
    }

    fn bound_of_multiply(&self) -> MemoryBound {
        let (layout, _) = self.plan(&Lengths::full(self.bases));
        let operands = self.bases * layout.windows as usize;
        let parts = operands / TASK_OPERANDS + 1;
        let of_part = size_of::<A::Point>() + size_of::<Part>() + size_of::<(&Part, &mut [A::Point])>();
        let buckets = layout.buckets() * size_of::<A::Point>() + parts * of_part;
        // A task takes small buckets until it has enough, and one after them that may be twice as large.
        let small = operands.min(TASK_OPERANDS);
        let large = (operands - small).min(2 * TASK_OPERANDS);
        let to_fill = Room::<C, A>::points_max(small, large);
        // Each bucket is in one row and one column. Scalars that are all short may have wider digits, and so more buckets: these are
        // fewer bytes than the digits of long ones, which are counted here.
        let to_reduce = 2 * buckets_per_task(&layout);
        let points = to_fill.max(Room::<C, A>::points_max(to_reduce, 0));
        let room = Room::<C, A>::bytes_max(points, small.max(to_reduce) / 2);
        let groups = to_reduce / layout.buckets_per_set() * groups(layout.buckets_per_set());
        let of_group = size_of::<u32>() + size_of::<A::Point>() + size_of::<C::Projective>();
        let each_thread = room + (to_reduce * size_of::<Operand>() + groups * of_group) as u64;
        buckets::sort_bound(&layout, self.bases) + MemoryBound { whole: buckets as u64, each_thread }
    }

    /// Σ s_i P_i.
    pub(super) fn multiply(&self, layout: &Layout, scalars: &[Integer]) -> C::Projective {
        let skipped =
            |base: usize| !self.infinite.is_empty() && self.infinite.binary_search(&(base as u32)).is_ok();
        let sorted = buckets::sort(layout, scalars, skipped);
        let rooms = Rooms::default();
        let buckets = self.fill(&sorted, &rooms);
        let sums: Vec<Wiped<C::Projective>> = buckets
            .par_chunks(buckets_per_task(layout))
            .map(|buckets| {
                let sums = |room: &mut _| weighted_sums(self.adder, room, buckets, layout.buckets_per_set());
                rooms.enter(sums)
            })
            .collect();
        let mut total = C::Projective::identity();
        for sum in sums.iter().flat_map(|sums| sums.iter()).rev() {
            (0..layout.digit_bits).for_each(|_| total = total.double());
            total.add_assign(sum);
        }
        total
    }

    /// Sums the members of every bucket.
    fn fill(&self, sorted: &Sorted, rooms: &Rooms<C, A>) -> Wiped<A::Point> {
        let parts = parts(&sorted.counts);
        let mut buckets = Wiped::blanks(A::INFINITY, sorted.counts.len());
        let mut pieces = Wiped::blanks(A::INFINITY, parts.iter().filter(|part| part.piece).count());
        let mut tasks = Vec::with_capacity(parts.len());
        let (mut rest, mut rest_of_pieces, mut done) = (&mut buckets[..], &mut pieces[..], 0);
        for part in &parts {
            let sums = if part.piece {
                let (sum, rest) = std::mem::take(&mut rest_of_pieces).split_at_mut(1);
                rest_of_pieces = rest;
                sum
            } else {
                let from_here = &mut std::mem::take(&mut rest)[part.buckets.start - done..];
                let (sums, after) = from_here.split_at_mut(part.buckets.len());
                (rest, done) = (after, part.buckets.end);
                sums
            };
            tasks.push((part, sums));
        }
        tasks.into_par_iter().with_max_len(1).for_each(|(part, sums)| {
            let operands = &sorted.operands[part.operands.clone()];
            let counts =
                if part.piece { &[operands.len() as u32] } else { &sorted.counts[part.buckets.clone()] };
            rooms.enter(|room| room.sum_groups(self.adder, &self.points, operands, counts, sums));
        });
        self.join(&parts, &pieces, &mut buckets);
        buckets
    }

    /// Adds the pieces of large buckets.
    fn join(&self, parts: &[Part], pieces: &[A::Point], buckets: &mut [A::Point]) {
        for (part, piece) in parts.iter().filter(|part| part.piece).zip(pieces) {
            let bucket = &mut buckets[part.buckets.start];
            let sum = C::point(&A::unpack(bucket)).to_curve() + C::point(&A::unpack(piece));
            let sum = C::coordinates(&sum.to_affine());
            *bucket = if sum.is_infinity() { A::INFINITY } else { A::pack(&sum) };
        }
    }
}

/// Buckets that one task sums by rows and columns: whole sets.
fn buckets_per_task(layout: &Layout) -> usize {
    layout.buckets_per_set() * TASK_BUCKETS.div_ceil(layout.buckets_per_set())
}

/// Tables of a layout, the bases themselves included.
fn table_count(layout: &Layout) -> u32 {
    layout.windows.div_ceil(layout.sets)
}

/// Makes `2^(c S)` times each of the points of it.
fn shift<C: Curve>(points: &mut [C::Affine], layout: &Layout) {
    let doublings = layout.digit_bits * layout.sets;
    let sums: Vec<C::Projective> =
        points.iter().map(|point| (0..doublings).fold(point.to_curve(), |sum, _| sum.double())).collect();
    C::Projective::batch_normalize(&sums, points);
}

/// Rooms that nobody is in. A fresh one costs page faults for every task, so that tasks hand theirs on.
struct Rooms<C: Curve, A: Adder<C>>(Mutex<Vec<Room<C, A>>>);

impl<C: Curve, A: Adder<C>> Default for Rooms<C, A> {
    fn default() -> Self {
        Rooms(Mutex::new(Vec::new()))
    }
}

impl<C: Curve, A: Adder<C>> Rooms<C, A> {
    fn enter<T>(&self, work: impl FnOnce(&mut Room<C, A>) -> T) -> T {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = free().pop();
        let mut room = room.unwrap_or_else(Room::new);
        let result = work(&mut room);
        free().push(room);
        result
    }
}

/// What a task sums: whole buckets, or a piece of a large one.
struct Part {
    operands: Range<usize>,
    buckets: Range<usize>,
    piece: bool,
}

/// Cuts the buckets into parts of about equal work.
fn parts(counts: &[u32]) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut operands, mut buckets) = (0..0, 0..0);
    for (bucket, count) in counts.iter().enumerate() {
        let count = *count as usize;
        if count > 2 * TASK_OPERANDS {
            parts.push(Part { operands: operands.clone(), buckets: buckets.clone(), piece: false });
            let end = operands.end + count;
            for start in (operands.end..end).step_by(TASK_OPERANDS) {
                let operands = start..end.min(start + TASK_OPERANDS);
                parts.push(Part { operands, buckets: bucket..bucket + 1, piece: true });
            }
            (operands, buckets) = (end..end, bucket + 1..bucket + 1);
            continue;
        }
        operands.end += count;
        buckets.end = bucket + 1;
        if operands.len() >= TASK_OPERANDS {
            parts.push(Part { operands: operands.clone(), buckets: buckets.clone(), piece: false });
            (operands, buckets) = (operands.end..operands.end, bucket + 1..bucket + 1);
        }
    }
    parts.push(Part { operands, buckets, piece: false });
    parts
}

/// The cheapest layout with tables for so many full-length scalars, of at most `points_max` points.
fn table_layout(bases: usize, points_max: u64) -> Option<Layout> {
    let tables_max = points_max.min(SOURCES_MAX as u64 - 1).checked_div(bases as u64)?;
    let layout = |digit_bits: u32| {
        let windows = window_count(MAGNITUDE_BITS, digit_bits);
        let sets = u64::from(windows).div_ceil(tables_max.max(1)) as u32;
        Layout { digit_bits, windows, sets, bases: bases as u32 }
    };
    let cost = |layout: &Layout| {
        bases as u64 * u64::from(layout.windows) + u64::from(layout.sets) * bucket_cost(layout.digit_bits)
    };
    let widths = DIGIT_BITS_MIN..=super::digits::DIGIT_BITS_MAX;
    (tables_max >= 2).then(|| widths.map(layout).min_by_key(cost)).flatten()
}
