//! A node whose disk or quota is full says so to its own site: its hosts wait for nothing else, and nobody else can make room.

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::swarm::stats::TransferStats;
use samara_protocol::wire::control::ControlMessage;

use super::driver::Driver;
use super::releases::Release;
use crate::admin::api::{Refusal, RefusalKind};

impl Driver {
    /// Tells the own site's machines whether there is room for a release: nobody else can do anything about it.
    pub(super) fn tell_room(&self, manifest: ManifestId, full: bool) {
        if let Some(release) = self.releases.get(manifest).filter(|_| !self.config.leaf) {
            for peer in self.peers.nodes() {
                self.tell_room_to(peer, manifest, release, full);
            }
        }
    }

    /// A peer of the own site came: it is told of what there is no room for.
    pub(super) fn tell_blocked(&self, peer: NodeId, product: ProductId) {
        let full = |(_, release): &(ManifestId, &Release)| release.product == product && release.full_told;
        for (manifest, release) in self.releases.iter().filter(full) {
            self.tell_room_to(peer, manifest, release, true);
        }
    }

    fn tell_room_to(&self, peer: NodeId, manifest: ManifestId, release: &Release, full: bool) {
        let product = release.product;
        if !self.config.leaf && self.is_own_site(peer, product) && self.may_know(peer, product, manifest) {
            let message = ControlMessage::Room {
                product,
                manifest,
                full,
            };
            self.shell.net.send(peer, message);
        }
    }

    /// A machine of the own site says whether it has room for a release.
    pub(super) fn on_room(&mut self, peer: NodeId, product: ProductId, manifest: ManifestId, full: bool) {
        if !self.is_own_site(peer, product) {
            return;
        }
        let changed = self
            .peers
            .get_mut(peer)
            .is_some_and(|known| known.set_full(manifest, full));
        if changed {
            self.serve_waiters();
        }
    }

    /// All who could give a leaf the release have no room for it.
    pub(super) fn full_everywhere(&self, manifest: ManifestId, release: &Release) -> Option<Refusal> {
        let mut givers = self.peers.of_product(release.product).peekable();
        let (node, first) = *givers.peek()?;
        let served = |transfer: TransferStats| transfer.source_peers > 0;
        if !self.config.leaf
            || !givers.all(|(_, peer)| peer.is_full(manifest))
            || self.transfer(manifest).is_some_and(served)
        {
            return None;
        }
        let what = format!(
            "its disk or quota is full: it has no room for {} {}",
            self.name_of(release.product),
            release.version
        );
        let culprit = format!("the site's node {node} at {}", first.address);
        let way_out = "make room there (`samara doctor` on it says how much is missing), it goes on by itself; --wait waits for it";
        Some(Refusal::new(RefusalKind::DiskFull, culprit, what).way_out(way_out))
    }

    /// Whether a peer's credentials are of the site that this machine belongs to.
    pub(super) fn is_own_site(&self, peer: NodeId, product: ProductId) -> bool {
        let own = self.products.get(product).and_then(|known| known.own.as_ref());
        let theirs = self.peers.get(peer).and_then(|peer| peer.covered(product));
        own.zip(theirs).is_some_and(|(own, theirs)| own.site == theirs.site)
    }
}
