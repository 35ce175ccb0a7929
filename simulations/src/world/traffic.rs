//! What goes over the links, and what the schedulers' outputs do.

use samara_protocol::id::{LayoutId, NodeId, RequestId, ServeId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::swarm::event::Event as Fact;
use samara_protocol::swarm::io::{FetchFault, Input, Output, Refusal};
use samara_protocol::tree::geometry::GroupIndex;
use samara_protocol::tree::ranges::RangeSet;

use super::{Event, FRAME, FULL_DISK_RETRY, Load, Parcel, REDIAL, Release, World};
use crate::link::Chunk;
use crate::node::{Ask, Fetch};
use crate::scenario::Behaviour;

/// Groups that leave together at the most.
pub(super) const PIECE_GROUPS: usize = 4;

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, parcel: Parcel) {
        if let Some(connection) = self.connection(from, to) {
            let at = self.opens_at(from, to).after(connection.latency);
            self.at(at, Event::Reach(from, to, connection.number, Box::new(parcel)));
        }
    }

    pub(super) fn reach(&mut self, from: usize, to: usize, parcel: Parcel) {
        if !self.nodes[to].alive {
            return;
        }
        match parcel {
            Parcel::Message(message) => {
                let peer = self.ids[from];
                self.step(to, Input::Message { peer, message });
            }
            Parcel::Ask(request, layout, groups) => self.asked(from, to, request, layout, groups),
            Parcel::Cancel(request) => {
                let asks = self.nodes[to].asks.iter();
                let found = asks.filter(|(_, ask)| ask.by == from && ask.request == request);
                let serve = found.map(|(serve, _)| *serve).next();
                if let Some(serve) = serve {
                    self.nodes[to].asks.remove(&serve);
                    self.links.retain(to, from, |load| load.serve != serve);
                    self.step(to, Input::ServeCancelled { serve });
                }
            }
            Parcel::Begun(request) => {
                if self.nodes[to].fetches.contains_key(&request) {
                    self.step(to, Input::FetchBegun { request });
                }
            }
            Parcel::Refusal(request, reason) => {
                if self.nodes[to].fetches.remove(&request).is_some() {
                    let fault = match reason {
                        Refusal::Busy(pause) => FetchFault::Busy(pause),
                        Refusal::Absent => FetchFault::Absent,
                    };
                    self.step(to, Input::FetchFailed { request, fault });
                }
            }
            Parcel::Broken(request, bytes) => {
                self.nodes[to].received += bytes;
                self.nodes[to].wasted += bytes;
                if self.nodes[to].fetches.remove(&request).is_some() {
                    let fault = FetchFault::Broken;
                    self.step(to, Input::FetchFailed { request, fault });
                }
            }
            Parcel::Payload(request, layout, groups, bad, last) => {
                self.payload(from, to, (request, layout), &groups, &bad, last);
            }
        }
    }

    pub(super) fn asked(&mut self, by: usize, node: usize, request: RequestId, layout: LayoutId, groups: RangeSet) {
        match self.nodes[node].nature.behaviour {
            Behaviour::Stall => return,
            Behaviour::LyingHaves => {
                self.send(node, by, Parcel::Refusal(request, Refusal::Absent));
                return;
            }
            _ => {}
        }
        let serve = ServeId(self.next_serve);
        self.next_serve += 1;
        let breaks = self.rng.unit() < self.scenario.broken_replies;
        let ask = Ask {
            by,
            request,
            layout,
            prover: self.release(layout).prover.clone(),
            begun: false,
            breaks,
        };
        self.nodes[node].asks.insert(serve, ask);
        let peer = self.ids[by];
        self.step(
            node,
            Input::ServeAsked {
                serve,
                peer,
                layout,
                groups,
            },
        );
    }

    /// Groups arrive: they are verified at once.
    pub(super) fn payload(
        &mut self,
        from: usize,
        to: usize,
        what: (RequestId, LayoutId),
        groups: &RangeSet,
        bad: &RangeSet,
        last: bool,
    ) {
        let (request, layout) = what;
        let bytes = groups.count() * GROUP_BYTES;
        self.nodes[to].received += bytes;
        if !self.nodes[to].fetches.contains_key(&request) {
            self.nodes[to].wasted += bytes;
            return;
        }
        let good = groups.difference(bad);
        if self.nodes[to].full_until > self.now {
            self.nodes[to].wasted += bytes;
            self.give_up(to, layout);
            return;
        }
        if self.nodes[to].nature.behaviour == Behaviour::Greedy {
            self.throw_away(to, what, good);
        } else if !good.is_empty() {
            let disk = self.nodes[to].disk.get_or_default(layout);
            let again = good.intersection(&disk.held).count() * GROUP_BYTES;
            disk.held.union_with(&good);
            self.nodes[to].wasted += again;
            let bytes = good.count() * GROUP_BYTES;
            self.nodes[to].pace.gain(self.now, bytes - again);
            let groups = good;
            self.step(to, Input::FetchVerified { request, groups, bytes });
        }
        if !bad.is_empty() {
            self.nodes[to].wasted += bad.count() * GROUP_BYTES;
            self.nodes[to].fetches.remove(&request);
            self.send(to, from, Parcel::Cancel(request));
            let fault = FetchFault::Invalid;
            self.step(to, Input::FetchFailed { request, fault });
        } else if last && self.nodes[to].fetches.remove(&request).is_some() {
            self.step(to, Input::FetchDone { request });
        }
    }

    /// The disk takes nothing: the node stops, and tries again later.
    fn give_up(&mut self, node: usize, layout: LayoutId) {
        self.step(node, Input::Close { layout });
        let release = self.releases.iter().position(|release| release.layout == layout);
        if let Some(release) = release {
            self.at(self.now.after(FULL_DISK_RETRY), Event::Tell(node, release));
        }
    }

    /// Takes what came, so that more is asked for at once, and keeps nothing of it.
    fn throw_away(&mut self, node: usize, (request, layout): (RequestId, LayoutId), groups: RangeSet) {
        let bytes = groups.count() * GROUP_BYTES;
        let verified = Input::FetchVerified {
            request,
            groups: groups.clone(),
            bytes,
        };
        self.step(node, verified);
        self.step(node, Input::Lost { layout, groups });
    }

    /// Which groups of a chunk that leaves now will not verify; a good one that its sender does not hold is a violation.
    fn bad_of(&mut self, from: usize, layout: LayoutId, groups: &RangeSet) -> RangeSet {
        let node = &self.nodes[from];
        let Some(disk) = node.disk.get(&layout) else {
            return groups.clone();
        };
        let invented = groups.difference(&disk.held);
        match node.nature.behaviour {
            Behaviour::Garbage => return groups.clone(),
            Behaviour::Rotten => {
                // What was healed away since it was put on the link left as rotten as it was.
                let mut bad = disk.rotten.intersection(groups);
                bad.union_with(&invented);
                return bad;
            }
            _ => {}
        }
        if !invented.is_empty() {
            self.violations
                .push(format!("node {from} served what it does not hold: {invented:?}"));
        }
        RangeSet::new()
    }

    /// A chunk has left its sender.
    pub(super) fn left(&mut self, flow: usize, version: u32) {
        let Some((from, to, Chunk { bytes, load })) = self.links.finish(self.now, flow, version) else {
            return;
        };
        self.nodes[from].sent += bytes;
        self.begins(from, to);
        if self.nodes[from].asks.get(&load.serve).is_some_and(|ask| ask.breaks) {
            self.break_off(from, to, bytes, &load);
            return;
        }
        let bad = self.bad_of(from, load.layout, &load.groups);
        let parcel = Parcel::Payload(load.request, load.layout, load.groups.clone(), bad, load.last);
        self.send(from, to, parcel);
        if load.last {
            self.nodes[from].asks.remove(&load.serve);
        }
        let (serve, groups) = (load.serve, load.groups);
        self.step(from, Input::ServeSent { serve, groups, bytes });
    }

    /// A reply ends in the middle of what was leaving.
    fn break_off(&mut self, from: usize, to: usize, bytes: u64, load: &Load) {
        let serve = load.serve;
        self.nodes[from].asks.remove(&serve);
        self.links.retain(from, to, |other| other.serve != serve);
        self.send(from, to, Parcel::Broken(load.request, bytes));
        let groups = load.groups.clone();
        self.step(from, Input::ServeSent { serve, groups, bytes });
        self.step(from, Input::ServeCancelled { serve });
    }

    fn release(&self, layout: LayoutId) -> &Release {
        let release = self.releases.iter().find(|release| release.layout == layout);
        release.expect("all layouts are those of releases")
    }

    pub(super) fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { peer, message } => {
                if let Some(to) = self.find(node, peer)
                    && let Some(message) = self.nodes[node].says(message)
                {
                    self.weigh_message(node, &message);
                    self.nodes[node].control += message.encoded_len() as u64 + FRAME;
                    self.send(node, to, Parcel::Message(message));
                }
            }
            Output::Fetch {
                request,
                peer,
                layout,
                groups,
                ..
            } => {
                if let Some(to) = self.find(node, peer) {
                    self.nodes[node].control += 50 + 8 * groups.ranges().len() as u64 + FRAME;
                    self.nodes[node].fetches.insert(request, Fetch { peer: to, layout });
                    self.weigh_request(node, to, &groups);
                    self.send(node, to, Parcel::Ask(request, layout, groups));
                }
            }
            Output::CancelFetch { request } => {
                if let Some(fetch) = self.nodes[node].fetches.remove(&request) {
                    self.send(node, fetch.peer, Parcel::Cancel(request));
                }
            }
            Output::Serve { serve, groups, last } => self.serve(node, serve, &groups, last),
            Output::Refuse { serve, reason } => {
                if let Some(ask) = self.nodes[node].asks.remove(&serve) {
                    // What was granted of it and has not begun to leave is not sent any more.
                    self.links.retain(node, ask.by, |load| load.serve != serve);
                    self.send(node, ask.by, Parcel::Refusal(ask.request, reason));
                }
            }
            Output::Recheck { layout, groups } => {
                let disk = self.nodes[node].disk.get_or_default(layout);
                let bad = disk.rotten.intersection(&groups);
                disk.rotten.subtract(&bad);
                disk.held.subtract(&bad);
                disk.durable.subtract(&bad);
                if !bad.is_empty() {
                    self.nodes[node].finished.remove(&layout);
                    self.step(node, Input::Lost { layout, groups: bad });
                }
            }
            Output::Disconnect {
                peer,
                reason,
                quarantine,
            } => {
                if let Some(other) = self.find(node, peer) {
                    if !quarantine.is_zero() {
                        self.nodes[node].quarantined.insert(other, reason);
                    }
                    self.disconnect(node, other, Some(quarantine.max(REDIAL)));
                }
            }
            Output::Event(fact) => self.fact(node, fact),
        }
    }

    /// Groups leave in small chunks, so that they can be verified and passed on as they come.
    pub(super) fn serve(&mut self, node: usize, serve: ServeId, groups: &RangeSet, last: bool) {
        let Some(entry) = self.nodes[node].asks.get_mut(&serve) else {
            return;
        };
        let ask = entry.clone();
        entry.begun = true;
        let all: Vec<u32> = groups.iter().collect();
        let mut proof = Vec::new();
        for group in &all {
            let read = |_| Ok::<_, std::convert::Infallible>([0; 64]);
            // Groups of one ask ascend.
            let _ = entry.prover.proof(GroupIndex(*group), &mut proof, read);
        }
        self.nodes[node].proofs += proof.len() as u64;
        let piece = self.piece(ask.layout, all.len());
        let pieces = all.chunks(piece).count();
        for (at, chunk) in all.chunks(piece).enumerate() {
            let groups: RangeSet = chunk.iter().map(|group| *group..*group + 1).collect();
            let load = Load {
                serve,
                request: ask.request,
                layout: ask.layout,
                first: !ask.begun && at == 0,
                last: last && at + 1 == pieces,
                groups,
            };
            // A reply that breaks off does so in the middle of its first chunk.
            let bytes = chunk.len() as u64 * GROUP_BYTES / if ask.breaks { 2 } else { 1 };
            let idle = self.links.leaving(node, ask.by).is_none();
            self.links.push(self.now, node, ask.by, Chunk { bytes, load });
            if idle {
                self.begins(node, ask.by);
            }
        }
        self.weigh_uplink(node);
    }

    /// How many groups of so many leave together. A node says of each that its socket took it, and that it is verified; a few at
    /// a time are fewer events, and no more than they take long. Less than a block cannot be passed on: of large ones as many as may
    /// be leave together.
    fn piece(&self, layout: LayoutId, groups: usize) -> usize {
        let table = &self.release(layout).table;
        let is_large = !table.is_empty() && table.get(0).groups as usize >= PIECE_GROUPS;
        if is_large {
            PIECE_GROUPS
        } else {
            (groups / 4).clamp(1, PIECE_GROUPS)
        }
    }

    /// The first bytes of a reply leave when what went before it has left.
    fn begins(&mut self, from: usize, to: usize) {
        let begun = self.links.leaving(from, to).filter(|load| load.first);
        if let Some(request) = begun.map(|load| load.request) {
            self.send(from, to, Parcel::Begun(request));
        }
    }

    pub(super) fn fact(&mut self, node: usize, fact: Fact) {
        if let Fact::TransferComplete { layout, sources, .. } = fact {
            let now = self.now;
            self.nodes[node].finished.insert(layout, now);
            self.timeline.finished.push(now);
            self.nodes[node].sources.insert(layout, sources);
        }
    }

    /// A neighbour by its identity.
    fn find(&self, node: usize, id: NodeId) -> Option<usize> {
        let other = *self.by_id.get(&id)?;
        self.nodes[node].knows.contains(&other).then_some(other)
    }
}
