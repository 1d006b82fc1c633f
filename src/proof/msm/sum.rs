//! Sums of many groups of points at once: the one loop in which a multi-scalar multiplication spends its time.
//!
//! Every group is summed as a tree: each round adds neighbours, in all groups at once, so that the additions of a round are
//! independent and go to the adder in full batches. Rounds read one array and write another, in order; only the
//! first reads its sources from anywhere, and fetches them ahead.

use super::super::arith::curve::Curve;
use super::super::arith::memory::prefetch;
use super::adder::{Adder, Operand, Pair, Sums};
use crate::proof::wiped::wipe_room;

/// How far ahead of its use a source is brought into the cache, in operands.
const PREFETCH_AHEAD: usize = 24;

/// Memory that sums of groups use again and again.
pub(super) struct Room<C: Curve, A: Adder<C>> {
    scratch: A::Scratch,
    pairs: Vec<Pair>,
    current: Vec<A::Point>,
    next: Vec<A::Point>,
    groups: Vec<Group>,
}

/// A group that has more than one point left.
#[derive(Clone, Copy, Default)]
struct Group {
    /// Its place among the results.
    out: u32,
    start: u32,
    len: u32,
}

/// Sees to room for so many. What grows is made anew: growing would leave a copy behind, which nobody overwrites, and take room
/// for twice as many.
fn make_room<T: Copy>(values: &mut Vec<T>, len: usize, blank: T) {
    if values.capacity() < len {
        wipe_room(values, blank);
        *values = Vec::new();
        values.reserve_exact(len);
    }
}

impl<C: Curve, A: Adder<C>> Drop for Room<C, A> {
    /// Partial sums tell of the scalars, and so does what was added to what. The scratch does this by itself.
    fn drop(&mut self) {
        wipe_room(&mut self.current, A::INFINITY);
        wipe_room(&mut self.next, A::INFINITY);
        wipe_room(&mut self.pairs, Pair::default());
        wipe_room(&mut self.groups, Group::default());
    }
}

impl<C: Curve, A: Adder<C>> Room<C, A> {
    pub(super) fn new() -> Self {
        Room {
            scratch: A::scratch(),
            pairs: Vec::with_capacity(A::BATCH),
            current: Vec::new(),
            next: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// What a room takes with so many points and groups.
    pub(super) const fn bytes_max(points: usize, groups: usize) -> u64 {
        let bytes = points * size_of::<A::Point>()
            + groups * size_of::<Group>()
            + A::BATCH * size_of::<Pair>()
            + A::SCRATCH_BYTES;
        bytes as u64
    }

    /// Room for how many points a sum takes over `small` operands in groups of any size and `large` ones in one group. The rounds
    /// exchange their two arrays, so that each grows to what the larger one wants: two thirds of a point for each operand in groups
    /// of three, or a half and a place for the group in groups of two; for a large one a half.
    pub(super) const fn points_max(small: usize, large: usize) -> usize {
        2 * ((3 * small).div_ceil(4) + large.div_ceil(2) + 1)
    }

    /// Sums groups of finite points: the first `counts[0]` of `operands` into `sums[0]`, the next `counts[1]` into `sums[1]`,
    /// and so on. The sum of none is infinity.
    ///
    /// # Panics
    /// `counts` and `sums` differ in length, the counts do not add up to the operands, or an operand is out of range.
    pub(super) fn sum_groups(
        &mut self,
        adder: A,
        sources: &[A::Point],
        operands: &[Operand],
        counts: &[u32],
        sums: &mut [A::Point],
    ) {
        assert_eq!(counts.len(), sums.len());
        self.groups.clear();
        make_room(&mut self.groups, counts.iter().filter(|count| **count > 1).count(), Group::default());
        let (mut start, mut halves) = (0u32, 0usize);
        for (out, (count, sum)) in counts.iter().zip(sums.iter_mut()).enumerate() {
            match *count {
                0 => *sum = A::INFINITY,
                1 => *sum = A::fetch(sources, operands[start as usize]),
                len => {
                    self.groups.push(Group { out: out as u32, start, len });
                    halves += len.div_ceil(2) as usize;
                }
            }
            start += count;
        }
        assert_eq!(start as usize, operands.len());
        let later = halves.div_ceil(2) + self.groups.len();
        for (points, len) in [(&mut self.current, halves), (&mut self.next, later)] {
            make_room(points, len, A::INFINITY);
            points.resize(len, A::INFINITY);
        }
        let mut finite = self.first_round(adder, sources, operands);
        while !self.groups.is_empty() {
            self.collect(sums);
            finite = self.later_round(adder, finite);
        }
    }

    /// Adds the operands in pairs, from the sources into `current`.
    fn first_round(&mut self, adder: A, sources: &[A::Point], operands: &[Operand]) -> Sums {
        let mut batch =
            Batch { adder, scratch: &mut self.scratch, pairs: &mut self.pairs, sums: Sums::AllFinite };
        let mut position = 0u32;
        for group in &mut self.groups {
            let members = &operands[group.start as usize..(group.start + group.len) as usize];
            let ahead = operands.get(group.start as usize + PREFETCH_AHEAD..).unwrap_or_default();
            for operand in ahead.iter().take(members.len()) {
                prefetch(&sources[operand.index()]);
            }
            group.start = position;
            for pair in members.chunks(2) {
                match *pair {
                    [a, b] => batch.push(sources, Pair { a, b, out: position }, &mut self.current),
                    [single] => self.current[position as usize] = A::fetch(sources, single),
                    _ => {}
                }
                position += 1;
            }
            group.len = group.len.div_ceil(2);
        }
        batch.flush(sources, &mut self.current);
        batch.sums
    }

    /// Moves the groups that have one point left to the results.
    fn collect(&mut self, sums: &mut [A::Point]) {
        let current = &self.current;
        self.groups.retain(|group| {
            if group.len == 1 {
                sums[group.out as usize] = current[group.start as usize];
            }
            group.len > 1
        });
    }

    /// Adds neighbours from `current` into `next`, and exchanges the two.
    fn later_round(&mut self, adder: A, sums: Sums) -> Sums {
        let mut batch = Batch { adder, scratch: &mut self.scratch, pairs: &mut self.pairs, sums };
        let (current, next) = (&self.current, &mut self.next);
        let mut position = 0u32;
        for group in &mut self.groups {
            let mut member = group.start;
            let end = group.start + group.len;
            group.start = position;
            while member < end {
                let single = member + 1 == end;
                let (a, b) = (Operand::new(member, false), Operand::new(member + 1, false));
                // Infinite points are rare: an earlier sum of opposite points.
                let infinite = |operand: Operand| {
                    sums == Sums::SomeInfinite && A::is_infinity(&current[operand.index()])
                };
                if single || infinite(b) {
                    next[position as usize] = current[a.index()];
                } else if infinite(a) {
                    next[position as usize] = current[b.index()];
                } else {
                    batch.push(current, Pair { a, b, out: position }, next);
                }
                position += 1;
                member += 2;
            }
            group.len = group.len.div_ceil(2);
        }
        batch.flush(current, next);
        let sums = batch.sums;
        std::mem::swap(&mut self.current, &mut self.next);
        sums
    }
}

/// Pairs on their way to the adder.
struct Batch<'a, C: Curve, A: Adder<C>> {
    adder: A,
    scratch: &'a mut A::Scratch,
    pairs: &'a mut Vec<Pair>,
    /// Whether any sum so far was infinite.
    sums: Sums,
}

impl<C: Curve, A: Adder<C>> Batch<'_, C, A> {
    #[inline]
    fn push(&mut self, sources: &[A::Point], pair: Pair, sums: &mut [A::Point]) {
        self.pairs.push(pair);
        if self.pairs.len() == A::BATCH {
            self.flush(sources, sums);
        }
    }

    fn flush(&mut self, sources: &[A::Point], sums: &mut [A::Point]) {
        let infinite = self.adder.add(self.scratch, sources, self.pairs, sums);
        if infinite == Sums::SomeInfinite {
            self.sums = Sums::SomeInfinite;
        }
        self.pairs.clear();
    }
}
