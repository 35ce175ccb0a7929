//! Answers the network's question who may come in, from a snapshot that the driver keeps current.
//!
//! Credentials decide what this node gives. What it takes proves itself, so a peer that this node dialled is let in even
//! when its own credentials cannot be judged yet (no metadata, or older than the peer's keys); it is then given nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::time::WallTime;
use samara_protocol::trust::credentials::{
    Covered, Credentials, GrantAuthority, Refusal, Revocations, credential_time,
};

use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::SiteId;

use super::clock::wall_time;
use crate::net::{Gate, Introduction, Seat, Verdict};

/// What the gate knows of one product.
#[derive(Debug, Clone, Default)]
pub(super) struct Door {
    /// This node's own credentials, encoded.
    pub(super) credentials: Vec<u8>,
    /// This node's metadata versions, encoded.
    pub(super) summary: Vec<u8>,
    /// Who signs grants; none before there is metadata.
    pub(super) authority: Option<GrantAuthority>,
    /// What is withdrawn.
    pub(super) revocations: Revocations,
    /// The site that this node is of, by its own credentials; an origin is of none.
    pub(super) own_site: Option<SiteId>,
    /// The newest time that metadata was signed at, and its expiry.
    pub(super) window: Option<(WallTime, WallTime)>,
}

impl Door {
    /// What the credentials of `from` cover now.
    pub(super) fn judge(&self, from: NodeId, credentials: &[u8]) -> Result<Covered, Refusal> {
        let authority = self.authority.as_ref().ok_or(Refusal::NoAuthority)?;
        let credentials = Credentials::decode(credentials);
        let unsigned = Refusal::NotEnrolled {
            node: from,
            reason: "what it showed are no credentials",
        };
        let credentials = credentials.map_err(|_| unsigned)?;
        credentials.verify(authority, &self.revocations, from, self.time())
    }

    /// The time by which credentials are judged.
    fn time(&self) -> WallTime {
        let wall = wall_time();
        self.window
            .map_or(wall, |(signed, expires)| credential_time(wall, signed, expires))
    }
}

/// The snapshot, shared between the driver, which writes it, and the network's tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Doors(Arc<RwLock<BTreeMap<ProductId, Door>>>);

impl Doors {
    /// Replaces what is known of a product.
    pub(super) fn set(&self, product: ProductId, door: Door) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(product, door);
    }

    /// What the credentials of `from` cover now.
    pub(super) fn judge(&self, from: NodeId, product: ProductId, credentials: &[u8]) -> Result<Covered, Refusal> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors
            .get(&product)
            .ok_or(Refusal::NoAuthority)?
            .judge(from, credentials)
    }

    /// The time by which a product's credentials and contacts are judged.
    pub(super) fn time(&self, product: ProductId) -> WallTime {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors.get(&product).map_or_else(wall_time, Door::time)
    }

    fn seat(&self, product: ProductId, peer: &Covered) -> Seat {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let own_site = doors.get(&product).and_then(|door| door.own_site);
        match peer.kind {
            MemberKind::Origin => Seat::Own,
            _ if own_site == Some(peer.site) => Seat::Own,
            MemberKind::Node => Seat::Node(peer.site.0),
            MemberKind::Host => Seat::Host(peer.site.0),
        }
    }

    fn revoked_nodes(&self) -> BTreeSet<NodeId> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors
            .values()
            .flat_map(|door| door.revocations.nodes.iter().copied())
            .collect()
    }
}

impl Gate for Doors {
    fn hello(&self, _to: NodeId, product: ProductId) -> Option<Introduction> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let door = doors.get(&product)?;
        Some(Introduction {
            credentials: door.credentials.clone(),
            summary: door.summary.clone(),
        })
    }

    fn judge(&self, from: NodeId, product: ProductId, credentials: &[u8], dialled_by_us: bool) -> Verdict {
        match Self::judge(self, from, product, credentials) {
            Ok(covered) => Verdict::Admit {
                expired: false,
                seat: self.seat(product, &covered),
            },
            Err(Refusal::Expired { covered }) => Verdict::Admit {
                expired: true,
                seat: self.seat(product, &covered),
            },
            Err(Refusal::Revoked { .. }) => Verdict::Refuse,
            Err(_) if dialled_by_us => Verdict::Admit {
                expired: false,
                seat: Seat::Own,
            },
            Err(_) => Verdict::Refuse,
        }
    }

    fn is_banned(&self, peer: NodeId) -> bool {
        self.revoked_nodes().contains(&peer)
    }
}
