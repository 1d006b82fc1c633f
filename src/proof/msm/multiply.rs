//! One multi-scalar multiplication, from scalars to the sum, over one form of the bases.

use super::super::memory::MemoryBound;
use super::adder::{Adder, Operand, SOURCES_MAX};
use super::buckets::{self, Layout, Sorted};
use super::digits::{DIGIT_BITS_MAX, DIGIT_BITS_MIN, Integer, Lengths, full_windows};
use super::endomorphism::{Endomorphic, Parts};
use super::reduce::{groups, weighted_sums};
use super::sum::Room;
use crate::proof::wiped::Wiped;
use group::prime::PrimeCurveAffine;
use group::{Curve as _, Group};
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelExtend, ParallelIterator,
    ParallelSlice, ParallelSliceMut,
};
use std::mem::size_of;
use std::ops::{AddAssign, Range};
use std::sync::{Mutex, PoisonError};

/// Operands that one task sums: enough for full batches in every round, few enough for the second-level cache.
const TASK_OPERANDS: usize = 16 << 10;

/// Buckets that one task sums by rows and columns at least, for the same reason.
const TASK_BUCKETS: usize = 4 << 10;

/// Most bases: in the narrowest digits of all, the number of all operands fits the 32 bits that it is counted in, and so does, all
/// the more, the number of all images.
pub(crate) const BASES_MAX: usize = u32::MAX as usize / DIGITS_MAX as usize;

/// Most digits of a scalar: two parts take one more than the whole, four no more than two.
const DIGITS_MAX: u32 = Parts::Two.count() * full_windows(Parts::Two, DIGIT_BITS_MIN);

const _: () = {
    assert!(full_windows(Parts::One, DIGIT_BITS_MIN) <= DIGITS_MAX);
    assert!(Parts::Four.count() * full_windows(Parts::Four, DIGIT_BITS_MIN) <= DIGITS_MAX);
    assert!(Parts::Four.count() as usize * BASES_MAX < SOURCES_MAX);
};

/// Points whose multiples one task of a thread computes between two pauses, when tables are made: some milliseconds in G1.
const TASK_MULTIPLES: usize = 64;

/// Tables that save less than one in so many of a multiplication's additions are not worth their memory.
const SAVING_ONE_IN: u64 = 32;

/// Bases as one adder likes them: tables of `2^(c S j)` times the bases for j = 0, 1, …, of which there is often only the first,
/// each with the images that the parts of scalars want.
pub(super) struct Tables<C: Endomorphic, A: Adder<C>> {
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

impl<C: Endomorphic, A: Adder<C>> Tables<C, A> {
    /// The bases and their images alone.
    ///
    /// # Panics
    /// More than [`BASES_MAX`] bases, beyond what memory holds.
    pub(super) fn plain(adder: A, bases: &[C::Affine]) -> Self {
        let mut plain = Self::empty(adder, bases, None);
        plain.append(bases, C::PARTS, 1);
        plain.bound = plain.bound_of_multiply();
        plain
    }

    /// As many tables as fit into `bytes_max`; none if they would save next to nothing. Calls `pause` between two pieces of the work.
    pub(super) fn with_tables(
        adder: A,
        bases: &[C::Affine],
        bytes_max: u64,
        pause: &dyn Fn(),
    ) -> Option<Self> {
        let layout = table_layout(C::PARTS, bases.len(), bytes_max / size_of::<A::Point>() as u64)?;
        let mut tables = Self::empty(adder, bases, Some(layout));
        tables.append(bases, layout.parts, table_count(&layout));
        let mut shifted = bases.to_vec();
        for _ in 1..table_count(&layout) {
            for piece in shifted.chunks_mut(TASK_MULTIPLES * rayon::current_num_threads()) {
                piece.par_chunks_mut(TASK_MULTIPLES).for_each(|bases| shift::<C>(bases, &layout));
                pause();
            }
            tables.append(&shifted, layout.parts, 1);
        }
        tables.bound = tables.bound_of_multiply();
        Some(tables)
    }

    fn empty(adder: A, bases: &[C::Affine], layout: Option<Layout>) -> Self {
        assert!(bases.len() <= BASES_MAX, "{} bases", bases.len());
        let infinite = (0u32..).zip(bases).filter(|(_, base)| C::coordinates(base).is_infinity());
        Tables {
            adder,
            points: Vec::new(),
            bases: bases.len(),
            infinite: infinite.map(|(i, _)| i).collect(),
            layout,
            bound: MemoryBound::default(),
        }
    }

    /// Adds a table of these points, and takes room for `tables` of them.
    fn append(&mut self, points: &[C::Affine], parts: Parts, tables: u32) {
        self.points.reserve_exact((tables * parts.count()) as usize * points.len());
        for part in 0..parts.count() {
            let image = |point| A::pack(&C::image_for(parts, part, &C::coordinates(point)));
            self.points.par_extend(points.par_iter().with_min_len(1024).map(image));
        }
    }

    /// Bytes of what [`Self::with_tables`] would make of these bases.
    pub(super) fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        let layout = table_layout(C::PARTS, self.bases, bytes_max / size_of::<A::Point>() as u64);
        let images = layout.map_or(0, |layout| (table_count(&layout) * layout.images) as usize);
        (images * self.bases * size_of::<A::Point>()) as u64
    }

    /// Bytes of the bases without their images.
    pub(super) fn bytes_of_bases(&self) -> u64 {
        (self.bases * size_of::<A::Point>()) as u64
    }

    /// Bytes of the points.
    pub(super) fn bytes(&self) -> u64 {
        (self.points.len() * size_of::<A::Point>()) as u64
    }

    /// The layout for scalars of such lengths, and what it costs in additions.
    pub(super) fn plan(&self, lengths: &Lengths) -> (Layout, u64) {
        let layout = self.layout.unwrap_or_else(|| {
            let (parts, digit_bits) = lengths.cheapest(C::PARTS);
            let windows = lengths.windows(parts, digit_bits);
            let (bases, images) = (self.bases as u32, C::PARTS.count());
            Layout { digit_bits, parts, windows, sets: windows, bases, images }
        });
        (layout, lengths.cost(layout.parts, layout.digit_bits, layout.sets))
    }

    /// What [`Self::multiply`] takes of memory at most.
    pub(super) fn bound(&self) -> MemoryBound {
        self.bound
    }

    fn bound_of_multiply(&self) -> MemoryBound {
        let (layout, _) = self.plan(&Lengths::full(self.bases));
        let operands = self.bases * layout.digits();
        let parts = operands / TASK_OPERANDS + 1;
        let of_part = size_of::<A::Point>() + size_of::<Part>() + size_of::<(&Part, &mut [A::Point])>();
        let buckets = layout.buckets() * size_of::<A::Point>() + parts * of_part;
        // A task takes small buckets until it has enough, and one after them that may be twice as large.
        let small = operands.min(TASK_OPERANDS);
        let large = (operands - small).min(2 * TASK_OPERANDS);
        let to_fill = Room::<C, A>::points_max(small, large);
        let each_thread = |layout: &Layout| {
            // Each bucket is in one row and one column.
            let to_reduce = 2 * buckets_per_task(layout);
            let points = to_fill.max(Room::<C, A>::points_max(to_reduce, 0));
            let room = Room::<C, A>::bytes_max(points, small.max(to_reduce) / 2);
            let groups = to_reduce / layout.buckets_per_set() * groups(layout.buckets_per_set());
            let of_group = size_of::<u32>() + size_of::<A::Point>() + size_of::<C::Projective>();
            room + (to_reduce * size_of::<Operand>() + groups * of_group) as u64
        };
        // Shorter scalars may have wider digits, and so larger sets of buckets, of which a task takes whole ones. In all, these buckets are
        // fewer bytes than the digits of long scalars, which are counted here.
        let widest = Lengths::uniforms(self.bases).map(|lengths| each_thread(&self.plan(&lengths).0)).max();
        let each_thread = widest.unwrap_or_else(|| each_thread(&layout));
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
fn shift<C: Endomorphic>(points: &mut [C::Affine], layout: &Layout) {
    let doublings = layout.digit_bits * layout.sets;
    let sums: Vec<C::Projective> =
        points.iter().map(|point| (0..doublings).fold(point.to_curve(), |sum, _| sum.double())).collect();
    C::Projective::batch_normalize(&sums, points);
}

/// Rooms that nobody is in. A fresh one costs page faults for every task, so that tasks hand theirs on.
struct Rooms<C: Endomorphic, A: Adder<C>>(Mutex<Vec<Room<C, A>>>);

impl<C: Endomorphic, A: Adder<C>> Default for Rooms<C, A> {
    fn default() -> Self {
        Rooms(Mutex::new(Vec::new()))
    }
}

impl<C: Endomorphic, A: Adder<C>> Rooms<C, A> {
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

/// The cheapest layout with tables for so many full-length scalars, of at most `points_max` points; none if it saves less than
/// one in [`SAVING_ONE_IN`] of what the bases alone cost.
fn table_layout(parts_max: Parts, bases: usize, points_max: u64) -> Option<Layout> {
    let images_max = points_max.min(SOURCES_MAX as u64 - 1).checked_div(bases as u64)?;
    let layout = |parts: Parts, digit_bits: u32| {
        let tables_max = images_max / u64::from(parts.count());
        let windows = full_windows(parts, digit_bits);
        let sets = u64::from(windows).div_ceil(tables_max.max(1)) as u32;
        let layout = Layout { digit_bits, parts, windows, sets, bases: bases as u32, images: parts.count() };
        (tables_max > 0).then_some(layout)
    };
    let lengths = Lengths::full(bases);
    let cost = |layout: &Layout| lengths.cost(layout.parts, layout.digit_bits, layout.sets);
    // Of equal ones the first: tables of many parts take fewer doublings to make.
    let parts = Parts::ALL.into_iter().rev().filter(|parts| parts.count() <= parts_max.count());
    let layouts =
        parts.flat_map(|parts| (DIGIT_BITS_MIN..=DIGIT_BITS_MAX).filter_map(move |bits| layout(parts, bits)));
    let (parts, digit_bits) = lengths.cheapest(parts_max);
    let plain = lengths.cost(parts, digit_bits, u32::MAX);
    layouts.min_by_key(cost).filter(|layout| cost(layout) + plain / SAVING_ONE_IN <= plain)
}
