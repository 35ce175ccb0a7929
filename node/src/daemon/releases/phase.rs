//! How far a release is, and why it cannot go on.

use std::collections::BTreeSet;

use samara_protocol::id::{NodeId, Part};

use crate::daemon::report::OpenError;
use crate::store::StoreError;

/// How far it is.
///
/// | phase | left when | to |
/// |---|---|---|
/// | Looking | the worker looked for the head in the store | Opening(Entries), or Head |
/// | Head | the head is here and verified | Opening(Entries) |
/// | Opening(p) | the worker opened layout p | Moving(p) |
/// | Opening(p) | there is no room for p, and garbage was not looked for | Room(p) |
/// | Room(p) | what can go is gone | Opening(p) |
/// | Moving(Entries) | the list is durable | Opening(Payload) |
/// | Moving(Payload) | everything wanted is durable | Staged |
/// | Opening(Payload) | the list turned out damaged | Opening(Entries) |
/// | Staged | something wanted of the payload was lost | Moving(Payload) |
/// | any | disk or release says no | Blocked |
/// | Blocked | its time has come | Opening(Entries), or Head |
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Phase {
    /// A worker looks whether the store has the head.
    Looking,
    /// The head is being asked for.
    Head {
        asking: Option<NodeId>,
        refused: BTreeSet<NodeId>,
    },
    /// A worker opens the layout.
    Opening(Part),
    /// There is no room for the layout until garbage is collected.
    Room(Part),
    /// The scheduler moves its blocks.
    Moving(Part),
    /// Verified and durable, all that is wanted.
    Staged,
    /// Cannot go on; says why and what to do.
    Blocked(Blockage),
}

/// Why a release cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Blockage {
    /// For people.
    pub(in crate::daemon) why: String,
    /// Of which kind.
    pub(in crate::daemon) cause: Cause,
}

/// What stands in a release's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Cause {
    /// Disk or quota is full.
    Full,
    /// It has no such entry as was asked for; says how to find the right one.
    NoEntry { way_out: String },
    /// Anything else.
    Other,
}

impl Cause {
    fn of(error: &StoreError) -> Self {
        if error.is_full() { Self::Full } else { Self::Other }
    }
}

impl From<&StoreError> for Blockage {
    fn from(error: &StoreError) -> Self {
        Self {
            why: error.to_string(),
            cause: Cause::of(error),
        }
    }
}

impl From<&OpenError> for Blockage {
    fn from(error: &OpenError) -> Self {
        Self {
            why: error.to_string(),
            cause: match error {
                OpenError::Store(error) => Cause::of(error),
                OpenError::NoEntry(missing) => Cause::NoEntry {
                    way_out: missing.way_out(),
                },
                OpenError::Release(_) => Cause::Other,
            },
        }
    }
}

impl Phase {
    /// The store does not have the head, and nobody was asked yet.
    pub(in crate::daemon) const fn start() -> Self {
        Self::Head {
            asking: None,
            refused: BTreeSet::new(),
        }
    }

    /// For whoever waits.
    pub(in crate::daemon) const fn in_words(&self) -> &'static str {
        match self {
            Self::Head { .. } => "asking for the release's manifest",
            Self::Opening(Part::Entries) | Self::Moving(Part::Entries) => "fetching the list of files",
            Self::Looking | Self::Opening(Part::Payload) => "looking at what is here already",
            Self::Room(_) => "making room",
            Self::Moving(Part::Payload) => "fetching",
            Self::Staged => "staged",
            Self::Blocked(_) => "cannot go on",
        }
    }
}
