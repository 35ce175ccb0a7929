//! What is going to happen: a queue by time and then by cause.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use samara_protocol::time::Timestamp;

/// A queue in which equal times keep the order in which they were put in.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    /// When, which in order of cause, and where in `slots`.
    heap: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    next: u64,
}

impl<E> Agenda<E> {
    pub(super) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
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
        self.heap.push(Reverse((at, self.next, slot)));
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
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
}
