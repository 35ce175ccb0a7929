//! Sets of group (or block) numbers as sorted, disjoint, non-touching half-open ranges.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// A set of `u32` as sorted, disjoint ranges that do not touch. Cost follows the number of ranges, not their length.
#[derive(Clone, Default)]
pub struct RangeSet(Ranges);

/// Most sets are nothing or one run, and there are many of them: these take no memory of their own.
#[derive(Clone, Default)]
enum Ranges {
    #[default]
    None,
    One(Range<u32>),
    /// Any number; what was more once stays so.
    Many(Vec<Range<u32>>),
}

impl RangeSet {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Ranges::None)
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        let lengths = self.ranges().iter().map(|range| u64::from(range.end - range.start));
        lengths.sum()
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges().is_empty()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u32>] {
        match &self.0 {
            Ranges::None => &[],
            Ranges::One(range) => std::slice::from_ref(range),
            Ranges::Many(ranges) => ranges,
        }
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().iter().flat_map(Clone::clone)
    }

    /// Whether `item` is in the set.
    #[must_use]
    pub fn contains(&self, item: u32) -> bool {
        self.contains_range(item..item.saturating_add(1))
    }

    /// Whether the whole of `range` is in the set; an empty one always is.
    #[must_use]
    pub fn contains_range(&self, range: Range<u32>) -> bool {
        if range.is_empty() {
            return true;
        }
        let ranges = self.ranges();
        let at = ranges.partition_point(|held| held.end <= range.start);
        ranges
            .get(at)
            .is_some_and(|held| held.start <= range.start && range.end <= held.end)
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        match &mut self.0 {
            Ranges::None => self.0 = Ranges::One(range),
            Ranges::One(only) if only.end < range.start => self.0 = Ranges::Many(vec![only.clone(), range]),
            Ranges::One(only) if range.end < only.start => self.0 = Ranges::Many(vec![range, only.clone()]),
            Ranges::One(only) => *only = only.start.min(range.start)..only.end.max(range.end),
            Ranges::Many(ranges) => {
                // Most are put together from front to back.
                if ranges.last().is_none_or(|last| last.end < range.start) {
                    ranges.push(range);
                    return;
                }
                let from = ranges.partition_point(|held| held.end < range.start);
                let to = ranges.partition_point(|held| held.start <= range.end);
                if from == to {
                    ranges.insert(from, range);
                    return;
                }
                let (first, last) = (ranges[from].start, ranges[to - 1].end);
                ranges[from] = first.min(range.start)..last.max(range.end);
                ranges.drain(from + 1..to);
            }
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        match &mut self.0 {
            Ranges::None => {}
            Ranges::One(only) => {
                let [left, right] = without(only, only, &range);
                self.0 = match (left.is_empty(), right.is_empty()) {
                    (true, true) => Ranges::None,
                    (false, true) => Ranges::One(left),
                    (true, false) => Ranges::One(right),
                    (false, false) => Ranges::Many(vec![left, right]),
                };
            }
            Ranges::Many(ranges) => {
                let from = ranges.partition_point(|held| held.end <= range.start);
                let to = ranges.partition_point(|held| held.start < range.end);
                if from >= to {
                    return;
                }
                let parts = without(&ranges[from], &ranges[to - 1], &range);
                ranges.splice(from..to, parts.into_iter().filter(|part| !part.is_empty()));
            }
        }
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for range in other.ranges() {
            self.insert(range.clone());
        }
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for range in other.ranges() {
            self.remove(range.clone());
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut out, mut i, mut j) = (Self::new(), 0, 0);
        let (ours, theirs) = (self.ranges(), other.ranges());
        while let (Some(a), Some(b)) = (ours.get(i), theirs.get(j)) {
            out.insert(a.start.max(b.start)..a.end.min(b.end));
            if a.end <= b.end { i += 1 } else { j += 1 }
        }
        out
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract(other);
        out
    }
}

/// What is left of `first` before `range`, and of `last`, which may be the same one, behind it; empty where there is nothing.
fn without(first: &Range<u32>, last: &Range<u32>, range: &Range<u32>) -> [Range<u32>; 2] {
    let left = first.start..first.end.min(range.start);
    let right = last.start.max(range.end)..last.end;
    [left, right]
}

impl PartialEq for RangeSet {
    fn eq(&self, other: &Self) -> bool {
        self.ranges() == other.ranges()
    }
}

impl Eq for RangeSet {}

impl Hash for RangeSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ranges().hash(state);
    }
}

impl FromIterator<Range<u32>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl From<Range<u32>> for RangeSet {
    fn from(range: Range<u32>) -> Self {
        Self::from_iter([range])
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(set: &RangeSet, model: &BTreeSet<u32>) {
        assert_eq!(set.iter().collect::<BTreeSet<_>>(), *model);
        assert_eq!(set.count(), model.len() as u64);
        for pair in set.ranges().windows(2) {
            assert!(pair[0].end < pair[1].start, "disjoint and not touching: {set:?}");
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 0u32..64, 0u32..12), 0..60)) {
            let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
            for (add, start, len) in steps {
                let range = start..start + len;
                if add { set.insert(range.clone()); model.extend(range); }
                else { set.remove(range.clone()); for i in range { model.remove(&i); } }
                check(&set, &model);
            }
            for i in 0..80 { prop_assert_eq!(set.contains(i), model.contains(&i)); }
        }

        #[test]
        fn set_algebra_matches_the_model(a in prop::collection::btree_set(0u32..64, 0..40), b in prop::collection::btree_set(0u32..64, 0..40)) {
            let of = |model: &BTreeSet<u32>| model.iter().map(|i| *i..*i + 1).collect::<RangeSet>();
            let (left, right) = (of(&a), of(&b));
            check(&left.intersection(&right), &a.intersection(&b).copied().collect());
            check(&left.difference(&right), &a.difference(&b).copied().collect());
            let mut both = left.clone();
            both.union_with(&right);
            check(&both, &a.union(&b).copied().collect());
        }
    }
}
