//! The event queue and its loop: everything that happens, in order of time and then of cause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::bits::Bits;
use samara_protocol::id::{LayoutId, ManifestId, Part, RequestId, ServeId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::{Block, BlockTable};
use samara_protocol::rng::Rng;
use samara_protocol::swarm::config::Role;
use samara_protocol::swarm::event::Event as Fact;
use samara_protocol::swarm::io::{FetchFault, Input, OpenTransfer, Output, Refusal};
use samara_protocol::swarm::step;
use samara_protocol::time::Timestamp;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::message::SwarmMessage;

use crate::link::{Chunk, Links};
use crate::node::{Ask, Fetch, Node};
use crate::scenario::{Behaviour, FaultKind, Scenario, ScenarioError, size};
use crate::topology::{self, seconds};

/// Everybody is connected at 0; the clock of a release starts this much later.
const WARM_UP: Duration = Duration::from_secs(1);
const CHECKPOINT: Duration = Duration::from_secs(2);
/// A broken connection is noticed and made again after this time.
const REDIAL: Duration = Duration::from_secs(1);
/// Framing of a control message: its length.
const FRAME: u64 = 4;

/// A release as the world knows it.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its payload's layout.
    pub layout: LayoutId,
    /// Its blocks.
    pub table: Arc<BlockTable>,
    /// Its priority.
    pub priority: u8,
    /// When sites are told.
    pub at: Timestamp,
}

/// Bytes on a link.
#[derive(Debug, Clone)]
struct Load {
    serve: ServeId,
    request: RequestId,
    layout: LayoutId,
    groups: RangeSet,
    last: bool,
}

#[derive(Debug)]
enum Event {
    /// Something reaches a node from a node, if the connection that it was sent on still stands.
    Reach(usize, usize, u64, Parcel),
    Left(usize, u64),
    Timer(usize),
    Checkpoint(usize, u32),
    Join(usize),
    Tell(usize, usize),
    Connect(usize, usize),
    Fault(FaultKind, usize, Duration),
    Flood(usize),
}

#[derive(Debug)]
enum Parcel {
    Message(SwarmMessage),
    Ask(RequestId, LayoutId, RangeSet),
    Cancel(RequestId),
    Refusal(RequestId, Refusal),
    Payload(RequestId, LayoutId, RangeSet, bool),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// The plan.
    pub scenario: Scenario,
    /// What moves.
    pub releases: Vec<Release>,
    /// Who there is.
    pub nodes: Vec<Node>,
    /// Virtual time.
    pub now: Timestamp,
    /// Steps of all schedulers.
    pub steps: u64,
    /// Whether every step is followed by a check of the whole state, or one in so many.
    pub check_every: u64,
    links: Links<Load>,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    next: u64,
    next_serve: u64,
    /// Counts connections, so that what was under way on an old one is lost.
    connections: BTreeMap<(usize, usize), u64>,
    rng: Rng,
    hash: blake3::Hasher,
    latency: Duration,
    deadline: Timestamp,
    /// What a node without the group served: a safety violation.
    pub violations: Vec<String>,
}

impl World {
    /// A world at time 0.
    ///
    /// # Errors
    /// When the scenario makes no sense.
    pub fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        let nodes = topology::nodes(scenario)?;
        let releases = releases(scenario)?;
        let up = nodes.iter().map(|node| node.nature.rates.up).collect();
        let down = nodes.iter().map(|node| node.nature.rates.down).collect();
        let mut world = Self {
            scenario: scenario.clone(),
            releases,
            links: Links::new(up, down),
            nodes,
            now: Timestamp::ZERO,
            steps: 0,
            check_every: 1,
            agenda: BTreeMap::new(),
            next: 0,
            next_serve: 0,
            connections: BTreeMap::new(),
            rng: Rng::new(scenario.seed ^ 0x776f_726c),
            hash: blake3::Hasher::new(),
            latency: Duration::from_secs_f64(scenario.latency_ms / 1e3),
            deadline: Timestamp(u64::MAX),
            violations: Vec::new(),
        };
        if world.nodes.len() > 5 {
            world.check_every = 16 * world.nodes.len() as u64;
        }
        world.deadline = world.end();
        world.plan();
        Ok(world)
    }

    /// Runs until every honest node has everything, or the deadline.
    pub fn run(&mut self) {
        while let Some(((at, _), event)) = self.agenda.pop_first() {
            self.now = at;
            if at > self.deadline {
                return;
            }
            self.happen(event);
            self.agree_on_links();
            if self.is_over() {
                return;
            }
        }
    }

    /// The hash of everything that any scheduler put out, in order.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.hash.finalize().to_hex().to_string()
    }

    /// The least time in seconds in which all releases together could reach all honest nodes: Kumar and Ross, and one
    /// copy from the origins for each group of nodes that may feed each other.
    #[must_use]
    pub fn bound(&self) -> f64 {
        let origins = self.nodes.iter().filter(|node| node.nature.role == Role::Origin);
        let origin_up: f64 = origins.map(|node| node.nature.rates.up).sum();
        let (mut sites, mut domains, mut alone) = (Vec::new(), BTreeSet::new(), 0.0);
        for node in self.nodes.iter().filter(|node| node.counts()) {
            let (nature, mut rates) = (&node.nature, node.nature.rates);
            if nature.role == Role::Host {
                rates.up = 0.0;
            }
            if nature.domain == 0 || (nature.role == Role::Host && !nature.site_only) {
                alone += 1.0;
            } else {
                domains.insert(nature.domain);
            }
            sites.push(rates);
        }
        let bytes: u64 = self.releases.iter().map(|release| release.table.bytes()).sum();
        #[expect(clippy::cast_precision_loss, reason = "sizes and counts below 2^53")]
        let (bytes, copies) = (bytes as f64, domains.len() as f64 + alone);
        if origin_up == 0.0 {
            return crate::bound::kumar_ross(bytes, f64::INFINITY, &sites);
        }
        crate::bound::kumar_ross(bytes, origin_up, &sites).max(copies * bytes / origin_up)
    }

    fn end(&self) -> Timestamp {
        let last = self.releases.iter().map(|release| release.at).max().unwrap_or_default();
        let joins = self
            .nodes
            .iter()
            .map(|node| node.nature.joins)
            .max()
            .unwrap_or_default();
        let time = self.bound() * self.scenario.deadline_factor + 60.0;
        last.max(joins).after(WARM_UP + Duration::from_secs_f64(time))
    }

    fn plan(&mut self) {
        for node in 0..self.nodes.len() {
            self.at(self.nodes[node].nature.joins, Event::Join(node));
            if self.nodes[node].nature.behaviour == Behaviour::Flood {
                self.at(Timestamp::ZERO.after(WARM_UP), Event::Flood(node));
            }
            for at in 0..self.releases.len() {
                self.give_at_start(node, at);
            }
        }
        for fault in self.scenario.fault.clone() {
            let mut victims: Vec<usize> = (0..self.nodes.len())
                .filter(|node| self.nodes[*node].counts())
                .collect();
            self.rng.shuffle(&mut victims);
            if fault.kind == FaultKind::OriginDies {
                victims = (0..self.nodes.len())
                    .filter(|node| self.nodes[*node].nature.role == Role::Origin)
                    .collect();
            } else {
                victims.truncate(fault.count);
            }
            for victim in victims {
                let (from, to) = (seconds(fault.at_s), seconds(fault.until_s.max(fault.at_s)));
                let at = Timestamp(from.0 + self.rng.below(to.0 - from.0 + 1)).after(WARM_UP);
                let length = Duration::from_secs_f64(fault.for_s);
                self.at(at, Event::Fault(fault.kind, victim, length));
            }
        }
    }

    /// What a node holds before anything happens: blocks at random.
    fn give_at_start(&mut self, node: usize, release: usize) {
        let Release { layout, table, .. } = self.releases[release].clone();
        let part = self.nodes[node].nature.holds;
        let is_rotten = self.nodes[node].nature.behaviour == Behaviour::Rotten;
        let disk = self.nodes[node].disk.entry(layout).or_default();
        for block in 0..table.len() {
            if part >= 1.0 || self.rng.unit() < part {
                disk.held.insert(table.get(block).range());
                if is_rotten && self.rng.one_in(50) {
                    disk.rotten.insert(table.get(block).range());
                }
            }
        }
        disk.durable = disk.held.clone();
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.agenda.insert((at, self.next), event);
        self.next += 1;
    }

    fn is_over(&self) -> bool {
        let done = |node: &Node| {
            !node.counts()
                || self
                    .releases
                    .iter()
                    .all(|release| node.finished.contains_key(&release.layout))
        };
        self.now >= Timestamp::ZERO.after(WARM_UP) && self.nodes.iter().all(done)
    }

    fn agree_on_links(&mut self) {
        for (at, flow, version) in self.links.take_due() {
            self.at(at, Event::Left(flow, version));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reach(from, to, connection, parcel) => {
                if self.connection(from, to) == Some(connection) {
                    self.reach(from, to, parcel);
                }
            }
            Event::Left(flow, version) => self.left(flow, version),
            Event::Timer(node) => {
                if self.nodes[node].alive && self.nodes[node].timer == Some(self.now) {
                    self.nodes[node].timer = None;
                    self.step(node, Input::TimedOut);
                }
            }
            Event::Checkpoint(node, life) => self.checkpoint(node, life),
            Event::Join(node) => self.join(node),
            Event::Tell(node, release) => self.tell(node, release),
            Event::Connect(a, b) => self.connect(a, b),
            Event::Fault(kind, node, length) => self.fault(kind, node, length),
            Event::Flood(node) => self.flood(node),
        }
    }

    fn join(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        self.nodes[node].start(self.now, seed);
        let life = self.nodes[node].life;
        for other in self.nodes[node].knows.clone() {
            self.connect(node, other);
        }
        for release in 0..self.releases.len() {
            let told = self.releases[release].at.after(WARM_UP).max(self.now);
            if self.nodes[node].nature.role == Role::Origin || self.nodes[node].claims_all() {
                self.tell(node, release);
            } else {
                self.at(told, Event::Tell(node, release));
            }
        }
        self.at(self.now.after(CHECKPOINT), Event::Checkpoint(node, life));
    }

    /// The node is told to take part in a release.
    fn tell(&mut self, node: usize, release: usize) {
        let now = self.now;
        let Release {
            layout,
            table,
            priority,
            ..
        } = self.releases[release].clone();
        let entry = &mut self.nodes[node];
        if !entry.alive {
            return;
        }
        entry.told.entry(layout).or_insert(now);
        let held = entry.claimed(layout, &table);
        let durable = if entry.claims_all() {
            held.clone()
        } else {
            entry
                .disk
                .get(&layout)
                .map(|disk| disk.durable.clone())
                .unwrap_or_default()
        };
        let wanted = if entry.nature.role == Role::Origin {
            Bits::none(table.len())
        } else {
            Bits::all(table.len())
        };
        let open = OpenTransfer {
            layout,
            table,
            wanted,
            volatile: held.difference(&durable),
            durable,
            priority,
            product: 0,
        };
        self.step(node, Input::Open(open));
    }

    fn connection(&self, a: usize, b: usize) -> Option<u64> {
        let stands = self.nodes[a].connected.contains(&b);
        stands
            .then(|| self.connections.get(&(a.min(b), a.max(b))).copied())
            .flatten()
    }

    fn connect(&mut self, a: usize, b: usize) {
        let apart = !self.nodes[a].connected.contains(&b);
        if !apart || !self.nodes[a].alive || !self.nodes[b].alive {
            return;
        }
        *self.connections.entry((a.min(b), a.max(b))).or_default() += 1;
        self.nodes[a].connected.insert(b);
        self.nodes[b].connected.insert(a);
        for (one, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].nature.id;
            let info = topology::info(&self.nodes[one].nature, &self.nodes[other].nature);
            self.step(one, Input::PeerUp { peer, info });
            self.step(one, Input::PeerCovers { peer, product: 0 });
        }
    }

    /// Both sides see the connection go; `again` makes it come back.
    fn disconnect(&mut self, a: usize, b: usize, again: Option<Duration>) {
        if !self.nodes[a].connected.contains(&b) && !self.nodes[b].connected.contains(&a) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            self.links.cut(self.now, one, other);
            self.nodes[one].connected.remove(&other);
            self.nodes[one].fetches.retain(|_, fetch| fetch.peer != other);
            self.nodes[one].asks.retain(|_, ask| ask.by != other);
            if self.nodes[one].alive {
                let peer = self.nodes[other].nature.id;
                self.step(one, Input::PeerDown { peer });
            }
        }
        if let Some(after) = again {
            self.at(self.now.after(after), Event::Connect(a, b));
        }
    }

    fn fault(&mut self, kind: FaultKind, node: usize, length: Duration) {
        if !self.nodes[node].alive {
            return;
        }
        self.nodes[node].stop(self.now, kind == FaultKind::Power);
        for other in self.nodes[node].knows.clone() {
            self.disconnect(other, node, None);
        }
        if kind != FaultKind::OriginDies {
            self.at(self.now.after(length), Event::Join(node));
        }
    }

    fn checkpoint(&mut self, node: usize, life: u32) {
        if !self.nodes[node].alive || self.nodes[node].life != life {
            return;
        }
        let mut fresh = Vec::new();
        for (layout, disk) in &mut self.nodes[node].disk {
            let groups = disk.held.difference(&disk.durable);
            if !groups.is_empty() {
                disk.durable = disk.held.clone();
                fresh.push((*layout, groups));
            }
        }
        for (layout, groups) in fresh {
            self.step(node, Input::Durable { layout, groups });
        }
        self.at(self.now.after(CHECKPOINT), Event::Checkpoint(node, life));
    }

    fn flood(&mut self, node: usize) {
        for other in self.nodes[node].connected.clone() {
            for _ in 0..100 {
                let blocks = RangeSet::from(0..1);
                self.send(node, other, Parcel::Message(SwarmMessage::Lost { number: 0, blocks }));
            }
        }
        self.at(self.now.after(Duration::from_millis(100)), Event::Flood(node));
    }

    fn send(&mut self, from: usize, to: usize, parcel: Parcel) {
        if let Some(connection) = self.connection(from, to) {
            let at = self.now.after(self.latency);
            self.at(at, Event::Reach(from, to, connection, parcel));
        }
    }

    fn reach(&mut self, from: usize, to: usize, parcel: Parcel) {
        if !self.nodes[to].alive {
            return;
        }
        let peer = self.nodes[from].nature.id;
        match parcel {
            Parcel::Message(message) => self.step(to, Input::Message { peer, message }),
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
            Parcel::Refusal(request, reason) => {
                if self.nodes[to].fetches.remove(&request).is_some() {
                    let fault = match reason {
                        Refusal::Busy(pause) => FetchFault::Busy(pause),
                        Refusal::Absent => FetchFault::Absent,
                    };
                    self.step(to, Input::FetchFailed { request, fault });
                }
            }
            Parcel::Payload(request, layout, groups, last) => self.payload(from, to, (request, layout), &groups, last),
        }
    }

    fn asked(&mut self, by: usize, node: usize, request: RequestId, layout: LayoutId, groups: RangeSet) {
        match self.nodes[node].nature.behaviour {
            Behaviour::Stall => return,
            Behaviour::LyingHaves => {
                self.send(node, by, Parcel::Refusal(request, Refusal::Absent));
                return;
            }
            Behaviour::Honest | Behaviour::Garbage | Behaviour::Flood | Behaviour::Rotten => {}
        }
        let serve = ServeId(self.next_serve);
        self.next_serve += 1;
        self.nodes[node].asks.insert(serve, Ask { by, request, layout });
        let peer = self.nodes[by].nature.id;
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
    fn payload(&mut self, from: usize, to: usize, what: (RequestId, LayoutId), groups: &RangeSet, last: bool) {
        let (request, layout) = what;
        let bytes = groups.count() * GROUP_BYTES;
        self.nodes[to].received += bytes;
        if !self.nodes[to].fetches.contains_key(&request) {
            self.nodes[to].wasted += bytes;
            return;
        }
        let bad = match self.nodes[from].nature.behaviour {
            Behaviour::Garbage => groups.clone(),
            Behaviour::Rotten => {
                let disk = self.nodes[from].disk.get(&layout);
                disk.map(|disk| disk.rotten.intersection(groups)).unwrap_or_default()
            }
            _ => RangeSet::new(),
        };
        let good = groups.difference(&bad);
        if !good.is_empty() {
            let truly = self.nodes[from]
                .disk
                .get(&layout)
                .is_some_and(|disk| good.difference(&disk.held).is_empty());
            if !truly {
                self.violations
                    .push(format!("node {from} served what it does not hold: {good:?}"));
            }
            let disk = self.nodes[to].disk.entry(layout).or_default();
            let again = good.intersection(&disk.held).count() * GROUP_BYTES;
            disk.held.union_with(&good);
            self.nodes[to].wasted += again;
            let bytes = good.count() * GROUP_BYTES;
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

    /// A chunk has left its sender.
    fn left(&mut self, flow: usize, version: u64) {
        let Some((from, to, Chunk { bytes, load })) = self.links.finish(self.now, flow, version) else {
            return;
        };
        self.nodes[from].sent += bytes;
        let parcel = Parcel::Payload(load.request, load.layout, load.groups.clone(), load.last);
        self.send(from, to, parcel);
        if load.last {
            self.nodes[from].asks.remove(&load.serve);
        }
        let (serve, groups) = (load.serve, load.groups);
        self.step(from, Input::ServeSent { serve, groups, bytes });
    }

    /// One step of one node's scheduler, and everything that it wants done.
    fn step(&mut self, node: usize, input: Input) {
        let mut outputs = Vec::new();
        let entry = &mut self.nodes[node];
        let timeout = step(&mut entry.swarm, self.now, input, &mut |output| outputs.push(output));
        self.steps += 1;
        if self.steps.is_multiple_of(self.check_every) {
            entry.swarm.check();
        }
        for output in outputs {
            self.trace(node, &output);
            self.perform(node, output);
        }
        let entry = &mut self.nodes[node];
        let at = timeout.map(|(at, _)| at.max(self.now));
        if let Some(at) = at
            && entry.timer.is_none_or(|old| old != at)
        {
            entry.timer = Some(at);
            self.at(at, Event::Timer(node));
        } else if at.is_none() {
            entry.timer = None;
        }
    }

    fn trace(&mut self, node: usize, output: &Output) {
        let (tag, number): (u8, u64) = match output {
            Output::Send { message, .. } => (1, message.encoded_len() as u64),
            Output::Fetch { request, groups, .. } => (2, request.0 ^ groups.count() << 32),
            Output::CancelFetch { request } => (3, request.0),
            Output::Serve { serve, groups, .. } => (4, serve.0 ^ groups.count() << 32),
            Output::Refuse { serve, .. } => (5, serve.0),
            Output::Recheck { groups, .. } => (6, groups.count()),
            Output::Disconnect { .. } => (7, 0),
            Output::Event(_) => (8, 0),
        };
        self.hash.update(&self.now.0.to_le_bytes());
        self.hash.update(&(node as u64).to_le_bytes());
        self.hash.update(&[tag]);
        self.hash.update(&number.to_le_bytes());
    }

    fn find(&self, node: usize, id: samara_protocol::id::NodeId) -> Option<usize> {
        let known = self.nodes[node].knows.iter().copied();
        known.into_iter().find(|other| self.nodes[*other].nature.id == id)
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { peer, message } => {
                if let Some(to) = self.find(node, peer) {
                    self.nodes[node].control += message.encoded_len() as u64 + FRAME;
                    self.send(node, to, Parcel::Message(message));
                }
            }
            Output::Fetch {
                request,
                peer,
                layout,
                groups,
            } => {
                if let Some(to) = self.find(node, peer) {
                    self.nodes[node].control += 50 + 8 * groups.ranges().len() as u64 + FRAME;
                    self.nodes[node].fetches.insert(request, Fetch { peer: to, layout });
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
                    self.send(node, ask.by, Parcel::Refusal(ask.request, reason));
                }
            }
            Output::Recheck { layout, groups } => {
                let disk = self.nodes[node].disk.entry(layout).or_default();
                let bad = disk.rotten.intersection(&groups);
                disk.rotten.subtract(&bad);
                disk.held.subtract(&bad);
                disk.durable.subtract(&bad);
                if !bad.is_empty() {
                    self.nodes[node].finished.remove(&layout);
                    self.step(node, Input::Lost { layout, groups: bad });
                }
            }
            Output::Disconnect { peer, quarantine, .. } => {
                if let Some(other) = self.find(node, peer) {
                    self.nodes[node].quarantined.insert(other);
                    self.disconnect(node, other, Some(quarantine.max(REDIAL)));
                }
            }
            Output::Event(fact) => self.fact(node, fact),
        }
    }

    /// Groups leave in small chunks, so that they can be verified and passed on as they come.
    fn serve(&mut self, node: usize, serve: ServeId, groups: &RangeSet, last: bool) {
        let Some(ask) = self.nodes[node].asks.get(&serve).cloned() else {
            return;
        };
        let all: Vec<u32> = groups.iter().collect();
        let piece = (all.len() / 4).max(1);
        let pieces = all.chunks(piece).count();
        for (at, chunk) in all.chunks(piece).enumerate() {
            let groups: RangeSet = chunk.iter().map(|group| *group..*group + 1).collect();
            let load = Load {
                serve,
                request: ask.request,
                layout: ask.layout,
                last: last && at + 1 == pieces,
                groups,
            };
            let bytes = chunk.len() as u64 * GROUP_BYTES;
            self.links.push(self.now, node, ask.by, Chunk { bytes, load });
        }
    }

    fn fact(&mut self, node: usize, fact: Fact) {
        if let Fact::TransferComplete { layout, sources, .. } = fact {
            let now = self.now;
            self.nodes[node].finished.insert(layout, now);
            self.nodes[node].sources.insert(layout, sources);
        }
    }

    /// The nodes whom an honest node quarantined though they are honest.
    #[must_use]
    pub fn wrongly_quarantined(&self) -> BTreeSet<usize> {
        let honest = self.nodes.iter().filter(|node| !node.claims_all());
        let all = honest.flat_map(|node| node.quarantined.iter().copied());
        all.filter(|other| {
            let behaviour = self.nodes[*other].nature.behaviour;
            matches!(behaviour, Behaviour::Honest | Behaviour::Rotten)
        })
        .collect()
    }
}

fn releases(scenario: &Scenario) -> Result<Vec<Release>, ScenarioError> {
    let mut releases = Vec::new();
    for (number, plan) in scenario.release.iter().enumerate() {
        let groups = u32::try_from(size(&plan.size)?.div_ceil(GROUP_BYTES))
            .map_err(|_| ScenarioError::Value("release.size", "too large".to_owned()))?;
        let most = plan.blocks.unwrap_or(4096).clamp(1, 4096);
        let mut per_block = 1;
        while groups.div_ceil(per_block) > most {
            per_block *= 2;
        }
        let block = |first: u32| {
            let groups = per_block.min(groups - first);
            Block {
                first_group: first,
                groups,
                bytes: u64::from(groups) * GROUP_BYTES,
            }
        };
        let blocks = (0..groups).step_by(per_block as usize).map(block).collect();
        let name = u8::try_from(number).unwrap_or(u8::MAX);
        releases.push(Release {
            layout: LayoutId {
                manifest: ManifestId([name; 32]),
                part: Part::Payload,
            },
            table: Arc::new(BlockTable::new(blocks)),
            priority: plan.priority,
            at: seconds(plan.at_s),
        });
    }
    Ok(releases)
}
