//! One direction of one place's link, as it is now: decides what becomes of each packet, and when it is at the other end.
//!
//! Nothing here reads a clock or moves a byte: time comes in with each packet.

use std::collections::VecDeque;
use std::time::Duration;

use crate::seed::Seed;

use super::chance::{Chain, Wander};
use super::shape::Shape;

/// What has gone through one direction of a link, in packets but for `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Came to the link.
    pub offered: u64,
    /// Came out of it, copies included.
    pub packets: u64,
    /// Bytes of those, IP headers included.
    pub bytes: u64,
    /// Found the queue full.
    pub queue: u64,
    /// Lost by chance.
    pub loss: u64,
    /// Came, or were under way, while the link was down; or were sent on a path that was cut.
    pub outage: u64,
    /// Larger than the MTU.
    pub oversize: u64,
    /// Came out once more.
    pub duplicated: u64,
    /// Were held back for later ones to overtake them.
    pub reordered: u64,
}

impl Traffic {
    /// Everything that did not come out.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.queue + self.loss + self.outage + self.oversize
    }

    /// What has been added since `before`, an earlier count of the same direction.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            offered: self.offered - before.offered,
            packets: self.packets - before.packets,
            bytes: self.bytes - before.bytes,
            queue: self.queue - before.queue,
            loss: self.loss - before.loss,
            outage: self.outage - before.outage,
            oversize: self.oversize - before.oversize,
            duplicated: self.duplicated - before.duplicated,
            reordered: self.reordered - before.reordered,
        }
    }
}

/// When a packet comes out, and how many of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) at: Duration,
    pub(super) copies: u32,
}

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Lane {
    shape: Shape,
    /// When the outage was set.
    since: Duration,
    /// When the sender has sent, or had sent, all that it held.
    free: Duration,
    /// Of each packet that is not sent yet: when it will be, and its size.
    waiting: VecDeque<(Duration, u32)>,
    waiting_bytes: u64,
    /// When the last one arrives.
    last: Duration,
    losses: Chain,
    order: Seed,
    copies: Seed,
    wander: Wander,
    traffic: Traffic,
}

impl Lane {
    pub(super) fn new(shape: Shape, now: Duration, mut seed: Seed) -> Self {
        Self {
            shape,
            since: now,
            free: now,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last: now,
            losses: Chain::new(seed.next()),
            order: Seed::new(seed.next()),
            copies: Seed::new(seed.next()),
            wander: Wander::new(seed.next()),
            traffic: Traffic::default(),
        }
    }

    pub(super) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is under way keeps the time that it was given.
    pub(super) fn set(&mut self, shape: Shape, now: Duration) {
        if shape.outage != self.shape.outage {
            self.since = now;
        }
        self.shape = shape;
    }

    pub(super) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Counts a packet for which there is no path.
    pub(super) const fn cut(&mut self) {
        self.traffic.offered += 1;
        self.traffic.outage += 1;
    }

    /// A packet comes to the link.
    pub(super) fn offer(&mut self, now: Duration, bytes: u32) -> Option<Passage> {
        self.traffic.offered += 1;
        if self.is_down(now) {
            self.traffic.outage += 1;
            return None;
        }
        if self.shape.mtu.is_some_and(|mtu| bytes > mtu) {
            self.traffic.oversize += 1;
            return None;
        }
        let silence = now.saturating_sub(self.free);
        let Some(sent) = self.send(now, bytes) else {
            self.traffic.queue += 1;
            return None;
        };
        if self.losses.loses(&self.shape.loss, silence) {
            self.traffic.loss += 1;
            return None;
        }
        let delay = self.wander.delay(sent, self.shape.delay, self.shape.jitter);
        // Also where the delay was shortened meanwhile.
        self.last = self.last.max(sent + delay);
        let mut passage = Passage {
            at: self.last,
            copies: 1,
        };
        if self.order.unit() < self.shape.reorder.share {
            passage.at += self.shape.reorder.by;
            self.traffic.reordered += 1;
        }
        if self.copies.unit() < self.shape.duplicate {
            passage.copies += 1;
            self.traffic.duplicated += 1;
        }
        Some(passage)
    }

    /// The packet is at the other end. False: the link was down by then.
    pub(super) fn emerge(&mut self, at: Duration, bytes: u32) -> bool {
        if self.is_down(at) {
            self.traffic.outage += 1;
            return false;
        }
        self.traffic.packets += 1;
        self.traffic.bytes += u64::from(bytes);
        true
    }

    fn is_down(&self, now: Duration) -> bool {
        self.shape.outage.is_down(now.saturating_sub(self.since))
    }

    /// When the packet's last bit is sent; none when it finds the queue full. One packet always has room.
    fn send(&mut self, now: Duration, bytes: u32) -> Option<Duration> {
        while let Some((_, sent)) = self.waiting.pop_front_if(|(at, _)| *at <= now) {
            self.waiting_bytes -= u64::from(sent);
        }
        if self.shape.mbit.is_none() {
            self.free = self.free.max(now);
            return Some(self.free);
        }
        let with_it = self.waiting_bytes + u64::from(bytes);
        if with_it > self.shape.queue_bytes() && !self.waiting.is_empty() {
            return None;
        }
        self.free = self.free.max(now) + self.shape.time_of(bytes);
        self.waiting.push_back((self.free, bytes));
        self.waiting_bytes = with_it;
        Some(self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::{Loss, Outage, Reorder};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lane(shape: Shape) -> Lane {
        Lane::new(shape, Duration::ZERO, Seed::new(1))
    }

    #[test]
    fn packets_leave_one_after_the_other_and_the_queue_has_an_end() {
        // 1,000 bytes take 1 ms; ten of them may wait.
        let mut lane = lane(Shape {
            mbit: Some(8.0),
            queue: Some(10_000),
            delay: 20 * MS,
            ..Shape::default()
        });
        let times: Vec<_> = (0..12)
            .map(|_| lane.offer(MS, 1000).map(|passage| passage.at))
            .collect();
        let expected: Vec<_> = (0..12).map(|n| (n < 10).then_some((22 + n) * MS)).collect();
        assert_eq!(times, expected);
        assert_eq!(lane.traffic().queue, 2);
        // At 3 ms two are sent, so two more have room, and they leave behind the rest.
        let times: Vec<_> = (0..3)
            .map(|_| lane.offer(3 * MS, 1000).map(|passage| passage.at))
            .collect();
        assert_eq!(times, [Some(32 * MS), Some(33 * MS), None]);
        // After a pause nothing waits.
        assert_eq!(lane.offer(100 * MS, 1000).map(|passage| passage.at), Some(121 * MS));
        // A queue that is smaller than a packet still lets one through.
        lane.set(
            Shape {
                queue: Some(0),
                ..*lane.shape()
            },
            100 * MS,
        );
        assert_eq!(
            lane.offer(200 * MS, 1500).map(|passage| passage.at),
            Some(221 * MS + MS / 2)
        );
        assert_eq!(lane.offer(200 * MS, 1500), None);
    }

    #[test]
    fn jitter_moves_packets_and_keeps_their_order_reordering_does_not() {
        let shape = Shape {
            delay: 45 * MS,
            jitter: 15 * MS,
            ..Shape::default()
        };
        let mut calm = lane(shape);
        let all = |lane: &mut Lane| -> Vec<_> {
            let each = (0..10_000).map(|n| lane.offer(n * MS / 10, 100).expect("nothing is lost").at);
            each.collect()
        };
        let times = all(&mut calm);
        assert!(times.is_sorted());
        let delays = times.iter().zip(0..).map(|(at, n)| *at - n * MS / 10);
        let spread = delays.clone().max().expect("many") - delays.min().expect("many");
        assert!(spread > 20 * MS && spread <= 30 * MS, "{spread:?}");
        let mut mixed = lane(Shape {
            reorder: Reorder {
                share: 0.1,
                by: 10 * MS,
            },
            ..shape
        });
        let times = all(&mut mixed);
        let late = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((700..1100).contains(&late), "{late}");
        assert!(
            (900..1100).contains(&mixed.traffic().reordered),
            "{:?}",
            mixed.traffic()
        );
    }

    #[test]
    fn what_is_lost_depends_on_the_seed_and_the_number_of_the_packet_alone() {
        let shape = Shape {
            loss: Loss::bursty(0.05, 8.0),
            ..Shape::default()
        };
        let fates = |shape: Shape, seed: u64, pause: Duration| -> Vec<bool> {
            let mut lane = Lane::new(shape, Duration::ZERO, Seed::new(seed));
            (0..5000).map(|n| lane.offer(pause * n, 100).is_some()).collect()
        };
        let slow = Shape {
            mbit: Some(100.0),
            jitter: 2 * MS,
            duplicate: 0.5,
            ..shape
        };
        assert_eq!(fates(shape, 1, MS), fates(slow, 1, 3 * MS));
        assert_ne!(fates(shape, 1, MS), fates(shape, 2, MS));
    }

    #[test]
    fn large_packets_vanish_and_an_outage_takes_all() {
        let mut lane = lane(Shape {
            mtu: Some(1300),
            delay: 5 * MS,
            outage: Outage::Flapping {
                up: 30 * MS,
                down: 20 * MS,
            },
            ..Shape::default()
        });
        assert_eq!(lane.offer(MS, 1301), None);
        let passage = lane.offer(MS, 1300).expect("it is small enough");
        assert!(lane.emerge(passage.at, 1300));
        let passage = lane.offer(28 * MS, 100).expect("the link is still up");
        assert!(
            !lane.emerge(passage.at, 100),
            "it was under way when the link went down"
        );
        assert_eq!(lane.offer(30 * MS, 100), None);
        assert_eq!(lane.offer(49 * MS, 100), None);
        assert!(lane.offer(50 * MS, 100).is_some() && lane.offer(130 * MS, 100).is_none());
        // A new schedule begins when it is set.
        lane.set(
            Shape {
                outage: Outage::Flapping { up: MS, down: MS },
                ..*lane.shape()
            },
            135 * MS,
        );
        assert!(lane.offer(135 * MS, 100).is_some() && lane.offer(136 * MS, 100).is_none());
        let traffic = lane.traffic();
        assert_eq!(
            (traffic.oversize, traffic.outage, traffic.packets),
            (1, 5, 1),
            "{traffic:?}"
        );
    }
}
