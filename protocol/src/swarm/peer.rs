//! What is known of one admitted neighbour.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, RequestId, ServeId};
use crate::manifest::blocks::BlockTable;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;
use crate::units::ByteRate;

use super::bucket::Bucket;
use super::config::{PIPELINE_TRIPS, PIPELINE_TRIPS_MAX, SPAN_MIN};
use super::given::Given;
use super::io::{Distance, PeerInfo};
use super::rate::{Meter, Window};
use super::seeding::Domain;

/// Control messages and refused asks a second that are no flood, and how many seconds of them may come at once.
const MESSAGES: ByteRate = ByteRate(200);

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) info: PeerInfo,
    /// Products that its grants cover, what it is there, and whether it may have them of this node.
    pub(super) covers: SortedMap<u32, (PeerInfo, bool)>,
    /// One for every layout that is open here and that it is covered for.
    pub(super) lines: SortedMap<LayoutId, Line>,
    /// At an origin, the layouts that it is shown blocks of now: see `seeding::places`.
    pub(super) places: SortedSet<LayoutId>,
    /// Blocks that it was sent, could not verify, and that are still to be read again.
    pub(super) complaints: SortedMap<LayoutId, RangeSet>,
    /// The numbers that it gave to layouts.
    pub(super) numbers: SortedMap<u16, LayoutId>,
    /// Lines with something to say, and numbers of ours that are closed.
    pub(super) dirty: SortedSet<LayoutId>,
    pub(super) closed: SortedSet<u16>,
    /// Which of all tellings was its last; 0 before the first.
    pub(super) told: u64,
    /// Lines among the dirty ones on which the first words are to be said, and what was said of such since the last flush.
    pub(super) urgent: SortedSet<LayoutId>,
    pub(super) hurried: usize,
    pub(super) source: Source,
    pub(super) sink: Sink,
    /// When a message or bytes of it came last.
    pub(super) heard: Timestamp,
    pub(super) flood: Flood,
}

impl Peer {
    pub(super) fn new(info: PeerInfo, now: Timestamp) -> Self {
        Self {
            info,
            covers: SortedMap::new(),
            lines: SortedMap::new(),
            places: SortedSet::new(),
            complaints: SortedMap::new(),
            numbers: SortedMap::new(),
            dirty: SortedSet::new(),
            closed: SortedSet::new(),
            told: 0,
            urgent: SortedSet::new(),
            hurried: 0,
            source: Source::new(now),
            sink: Sink::default(),
            heard: now,
            flood: Flood::new(now),
        }
    }

    pub(super) fn view(&self, layout: &LayoutId) -> Option<&View> {
        self.lines.get(layout)?.view.as_ref()
    }
}

/// One neighbour and one layout: what we told it, what it told us, what it is to be told next.
#[derive(Debug)]
pub(super) struct Line {
    /// What the peer is for the layout's product.
    pub(super) info: PeerInfo,
    /// Blocks that we told it we have. Only an origin holds some back.
    pub(super) shown: Bits,
    pub(super) view: Option<View>,
    /// Whether it may have any of it of this node: else it is told of nothing that is here.
    pub(super) fed: bool,
    /// Whether it was told the layout's number.
    pub(super) introduced: bool,
    /// How often it has told us its own; counted only as far as that costs it nothing.
    pub(super) met: u8,
    /// How often it was told all of it, and when last.
    pub(super) told: (u32, Timestamp),
    pub(super) mail: Mail,
    /// An origin's blocks that were shown to it and that it has not yet got.
    pub(super) pledges: BTreeMap<u32, Pledge>,
    pub(super) pledge_window: Window,
    /// Since when it waits for a place among the layouts that are shown, or its last turn there was over.
    pub(super) waits_since: Timestamp,
    /// When it got its place, or when something of it was sent or gained last.
    pub(super) moved: Timestamp,
    pub(super) given: Given,
}

impl Line {
    /// Whether the peer is of this domain, for the layout's product.
    pub(super) fn is_of(&self, domain: Domain) -> bool {
        Domain::of(&self.info) == Some(domain)
    }

    /// A line on which the first word is ours, or theirs.
    pub(super) fn new(blocks: u32, (info, fed): (PeerInfo, bool), is_ours: bool) -> Self {
        Self {
            info,
            shown: Bits::none(blocks),
            view: None,
            fed,
            introduced: false,
            met: 0,
            told: (0, Timestamp::ZERO),
            mail: Mail {
                status: is_ours,
                ..Mail::default()
            },
            pledges: BTreeMap::new(),
            pledge_window: Window::new(SPAN_MIN),
            waits_since: Timestamp::ZERO,
            moved: Timestamp::ZERO,
            given: Given::nothing(),
        }
    }

    /// How needy it is, in millionths of what it wants of this table: by its own word, and never more than what it was
    /// sent leaves it. Who never says that it got anything gets no more than others.
    pub(super) fn need(&self, table: &BlockTable) -> u32 {
        let whole = table.bytes();
        let Some(view) = &self.view else {
            return self.given.need_left(whole);
        };
        let wanted = whole / u64::from(table.len().max(1)) * u64::from(view.want.count());
        view.need().min(self.given.need_left(wanted))
    }
}

/// An origin's block that was shown to a neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pledge {
    pub(super) since: Timestamp,
    /// Whether it was asked for.
    pub(super) asked: bool,
}

/// What is to be said in the next announcement.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) status: bool,
    /// Whether the status asks for the peer's: some of what it said was not true, or is not any more.
    pub(super) ask: bool,
    pub(super) want: bool,
    pub(super) have: RangeSet,
    pub(super) durable: RangeSet,
    pub(super) lost: RangeSet,
    pub(super) rejected: RangeSet,
}

/// What a neighbour said of a layout.
#[derive(Debug)]
pub(super) struct View {
    pub(super) have: Bits,
    pub(super) durable: Bits,
    pub(super) want: Bits,
    /// Blocks that are not asked of it: what it sent of them did not verify.
    pub(super) refused: Bits,
    /// How many blocks it has; how many it wants and has not.
    pub(super) have_count: u32,
    pub(super) needs: u32,
}

impl View {
    pub(super) fn new(have: Bits, durable: Bits, want: Bits) -> Self {
        let mut view = Self {
            refused: Bits::none(have.len()),
            have_count: 0,
            needs: 0,
            have,
            durable,
            want,
        };
        view.count();
        view
    }

    pub(super) fn count(&mut self) {
        self.have_count = self.have.count();
        self.needs = self.want.count() - self.want.count_common(&self.have);
    }

    /// How needy it says it is, in millionths of what it wants.
    fn need(&self) -> u32 {
        let wanted = u64::from(self.want.count().max(1));
        u32::try_from(u64::from(self.needs) * 1_000_000 / wanted).expect("at most a million")
    }
}

/// After so many bytes a source that brought less than so many a second is slow.
const SLOW_BYTES: u64 = 1 << 20;
/// See [`SLOW_BYTES`].
const SLOW_RATE: u64 = 1 << 20;

/// The neighbour as one that we fetch from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) requests: SortedSet<RequestId>,
    /// Nominal bytes asked for and not yet here.
    pub(super) outstanding: u64,
    pub(super) meter: Meter,
    pub(super) window: Window,
    /// The shortest time seen between an ask of an idle peer and its first bytes.
    pub(super) rtt: Option<Duration>,
    /// How long it has lately taken an idle peer to begin: others wait at it, too, and what its socket holds goes first.
    pub(super) begins: Option<Duration>,
    /// When its last bytes came, or since when it is asked.
    pub(super) last_byte: Timestamp,
    /// How long it was last waited for in vain; nothing once it brought a byte.
    pub(super) in_vain: Duration,
    pub(super) stalled: bool,
    /// Not asked before this.
    pub(super) backoff_until: Option<Timestamp>,
    /// Failures in a row; the backoff doubles with each.
    pub(super) failures: u32,
    /// Replies in a row that broke off.
    pub(super) broken: u32,
    /// When something of it last did not verify.
    pub(super) blamed: Option<Timestamp>,
    /// When it may be asked again for what of it did not verify.
    pub(super) refused_until: Option<Timestamp>,
    /// When it was last held against it that it did not have what it had said.
    pub(super) absent: Option<Timestamp>,
    /// How often in a row everything was taken back for want of progress.
    pub(super) give_ups: u32,
}

impl Source {
    fn new(now: Timestamp) -> Self {
        Self {
            requests: SortedSet::new(),
            outstanding: 0,
            meter: Meter::default(),
            window: Window::new(SPAN_MIN),
            rtt: None,
            begins: None,
            last_byte: now,
            in_vain: Duration::ZERO,
            stalled: false,
            backoff_until: None,
            failures: 0,
            broken: 0,
            blamed: None,
            refused_until: None,
            absent: None,
            give_ups: 0,
        }
    }

    pub(super) fn rtt_or_guess(&self) -> Duration {
        self.rtt.unwrap_or(Duration::from_millis(50))
    }

    /// An ask of a peer that had nothing else to do for us has begun to be answered.
    pub(super) fn began(&mut self, took: Duration) {
        self.rtt = Some(self.rtt.map_or(took, |rtt| rtt.min(took)));
        self.begins = Some(self.begins.map_or(took, |begins| (3 * begins + took) / 4));
        self.meter.remember(self.trips());
    }

    /// How long it probably takes until it begins with what it is asked for next.
    pub(super) fn begins_or_guess(&self) -> Duration {
        self.begins.unwrap_or_else(|| self.rtt_or_guess())
    }

    /// The time beyond [`PIPELINE_TIME`](super::config::PIPELINE_TIME) that asks cover: one in which what was lost comes again.
    pub(super) fn trips(&self) -> Duration {
        (PIPELINE_TRIPS * self.rtt_or_guess()).min(PIPELINE_TRIPS_MAX)
    }

    /// Whether it has been seen to bring so little that it is not worth waiting for while others idle, however near it is.
    pub(super) fn is_slow(&self) -> bool {
        self.meter.total() >= SLOW_BYTES && self.meter.rate().is_some_and(|rate| rate < SLOW_RATE)
    }

    /// Whether it may be asked now.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        !self.stalled && self.backoff_until.is_none_or(|until| until <= now)
    }
}

/// The neighbour as one that we serve.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// What it asked for, oldest first.
    pub(super) serves: VecDeque<ServeId>,
    /// Groups given to the shell for it and not yet taken by its socket.
    pub(super) issued: u64,
    pub(super) meter: Meter,
    /// When its socket last took something, or when there was nothing to take.
    pub(super) last_sent: Timestamp,
    pub(super) slot: Option<Slot>,
    /// When it last got a slot.
    pub(super) last_slot: Option<Timestamp>,
    /// Which of all quanta was its last; 0 before the first.
    pub(super) last_quantum: u64,
}

/// A place among those served now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) since: Timestamp,
    /// Payload bytes that it was sent since then.
    pub(super) sent: u64,
    /// Gets nothing more: leaves when what was issued is sent.
    pub(super) closing: bool,
}

/// Counts what a peer makes us do for nothing.
#[derive(Debug)]
pub(super) struct Flood(Bucket);

impl Flood {
    fn new(now: Timestamp) -> Self {
        Self(Bucket::new(Some(MESSAGES), now))
    }

    /// Notes `count` messages; true when it is a flood: five seconds' worth beyond the rate.
    pub(super) fn add(&mut self, now: Timestamp, count: u64) -> bool {
        self.0.take(now, count);
        self.0
            .opens_at(now)
            .is_some_and(|at| at.since(now) > Duration::from_secs(5))
    }
}

/// Which upload slots a neighbour competes for.
pub(super) fn is_local(info: &PeerInfo) -> bool {
    info.distance == Distance::Site
}
