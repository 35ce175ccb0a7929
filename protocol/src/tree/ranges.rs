//! Sets of group (or block) numbers as sorted, disjoint, non-touching half-open ranges.

use std::fmt;
use std::ops::Range;

/// A set of `u32` as sorted, disjoint ranges that do not touch. Cost follows the number of ranges, not their length.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct RangeSet(Vec<Range<u32>>);

impl RangeSet {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.0
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(Clone::clone)
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
        let at = self.0.partition_point(|held| held.end <= range.start);
        self.0
            .get(at)
            .is_some_and(|held| held.start <= range.start && range.end <= held.end)
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|held| held.end < range.start);
        let to = self.0.partition_point(|held| held.start <= range.end);
        let mut merged = range;
        if from < to {
            merged.start = merged.start.min(self.0[from].start);
            merged.end = merged.end.max(self.0[to - 1].end);
        }
        self.0.splice(from..to, [merged]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|held| held.end <= range.start);
        let to = self.0.partition_point(|held| held.start < range.end);
        if from >= to {
            return;
        }
        let left = self.0[from].start..range.start;
        let right = range.end..self.0[to - 1].end;
        let kept = [left, right].into_iter().filter(|part| part.start < part.end);
        self.0.splice(from..to, kept);
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for range in &other.0 {
            self.insert(range.clone());
        }
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for range in &other.0 {
            self.remove(range.clone());
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut out, mut i, mut j) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let both = a.start.max(b.start)..a.end.min(b.end);
            if both.start < both.end {
                out.push(both);
            }
            if a.end <= b.end { i += 1 } else { j += 1 }
        }
        Self(out)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract(other);
        out
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
        f.debug_list().entries(&self.0).finish()
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
