//! The contract of one scheduler against a scripted neighbourhood. What many of them do together is for `simulations`.

use std::sync::Arc;
use std::time::Duration;

use super::io::{DisconnectReason, Distance, FetchFault, PeerInfo, Refusal};
use super::*;
use crate::id::{ManifestId, Part};
use crate::limits::{GROUP_BYTES, REQUEST_BYTES_MAX, REQUEST_RANGES_MAX};
use crate::manifest::blocks::{Block, BlockTable};
use crate::wire::message::SwarmMessage;

mod asking;
mod believing;
mod counting;
mod healing;
mod introductions;
mod random;
mod seeding;
mod serving;
mod slots;
mod stalls;
mod takers;

const ME: NodeId = NodeId([0; 32]);
const A: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);
const C: NodeId = NodeId([3; 32]);
const LAYOUT: LayoutId = LayoutId {
    manifest: ManifestId([9; 32]),
    part: Part::Payload,
};

fn table(blocks: u32, groups: u32) -> Arc<BlockTable> {
    let block = |at| Block {
        first_group: at * groups,
        groups,
        bytes: u64::from(groups) * GROUP_BYTES,
    };
    Arc::new(BlockTable::new((0..blocks).map(block).collect()))
}

/// A scheduler under test, its clock, and what it put out.
struct Bench {
    swarm: Swarm,
    now: Timestamp,
    out: Vec<Output>,
}

impl Bench {
    fn new(role: Role) -> Self {
        Self {
            swarm: Swarm::new(&SwarmConfig::unlimited(role), ME, 7, Timestamp::ZERO),
            now: Timestamp::ZERO,
            out: Vec::new(),
        }
    }

    /// A node with a layout of 64 blocks of one group, `held` of them, wanting all.
    fn with_layout(role: Role, held: RangeSet) -> Self {
        let mut bench = Self::new(role);
        bench.open(table(64, 1), held);
        bench
    }

    fn open(&mut self, table: Arc<BlockTable>, held: RangeSet) {
        self.open_as(LAYOUT, table, held);
    }

    fn open_as(&mut self, layout: LayoutId, table: Arc<BlockTable>, held: RangeSet) {
        let wanted = if self.swarm.role == Role::Origin {
            Bits::none(table.len())
        } else {
            Bits::all(table.len())
        };
        self.input(Input::Open(OpenTransfer {
            layout,
            table,
            wanted,
            durable: held,
            volatile: RangeSet::new(),
            priority: 0,
            product: 5,
        }));
    }

    fn input(&mut self, input: Input) {
        let out = &mut self.out;
        step(&mut self.swarm, self.now, input, &mut |output| out.push(output));
        self.swarm.check();
    }

    /// Lets time pass, with every timer on its way.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some((at, _)) = self.swarm.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::TimedOut);
        }
        self.now = end;
    }

    fn meet(&mut self, peer: NodeId, distance: Distance) {
        let info = PeerInfo {
            distance,
            serves: true,
            domain: 1,
        };
        self.input(Input::PeerUp { peer, info });
        self.input(Input::PeerCovers {
            peer,
            product: 5,
            info,
            fed: true,
        });
        self.pass(Duration::from_millis(60));
    }

    fn hear(&mut self, peer: NodeId, message: SwarmMessage) {
        self.input(Input::Message { peer, message });
    }

    /// `peer` says that it has `have` and wants all.
    fn status(&mut self, peer: NodeId, have: &RangeSet, blocks: u32) {
        let mut bits = Bits::none(blocks);
        for block in have.iter() {
            bits.set(block, true);
        }
        self.hear(
            peer,
            SwarmMessage::Status {
                number: 0,
                layout: LAYOUT,
                ask: false,
                durable: bits.clone(),
                have: bits,
                want: Bits::all(blocks),
            },
        );
    }

    fn fetches(&self) -> Vec<(RequestId, NodeId, RangeSet)> {
        let fetches = self.out.iter().filter_map(|output| match output {
            Output::Fetch {
                request, peer, groups, ..
            } => Some((*request, *peer, groups.clone())),
            _ => None,
        });
        fetches.collect()
    }

    fn said(&self, peer: NodeId) -> Vec<SwarmMessage> {
        let said = self.out.iter().filter_map(|output| match output {
            Output::Send { peer: to, message } if *to == peer => Some(message.clone()),
            _ => None,
        });
        said.collect()
    }

    fn disconnected(&self) -> Option<(NodeId, DisconnectReason)> {
        self.out.iter().find_map(|output| match output {
            Output::Disconnect { peer, reason, .. } => Some((*peer, *reason)),
            _ => None,
        })
    }

    fn ask(&mut self, serve: u64, peer: NodeId, groups: RangeSet) {
        self.input(Input::ServeAsked {
            serve: ServeId(serve),
            peer,
            layout: LAYOUT,
            groups,
        });
    }

    /// A sign of life for `request` that brings nothing.
    fn drip(&mut self, request: RequestId) {
        let groups = RangeSet::new();
        self.input(Input::FetchVerified {
            request,
            groups,
            bytes: 0,
        });
    }

    /// Answers the oldest fetch of `peer` whole.
    fn deliver(&mut self, peer: NodeId) {
        let fetches = self.fetches();
        let running = |request: &RequestId| self.swarm.requests.contains_key(request);
        let found = fetches
            .into_iter()
            .find(|(request, from, _)| *from == peer && running(request));
        let (request, _, groups) = found.expect("a running fetch");
        let bytes = groups.count() * GROUP_BYTES;
        self.input(Input::FetchVerified { request, groups, bytes });
        self.input(Input::FetchDone { request });
    }
}

fn all(blocks: u32) -> RangeSet {
    RangeSet::from(0..blocks)
}

#[test]
fn a_peer_hears_of_a_layout_only_when_it_is_covered_and_absent_is_the_answer_before() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    let info = PeerInfo {
        distance: Distance::Other,
        serves: true,
        domain: 1,
    };
    bench.input(Input::PeerUp { peer: A, info });
    bench.input(Input::PeerCovers {
        peer: A,
        product: 6,
        info,
        fed: true,
    });
    bench.status(A, &RangeSet::new(), 64);
    bench.ask(1, A, RangeSet::from(0..1));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.said(A), []);
    let refused = Output::Refuse {
        serve: ServeId(1),
        reason: Refusal::Absent,
    };
    assert!(bench.out.contains(&refused), "{:?}", bench.out);
    bench.input(Input::PeerCovers {
        peer: A,
        product: 5,
        info,
        fed: true,
    });
    bench.pass(Duration::from_millis(1));
    assert!(matches!(bench.said(A)[..], [SwarmMessage::Status { ask: true, .. }]));
}

#[test]
fn verified_blocks_are_told_within_fifty_milliseconds_and_together() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.meet(B, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.out.retain(|output| matches!(output, Output::Fetch { .. }));
    bench.deliver(A);
    bench.deliver(A);
    bench.pass(Duration::from_millis(50));
    let told: Vec<SwarmMessage> = bench.said(B);
    let blocks = |message: &SwarmMessage| match message {
        SwarmMessage::Have { blocks, .. } => blocks.count(),
        _ => 0,
    };
    assert_eq!(
        told.iter().map(blocks).sum::<u64>(),
        bench.swarm.transfers[&LAYOUT].held.count()
    );
    assert!(told.len() <= 2, "{told:?}");
}

#[test]
fn requests_stay_within_their_bounds_on_huge_and_scattered_layouts() {
    let mut bench = Bench::new(Role::Site);
    let mut held = RangeSet::new();
    for block in (0..4096).step_by(2) {
        held.insert(block * 64..block * 64 + 63);
    }
    bench.open(table(4096, 64), held);
    bench.meet(A, Distance::Other);
    bench.status(A, &all(4096), 4096);
    for _ in 0..200 {
        bench.now = bench.now.after(Duration::from_micros(300));
        bench.deliver(A);
    }
    let fetches = bench.fetches();
    let largest = fetches.iter().map(|(_, _, groups)| groups.count() * GROUP_BYTES).max();
    assert!(
        largest.is_some_and(|most| (8 << 20..=REQUEST_BYTES_MAX).contains(&most)),
        "{largest:?}"
    );
    assert!(
        fetches
            .iter()
            .all(|(_, _, groups)| groups.ranges().len() <= REQUEST_RANGES_MAX)
    );
}

#[test]
fn a_busy_peer_is_left_alone_for_as_long_as_it_says() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let asked = bench.fetches();
    for (request, ..) in &asked {
        let fault = FetchFault::Busy(Duration::from_secs(2));
        bench.input(Input::FetchFailed {
            request: *request,
            fault,
        });
    }
    bench.pass(Duration::from_millis(1_900));
    assert_eq!(bench.fetches().len(), asked.len());
    bench.pass(Duration::from_secs(2));
    assert!(bench.fetches().len() > asked.len());
}

#[test]
fn garbage_is_told_of_avoided_and_after_three_times_quarantined_across_restarts() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    for strike in 0..3 {
        assert_eq!(bench.disconnected(), None, "strike {strike}");
        bench.pass(Duration::from_secs(1));
        let running = bench.swarm.requests.iter();
        let running: Vec<_> = running.map(|(id, request)| (*id, request.left.clone())).collect();
        assert!(!running.is_empty(), "asks again");
        // What was asked before the peer was told counts once, however much of it there is.
        for (request, bad) in running {
            let fault = FetchFault::Invalid;
            bench.input(Input::FetchFailed { request, fault });
            let again = bench.fetches().iter().filter(|(_, _, groups)| *groups == bad).count();
            assert_eq!(again, 1, "not asked of the same peer again");
        }
    }
    assert_eq!(bench.disconnected(), Some((A, DisconnectReason::ServedGarbage)));
    bench.pass(Duration::from_millis(60));
    let told = |message: &SwarmMessage| matches!(message, SwarmMessage::Rejected { .. });
    assert!(bench.said(A).iter().any(told));
    let memory = bench.swarm.snapshot(bench.now);
    let mut next = Bench::with_layout(Role::Site, RangeSet::new());
    next.swarm.restore(Timestamp::ZERO, &memory);
    next.meet(A, Distance::Other);
    assert_eq!(next.disconnected().map(|(peer, _)| peer), Some(A));
}

#[test]
fn a_peer_that_has_not_what_it_says_is_let_go_but_an_origin_never() {
    for (distance, expected) in [
        (Distance::Other, Some((A, DisconnectReason::LiedAboutHaves))),
        (Distance::Origin, None),
    ] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
        bench.meet(A, distance);
        bench.status(A, &all(64), 64);
        let absent = |bench: &mut Bench, times: usize| {
            for _ in 0..times {
                let running = bench.swarm.requests.iter().next().map(|(id, _)| *id);
                let Some(request) = running else { break };
                let fault = FetchFault::Absent;
                bench.input(Input::FetchFailed { request, fault });
            }
        };
        let asked = bench.swarm.requests.len();
        absent(&mut bench, asked);
        assert_eq!(bench.disconnected(), None, "it may just have let go of it all");
        for _ in 0..20 {
            bench.pass(Duration::from_millis(50));
            absent(&mut bench, 2);
        }
        assert_eq!(bench.disconnected(), expected);
    }
}

#[test]
fn a_peer_that_cannot_read_its_disk_is_left_alone_for_longer_and_longer_and_never_quarantined() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    for _ in 0..60 {
        while let Some(request) = bench.swarm.requests.iter().next().map(|(id, _)| *id) {
            let fault = FetchFault::Unreadable;
            bench.input(Input::FetchFailed { request, fault });
        }
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.disconnected(), None);
    let asked = bench.fetches().len();
    assert!(asked < 30, "{asked} asks in a minute");
}

#[test]
fn a_peer_whose_connections_end_in_garbage_is_kept_out_at_the_third() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    for end in 0..3 {
        assert_eq!(bench.disconnected(), None, "end {end}");
        bench.meet(A, Distance::Other);
        bench.input(Input::PeerBroke { peer: A });
        bench.input(Input::PeerDown { peer: A });
    }
    assert_eq!(bench.disconnected(), Some((A, DisconnectReason::Misbehaved)));
}

#[test]
fn a_flood_of_messages_or_of_refused_asks_is_misbehaviour() {
    for asks in [false, true] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
        bench.meet(A, Distance::Other);
        for at in 0..1_300u64 {
            if asks {
                bench.ask(at, A, RangeSet::from(0..1));
            } else {
                bench.hear(A, SwarmMessage::Close { number: 3 });
            }
        }
        assert_eq!(bench.disconnected(), Some((A, DisconnectReason::Misbehaved)));
    }
}

#[test]
fn an_origin_shows_each_block_to_one_of_two_and_everything_to_one_alone() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::new(), 64);
    let shown = |bench: &Bench, peer: NodeId| bench.swarm.peers[&peer].lines[&LAYOUT].shown.clone();
    assert!(shown(&bench, A).is_full(), "alone");
    bench.meet(B, Distance::Other);
    bench.status(B, &RangeSet::new(), 64);
    bench.pass(Duration::from_millis(60));
    let (to_a, to_b) = (shown(&bench, A), shown(&bench, B));
    assert_eq!(to_a.count_common(&to_b), 0, "each block to one of them");
    assert!(to_b.count() >= 2 && to_a.count() >= 2, "both have something to do");
    let hidden = |message: &SwarmMessage| matches!(message, SwarmMessage::Lost { .. });
    assert!(bench.said(A).iter().any(hidden));
    let other = to_b.iter().next().expect("some");
    bench.ask(1, A, RangeSet::from(other..other + 1));
    let refused = Output::Refuse {
        serve: ServeId(1),
        reason: Refusal::Absent,
    };
    assert!(bench.out.contains(&refused), "what is not shown is not given");
}

#[test]
fn a_block_whose_volatile_holder_leaves_is_shown_to_another_at_once_and_a_durable_one_later() {
    for (is_durable, wait) in [(false, Duration::ZERO), (true, Duration::from_secs(31))] {
        let mut bench = Bench::with_layout(Role::Origin, all(64));
        bench.meet(A, Distance::Other);
        bench.meet(B, Distance::Other);
        // B wants block 0 only; A has it, alone.
        bench.status(A, &RangeSet::from(0..1), 64);
        if !is_durable {
            let mut have = Bits::none(64);
            have.set(0, true);
            bench.hear(
                A,
                SwarmMessage::Status {
                    number: 0,
                    layout: LAYOUT,
                    ask: false,
                    durable: Bits::none(64),
                    want: Bits::all(64),
                    have,
                },
            );
        }
        bench.status(B, &RangeSet::from(1..64), 64);
        let shown = |bench: &Bench| bench.swarm.peers[&B].lines[&LAYOUT].shown.get(0);
        assert!(!shown(&bench), "A can give it");
        bench.input(Input::PeerDown { peer: A });
        assert_eq!(shown(&bench), !is_durable);
        bench.pass(wait);
        assert!(shown(&bench));
    }
}
