//! What the store answers.

use samara_protocol::id::{LayoutId, ManifestId};
use samara_protocol::tree::ranges::RangeSet;

use super::StoreError;

/// What was found when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// The index was missing or broken and starts empty: open the layouts of all releases ([`super::Store::manifests`]), oldest
    /// first; each finds its groups again by hashing what is on disk.
    pub index_rebuilt: bool,
    /// Large artifacts in the index, whole or not.
    pub artifacts: u64,
    /// Packs of small artifacts in the index.
    pub packs: u64,
    /// Releases whose head is here.
    pub releases: u64,
}

/// Which groups of a layout are held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Verified and safe from a power loss.
    pub durable: RangeSet,
    /// Verified and written, lost with the power until the next checkpoint. Never overlaps with `durable`.
    pub volatile: RangeSet,
}

/// What changed for one layout since the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Durable now.
    pub durable: RangeSet,
    /// Not held any more: a failed sync, rot, files that were touched by others. Found at any time, told here.
    pub lost: RangeSet,
}

/// What a checkpoint did.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// For each open layout that it concerns.
    pub layouts: Vec<(LayoutId, Changes)>,
    /// What kept it from finishing; what it could do is in `layouts`, the rest is tried again with the next.
    pub fault: Option<StoreError>,
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// Groups whose frames are in the buffer.
    pub served: RangeSet,
    /// Groups that are not held, or turned out not to be what their root says; told again by the next checkpoint.
    pub lost: RangeSet,
    /// Groups whose files cannot be read at this moment, for one while an outboard is made again: nothing is lost, ask again.
    pub later: RangeSet,
    /// Payload bytes in the buffer.
    pub bytes: u64,
}

/// What disk space the store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated to data, outboards and packs.
    pub used: u64,
    /// Bytes promised to running transfers.
    pub reserved: u64,
    /// Bytes that could still be written under quota and disk, beside those promised.
    pub free: u64,
}

/// What garbage collection did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Bytes of disk space given back.
    pub freed: u64,
    /// Large artifacts removed.
    pub artifacts: u64,
    /// Packs removed.
    pub packs: u64,
    /// Releases whose heads were removed.
    pub releases: Vec<ManifestId>,
}
