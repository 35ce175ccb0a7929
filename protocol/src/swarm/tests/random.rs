//! Whatever happens, in whatever order, leaves the state sound.

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

/// One random thing that may happen to a node with three peers.
#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u16),
    Up(u8),
    Down(u8),
    Broke(u8),
    Bothered(u8),
    Status(u8, u64),
    Say(u8, Word, u32),
    Deliver(u8),
    Fail(u8, u8),
    Late(u8),
    Ask(u8, u32, u32),
    Sent(u8),
    Cancelled(u8),
    Unreadable(u8),
    OwnLost(u32),
    Durable(u32),
    Wanted(u64),
    Limits(u32),
    Reopen,
}

/// What a peer says of one block, or of the layout.
#[derive(Debug, Clone, Copy)]
enum Word {
    Have,
    Durable,
    Lost,
    Rejected,
    Want,
    Close,
}

fn any_step() -> impl Strategy<Value = Step> {
    let one = || 0u8..3;
    let word = prop_oneof![
        4 => Just(Word::Have),
        2 => Just(Word::Lost),
        1 => Just(Word::Durable),
        1 => Just(Word::Rejected),
        1 => Just(Word::Want),
        1 => Just(Word::Close),
    ];
    prop_oneof![
        3 => (1u16..800).prop_map(Step::Pass),
        1 => one().prop_map(Step::Up),
        1 => one().prop_map(Step::Down),
        1 => one().prop_map(Step::Broke),
        1 => one().prop_map(Step::Bothered),
        3 => (one(), any::<u64>()).prop_map(|(peer, seed)| Step::Status(peer, seed)),
        3 => (one(), word, 0u32..40).prop_map(|(peer, word, block)| Step::Say(peer, word, block)),
        8 => any::<u8>().prop_map(Step::Deliver),
        2 => (any::<u8>(), 0u8..6).prop_map(|(at, fault)| Step::Fail(at, fault)),
        2 => any::<u8>().prop_map(Step::Late),
        3 => (one(), 0u32..40, 1u32..6).prop_map(|(peer, start, len)| Step::Ask(peer, start, len)),
        4 => any::<u8>().prop_map(Step::Sent),
        1 => any::<u8>().prop_map(Step::Cancelled),
        1 => any::<u8>().prop_map(Step::Unreadable),
        1 => (0u32..120).prop_map(Step::OwnLost),
        1 => (0u32..120).prop_map(Step::Durable),
        1 => any::<u64>().prop_map(Step::Wanted),
        1 => any::<u32>().prop_map(Step::Limits),
        1 => Just(Step::Reopen),
    ]
}

fn name(peer: u8) -> NodeId {
    [A, B, C][usize::from(peer)]
}

/// About every second block.
fn some_blocks(seed: u64) -> Bits {
    let (mut rng, mut blocks) = (Rng::new(seed), Bits::none(40));
    for block in 0..40 {
        blocks.set(block, rng.one_in(2));
    }
    blocks
}

/// A [`Bench`] whose shell keeps the contract of `io` whatever it is told to do, and holds the scheduler to it.
struct Shell {
    bench: Bench,
    serve: u64,
    /// Fetches that the scheduler has taken back: their bytes may come all the same.
    late: Vec<(NodeId, Distance, RangeSet)>,
    /// Serves that were taken back, refused or could not be read, which no output may name any more.
    over: BTreeSet<ServeId>,
}

impl Shell {
    /// One step, and then: what of it the scheduler has dropped by itself, and whether it still speaks of what is over.
    fn play(&mut self, step: Step) {
        let running: Vec<(RequestId, NodeId, RangeSet)> = self.running();
        let from = self.bench.out.len();
        let reported = self.take(step);
        for (request, peer, left) in running {
            if reported != Some(request) && !self.bench.swarm.requests.contains_key(&request) {
                self.late.push((peer, self.distance(request), left));
            }
        }
        for output in &self.bench.out[from..] {
            if let Output::Serve { serve, .. } | Output::Refuse { serve, .. } = output {
                assert!(!self.over.contains(serve), "{output:?} of what is over");
            }
            if let Output::Refuse { serve, .. } = output {
                self.over.insert(*serve);
            }
        }
    }

    fn running(&self) -> Vec<(RequestId, NodeId, RangeSet)> {
        let requests = self.bench.swarm.requests.iter();
        requests
            .map(|(id, request)| (*id, request.peer, request.left.clone()))
            .collect()
    }

    fn distance(&self, asked: RequestId) -> Distance {
        let mut distances = self.bench.out.iter().filter_map(|output| match output {
            Output::Fetch { request, distance, .. } if *request == asked => Some(*distance),
            _ => None,
        });
        distances.next_back().expect("what runs was asked for")
    }

    /// Hands in what the step says; the request whose end it reported.
    fn take(&mut self, step: Step) -> Option<RequestId> {
        match step {
            Step::Deliver(at) => return Self::deliver(&mut self.bench, at),
            Step::Fail(at, fault) => return Self::fail(&mut self.bench, at, fault),
            Step::Up(_) | Step::Down(_) | Step::Broke(_) | Step::Bothered(_) | Step::Status(..) | Step::Say(..) => {
                self.peer(step);
            }
            Step::Ask(..) | Step::Sent(_) | Step::Cancelled(_) | Step::Unreadable(_) => self.serving(step),
            _ => self.own(step),
        }
        None
    }

    fn peer(&mut self, step: Step) {
        let bench = &mut self.bench;
        let is_up = |bench: &Bench, peer: u8| bench.swarm.peers.contains_key(&name(peer));
        match step {
            Step::Up(peer) if !is_up(bench, peer) => {
                let distance = [Distance::Other, Distance::Site, Distance::Origin][usize::from(peer)];
                bench.meet(name(peer), distance);
            }
            Step::Down(at) if is_up(bench, at) => {
                let peer = name(at);
                let gone = bench.swarm.serves.iter().filter(|(_, serve)| serve.peer == peer);
                self.over.extend(gone.map(|(id, _)| *id));
                bench.input(Input::PeerDown { peer });
            }
            Step::Broke(at) if is_up(bench, at) => bench.input(Input::PeerBroke { peer: name(at) }),
            Step::Bothered(at) if is_up(bench, at) => {
                // As many as are too many within a second or two, so that steps with others make a flood.
                for _ in 0..150 {
                    bench.input(Input::PeerBothered { peer: name(at) });
                }
            }
            Step::Status(peer, seed) => {
                let have = some_blocks(seed);
                let have = have.iter().map(|block| block..block + 1);
                bench.status(name(peer), &have.collect(), 40);
            }
            Step::Say(peer, word, at) => {
                let (number, blocks) = (0, RangeSet::from(at..at + 1));
                let message = match word {
                    Word::Have => SwarmMessage::Have { number, blocks },
                    Word::Durable => SwarmMessage::Durable { number, blocks },
                    Word::Lost => SwarmMessage::Lost { number, blocks },
                    Word::Rejected => SwarmMessage::Rejected { number, blocks },
                    Word::Want => SwarmMessage::Want {
                        number,
                        want: some_blocks(u64::from(at)),
                    },
                    Word::Close => SwarmMessage::Close { number },
                };
                bench.hear(name(peer), message);
            }
            _ => {}
        }
    }

    fn serving(&mut self, step: Step) {
        match step {
            Step::Ask(peer, start, len) => {
                self.serve += 1;
                let groups = RangeSet::from(start * 3..(start + len) * 3);
                self.bench.ask(self.serve, name(peer), groups);
            }
            Step::Sent(at) => Self::sent(&mut self.bench, at),
            Step::Cancelled(at) => {
                if let Some(serve) = self.one_serve(at) {
                    self.over.insert(serve);
                    self.bench.input(Input::ServeCancelled { serve });
                }
            }
            Step::Unreadable(at) => {
                if let Some(serve) = self.one_serve(at) {
                    self.over.insert(serve);
                    self.bench.input(Input::ServeFailed { serve });
                    let at = u32::from(at) % 120;
                    self.bench.input(Input::Lost {
                        layout: LAYOUT,
                        groups: RangeSet::from(at..at + 1),
                    });
                }
            }
            _ => {}
        }
    }

    /// What happens to the node by itself: time, its disk, its operator, bytes that nobody waits for any more.
    fn own(&mut self, step: Step) {
        if let Step::Late(at) = step {
            self.bring_late(at);
            return;
        }
        let bench = &mut self.bench;
        match step {
            Step::Pass(ms) => bench.pass(Duration::from_millis(u64::from(ms))),
            Step::OwnLost(at) => bench.input(Input::Lost {
                layout: LAYOUT,
                groups: RangeSet::from(at..at + 1),
            }),
            Step::Durable(at) => {
                let held = bench.swarm.transfers[&LAYOUT].held.contains(at);
                let groups = RangeSet::from(at..at + u32::from(held));
                bench.input(Input::Durable { layout: LAYOUT, groups });
            }
            Step::Wanted(seed) => bench.input(Input::Wanted {
                layout: LAYOUT,
                wanted: some_blocks(seed),
            }),
            Step::Limits(rate) => {
                let rate = (rate % 3 > 0).then_some(crate::units::ByteRate(u64::from(rate)));
                let limits = Limits {
                    up: rate,
                    down: rate,
                    ..bench.swarm.limits
                };
                bench.input(Input::Limits(limits));
            }
            Step::Reopen => {
                let held = bench.swarm.transfers[&LAYOUT].held.clone();
                bench.input(Input::Close { layout: LAYOUT });
                bench.open(table(40, 3), held);
            }
            _ => {}
        }
    }

    fn one_serve(&self, at: u8) -> Option<ServeId> {
        let serves: Vec<ServeId> = self.bench.swarm.serves.keys().copied().collect();
        serves.get(usize::from(at) % serves.len().max(1)).copied()
    }

    /// Some of what a fetch that is over for the scheduler had still to bring.
    fn bring_late(&mut self, at: u8) {
        if self.late.is_empty() {
            return;
        }
        let (peer, distance, mut left) = self.late.swap_remove(usize::from(at) % self.late.len());
        let groups = transfer::first_groups(&left, u64::from(at % 4) + 1);
        left.subtract(&groups);
        if !left.is_empty() {
            self.late.push((peer, distance, left));
        }
        let bytes = groups.count() * GROUP_BYTES;
        self.bench.input(Input::FetchedLate {
            peer,
            distance,
            layout: LAYOUT,
            groups,
            bytes,
        });
    }

    fn deliver(bench: &mut Bench, at: u8) -> Option<RequestId> {
        let request = Self::one_running(bench, at)?;
        if at.is_multiple_of(3) {
            bench.input(Input::FetchBegun { request });
            return None;
        }
        let left = bench.swarm.requests[&request].left.clone();
        let groups = transfer::first_groups(&left, u64::from(at % 4) + 1);
        let (bytes, is_last) = (groups.count() * GROUP_BYTES, groups == left);
        bench.input(Input::FetchVerified { request, groups, bytes });
        if is_last {
            bench.input(Input::FetchDone { request });
        }
        is_last.then_some(request)
    }

    fn fail(bench: &mut Bench, at: u8, fault: u8) -> Option<RequestId> {
        let request = Self::one_running(bench, at)?;
        let fault = match fault {
            0 => FetchFault::Invalid,
            1 => FetchFault::Busy(Duration::from_millis(300)),
            2 => FetchFault::Absent,
            3 => FetchFault::Broken,
            4 => FetchFault::Unreadable,
            _ => FetchFault::Local,
        };
        bench.input(Input::FetchFailed { request, fault });
        Some(request)
    }

    fn one_running(bench: &Bench, at: u8) -> Option<RequestId> {
        let running: Vec<RequestId> = bench.swarm.requests.keys().copied().collect();
        running.get(usize::from(at) % running.len().max(1)).copied()
    }

    fn sent(bench: &mut Bench, at: u8) {
        let issued: Vec<(ServeId, u64)> = bench
            .swarm
            .serves
            .iter()
            .map(|(id, serve)| (*id, serve.issued))
            .collect();
        let Some((serve, issued)) = issued.get(usize::from(at) % issued.len().max(1)).copied() else {
            return;
        };
        let groups = u32::try_from(issued / GROUP_BYTES).expect("few").min(2);
        bench.input(Input::ServeSent {
            serve,
            groups: RangeSet::from(0..groups),
            bytes: u64::from(groups) * GROUP_BYTES,
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_state_is_sound_whatever_happens(origin in any::<bool>(), steps in prop::collection::vec(any_step(), 0..200)) {
        let role = if origin { Role::Origin } else { Role::Site };
        let mut bench = Bench::new(role);
        bench.open(table(40, 3), if origin { all(120) } else { RangeSet::from(0..30) });
        bench.meet(A, Distance::Other);
        bench.meet(B, Distance::Site);
        bench.meet(C, Distance::Origin);
        let mut shell = Shell { bench, serve: 0, late: Vec::new(), over: BTreeSet::new() };
        for step in steps {
            shell.play(step);
        }
    }
}
