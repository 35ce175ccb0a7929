//! What goes into the scheduler and what comes out: data, so that a node can record it and a developer replay it.

use std::sync::Arc;
use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId, RequestId, ServeId};
use crate::manifest::blocks::BlockTable;
use crate::tree::ranges::RangeSet;
use crate::units::ByteRate;
use crate::wire::message::SwarmMessage;

/// How far away a neighbour is, cheapest first. The order is the cost order of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distance {
    /// A node of the same site.
    Site,
    /// Another site of the same tenant.
    Tenant,
    /// Another tenant's site in the same region.
    Region,
    /// Any other site.
    Other,
    /// A vendor's origin.
    Origin,
}

/// What is known of a neighbour: when it is admitted, and by its grant for each product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInfo {
    /// How far away it is.
    pub distance: Distance,
    /// Whether it ever serves others; a host does not.
    pub serves: bool,
    /// Stands for a reseed domain: neighbours with equal numbers may feed each other. 0 is "feeds nobody but its own".
    pub domain: u64,
}

/// For whom this node's uplink works. What is above the setting is refused as busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UploadAudience {
    /// Nobody.
    Off,
    /// Nodes and hosts of the own site.
    Site,
    /// All sites of the own tenant.
    Tenant,
    /// Everybody whose grant covers the product.
    All,
}

/// The operator's limits; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload sent, bytes a second.
    pub up: Option<ByteRate>,
    /// Payload received, bytes a second.
    pub down: Option<ByteRate>,
    /// Who is served.
    pub upload: UploadAudience,
    /// The most copies of a block that an origin sends into one reseed domain; `None` is as many as help.
    pub origin_copies_max: Option<u32>,
}

/// A layout that this node takes part in.
#[derive(Debug, Clone)]
pub struct OpenTransfer {
    /// Which layout.
    pub layout: LayoutId,
    /// Its blocks.
    pub table: Arc<BlockTable>,
    /// Blocks that this node wants; none when it only serves.
    pub wanted: Bits,
    /// Groups that are verified and durable on this node's disk.
    pub durable: RangeSet,
    /// Groups that are verified but would be lost with the power.
    pub volatile: RangeSet,
    /// Higher goes first.
    pub priority: u8,
    /// The product: a peer learns of this layout only once it is covered for it ([`Input::PeerCovers`]).
    pub product: u32,
}

/// Why a fetch ended without all its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchFault {
    /// A group did not verify, or a frame could not be one: the peer's doing.
    Invalid,
    /// The peer says it is busy; ask again after this time.
    Busy(Duration),
    /// The peer does not have it (any more) or does not show it to us.
    Absent,
    /// The peer says that it has it and cannot read it: its disk is at fault, and it will tell what is lost.
    Unreadable,
    /// The stream or connection ended.
    Broken,
    /// This node could not write: no one is to blame.
    Local,
}

/// Why asked-for groups are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// All slots are taken or the audience does not include the peer; try again after this time.
    Busy(Duration),
    /// Not held, or not to be shown: one answer for both.
    Absent,
}

/// Everything that can happen to the scheduler.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer was admitted. Not given twice without [`Input::PeerDown`] between.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// What is known of it.
        info: PeerInfo,
    },
    /// This peer's grant covers a product; only now may it hear of that product's layouts.
    PeerCovers {
        /// Who.
        peer: NodeId,
        /// The product's local number, as in [`OpenTransfer::product`].
        product: u32,
        /// What is known of it by that grant: its domain is another one for each product. Of the first product that is
        /// covered it counts for the peer as a whole, for the connection may have come up before anything could be judged.
        info: PeerInfo,
        /// Whether it may have them of this node, as far as the grants of both say.
        fed: bool,
    },
    /// A peer is gone. All its requests and serves are over; the shell drops them without further inputs.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer sent what cannot be a message, or more than the limits allow; its connection is being closed.
    PeerBroke {
        /// Who.
        peer: NodeId,
    },
    /// A peer made work that is no affair of the scheduler's and that nobody needs without end: metadata versions,
    /// contacts, asks for files.
    PeerBothered {
        /// Who.
        peer: NodeId,
    },
    /// A control message of the swarm's arrived.
    Message {
        /// From whom.
        peer: NodeId,
        /// What.
        message: SwarmMessage,
    },
    /// Take part in a layout.
    Open(OpenTransfer),
    /// Take no further part; running requests are cancelled.
    Close {
        /// Which layout.
        layout: LayoutId,
    },
    /// More (or fewer) blocks are wanted.
    Wanted {
        /// Which layout.
        layout: LayoutId,
        /// All that is wanted now.
        wanted: Bits,
    },
    /// The operator's limits changed.
    Limits(Limits),
    /// The first bytes of a running fetch's reply are here: a group of it is on its way.
    FetchBegun {
        /// Which fetch.
        request: RequestId,
    },
    /// Groups of a running fetch are verified and written (volatile).
    FetchVerified {
        /// Which fetch.
        request: RequestId,
        /// Which groups.
        groups: RangeSet,
        /// Payload bytes of them.
        bytes: u64,
    },
    /// The fetch delivered all that it asked for.
    FetchDone {
        /// Which fetch.
        request: RequestId,
    },
    /// The fetch ended early.
    FetchFailed {
        /// Which fetch.
        request: RequestId,
        /// Why.
        fault: FetchFault,
    },
    /// Groups of a fetch that is over for the scheduler (taken back, or its peer is gone) are verified and written all the
    /// same: they had come by then.
    FetchedLate {
        /// Whose bytes they are.
        peer: NodeId,
        /// How far away the peer was when it was asked.
        distance: Distance,
        /// Which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
        /// Payload bytes of them.
        bytes: u64,
    },
    /// Groups are durable now.
    Durable {
        /// Which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
    },
    /// Groups are not held any more (power loss, fsync error, rot, garbage collection).
    Lost {
        /// Which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
    },
    /// A peer asks for groups. Bounds of `limits` have been checked by the decoder.
    ServeAsked {
        /// Names it from here on.
        serve: ServeId,
        /// Who asks.
        peer: NodeId,
        /// From which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
    },
    /// The peer took back what it asked for; no further output names this serve.
    ServeCancelled {
        /// Which.
        serve: ServeId,
    },
    /// Groups of an [`Output::Serve`] were handed to the socket.
    ServeSent {
        /// Which.
        serve: ServeId,
        /// Which groups.
        groups: RangeSet,
        /// Payload bytes of them.
        bytes: u64,
    },
    /// Groups could not be read or failed their check on this node's disk; [`Input::Lost`] follows for them.
    ServeFailed {
        /// Which.
        serve: ServeId,
    },
    /// The time that `poll_timeout` named has come.
    TimedOut,
}

/// Everything that the scheduler wants done. Cannot fail: the shell's queues are as long as the limits allow.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a control message.
    Send {
        /// To whom.
        peer: NodeId,
        /// What.
        message: SwarmMessage,
    },
    /// Ask a peer for groups.
    Fetch {
        /// Names it from here on.
        request: RequestId,
        /// Whom.
        peer: NodeId,
        /// From which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
        /// How far away the peer is, for [`Input::FetchedLate`].
        distance: Distance,
    },
    /// Stop a fetch; no further input may name it.
    CancelFetch {
        /// Which.
        request: RequestId,
    },
    /// Send these groups of a serve now, in order; more follows until all are served, when `last` is true.
    Serve {
        /// Which.
        serve: ServeId,
        /// Which groups.
        groups: RangeSet,
        /// Whether the reply ends after these.
        last: bool,
    },
    /// Send the rest of this serve no more; answer with the reason.
    Refuse {
        /// Which.
        serve: ServeId,
        /// Why.
        reason: Refusal,
    },
    /// A peer could not verify what this node sent of these groups: read and check them. [`Input::Lost`] follows for
    /// those that are bad, nothing for good ones. Bounded in `limits` by peer and by bytes over all peers.
    Recheck {
        /// Of which layout.
        layout: LayoutId,
        /// Which groups.
        groups: RangeSet,
    },
    /// Take the peer's connection down: it broke the protocol or lied.
    Disconnect {
        /// Whom.
        peer: NodeId,
        /// Why, for the log.
        reason: DisconnectReason,
        /// Do not dial or admit it for this long.
        quarantine: Duration,
    },
    /// A fact for logs, metrics and receipts.
    Event(super::event::Event),
}

/// Why a peer is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// It served groups that do not verify.
    ServedGarbage,
    /// It claims groups that it then says it does not have, again and again.
    LiedAboutHaves,
    /// Its messages break the protocol or come faster than allowed.
    Misbehaved,
    /// It takes nothing of what it asked for: hung up on, and welcome again.
    Stalled,
}
