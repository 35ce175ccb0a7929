//! Everything that can happen at a node and that a person, a metric or an auditor may want to know.

use std::net::SocketAddr;
use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, NodeId, ProductId};
use samara_protocol::swarm::event::Event as SwarmEvent;
use samara_protocol::swarm::io::{DisconnectReason, Distance};
use samara_protocol::tree::ranges::RangeSet;
use semver::Version;

/// A fact, in the past tense. Texts that come from peers are escaped and cut when they are shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The node began its work.
    NodeStarted {
        /// Its own name.
        peer: NodeId,
        /// `origin` or `site`.
        role: &'static str,
    },
    /// The node was asked to stop and drains.
    NodeStopping,
    /// The node accepts connections.
    Listening {
        /// Where, `host:port`.
        address: String,
    },
    /// Prometheus may ask.
    MetricsServed {
        /// Where.
        address: SocketAddr,
    },
    /// A verb asked for something.
    VerbCalled {
        /// The user that ran it.
        uid: u32,
        /// What it asked.
        request: &'static str,
    },

    /// A peer was admitted.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// Its end of the connection.
        address: String,
        /// How far away it is.
        distance: Distance,
    },
    /// An admitted peer is gone.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer was dropped on purpose.
    PeerDropped {
        /// Whom.
        peer: NodeId,
        /// Why.
        reason: DisconnectReason,
        /// It is neither dialled nor admitted for this long.
        quarantine: Duration,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Whom.
        peer: NodeId,
        /// Why, as far as it can be known.
        error: String,
    },
    /// Payload was received and verified.
    BytesReceived {
        /// From how far.
        distance: Distance,
        /// How much.
        bytes: u64,
    },
    /// Payload was handed to a socket.
    BytesSent {
        /// To how far.
        distance: Distance,
        /// How much.
        bytes: u64,
    },
    /// A peer sent what cannot be a message, or more than the limits allow; the connection is closed.
    ProtocolBroken {
        /// Who.
        peer: NodeId,
        /// What was wrong.
        what: String,
    },
    /// A frame from a peer was no proof of what it carried.
    GroupRejected {
        /// Who sent it.
        peer: NodeId,
        /// What was wrong.
        what: String,
    },
    /// What the scheduler says.
    Swarm(SwarmEvent),

    /// Newer signed metadata is in force.
    MetadataTaken {
        /// Of which product.
        product: ProductId,
    },
    /// Signed metadata is not what it must be.
    MetadataRefused {
        /// Who gave it; `None` when it came by hand or was on disk.
        peer: Option<NodeId>,
        /// Of which product.
        product: ProductId,
        /// What is wrong.
        why: String,
    },
    /// A site's newer list of revoked nodes and hosts is in force.
    RevocationsTaken {
        /// Who brought it.
        peer: NodeId,
        /// Of which product.
        product: ProductId,
        /// How many are on it.
        revoked: usize,
    },
    /// A release was published at this origin.
    ReleasePublished {
        /// Its product.
        product: ProductId,
        /// Its version.
        version: Version,
        /// The BLAKE3 of its head.
        manifest: ManifestId,
    },
    /// A release is all here, checked and durable.
    ReleaseStaged {
        /// Its product.
        product: ProductId,
        /// Its version.
        version: Version,
        /// The BLAKE3 of its head.
        manifest: ManifestId,
    },
    /// A release cannot go on until something changes.
    ReleaseBlocked {
        /// Its product.
        product: ProductId,
        /// Its version.
        version: Version,
        /// The BLAKE3 of its head.
        manifest: ManifestId,
        /// What must change.
        why: String,
    },
    /// A product lists more releases than a node takes part in: the oldest are left out.
    ReleasesLeftOut {
        /// The product.
        product: ProductId,
        /// How many are taken part in.
        served: u64,
        /// How many are not.
        left_out: u64,
    },
    /// Nothing of a file that a peer was asked for came in time; the next one is asked.
    FileLate {
        /// Who was asked.
        peer: NodeId,
        /// For what: `metadata`, or `head/` and the release's manifest.
        file: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// What a peer gave as a release's head is not what was signed.
    HeadRefused {
        /// Who gave it.
        peer: NodeId,
        /// Which release was asked for.
        manifest: ManifestId,
        /// What is wrong.
        why: String,
    },

    /// Groups that were held are not held any more; peers are told, and they are fetched again.
    GroupsLost {
        /// Of which layout.
        layout: LayoutId,
        /// Which.
        groups: RangeSet,
    },
    /// Writing, reading or syncing failed.
    DiskFailed {
        /// What the store says.
        what: String,
    },
    /// What was written is durable.
    Checkpointed {
        /// How long it took.
        elapsed: Duration,
    },
    /// What the store takes of the disk, looked at now and then.
    StoreMeasured {
        /// Bytes on disk.
        used: u64,
        /// Bytes that could still be written.
        free: u64,
    },
    /// The store was opened.
    StoreOpened {
        /// The index was gone and is rebuilt from what lies on disk.
        rebuilt: bool,
        /// Releases whose heads are there.
        releases: u64,
    },
    /// What no release needs any more is gone.
    GarbageCollected {
        /// Bytes given back.
        freed: u64,
        /// Releases that are gone.
        releases: u64,
    },
}
