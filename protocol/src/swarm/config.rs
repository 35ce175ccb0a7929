//! What the scheduler is told once, and the figures it works by.

use std::time::Duration;

pub use super::rules::{Rule, Rules};

use super::io::{Limits, UploadAudience};

/// What this node is to the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A vendor's node: shows each block to one node of a reseed domain first.
    Origin,
    /// A site's node: fetches, and serves what it has.
    Site,
    /// A leaf: fetches and never serves.
    Host,
}

/// The scheduler's configuration.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// The rules that hold: all of them, except where a simulation measures what one earns.
    pub rules: Rules,
    /// What this node is.
    pub role: Role,
    /// The operator's limits.
    pub limits: Limits,
}

impl SwarmConfig {
    /// A node of this role without limits.
    #[must_use]
    pub const fn unlimited(role: Role) -> Self {
        let limits = Limits {
            up: None,
            down: None,
            upload: UploadAudience::All,
            origin_copies_max: None,
        };
        let rules = Rules::ALL;
        Self { rules, role, limits }
    }
}

/// Peers served at a time in each class (own site, others), before admission adds more.
pub const UPLOAD_SLOTS: usize = 4;
/// The most that admission adds up to, when the served peers leave the uplink idle.
pub const UPLOAD_SLOTS_MAX: usize = 16;
/// How long a peer keeps a slot while others wait.
pub(super) const SLOT_TIME: Duration = Duration::from_secs(1);
/// Bytes of one [`super::io::Output::Serve`], at the least and at the most. Twice of it may be on its way per peer.
pub(super) const QUANTUM_MIN: u64 = 256 << 10;
/// See [`QUANTUM_MIN`].
pub(super) const QUANTUM_MAX: u64 = 1 << 20;
/// A quantum is about what the peer takes in this time.
pub(super) const QUANTUM_TIME: Duration = Duration::from_millis(50);
/// An ask that has waited so long is refused as busy.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);
/// What a refused peer is told to wait.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(2);
/// What a peer is told to wait whose ask waited when the layout was closed.
pub(super) const CLOSED_RETRY: Duration = Duration::from_millis(250);
/// What a peer is told that is outside the audience.
pub(super) const AUDIENCE_RETRY: Duration = Duration::from_secs(60);
/// A peer that reads nothing of what it asked for keeps its share of the send budget for so long.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(30);

/// The least bytes of a span, when it is not a block: first spans have this size.
pub(super) const SPAN_MIN: u64 = 256 << 10;
/// A span is what the peer delivers in this time at the most.
pub(super) const SPAN_TIME: Duration = Duration::from_secs(1);
/// A span, and all that is asked of one peer, is at most this part of what is still missing.
pub(super) const SPAN_SHARE: u64 = 8;
/// Asks cover this much of the peer's rate, beside the round trips of [`PIPELINE_TRIPS`].
pub(super) const PIPELINE_TIME: Duration = Duration::from_millis(250);
/// And so many round trips. One would keep a line full on which nothing is lost. Behind a lost packet nothing comes for one or two
/// round trips, and a sender that has run out of asks by then stands still as well, so that the measured rate, and with it the next
/// asks, fall with every loss. What is asked for and waits at the sender costs nothing.
pub(super) const PIPELINE_TRIPS: u32 = 4;
/// They cover no more than this: a peer that had no place for us at first seemed to be far away.
pub(super) const PIPELINE_TRIPS_MAX: Duration = Duration::from_secs(4);
/// Without a byte for this time and four round trips a peer is stalled: what it was asked for is asked elsewhere too.
pub(super) const STALL_TIME: Duration = Duration::from_secs(2);
/// Without a byte for this long everything asked of a peer is taken back.
pub(super) const GIVE_UP_TIME: Duration = Duration::from_secs(30);

/// What there is to say leaves at most once in this time, to some of the neighbours.
pub(super) const ANNOUNCE_TIME: Duration = Duration::from_millis(50);
/// For so long an origin speaks of a layout by itself: those who want it may have asked before it was open.
pub(super) const NEWS_TIME: Duration = Duration::from_secs(60);
/// The heartbeat while something is under way.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A block's only holder that said nothing for so long is not counted on.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(30);
/// A shown block that is not asked for in this time is shown to another node.
pub(super) const UNTAKEN_MAX: Duration = Duration::from_secs(5);
