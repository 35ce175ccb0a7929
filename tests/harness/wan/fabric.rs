//! All links of all places and what is under way on them, in virtual time: packets go in with the time at which they came, and
//! come out, in the order of time, with the time at which they are due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::seed::Seed;

use super::lane::{Lane, Traffic};
use super::shape::Link;

/// The first two bytes of every place's address, and the number in the last two of the first place's.
const NETWORK: [u8; 2] = [10, 77];
const FIRST: usize = 2;

/// A packet that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) at: Duration,
    pub(super) place: usize,
    pub(super) packet: Vec<u8>,
}

#[derive(Debug)]
struct Flight {
    from: usize,
    to: usize,
    /// It has left the uplink and is on the way down.
    is_down: bool,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Lanes {
    up: Lane,
    down: Lane,
}

/// The whole network.
#[derive(Debug)]
pub(super) struct Fabric {
    places: Vec<Lanes>,
    cut: BTreeSet<(usize, usize)>,
    /// By when they come out of the lane that they are in; those of the same moment in the order in which they came.
    flights: BTreeMap<(Duration, u64), Flight>,
    number: u64,
    unrouted: u64,
}

impl Fabric {
    pub(super) fn new(seed: u64, links: &[Link]) -> Self {
        let mut seeds = Seed::new(seed);
        let mut lane = |shape| Lane::new(shape, Duration::ZERO, Seed::new(seeds.next()));
        let lanes = |link: &Link| Lanes {
            up: lane(link.up),
            down: lane(link.down),
        };
        Self {
            places: links.iter().map(lanes).collect(),
            cut: BTreeSet::new(),
            flights: BTreeMap::new(),
            number: 0,
            unrouted: 0,
        }
    }

    pub(super) fn link(&self, place: usize) -> Link {
        Link {
            up: *self.places[place].up.shape(),
            down: *self.places[place].down.shape(),
        }
    }

    pub(super) fn set(&mut self, place: usize, link: Link, now: Duration) {
        self.places[place].up.set(link.up, now);
        self.places[place].down.set(link.down, now);
    }

    /// From now on nothing, or everything again, gets from one place to the other.
    pub(super) fn set_path(&mut self, from: usize, to: usize, open: bool) {
        if open {
            self.cut.remove(&(from, to));
        } else {
            self.cut.insert((from, to));
        }
    }

    /// What has gone up and down at a place.
    pub(super) fn traffic(&self, place: usize) -> [Traffic; 2] {
        let lanes = &self.places[place];
        [lanes.up.traffic(), lanes.down.traffic()]
    }

    /// Packets for nobody here.
    pub(super) const fn unrouted(&self) -> u64 {
        self.unrouted
    }

    /// A place sends a packet.
    pub(super) fn offer(&mut self, now: Duration, from: usize, packet: Vec<u8>) {
        let Some(to) = destination(&packet).filter(|to| *to < self.places.len()) else {
            self.unrouted += 1;
            return;
        };
        let up = &mut self.places[from].up;
        if self.cut.contains(&(from, to)) {
            up.cut();
            return;
        }
        if let Some(passage) = up.offer(now, size(&packet)) {
            let flight = Flight {
                from,
                to,
                is_down: false,
                packet,
            };
            self.take_off(passage.at, passage.copies, flight);
        }
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next packet that is due by `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Arrival> {
        while self.next().is_some_and(|at| at <= now) {
            let ((at, _), mut flight) = self.flights.pop_first()?;
            let bytes = size(&flight.packet);
            if flight.is_down {
                if self.places[flight.to].down.emerge(at, bytes) {
                    return Some(Arrival {
                        at,
                        place: flight.to,
                        packet: flight.packet,
                    });
                }
            } else if self.places[flight.from].up.emerge(at, bytes)
                // The time at which it came out, however late this is looked at.
                && let Some(passage) = self.places[flight.to].down.offer(at, bytes)
            {
                flight.is_down = true;
                self.take_off(passage.at, passage.copies, flight);
            }
        }
        None
    }

    fn take_off(&mut self, at: Duration, copies: u32, flight: Flight) {
        for _ in 1..copies {
            let copy = Flight {
                packet: flight.packet.clone(),
                ..flight
            };
            self.insert(at, copy);
        }
        self.insert(at, flight);
    }

    fn insert(&mut self, at: Duration, flight: Flight) {
        self.flights.insert((at, self.number), flight);
        self.number += 1;
    }
}

/// The number of the place that an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let address = packet.get(16..20).filter(|address| is_v4 && address[..2] == NETWORK)?;
    (usize::from(address[2]) * 256 + usize::from(address[3])).checked_sub(FIRST)
}

fn size(packet: &[u8]) -> u32 {
    u32::try_from(packet.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::shape::{Loss, Outage, Reorder, Shape};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(to: u8, bytes: usize, number: u8) -> Vec<u8> {
        let mut packet = vec![0; bytes];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[10, 77, 0, to + 2]);
        packet[20] = number;
        packet
    }

    fn link(mbit: f64, delay: Duration) -> Link {
        Link::both(Shape {
            mbit: Some(mbit),
            delay,
            ..Shape::default()
        })
    }

    #[test]
    fn a_packet_goes_up_and_down_and_no_further() {
        let mut fabric = Fabric::new(1, &[link(8.0, 10 * MS), link(4.0, 30 * MS), Link::default()]);
        // 1 ms up at 8 Mbit/s, 10 ms, 2 ms down at 4 Mbit/s, 30 ms.
        fabric.offer(5 * MS, 0, packet(1, 1000, 7));
        assert_eq!(fabric.next(), Some(16 * MS));
        assert_eq!(fabric.due(47 * MS), None, "it is on the way down");
        assert_eq!(fabric.next(), Some(48 * MS));
        let arrival = fabric.due(60 * MS).expect("it is due");
        assert_eq!(
            (arrival.at, arrival.place),
            (48 * MS, 1),
            "by its own time, however late"
        );
        assert_eq!(arrival.packet, packet(1, 1000, 7));
        fabric.offer(MS, 0, packet(3, 100, 0));
        fabric.offer(MS, 0, vec![0x60; 40]);
        fabric.offer(MS, 0, vec![0x45; 19]);
        assert_eq!((fabric.unrouted(), fabric.next()), (3, None));
    }

    #[test]
    fn one_direction_of_one_pair_can_be_cut() {
        let mut fabric = Fabric::new(1, &[Link::default(); 3]);
        fabric.set_path(0, 1, false);
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
            fabric.offer(MS, from, packet(u8::try_from(to).expect("small"), 100, 0));
        }
        let arrived: Vec<_> = std::iter::from_fn(|| fabric.due(MS))
            .map(|arrival| arrival.place)
            .collect();
        assert_eq!(arrived, [0, 2, 1]);
        assert_eq!(fabric.traffic(0)[0].outage, 1);
        fabric.set_path(0, 1, true);
        fabric.offer(2 * MS, 0, packet(1, 100, 0));
        assert!(fabric.due(2 * MS).is_some());
    }

    #[test]
    fn two_senders_share_a_downlink_in_the_order_in_which_they_reach_it() {
        let mut fabric = Fabric::new(1, &[link(80.0, 9 * MS), link(80.0, 2 * MS), link(8.0, MS)]);
        fabric.offer(Duration::ZERO, 0, packet(2, 1000, 1));
        fabric.offer(5 * MS, 1, packet(2, 1000, 2));
        let order: Vec<_> = std::iter::from_fn(|| fabric.due(100 * MS))
            .map(|arrival| (arrival.packet[20], arrival.at))
            .collect();
        // The second is there at 7.1 ms and sent until 8.1; the first comes at 9.1.
        assert_eq!(order, [(2, 91 * MS / 10), (1, 111 * MS / 10)]);
    }

    #[test]
    fn every_packet_is_delivered_or_counted_as_dropped() {
        let rough = Shape {
            mbit: Some(0.6),
            queue: Some(20_000),
            delay: 10 * MS,
            jitter: 5 * MS,
            loss: Loss::bursty(0.1, 5.0),
            reorder: Reorder { share: 0.1, by: 4 * MS },
            duplicate: 0.1,
            mtu: Some(1400),
            outage: Outage::Flapping {
                up: 80 * MS,
                down: 20 * MS,
            },
        };
        let mut fabric = Fabric::new(9, &[Link::both(rough); 3]);
        let mut seed = Seed::new(4);
        let (mut now, mut arrived) = (Duration::ZERO, 0);
        for number in 0..20_000 {
            now += MS * u32::try_from(seed.below(4)).expect("small");
            let bytes = usize::try_from(100 + seed.below(1400)).expect("small");
            let to = u8::try_from(seed.below(3)).expect("small");
            fabric.offer(now, number % 3, packet(to, bytes, 0));
            while fabric.due(now).is_some() {
                arrived += 1;
            }
        }
        while fabric.due(now + Duration::from_secs(60)).is_some() {
            arrived += 1;
        }
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for place in 0..3 {
            let [above, below] = fabric.traffic(place);
            up.push(above);
            down.push(below);
        }
        let sum = |lanes: &[Traffic], of: fn(&Traffic) -> u64| lanes.iter().map(of).sum::<u64>();
        for lanes in [&up, &down] {
            let gone = sum(lanes, |lane| lane.packets + lane.dropped());
            assert_eq!(sum(lanes, |lane| lane.offered + lane.duplicated), gone);
        }
        let causes: [fn(&Traffic) -> u64; 5] = [
            |lane| lane.queue,
            |lane| lane.loss,
            |lane| lane.outage,
            |lane| lane.oversize,
            |lane| lane.reordered,
        ];
        for of in causes {
            assert!(sum(&up, of) > 0, "everything that can happen did: {up:?}");
        }
        assert_eq!(sum(&up, |lane| lane.offered), 20_000);
        assert_eq!(sum(&up, |lane| lane.packets), sum(&down, |lane| lane.offered));
        assert_eq!(sum(&down, |lane| lane.packets), arrived);
    }
}
