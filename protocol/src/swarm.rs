//! The scheduler: who is asked for what, who is served, and what the neighbours are told.
//!
//! A state machine without clock, entropy or input and output of its own: [`Swarm::handle`] takes an [`Input`], then
//! [`Swarm::poll_output`] is drained, then [`Swarm::poll_timeout`] says when [`Input::TimedOut`] is due. Shells use
//! [`step::step`], which does exactly that. Payload bytes never enter: it sees ranges, sizes, rates and faults (AI-2), and
//! the same seed and inputs give the same outputs (AI-8). docs/scheduler.md tells the rules in prose.
//!
//! | file | part |
//! |---|---|
//! | `transfer`, `peer`, `given` | the state: layouts and neighbours |
//! | `neighbours` | who comes, who goes, who is shut out |
//! | `announce`, `hearing` | what neighbours are told, and what they tell |
//! | `fetching`, `picker`, `stealing`, `blaming` | the receiver, and what failures cost |
//! | `serving`, `turns`, `rechecks` | the uploader, whose turn it is, and what takers may make it do |
//! | `seeding` | the origin's once-only rule |
//! | `rules` | the rules by name |
//! | `score`, `bucket`, `rate`, `timer` | arithmetic |
//! | `check`, `stats`, `snapshot` | views of the whole |

mod announce;
mod blaming;
mod bucket;
mod check;
pub mod config;
pub mod event;
mod fetching;
mod given;
mod hearing;
pub mod io;
mod neighbours;
mod peer;
mod picker;
mod rate;
mod rechecks;
pub mod rules;
pub mod score;
mod seeding;
mod serving;
pub mod snapshot;
mod stalling;
pub mod stats;
mod stealing;
pub mod step;
mod timer;
mod transfer;
mod turns;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId, RequestId, ServeId};
use crate::limits::TRANSFERS_MAX;
use crate::rng::Rng;
use crate::sorted::SortedMap;
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

pub use config::{Role, SwarmConfig};
pub use step::{Effects, step};
pub use timer::TimerKind;

use bucket::Bucket;
use event::Event;
use fetching::Request;
use io::{Input, Limits, OpenTransfer, Output};
use peer::{Line, Peer};
use rechecks::Rechecks;
use rules::Rules;
use score::Standings;
use serving::{Admission, Serve};
use timer::Timers;
use transfer::Transfer;

/// The scheduler of one node.
#[derive(Debug)]
pub struct Swarm {
    role: Role,
    me: NodeId,
    limits: Limits,
    rules: Rules,
    rng: Rng,
    peers: SortedMap<NodeId, Peer>,
    transfers: SortedMap<LayoutId, Transfer>,
    requests: SortedMap<RequestId, Request>,
    serves: SortedMap<ServeId, Serve>,
    standings: Standings,
    up: Bucket,
    down: Bucket,
    admission: Admission,
    rechecks: Rechecks,
    /// Who was hung up on for reading nothing, and has read nothing since.
    unread: BTreeSet<NodeId>,
    timers: Timers,
    next_request: u64,
    /// Peers of which there may be something to fetch, looked at when the input has been taken in.
    to_fill: Vec<NodeId>,
    /// Whether slots or quanta may have become free.
    to_pump: bool,
    /// When the neighbours were last told what there was to say.
    flushed: Option<Timestamp>,
    /// How often a neighbour was told something.
    tellings: u64,
    out: VecDeque<Output>,
}

impl Swarm {
    /// A scheduler that knows nobody and takes part in nothing. `me` is this node's own identity, `seed` decides all
    /// random choices.
    #[must_use]
    pub fn new(config: &SwarmConfig, me: NodeId, seed: u64, now: Timestamp) -> Self {
        Self {
            role: config.role,
            me,
            limits: config.limits,
            rules: config.rules,
            rng: Rng::new(seed),
            peers: SortedMap::new(),
            transfers: SortedMap::new(),
            requests: SortedMap::new(),
            serves: SortedMap::new(),
            standings: Standings::default(),
            up: Bucket::new(config.limits.up, now),
            down: Bucket::new(config.limits.down, now),
            admission: Admission::default(),
            rechecks: Rechecks::new(now),
            unread: BTreeSet::new(),
            timers: Timers::default(),
            next_request: 0,
            to_fill: Vec::new(),
            to_pump: false,
            flushed: None,
            tellings: 0,
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened. `now` never goes back.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::PeerUp { peer, info } => self.peer_up(now, peer, info),
            Input::PeerCovers {
                peer,
                product,
                info,
                fed,
            } => self.peer_covers(now, peer, product, (info, fed)),
            Input::PeerDown { peer } => self.peer_down(now, peer),
            Input::PeerBroke { peer } => self.peer_broke(now, peer),
            Input::PeerBothered { peer } => self.peer_bothered(now, peer),
            Input::Message { peer, message } => self.message(now, peer, message),
            Input::Open(open) => self.open(now, open),
            Input::Close { layout } => self.close(now, layout),
            Input::Wanted { layout, wanted } => self.wanted(now, layout, wanted),
            Input::Limits(limits) => self.set_limits(now, limits),
            Input::FetchBegun { request } => self.fetch_begun(now, request),
            Input::FetchVerified { request, groups, bytes } => self.fetch_verified(now, request, &groups, bytes),
            Input::FetchedLate {
                peer,
                distance,
                layout,
                groups,
                bytes,
            } => self.fetched_late(now, (peer, distance), layout, &groups, bytes),
            Input::FetchDone { request } => self.fetch_done(request),
            Input::FetchFailed { request, fault } => self.fetch_failed(now, request, fault),
            Input::Durable { layout, groups } => self.durable(now, layout, &groups),
            Input::Lost { layout, groups } => self.lost(now, layout, &groups),
            Input::ServeAsked {
                serve,
                peer,
                layout,
                groups,
            } => self.serve_asked(now, serve, peer, layout, groups),
            Input::ServeCancelled { serve } => self.serve_cancelled(now, serve),
            Input::ServeSent { serve, groups, bytes } => self.serve_sent(now, serve, &groups, bytes),
            Input::ServeFailed { serve } => self.serve_failed(now, serve),
            Input::TimedOut => self.timed_out(now),
        }
        self.settle(now);
    }

    /// What is to be done, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::TimedOut`] is due, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, TimerKind)> {
        self.timers.next()
    }

    /// After every input: asks, serves and announces whatever has become possible.
    fn settle(&mut self, now: Timestamp) {
        self.fill(now);
        if std::mem::take(&mut self.to_pump) {
            self.pump(now);
        }
        if self.timers.tick.is_none() && self.is_busy() {
            Timers::arm(&mut self.timers.tick, now.after(config::TICK));
        }
    }

    fn is_busy(&self) -> bool {
        !self.requests.is_empty()
            || !self.serves.is_empty()
            || self.peers.values().any(|peer| !peer.complaints.is_empty())
            || self.transfers.values().any(|transfer| !transfer.is_full())
            || (self.role == Role::Origin && self.has_needy())
    }

    fn timed_out(&mut self, now: Timestamp) {
        if Timers::take(&mut self.timers.announce, now) {
            self.announce(now);
        }
        if Timers::take(&mut self.timers.tick, now) {
            self.tick(now);
        }
        if Timers::take(&mut self.timers.up, now) {
            self.to_pump = true;
        }
        if Timers::take(&mut self.timers.down, now) {
            self.fill_everybody();
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.tick_sources(now);
        self.tick_refused(now);
        self.tick_rechecks(now);
        self.tick_serving(now);
        if self.role == Role::Origin {
            self.tick_seeding(now);
        }
        self.tick_progress(now);
        self.tick_lines(now);
        self.fill_everybody();
        self.to_pump = true;
    }

    fn fill_everybody(&mut self) {
        self.to_fill.extend(self.peers.keys().copied());
    }

    fn open(&mut self, now: Timestamp, open: OpenTransfer) {
        let (layout, product) = (open.layout, open.product);
        let taken: BTreeSet<u16> = self.transfers.values().map(|transfer| transfer.number).collect();
        let limit = u16::try_from(TRANSFERS_MAX).expect("a small bound");
        let free = (0..limit).find(|number| !taken.contains(number));
        debug_assert!(free.is_some(), "the shell opens at most TRANSFERS_MAX layouts");
        let Some(number) = free else { return };
        if self.transfers.contains_key(&layout) {
            self.close(now, layout);
        }
        let transfer = Transfer::new(number, open, self.role == Role::Origin, now);
        let blocks = transfer.table.len();
        self.transfers.insert(layout, transfer);
        let mut covered = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some(cover) = peer.covers.get(&product) {
                peer.lines.insert(layout, Line::new(blocks, *cover, true));
                covered.push(*id);
            }
        }
        for id in covered {
            self.mail_at_once(now, id, layout);
        }
        self.complete_if_full(now, layout);
    }

    fn close(&mut self, now: Timestamp, layout: LayoutId) {
        let of_layout = self.requests.iter().filter(|(_, request)| request.layout == layout);
        let requests: Vec<RequestId> = of_layout.map(|(id, _)| *id).collect();
        for request in requests {
            self.drop_request(request, true);
        }
        let of_layout = self.serves.iter().filter(|(_, serve)| serve.layout == layout);
        let serves: Vec<ServeId> = of_layout.map(|(id, _)| *id).collect();
        for serve in serves {
            // "Absent" would arrive before the word that it is closed, and be taken for a lie.
            self.refuse(now, serve, io::Refusal::Busy(config::CLOSED_RETRY));
        }
        let Some(transfer) = self.transfers.remove(&layout) else {
            return;
        };
        let mut told = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some(line) = peer.lines.remove(&layout) {
                peer.dirty.remove(&layout);
                peer.urgent.remove(&layout);
                peer.places.remove(&layout);
                peer.complaints.remove(&layout);
                peer.numbers.retain(|_, numbered| *numbered != layout);
                if line.introduced {
                    peer.closed.insert(transfer.number);
                    told.push(*id);
                }
            }
        }
        for id in told {
            self.post(now, id);
        }
    }

    fn wanted(&mut self, now: Timestamp, layout: LayoutId, wanted: Bits) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        transfer.want(now, wanted);
        let lines = self
            .peers
            .iter_mut()
            .filter_map(|(id, peer)| Some((*id, peer.lines.get_mut(&layout)?)));
        let ids: Vec<NodeId> = lines
            .map(|(id, line)| {
                line.mail.want = true;
                id
            })
            .collect();
        for id in ids {
            self.mail(now, id, layout);
        }
        self.drop_unwanted(layout);
        self.complete_if_full(now, layout);
        self.fill_everybody();
    }

    fn set_limits(&mut self, now: Timestamp, limits: Limits) {
        self.limits = limits;
        self.up.set_rate(now, limits.up);
        self.down.set_rate(now, limits.down);
        self.timers.up = None;
        self.timers.down = None;
        self.fill_everybody();
        self.to_pump = true;
    }

    fn durable(&mut self, now: Timestamp, layout: LayoutId, groups: &RangeSet) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        let whole = transfer.hold(groups);
        let hard = transfer.harden(groups);
        // Another release may have had them: then nobody here need bring them.
        self.settle_copies(layout, groups, None);
        self.whole_blocks(now, layout, &whole);
        self.tell_durable(now, layout, &hard);
        self.complete_if_full(now, layout);
    }

    fn lost(&mut self, now: Timestamp, layout: LayoutId, groups: &RangeSet) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        let gone = transfer.lose(groups);
        if self.role == Role::Origin {
            self.unpledge_lost(layout, &gone);
        }
        self.tell_lost(now, layout, &gone);
        self.fill_everybody();
    }

    /// Blocks have become whole: tell the neighbours, and the world when they were the last.
    fn whole_blocks(&mut self, now: Timestamp, layout: LayoutId, whole: &RangeSet) {
        if whole.is_empty() {
            return;
        }
        self.tell_have(now, layout, whole);
        self.complete_if_full(now, layout);
    }

    fn complete_if_full(&mut self, now: Timestamp, layout: LayoutId) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        if !transfer.is_full() || transfer.wanted.count() == 0 {
            return;
        }
        if !transfer.complete {
            transfer.complete = true;
            transfer.meter.stop(now);
            self.out.push_back(Output::Event(Event::TransferComplete {
                layout,
                sources: transfer.sources.clone(),
                elapsed: now.since(transfer.opened),
            }));
        }
        if !transfer.durable_told && transfer.is_durable() {
            transfer.durable_told = true;
            self.out.push_back(Output::Event(Event::TransferDurable { layout }));
        }
    }

    fn tick_progress(&mut self, now: Timestamp) {
        for (layout, transfer) in &mut self.transfers {
            transfer.meter.add(now, 0);
            let due = transfer
                .progress_told
                .is_none_or(|told| now.since(told) >= Duration::from_secs(1));
            if transfer.is_full() || !due {
                continue;
            }
            transfer.progress_told = Some(now);
            let wanted = transfer.wanted_bytes();
            self.out.push_back(Output::Event(Event::TransferProgress {
                layout: *layout,
                have: wanted - transfer.left,
                wanted,
                rate: transfer.meter.rate().unwrap_or(0),
            }));
        }
    }
}

#[cfg(test)]
mod tests;
