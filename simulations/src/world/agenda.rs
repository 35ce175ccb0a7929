//! What is going to happen: a queue by time and then by cause.
//!
//! Events of one short span of time are gathered unsorted, and sorted when their span comes: what is far away is only
//! appended to, and what is sorted fits into the caches, however many events there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use samara_protocol::time::Timestamp;

/// The time that is gathered, in microseconds.
const SPAN: u64 = 256;
/// Emptied spans that are kept to be filled again.
const SPARE_MAX: usize = 8;

/// A queue in which equal times keep the order in which they were put in.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    /// Which span is taken from now.
    number: u64,
    now: Span<E>,
    later: BTreeMap<u64, Span<E>>,
    spare: Vec<Span<E>>,
}

/// The events of a span: when, and where in `events`, where those that were put in later come later.
#[derive(Debug)]
struct Span<E> {
    order: BinaryHeap<Reverse<(Timestamp, u32)>>,
    unsorted: Vec<Reverse<(Timestamp, u32)>>,
    events: Vec<Option<E>>,
}

impl<E> Span<E> {
    const fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            unsorted: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Keeps an event and says where.
    fn keep(&mut self, at: Timestamp, event: E) -> Reverse<(Timestamp, u32)> {
        let number = u32::try_from(self.events.len()).expect("fewer than 2^32 events in a span");
        self.events.push(Some(event));
        Reverse((at, number))
    }
}

impl<E> Agenda<E> {
    pub(super) const fn new() -> Self {
        Self {
            number: 0,
            now: Span::new(),
            later: BTreeMap::new(),
            spare: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, at: Timestamp, event: E) {
        let number = at.0 / SPAN;
        if number <= self.number {
            let key = self.now.keep(at, event);
            self.now.order.push(key);
            return;
        }
        let spare = &mut self.spare;
        let span = self
            .later
            .entry(number)
            .or_insert_with(|| spare.pop().unwrap_or_else(Span::new));
        let key = span.keep(at, event);
        span.unsorted.push(key);
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, E)> {
        loop {
            if let Some(Reverse((at, slot))) = self.now.order.pop() {
                let event = self.now.events[slot as usize].take()?;
                return Some((at, event));
            }
            self.turn()?;
        }
    }

    /// The next span comes.
    fn turn(&mut self) -> Option<()> {
        let (number, mut next) = self.later.pop_first()?;
        next.order.extend(next.unsorted.drain(..));
        self.number = number;
        let mut old = std::mem::replace(&mut self.now, next);
        old.events.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(old);
        }
        Some(())
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
