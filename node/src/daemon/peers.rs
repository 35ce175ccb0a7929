//! Admitted peers: what their credentials cover, how far away that makes them, and what they have been shown.

use std::collections::{BTreeMap, BTreeSet};

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::limits::TRANSFERS_MAX;
use samara_protocol::swarm::io::{Distance, PeerInfo};
use samara_protocol::time::Timestamp;
use samara_protocol::trust::contact::Contact;
use samara_protocol::trust::credentials::Covered;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::Reseed;

/// Everybody who is admitted.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Whether somebody who was dialled answered and did not let this node in, and nobody has since.
    pub(super) turned_away: bool,
    all: BTreeMap<NodeId, Peer>,
}

/// One admitted peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its end of the connection.
    pub(super) address: String,
    /// Whether this node dialled it.
    pub(super) dialled: bool,
    /// When it was admitted.
    pub(super) since: Timestamp,
    /// How far away it was when it was admitted: what its bytes are counted under.
    pub(super) distance: Distance,
    /// What it showed for each product.
    pub(super) products: BTreeMap<ProductId, Shown>,
    /// The releases, by their local number, that the scheduler was told it may know of.
    pub(super) told: BTreeSet<u32>,
    /// Releases that it has no room for, by its own word; at most [`TRANSFERS_MAX`].
    full: BTreeSet<ManifestId>,
    /// Files being asked of it.
    pub(super) asked: BTreeSet<(ProductId, super::files::FileName)>,
}

/// What a peer showed for one product.
#[derive(Debug)]
pub(super) struct Shown {
    /// The bytes, to be judged again when metadata changes.
    pub(super) credentials: Vec<u8>,
    /// What they cover; none when they cannot be judged yet or have ended.
    pub(super) covered: Option<Covered>,
}

impl Peers {
    pub(super) fn insert(&mut self, node: NodeId, address: String, dialled: bool, since: Timestamp) {
        let peer = Peer {
            address,
            dialled,
            since,
            distance: Distance::Other,
            products: BTreeMap::new(),
            told: BTreeSet::new(),
            full: BTreeSet::new(),
            asked: BTreeSet::new(),
        };
        self.turned_away = false;
        self.all.insert(node, peer);
    }

    pub(super) fn remove(&mut self, node: NodeId) -> bool {
        self.all.remove(&node).is_some()
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.all.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.all.get_mut(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.all.iter().map(|(node, peer)| (*node, peer))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.all.keys().copied().collect()
    }

    /// Peers that have shown credentials for a product, covered or not.
    pub(super) fn of_product(&self, product: ProductId) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.iter()
            .filter(move |(_, peer)| peer.products.contains_key(&product))
    }
}

impl Peer {
    /// What it is covered for in a product.
    pub(super) fn covered(&self, product: ProductId) -> Option<&Covered> {
        self.products.get(&product)?.covered.as_ref()
    }

    /// Whether it said that it has no room for a release.
    pub(super) fn is_full(&self, manifest: ManifestId) -> bool {
        self.full.contains(&manifest)
    }

    /// Notes what it says of its room; whether that is news.
    pub(super) fn set_full(&mut self, manifest: ManifestId, full: bool) -> bool {
        if full {
            self.full.len() < TRANSFERS_MAX && self.full.insert(manifest)
        } else {
            self.full.remove(&manifest)
        }
    }
}

/// How the scheduler sees a peer. Whoever has no verified credentials is known by its contact alone.
pub(super) fn peer_info(
    own: Option<&Covered>,
    peer: Option<&Covered>,
    contact: Option<&Contact>,
    own_region: Option<&str>,
) -> PeerInfo {
    let Some(peer) = peer else {
        let origin = contact.is_some_and(|contact| contact.kind == MemberKind::Origin);
        let distance = if origin { Distance::Origin } else { Distance::Other };
        return PeerInfo {
            distance,
            serves: true,
            domain: 0,
        };
    };
    let same_region = || {
        let region = contact.and_then(|contact| contact.region.as_deref());
        region.is_some() && region == own_region
    };
    let distance = match own {
        _ if peer.kind == MemberKind::Origin => Distance::Origin,
        Some(own) if own.site == peer.site => Distance::Site,
        Some(own) if own.tenant == peer.tenant => Distance::Tenant,
        _ if same_region() => Distance::Region,
        _ => Distance::Other,
    };
    let domain = match peer.rights.reseed {
        Reseed::All => 1,
        Reseed::Own => number(&peer.tenant.0),
        Reseed::None => number(&peer.site.0),
    };
    PeerInfo {
        distance,
        serves: peer.kind != MemberKind::Host,
        domain,
    }
}

/// Whether a node may pass releases on to a peer, as far as the grants of both say: within its site always, within its tenant
/// when its grant allows that much, beyond it when both grants do. An origin feeds all who are covered.
pub(super) fn may_feed(own: &Covered, peer: &Covered) -> bool {
    match own.rights.reseed {
        _ if own.kind == MemberKind::Origin || own.site == peer.site => true,
        Reseed::None => false,
        Reseed::Own => own.tenant == peer.tenant,
        Reseed::All => {
            own.tenant == peer.tenant || peer.rights.reseed == Reseed::All || peer.kind == MemberKind::Origin
        }
    }
}

/// A reseed domain's number from a random id; never one of the small reserved ones.
fn number(id: &[u8; 16]) -> u64 {
    let first: [u8; 8] = id[..8].try_into().expect("an id has 16 bytes");
    u64::from_le_bytes(first) | 1 << 63
}

#[cfg(test)]
mod tests {
    use samara_protocol::id::StatementId;
    use samara_protocol::time::WallTime;
    use samara_protocol::trust::grant::{Rights, SiteId, TenantId};
    use samara_protocol::trust::key::SigningKey;

    use super::*;

    fn covered(tenant: u8, site: u8, kind: MemberKind, reseed: Reseed) -> Covered {
        Covered {
            node: NodeId([site; 32]),
            kind,
            product: ProductId([1; 32]),
            tenant: TenantId([tenant; 16]),
            site: SiteId([site; 16]),
            site_key: SigningKey::from_seed([site; 32]).public(),
            enrol: false,
            channels: Vec::new(),
            rights: Rights {
                fetch: true,
                reseed,
                publish: false,
                origin: kind == MemberKind::Origin,
            },
            not_after: WallTime(i64::MAX),
            grant: StatementId([1; 32]),
        }
    }

    #[test]
    fn the_vendor_says_whom_a_site_may_feed_whatever_its_operator_sets() {
        use Reseed::{All, None, Own};
        let site = |tenant, site, reseed| covered(tenant, site, MemberKind::Node, reseed);
        let fed = |own, theirs, near: (u8, u8)| may_feed(&site(1, 1, own), &site(near.0, near.1, theirs));
        for theirs in [None, Own, All] {
            assert!(fed(None, theirs, (1, 1)), "its own site");
            assert!(!fed(None, theirs, (1, 2)), "no other");
            assert!(fed(Own, theirs, (1, 2)) && fed(All, theirs, (1, 2)), "its tenant");
            assert!(!fed(Own, theirs, (2, 3)), "no other tenant");
            assert_eq!(fed(All, theirs, (2, 3)), theirs == All, "both must allow it");
        }
        let origin = covered(9, 9, MemberKind::Origin, None);
        assert!(may_feed(&origin, &site(1, 1, None)), "an origin feeds all");
        assert!(may_feed(&site(1, 1, All), &origin) && !may_feed(&site(1, 1, Own), &origin));
    }
}
