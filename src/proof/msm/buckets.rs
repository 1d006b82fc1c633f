//! Which point falls into which bucket: a counting sort of all digits of all scalars.
//!
//! Buckets are numbered through all sets: set s owns the `2^(c-1)` numbers from `s · 2^(c-1)`, and a digit of magnitude m falls
//! into bucket m - 1 of its set. Without tables a window is a set; with tables of `2^(c S j)` times the bases, window
//! `j S + s` falls into set s with the points of table j. Where scalars are cut into parts, a table holds an image of each base for
//! each part, and the parts fall into the same sets.
//!
//! Digits and their order are the scalars in another form, and are overwritten when they are dropped.

use super::super::memory::MemoryBound;
use super::adder::Operand;
use super::digits::{Cutter, Integer, Signed};
use super::endomorphism::Parts;
use crate::proof::wiped::Wiped;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};
use std::sync::atomic::{AtomicU32, Ordering};

/// Fewer scalars are not worth a task of their own.
const CHUNK_SCALARS_MIN: usize = 1024;

/// How digits are laid out over buckets and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bits of a digit, c.
    pub(super) digit_bits: u32,
    /// Parts that scalars are cut into.
    pub(super) parts: Parts,
    /// Digits of the longest part.
    pub(super) windows: u32,
    /// Sets of buckets, S.
    pub(super) sets: u32,
    /// Bases, each of which is in a table once for every image.
    pub(super) bases: u32,
    /// Images of a base in a table: as many as parts, or a multiple of that.
    pub(super) images: u32,
}

/// Where the digits of one window of one part go.
#[derive(Clone, Copy)]
struct Column {
    /// The first bucket.
    bucket: usize,
    /// The place of the first base's image.
    point: u32,
}

impl Layout {
    pub(super) fn buckets_per_set(&self) -> usize {
        1 << (self.digit_bits - 1)
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets_per_set() * self.sets as usize
    }

    /// Digits of the longest scalar.
    pub(super) fn digits(&self) -> usize {
        (self.parts.count() * self.windows) as usize
    }

    /// The columns in the order of [`Members::digits`].
    fn columns(&self) -> impl Iterator<Item = Column> + use<> {
        let layout = *self;
        let windows = move |part: u32| (0..layout.windows).map(move |window| layout.column(part, window));
        (0..self.parts.count()).flat_map(windows)
    }

    fn column(&self, part: u32, window: u32) -> Column {
        let (table, set) = (window / self.sets, window % self.sets);
        let image = table * self.images + part * (self.images / self.parts.count());
        Column { bucket: set as usize * self.buckets_per_set(), point: image * self.bases }
    }
}

impl Column {
    /// The bucket and the operand of one digit; none for zero.
    #[inline]
    fn place(self, base: u32, digit: i32) -> Option<(usize, Operand)> {
        let bucket = (self.bucket + digit.unsigned_abs() as usize).checked_sub(1)?;
        (digit != 0).then(|| (bucket, Operand::new(self.point + base, digit < 0)))
    }
}

/// All operands in the order of their buckets, and how many each bucket has.
pub(super) struct Sorted {
    pub(super) operands: Wiped<Operand>,
    pub(super) counts: Wiped<u32>,
}

/// The scalars of one task.
struct Chunk {
    members: Members,
    /// Members of each bucket; later, where the chunk's next member of it goes.
    positions: Wiped<u32>,
}

/// The digits of one task's scalars.
struct Members {
    /// Bases whose scalar has more than one digit.
    long: Wiped<u32>,
    /// Their digits, part by part and window by window.
    digits: Wiped<i32>,
    /// Base and digit of the scalars that have one.
    short: Wiped<(u32, i32)>,
}

/// What sorting so many scalars takes, the result included; each thread sorts a chunk.
pub(super) fn sort_bound(layout: &Layout, scalars: usize) -> MemoryBound {
    let of_scalar = size_of::<u32>() + size_of::<(u32, i32)>() + size_of::<Signed>();
    let of_digit = size_of::<i32>() + size_of::<Operand>();
    let whole = scalars * (of_scalar + layout.digits() * of_digit) + layout.buckets() * size_of::<u32>();
    MemoryBound { whole: whole as u64, each_thread: (layout.buckets() * size_of::<u32>()) as u64 }
}

/// Sorts the digits of `scalars`, of which scalar i belongs to base i unless `skipped(i)`.
pub(super) fn sort(layout: &Layout, scalars: &[Integer], skipped: impl Fn(usize) -> bool + Sync) -> Sorted {
    let cutter = Cutter::new(layout.digit_bits, layout.windows);
    let size = scalars.len().div_ceil(rayon::current_num_threads()).max(CHUNK_SCALARS_MIN);
    let mut chunks: Vec<Chunk> = scalars
        .par_chunks(size)
        .enumerate()
        .map(|(chunk, scalars)| {
            let first = chunk * size;
            let used = scalars.iter().enumerate().filter(|(i, _)| !skipped(first + i));
            Chunk::cut(layout, &cutter, used.map(|(i, scalar)| ((first + i) as u32, scalar)))
        })
        .collect();
    let counts = assign_positions(layout, &mut chunks);
    let total: u32 = counts.iter().sum();
    // Every chunk writes places of its own; atomics say so without `unsafe` and cost what plain stores do.
    let operands: Vec<AtomicU32> = (0..total).map(|_| AtomicU32::new(0)).collect();
    rayon::scope(|scope| {
        let operands = &operands;
        let mut rest = chunks.iter_mut();
        let own = rest.next();
        for chunk in rest {
            scope.spawn(move |_| chunk.scatter(layout, operands));
        }
        if let Some(chunk) = own {
            chunk.scatter(layout, operands);
        }
    });
    // In place, so that nothing is left behind: `tests/wiping.rs` would find it.
    let operands = operands.into_iter().map(|word| Operand(word.into_inner())).collect();
    Sorted { operands: Wiped::of(operands, Operand::default()), counts }
}

/// Turns each chunk's counts into its first places, and returns how many members each bucket has.
fn assign_positions(layout: &Layout, chunks: &mut [Chunk]) -> Wiped<u32> {
    let mut next = 0u32;
    let mut counts = Wiped::blanks(0u32, layout.buckets());
    for (bucket, count) in counts.iter_mut().enumerate() {
        let first = next;
        for chunk in &mut *chunks {
            next += std::mem::replace(&mut chunk.positions[bucket], next);
        }
        *count = next - first;
    }
    counts
}

impl Chunk {
    fn cut<'a>(layout: &Layout, cutter: &Cutter, scalars: impl Iterator<Item = (u32, &'a Integer)>) -> Chunk {
        let members = Members::cut(layout, cutter, scalars);
        let mut positions = Wiped::blanks(0, layout.buckets());
        members.for_each(layout, |bucket, _| positions[bucket] += 1);
        Chunk { members, positions }
    }

    fn scatter(&mut self, layout: &Layout, operands: &[AtomicU32]) {
        let Chunk { members, positions } = self;
        members.for_each(layout, |bucket, operand| {
            operands[positions[bucket] as usize].store(operand.0, Ordering::Relaxed);
            positions[bucket] += 1;
        });
    }
}

impl Members {
    fn cut<'a>(layout: &Layout, cutter: &Cutter, scalars: impl Iterator<Item = (u32, &'a Integer)>) -> Self {
        // Room for all from the start.
        let most = scalars.size_hint().1.unwrap_or(0);
        let mut of_one = Wiped::with_capacity((0, 0), most);
        let mut bases = Wiped::with_capacity(0, most);
        let mut long = Wiped::with_capacity(Signed::ZERO, most);
        for (base, scalar) in scalars {
            let scalar = Signed::new(scalar);
            match scalar.bits() {
                0 => {}
                bits if bits < layout.digit_bits => {
                    let digit = scalar.magnitude[0] as i32;
                    of_one.push((base, if scalar.negative { -digit } else { digit }));
                }
                _ => {
                    bases.push(base);
                    long.push(scalar);
                }
            }
        }
        let mut digits = Wiped::blanks(0, long.len() * layout.digits());
        for (i, scalar) in long.iter().enumerate() {
            layout.parts.split(scalar, |part, scalar| {
                let first = part * layout.windows;
                cutter.cut(scalar, |window, digit| {
                    digits[(first + window) as usize * long.len() + i] = digit;
                });
            });
        }
        Members { long: bases, digits, short: of_one }
    }

    /// Calls `put` with the bucket and the operand of every digit but the zeros.
    #[inline]
    fn for_each(&self, layout: &Layout, mut put: impl FnMut(usize, Operand)) {
        let lowest = layout.column(0, 0);
        for (base, digit) in &*self.short {
            lowest.place(*base, *digit).into_iter().for_each(|(bucket, operand)| put(bucket, operand));
        }
        if self.long.is_empty() {
            return;
        }
        for (column, digits) in layout.columns().zip(self.digits.chunks(self.long.len())) {
            for (base, digit) in self.long.iter().zip(digits) {
                if let Some((bucket, operand)) = column.place(*base, *digit) {
                    put(bucket, operand);
                }
            }
        }
    }
}
