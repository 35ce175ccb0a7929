//! What is going to happen: a queue by time and then by cause.
//!
//! What happens in one short span of time is gathered unsorted, and sorted when its span comes: what is far away is only
//! appended to, and what is sorted fits into the caches, however much is going to happen.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use samara_protocol::time::Timestamp;

/// The time that is gathered, in microseconds.
const SPAN: u64 = 256;

/// When, which in order of cause, and where in `slots`.
type Key = Reverse<(Timestamp, u64, u32)>;

/// A queue in which equal times keep the order in which they were put in.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    /// Which span is taken from now, and what is left of it.
    number: u64,
    now: BinaryHeap<Key>,
    later: BTreeMap<u64, Vec<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    next: u64,
}

impl<E> Agenda<E> {
    pub(super) const fn new() -> Self {
        Self {
            number: 0,
            now: BinaryHeap::new(),
            later: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn push(&mut self, at: Timestamp, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 events at a time")
        });
        self.slots[slot as usize] = Some(event);
        let key = Reverse((at, self.next, slot));
        self.next += 1;
        let number = at.0 / SPAN;
        if number <= self.number {
            self.now.push(key);
        } else {
            self.later.entry(number).or_default().push(key);
        }
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, E)> {
        while self.now.is_empty() {
            let (number, keys) = self.later.pop_first()?;
            self.number = number;
            self.now.extend(keys);
        }
        let Reverse((at, _, slot)) = self.now.pop()?;
        let event = self.slots[slot as usize].take()?;
        self.free.push(slot);
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut agenda = Agenda::new();
        for (at, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            agenda.push(Timestamp(at), name);
        }
        assert_eq!(agenda.pop(), Some((Timestamp(1), 'a')));
        agenda.push(Timestamp(5), 'e');
        let rest: String = std::iter::from_fn(|| agenda.pop()).map(|(_, name)| name).collect();
        assert_eq!(rest, "bcde");
    }

    #[test]
    fn what_is_far_away_comes_by_time_and_order_too_and_after_what_is_put_in_meanwhile() {
        let mut agenda = Agenda::new();
        let far = 10 * SPAN;
        for (at, name) in [(far + 5, 'c'), (far, 'a'), (far + 5, 'd'), (90 * SPAN, 'g')] {
            agenda.push(Timestamp(at), name);
        }
        assert_eq!(agenda.pop(), Some((Timestamp(far), 'a')));
        agenda.push(Timestamp(far + 5), 'e');
        agenda.push(Timestamp(far + 1), 'b');
        agenda.push(Timestamp(11 * SPAN), 'f');
        let rest: String = std::iter::from_fn(|| agenda.pop()).map(|(_, name)| name).collect();
        assert_eq!(rest, "bcdefg");
    }
}
