//! One virtual node: the real scheduler, a disk, and the lies it tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::bits::Bits;
use samara_protocol::id::{LayoutId, NodeId, RequestId, ServeId};
use samara_protocol::manifest::blocks::BlockTable;
use samara_protocol::sorted::{SortedMap, SortedSet};
use samara_protocol::swarm::Swarm;
use samara_protocol::swarm::config::{Role, Rules, SwarmConfig};
use samara_protocol::swarm::event::Sources;
use samara_protocol::swarm::io::{DisconnectReason, Limits};
use samara_protocol::swarm::snapshot::Snapshot;
use samara_protocol::time::Timestamp;
use samara_protocol::tree::prove::ReplyProver;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::units::ByteRate;
use samara_protocol::wire::message::SwarmMessage;

use crate::bound::Rates;
use crate::pace::Pace;
use crate::scenario::{Behaviour, Reach};

/// What a node is and never changes.
#[derive(Debug, Clone)]
pub struct Nature {
    /// Its identity.
    pub id: NodeId,
    /// The number of its group in the plan.
    pub group: usize,
    /// Its role.
    pub role: Role,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Its links.
    pub rates: Rates,
    /// Its operator's limits.
    pub limits: Limits,
    /// The scheduler's rules.
    pub rules: Rules,
    /// What its own way to the network adds to each path, in milliseconds.
    pub latency_ms: f64,
    /// The part of its packets that is lost.
    pub loss: f64,
    /// Whether it can be dialled.
    pub reach: Reach,
    /// Its tenant.
    pub tenant: u64,
    /// Its reseed domain.
    pub domain: u64,
    /// Its site.
    pub site: u64,
    /// Its region.
    pub region: u64,
    /// Whether it knows only nodes of its site.
    pub site_only: bool,
    /// The part that it holds at the start.
    pub holds: f64,
    /// When it joins.
    pub joins: Timestamp,
    /// When it leaves for good.
    pub leaves: Option<Timestamp>,
}

impl Nature {
    /// What of its links its operator lets it use.
    #[must_use]
    pub fn usable(&self) -> Rates {
        #[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
        let least = |link: f64, limit: Option<ByteRate>| limit.map_or(link, |limit| link.min(limit.0 as f64));
        Rates {
            up: least(self.rates.up, self.limits.up),
            down: least(self.rates.down, self.limits.down),
        }
    }
}

/// A connection to another node.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// Which of all that ever were.
    pub number: usize,
    /// How long something is on its way.
    pub latency: Duration,
}

/// A fetch that runs.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Whom it was asked of.
    pub peer: usize,
    /// Of which layout.
    pub layout: LayoutId,
}

/// An ask that runs.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asked.
    pub by: usize,
    /// What it calls it.
    pub request: RequestId,
    /// Of which layout.
    pub layout: LayoutId,
    /// What proves its groups.
    pub prover: ReplyProver,
    /// Whether any of it was put on the link.
    pub begun: bool,
    /// Whether the reply breaks off midway.
    pub breaks: bool,
}

/// What the disk truly holds of one layout.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Written and verified.
    pub held: RangeSet,
    /// Of that, what survives a loss of power.
    pub durable: RangeSet,
    /// Of that, what is rotten without anybody knowing.
    pub rotten: RangeSet,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub nature: Nature,
    /// Its scheduler.
    pub swarm: Swarm,
    /// Whether it runs.
    pub alive: bool,
    /// Whether it has left for good.
    pub gone: bool,
    /// Which life it lives; what was meant for an earlier one is lost.
    pub life: u32,
    /// Until when its disk takes nothing.
    pub full_until: Timestamp,
    /// The timer that counts.
    pub timer: Option<Timestamp>,
    /// Its disk.
    pub disk: SortedMap<LayoutId, Disk>,
    /// Its fetches.
    pub fetches: SortedMap<RequestId, Fetch>,
    /// What was asked of it.
    pub asks: SortedMap<ServeId, Ask>,
    /// Whom it knows.
    pub knows: SortedSet<usize>,
    /// To whom it is connected, and by which connection.
    pub connected: SortedMap<usize, Connection>,
    /// When it was told to fetch each layout, and when it had all.
    pub told: SortedMap<LayoutId, Timestamp>,
    /// See `told`.
    pub finished: SortedMap<LayoutId, Timestamp>,
    /// Where its bytes came from, as its scheduler says.
    pub sources: SortedMap<LayoutId, Sources>,
    /// What the last life knew of others.
    pub memory: Snapshot,
    /// Payload bytes sent and received, verified or not, and received in vain.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// See `sent`.
    pub wasted: u64,
    /// How fast it gets what it lacks.
    pub pace: Pace,
    /// Control bytes sent.
    pub control: u64,
    /// Bytes of proofs sent.
    pub proofs: u64,
    /// Whom it quarantined, and why last.
    pub quarantined: BTreeMap<usize, DisconnectReason>,
}

impl Node {
    /// A node that does not run yet.
    #[must_use]
    pub fn new(nature: Nature, seed: u64) -> Self {
        let config = config(&nature);
        Self {
            swarm: Swarm::new(&config, nature.id, seed, Timestamp::ZERO),
            nature,
            alive: false,
            gone: false,
            life: 0,
            full_until: Timestamp::ZERO,
            timer: None,
            disk: SortedMap::new(),
            fetches: SortedMap::new(),
            asks: SortedMap::new(),
            knows: SortedSet::new(),
            connected: SortedMap::new(),
            told: SortedMap::new(),
            finished: SortedMap::new(),
            sources: SortedMap::new(),
            memory: Snapshot::default(),
            sent: 0,
            received: 0,
            wasted: 0,
            pace: Pace::default(),
            control: 0,
            proofs: 0,
            quarantined: BTreeMap::new(),
        }
    }

    /// Starts a life with what the disk holds.
    pub fn start(&mut self, now: Timestamp, seed: u64) {
        self.swarm = Swarm::new(&config(&self.nature), self.nature.id, seed, now);
        self.swarm.restore(now, &self.memory);
        self.alive = true;
        self.life += 1;
        self.timer = None;
    }

    /// Ends a life; with `power` what was not durable is lost.
    pub fn stop(&mut self, now: Timestamp, power: bool) {
        self.memory = self.swarm.snapshot(now);
        self.alive = false;
        self.fetches.clear();
        self.asks.clear();
        self.connected.clear();
        for (layout, disk) in &mut self.disk {
            if power {
                disk.held = disk.durable.clone();
                self.finished.remove(layout);
            }
        }
    }

    /// Whether it claims to hold what it does not.
    #[must_use]
    pub const fn claims_all(&self) -> bool {
        matches!(
            self.nature.behaviour,
            Behaviour::Garbage | Behaviour::LyingHaves | Behaviour::Stall
        )
    }

    /// Whether its finishing counts.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.nature.role != Role::Origin && self.nature.behaviour.is_honest()
    }

    /// What it says when its scheduler wants this said.
    #[must_use]
    pub fn says(&self, message: SwarmMessage) -> Option<SwarmMessage> {
        if self.nature.behaviour != Behaviour::Greedy {
            return Some(message);
        }
        match message {
            SwarmMessage::Have { .. } | SwarmMessage::Durable { .. } | SwarmMessage::Lost { .. } => None,
            SwarmMessage::Status {
                number,
                layout,
                ask,
                have,
                want,
                ..
            } => Some(SwarmMessage::Status {
                number,
                layout,
                ask,
                durable: Bits::none(have.len()),
                have: Bits::none(have.len()),
                want,
            }),
            SwarmMessage::Want { .. } | SwarmMessage::Close { .. } | SwarmMessage::Rejected { .. } => Some(message),
        }
    }

    /// What it holds of a layout, in truth or as it claims.
    #[must_use]
    pub fn claimed(&self, layout: LayoutId, table: &Arc<BlockTable>) -> RangeSet {
        if self.claims_all() {
            return RangeSet::from(0..table.group_count());
        }
        self.disk.get(&layout).map(|disk| disk.held.clone()).unwrap_or_default()
    }
}

fn config(nature: &Nature) -> SwarmConfig {
    SwarmConfig {
        rules: nature.rules,
        role: nature.role,
        limits: nature.limits,
    }
}
