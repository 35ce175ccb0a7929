//! Admitted peers: what their credentials cover, how far away that makes them, and what they have been shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::limits::{
    FILE_PATIENCE_DOUBLINGS_MAX, FILE_SILENCE_MAX, INTRODUCTION_INTERVAL, METADATA_PAUSE, METADATA_PAUSE_DOUBLINGS_MAX,
    STANDINGS_MAX, TRANSFERS_MAX,
};
use samara_protocol::swarm::io::{Distance, PeerInfo};
use samara_protocol::time::Timestamp;
use samara_protocol::trust::contact::Contact;
use samara_protocol::trust::credentials::{Covered, Refusal};
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::files::Summary;
use samara_protocol::trust::grant::Reseed;
use tokio::sync::Semaphore;

use super::contacts::Across;

/// How long a peer that is asked to open a further product and does not is asked for it no more; twice as long after each time.
/// Each is a stream and a judgement at either end, as at a dial, and so the longest is a dial's as well: about two minutes.
const COVER_PAUSE: Duration = Duration::from_secs(2);
/// Doublings of it at the most.
const COVER_PAUSE_DOUBLINGS_MAX: u32 = 6;

/// Everybody who is admitted.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Whether somebody who was dialled answered and did not let this node in, and nobody has since.
    pub(super) turned_away: bool,
    all: BTreeMap<NodeId, Peer>,
    /// How asks for files went; hanging up and coming back changes nothing.
    records: BTreeMap<NodeId, Record>,
}

/// How asks for files of one peer went.
#[derive(Debug, Default)]
struct Record {
    /// How often in a row nothing came in time.
    late: u32,
    /// How often its metadata was not what it had said.
    refused: u32,
    /// From when on it may be asked for metadata again.
    metadata_at: Timestamp,
    /// When others were told of it last.
    introduced: BTreeMap<ProductId, Timestamp>,
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
    /// Products of this node's that it was asked to open: how often, and when it may be asked again.
    further: BTreeMap<ProductId, (u32, Timestamp)>,
    /// The releases, by their local number, that the scheduler was told it may know of.
    pub(super) told: BTreeSet<u32>,
    /// Releases that it has no room for, by its own word; at most [`TRANSFERS_MAX`].
    full: BTreeSet<ManifestId>,
    /// Files being asked of it.
    pub(super) asked: BTreeSet<(ProductId, super::files::FileName)>,
    /// Whose turn it is of the files that it asks for: it is sent one at a time.
    pub(super) serving: Arc<Semaphore>,
}

/// What a peer showed for one product.
#[derive(Debug)]
pub(super) struct Shown {
    /// The bytes, to be judged again when metadata changes.
    pub(super) credentials: Vec<u8>,
    /// What they cover; none when they cannot be judged yet or have ended.
    pub(super) covered: Option<Covered>,
    /// All is right with them but that they have ended.
    ended: bool,
    /// Which metadata it has, by its own word.
    pub(super) claim: Option<Summary>,
    /// The same when it was asked for it last: what it gives is no older.
    pub(super) promised: Option<Summary>,
    /// Whether others were told of it since it came.
    introduced: Introduced,
    /// Other customers' nodes that it was told of.
    named: Across,
}

/// Whether others were told of a peer, once for each connection and product: whoever says something else of itself every
/// moment does not have everybody told each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Introduced {
    /// It has not said how it is reached.
    No,
    /// It has.
    Due,
    Done,
}

impl Shown {
    pub(super) fn new(credentials: Vec<u8>, judged: Result<Covered, Refusal>) -> Self {
        let mut shown = Self {
            credentials,
            covered: None,
            ended: false,
            claim: None,
            promised: None,
            introduced: Introduced::No,
            named: Across::new(),
        };
        shown.judged(judged);
        shown
    }

    /// Takes a newer judgement.
    pub(super) fn judged(&mut self, judged: Result<Covered, Refusal>) {
        self.ended = matches!(judged, Err(Refusal::Expired { .. }));
        self.covered = judged.ok();
    }

    /// Whether they cover something, or did until they ended.
    pub(super) const fn is_or_was_member(&self) -> bool {
        self.covered.is_some() || self.ended
    }
}

impl Peers {
    pub(super) fn insert(&mut self, node: NodeId, address: String, dialled: bool, since: Timestamp) {
        let peer = Peer {
            address,
            dialled,
            since,
            distance: Distance::Other,
            products: BTreeMap::new(),
            further: BTreeMap::new(),
            told: BTreeSet::new(),
            full: BTreeSet::new(),
            asked: BTreeSet::new(),
            serving: Arc::new(Semaphore::new(1)),
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

    /// A peer has said how it is reached: others are to be told of it.
    pub(super) fn said_contact(&mut self, node: NodeId, product: ProductId) {
        if let Some(shown) = self
            .shown_mut(node, product)
            .filter(|shown| shown.introduced == Introduced::No)
        {
            shown.introduced = Introduced::Due;
        }
    }

    /// Whom others are to be told of now; who comes again and again waits for [`INTRODUCTION_INTERVAL`].
    pub(super) fn due_to_introduce(&mut self, now: Timestamp) -> Vec<(NodeId, ProductId)> {
        let mut due = Vec::new();
        for (node, peer) in &mut self.all {
            for (product, shown) in &mut peer.products {
                let record = self.records.get(node);
                let last = record.and_then(|record| record.introduced.get(product));
                let is_time = last.is_none_or(|last| last.after(INTRODUCTION_INTERVAL) <= now);
                if shown.introduced == Introduced::Due && is_time {
                    shown.introduced = Introduced::Done;
                    due.push((*node, *product));
                }
            }
        }
        for (node, product) in &due {
            self.record(*node).introduced.insert(*product, now);
        }
        due
    }

    /// Which other customers' nodes a peer was told of; to be given back by [`Self::set_named`].
    pub(super) fn take_named(&mut self, node: NodeId, product: ProductId) -> Across {
        let shown = self.shown_mut(node, product);
        shown.map(|shown| std::mem::take(&mut shown.named)).unwrap_or_default()
    }

    pub(super) fn set_named(&mut self, node: NodeId, product: ProductId, named: Across) {
        if let Some(shown) = self.shown_mut(node, product) {
            shown.named = named;
        }
    }

    fn shown_mut(&mut self, node: NodeId, product: ProductId) -> Option<&mut Shown> {
        self.all.get_mut(&node)?.products.get_mut(&product)
    }

    /// A file that was asked of a peer did not come in time.
    pub(super) fn was_late(&mut self, node: NodeId, now: Timestamp) {
        let pause = self.patience(node);
        let record = self.record(node);
        record.late = record.late.saturating_add(1);
        record.metadata_at = now.after(pause);
    }

    /// A peer answered an ask for a file.
    pub(super) fn was_in_time(&mut self, node: NodeId) {
        if let Some(record) = self.records.get_mut(&node) {
            record.late = 0;
        }
    }

    /// A peer has said that its metadata is newer, and gave what is not.
    pub(super) fn was_refused(&mut self, node: NodeId, now: Timestamp) {
        let record = self.record(node);
        let pause = METADATA_PAUSE * (1 << record.refused.min(METADATA_PAUSE_DOUBLINGS_MAX));
        record.refused = record.refused.saturating_add(1);
        record.metadata_at = now.after(pause);
    }

    /// Whether a peer may be asked for metadata again.
    pub(super) fn may_ask_metadata(&self, node: NodeId, now: Timestamp) -> bool {
        self.records.get(&node).is_none_or(|record| record.metadata_at <= now)
    }

    /// The peers whose metadata is ahead of `ours` by their own word.
    pub(super) fn ahead(&self, product: ProductId, ours: &Summary) -> Vec<NodeId> {
        let ahead = |peer: &Peer| {
            let claim = peer.products.get(&product).and_then(|shown| shown.claim);
            claim.is_some_and(|claim| claim.is_ahead_of(ours))
        };
        self.iter()
            .filter(|(_, peer)| ahead(peer))
            .map(|(node, _)| node)
            .collect()
    }

    /// What is remembered of a peer; of too many the one is forgotten that was late least.
    fn record(&mut self, node: NodeId) -> &mut Record {
        if self.records.len() >= STANDINGS_MAX && !self.records.contains_key(&node) {
            let least = self
                .records
                .iter()
                .min_by_key(|(_, record)| (record.refused, record.late));
            if let Some(forgotten) = least.map(|(node, _)| *node) {
                self.records.remove(&forgotten);
            }
        }
        self.records.entry(node).or_default()
    }

    /// How long a file is waited for that is asked of a peer.
    pub(super) fn patience(&self, node: NodeId) -> Duration {
        FILE_SILENCE_MAX * (1 << self.lateness(node).min(FILE_PATIENCE_DOUBLINGS_MAX))
    }

    fn lateness(&self, node: NodeId) -> u32 {
        self.records.get(&node).map_or(0, |record| record.late)
    }

    /// Whom to ask for a file of a product, whoever was late last.
    pub(super) fn to_ask(&self, product: ProductId) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.of_product(product).map(|(node, _)| node).collect();
        nodes.sort_by_key(|node| self.lateness(*node));
        nodes
    }

    /// Peers that have shown credentials for a product, covered or not.
    pub(super) fn of_product(&self, product: ProductId) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.iter()
            .filter(move |(_, peer)| peer.products.contains_key(&product))
    }
}

impl Peer {
    /// Whether it is to be asked to open a product now, which counts as asked. At the next connection all begins anew.
    pub(super) fn is_to_open(&mut self, product: ProductId, now: Timestamp) -> bool {
        if self.products.contains_key(&product) {
            return false;
        }
        let (asked, again) = self.further.entry(product).or_default();
        let is_due = *again <= now;
        if is_due {
            *again = now.after(COVER_PAUSE * (1 << (*asked).min(COVER_PAUSE_DOUBLINGS_MAX)));
            *asked = asked.saturating_add(1);
        }
        is_due
    }

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

/// How the scheduler sees a peer: by its verified credentials. Of its contact only the region counts, which is a matter of
/// taste and not of trust.
pub(super) fn peer_info(
    own: Option<&Covered>,
    peer: Option<&Covered>,
    contact: Option<&Contact>,
    own_region: Option<&str>,
) -> PeerInfo {
    let Some(peer) = peer else {
        return PeerInfo {
            distance: Distance::Other,
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
/// when its grant allows that much, beyond it when both grants do. An origin feeds all who are covered. It may be fed, and so
/// told what is here, by all of them: it shows the next blocks to whoever says that it has got the last ones.
pub(super) fn may_feed(own: &Covered, peer: &Covered) -> bool {
    match own.rights.reseed {
        _ if own.kind == MemberKind::Origin || peer.kind == MemberKind::Origin || own.site == peer.site => true,
        Reseed::None => false,
        Reseed::Own => own.tenant == peer.tenant,
        Reseed::All => own.tenant == peer.tenant || peer.rights.reseed == Reseed::All,
    }
}

/// A reseed domain's number from a random id; never one of the small reserved ones.
fn number(id: &[u8; 16]) -> u64 {
    let first: [u8; 8] = id[..8].try_into().expect("an id has 16 bytes");
    u64::from_le_bytes(first) | 1 << 63
}

#[cfg(test)]
mod tests;
