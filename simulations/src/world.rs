//! The event queue and its loop: everything that happens, in order of time and then of cause.

mod agenda;
mod budget;
mod faults;
mod lives;
mod needs;
mod paths;
mod trace;
mod traffic;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, NodeId, Part, RequestId, ServeId};
use samara_protocol::limits::{BLOCKS_MAX, GROUP_BYTES};
use samara_protocol::manifest::blocks::{Block, BlockTable};
use samara_protocol::rng::Rng;
use samara_protocol::swarm::config::Role;
use samara_protocol::swarm::io::{DisconnectReason, Input, Output, Refusal};
use samara_protocol::swarm::step;
use samara_protocol::time::Timestamp;
use samara_protocol::tree::geometry::Geometry;
use samara_protocol::tree::prove::ReplyProver;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::message::SwarmMessage;

use agenda::Agenda;
use needs::Needs;
use trace::Trace;

use crate::link::Links;
use crate::node::{Connection, Node};
use crate::scenario::{Behaviour, FaultKind, Scenario, ScenarioError, size};
use crate::timeline::Timeline;
use crate::topology::{self, seconds};

/// Everybody is connected at 0; the clock of a release starts this much later.
pub const WARM_UP: Duration = Duration::from_secs(1);
const CHECKPOINT: Duration = Duration::from_secs(2);
/// A broken connection is noticed and made again after this time.
const REDIAL: Duration = Duration::from_secs(1);
/// A node whose disk is full tries again after this time.
const FULL_DISK_RETRY: Duration = Duration::from_secs(5);
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
    /// What proves its groups, which are taken to be of one file.
    pub prover: ReplyProver,
}

/// A fault and whom it comes to, as drawn from the plan and its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the plan.
    pub fault: usize,
    /// The node.
    pub node: usize,
    /// When it comes first; releases are told from [`WARM_UP`] on.
    pub at: Timestamp,
}

/// Bytes on a link.
#[derive(Debug, Clone)]
struct Load {
    serve: ServeId,
    request: RequestId,
    layout: LayoutId,
    groups: RangeSet,
    first: bool,
    last: bool,
}

#[derive(Debug)]
enum Event {
    /// Something reaches a node from a node, if the connection that it was sent on still stands.
    Reach(usize, usize, usize, Box<Parcel>),
    Left(usize, u32),
    Timer(usize),
    Checkpoint(usize, u32),
    Join(usize),
    Tell(usize, usize),
    Connect(usize, usize),
    /// The fault of this number in the plan comes to a node, so many times more.
    Fault(usize, usize, usize),
    /// It may be over; for a half-open path with whom.
    Healed(FaultKind, usize, usize),
    /// Whoever is still cut off is hung up on; for a half-open path by whom.
    Silence(FaultKind, usize, usize),
    Leave(usize),
    Flood(usize),
}

#[derive(Debug)]
enum Parcel {
    Message(SwarmMessage),
    Ask(RequestId, LayoutId, RangeSet),
    Cancel(RequestId),
    Begun(RequestId),
    Refusal(RequestId, Refusal),
    /// Groups, those of them that are bad, and whether the reply ends.
    Payload(RequestId, LayoutId, RangeSet, RangeSet, bool),
    /// The reply broke off; so many bytes of it came for nothing.
    Broken(RequestId, u64),
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
    agenda: Agenda<Event>,
    /// A node that lacked something when that was last asked.
    lacking: usize,
    next_serve: u64,
    /// Of each connection that there ever was whether it stands: what was under way on an old one is lost.
    connections: Vec<bool>,
    /// Everybody's identity, and everybody by identity.
    ids: Vec<NodeId>,
    by_id: HashMap<NodeId, usize>,
    /// Until when nothing gets through to a node or from it.
    cut_until: Vec<Timestamp>,
    rng: Rng,
    trace: Trace,
    /// What one step wants done, kept to be filled again.
    outputs: Vec<Output>,
    /// Until when nothing gets through between two nodes.
    half_open: BTreeMap<(usize, usize), Timestamp>,
    deadline: Timestamp,
    needs: Needs,
    /// What a node without the group served: a safety violation.
    pub violations: Vec<String>,
    /// What went over a budget.
    pub overruns: Vec<String>,
    /// What moved when.
    pub timeline: Timeline,
    /// What goes wrong, to whom and when.
    pub planned: Vec<Planned>,
    /// The faults of the plan that came to somebody who ran.
    struck: BTreeSet<usize>,
}

impl World {
    /// A world at time 0.
    ///
    /// # Errors
    /// When the scenario makes no sense.
    pub fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        let nodes = topology::nodes(scenario);
        let releases = releases(scenario)?;
        let up = nodes.iter().map(|node| node.nature.rates.up).collect();
        let down = nodes.iter().map(|node| node.nature.rates.down).collect();
        let ids: Vec<NodeId> = nodes.iter().map(|node| node.nature.id).collect();
        let mut world = Self {
            scenario: scenario.clone(),
            releases,
            links: Links::new(up, down),
            nodes,
            now: Timestamp::ZERO,
            steps: 0,
            check_every: 1,
            agenda: Agenda::new(),
            lacking: 0,
            next_serve: 0,
            connections: Vec::new(),
            by_id: ids.iter().enumerate().map(|(at, id)| (*id, at)).collect(),
            cut_until: vec![Timestamp::ZERO; ids.len()],
            ids,
            rng: Rng::new(scenario.seed ^ 0x776f_726c),
            trace: Trace::new(),
            outputs: Vec::new(),
            half_open: BTreeMap::new(),
            deadline: Timestamp(u64::MAX),
            needs: Needs::default(),
            violations: Vec::new(),
            overruns: Vec::new(),
            timeline: Timeline::until(Timestamp::ZERO),
            planned: Vec::new(),
            struck: BTreeSet::new(),
        };
        if world.nodes.len() > 5 {
            world.check_every = 16 * world.nodes.len() as u64;
        }
        world.plan();
        world.needs = world.needs()?;
        world.deadline = world.end();
        world.timeline = Timeline::until(world.deadline);
        Ok(world)
    }

    /// Runs until every honest node has everything, or the deadline.
    pub fn run(&mut self) {
        while let Some((at, event)) = self.agenda.pop() {
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
        self.trace.hash()
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
        let faults = self.scenario.fault.iter().map(|fault| seconds(fault.end_s()));
        let last = last.max(joins).max(faults.max().unwrap_or_default());
        last.after(WARM_UP + Duration::from_secs_f64(time))
    }

    fn plan(&mut self) {
        for node in 0..self.nodes.len() {
            self.at(self.nodes[node].nature.joins, Event::Join(node));
            if let Some(at) = self.nodes[node].nature.leaves {
                self.at(at.after(WARM_UP), Event::Leave(node));
            }
            if self.nodes[node].nature.behaviour == Behaviour::Flood {
                self.at(Timestamp::ZERO.after(WARM_UP), Event::Flood(node));
            }
            for at in 0..self.releases.len() {
                self.give_at_start(node, at);
            }
        }
        self.plan_faults();
    }

    /// What a node holds before anything happens: blocks at random.
    fn give_at_start(&mut self, node: usize, release: usize) {
        let Release { layout, table, .. } = self.releases[release].clone();
        let part = self.nodes[node].nature.holds;
        let is_rotten = self.nodes[node].nature.behaviour == Behaviour::Rotten;
        let disk = self.nodes[node].disk.get_or_default(layout);
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
        self.agenda.push(at, event);
    }

    /// Whether every node has what it should. Asked after every event: mostly whoever lacked something still does.
    fn is_over(&mut self) -> bool {
        if self.now < Timestamp::ZERO.after(WARM_UP) || !self.is_done(self.lacking) {
            return false;
        }
        let all = (self.lacking..self.nodes.len()).chain(0..self.lacking);
        let lacking = all.into_iter().find(|node| !self.is_done(*node));
        self.lacking = lacking.unwrap_or(0);
        lacking.is_none()
    }

    fn is_done(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let mut releases = self.releases.iter();
        !node.counts() || node.gone || releases.all(|release| node.finished.contains_key(&release.layout))
    }

    fn agree_on_links(&mut self) {
        while let Some((at, flow, version)) = self.links.next_due() {
            self.at(at, Event::Left(flow, version));
        }
        for carried in self.links.take_carried() {
            let by_origin = self.nodes[carried.from].nature.role == Role::Origin;
            self.timeline
                .sent((carried.since, carried.until), carried.bytes, by_origin);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reach(from, to, connection, parcel) => {
                if self.connections[connection] {
                    self.reach(from, to, *parcel);
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
            Event::Fault(number, node, again) => self.fault(number, node, again),
            Event::Healed(kind, node, other) => self.healed(kind, node, other),
            Event::Silence(kind, node, other) => self.silence(kind, node, other),
            Event::Leave(node) => self.leave(node),
            Event::Flood(node) => self.flood(node),
        }
    }

    /// The connection between two nodes, if it stands.
    fn connection(&self, a: usize, b: usize) -> Option<Connection> {
        self.nodes[a].connected.get(&b).copied()
    }

    /// One step of one node's scheduler, and everything that it wants done.
    fn step(&mut self, node: usize, input: Input) {
        // What is done may make further steps: these take a list of their own.
        let mut outputs = std::mem::take(&mut self.outputs);
        let entry = &mut self.nodes[node];
        let timeout = step(&mut entry.swarm, self.now, input, &mut |output| outputs.push(output));
        self.steps += 1;
        if self.steps.is_multiple_of(self.check_every) {
            entry.swarm.check();
        }
        for output in outputs.drain(..) {
            self.trace.note(self.now, node, &output);
            self.perform(node, output);
        }
        self.outputs = outputs;
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

    /// How busy the uplinks of all nodes and those of the origins were, each as so many parts of the time until the last
    /// had finished, 0 to 1.
    #[must_use]
    pub fn busy(&self, parts: usize) -> (Vec<f64>, Vec<f64>) {
        let rate = |origins: bool| -> f64 {
            let nodes = self.nodes.iter().map(|node| &node.nature);
            let nodes = nodes.filter(|nature| nature.role != Role::Host && (!origins || nature.role == Role::Origin));
            nodes.map(|nature| nature.usable().up).sum()
        };
        let start = Timestamp::ZERO.after(WARM_UP);
        self.timeline.busy(start, parts, (rate(false), rate(true)))
    }

    /// The number of a node.
    #[must_use]
    pub fn number_of(&self, id: &NodeId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The faults of the plan, by their numbers from 0, that came to nobody: all had finished, or the node did not run.
    #[must_use]
    pub fn idle_faults(&self) -> Vec<usize> {
        let all = 0..self.scenario.fault.len();
        all.filter(|number| !self.struck.contains(number)).collect()
    }

    /// The nodes whom an honest node quarantined though they are honest, and why.
    #[must_use]
    pub fn wrongly_quarantined(&self) -> BTreeMap<usize, DisconnectReason> {
        let honest = self.nodes.iter().filter(|node| node.nature.behaviour.is_honest());
        let all = honest.flat_map(|node| node.quarantined.iter().map(|(other, reason)| (*other, *reason)));
        all.filter(|(other, _)| self.nodes[*other].nature.behaviour.is_honest())
            .collect()
    }
}

fn releases(scenario: &Scenario) -> Result<Vec<Release>, ScenarioError> {
    let mut releases = Vec::new();
    for (number, plan) in scenario.release.iter().enumerate() {
        let groups = u32::try_from(size(&plan.size)?.div_ceil(GROUP_BYTES))
            .map_err(|_| ScenarioError::Value("release.size".to_owned(), "too large".to_owned()))?;
        let mut per_block = 1 << BlockTable::groups_log(|log| groups.div_ceil(1 << log));
        if let Some(most) = plan.blocks {
            per_block = 1;
            while groups.div_ceil(per_block) > most.clamp(1, BLOCKS_MAX) {
                per_block *= 2;
            }
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
        let bytes = u64::from(groups) * GROUP_BYTES;
        let shape = Geometry::new(bytes).expect("a layout has at most 2^28 groups");
        releases.push(Release {
            layout: LayoutId {
                manifest: ManifestId([name; 32]),
                part: Part::Payload,
            },
            table: Arc::new(BlockTable::new(blocks)),
            priority: plan.priority,
            at: seconds(plan.at_s),
            prover: ReplyProver::new(shape),
        });
    }
    Ok(releases)
}
