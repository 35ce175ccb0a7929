//! Whom credentials no longer cover, and the lists by which sites say so.
//!
//! A site's list is told to whom it concerns and to nobody else: to every peer that may be shown this node's own
//! credentials, its own site's; to a peer, that of the peer's own site. So it reaches the site's nodes also by way of
//! an origin, and nobody hears of a site that he has not met.

use std::time::Duration;

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::trust::credentials::{Covered, Refusal};
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::SiteRevocations;
use samara_protocol::trust::key::PublicKey;
use samara_protocol::wire::control::ControlMessage;

use super::driver::Driver;
use crate::observe::Event;

impl Driver {
    /// Judges everybody again who has shown credentials for a product, and gives those that stay. Connections of whoever is
    /// revoked, or was covered and no longer is, are closed: what they were promised would go on otherwise.
    pub(super) fn judge_again(&mut self, product: ProductId) -> Vec<NodeId> {
        let mut stay = Vec::new();
        for peer in self.peers.nodes() {
            let Some(shown) = self
                .peers
                .get_mut(peer)
                .and_then(|peer| peer.products.get_mut(&product))
            else {
                continue;
            };
            let judged = self.doors.judge(peer, product, &shown.credentials);
            let revoked = matches!(judged, Err(Refusal::Revoked { .. }));
            let ended = judged.is_err() && shown.covered.is_some();
            shown.judged(judged);
            if revoked || ended {
                self.shell.net.disconnect(peer, Duration::ZERO);
            } else {
                stay.push(peer);
            }
        }
        stay
    }

    /// Closes every connection over which a product is open: peers have been shown credentials that are old now, and are
    /// dialled again to be shown the new ones.
    pub(super) fn meet_anew(&self, product: ProductId) {
        for (peer, _) in self.peers.of_product(product) {
            self.shell.net.disconnect(peer, Duration::ZERO);
        }
    }

    /// A peer brings a site's list: it counts when that site is this node's own or the one whose credentials it showed.
    pub(super) fn on_revocations(&mut self, peer: NodeId, product: ProductId, envelope: &[u8]) {
        let Some(theirs) = self.peers.get(peer).and_then(|peer| peer.covered(product)) else {
            return;
        };
        let own = self.products.get(product).and_then(|known| known.own.as_ref());
        let sites = [Some(theirs.site_key), own.map(|own| own.site_key)];
        let opened = Envelope::from_bytes(envelope).and_then(|envelope| {
            let list = SiteRevocations::open(&envelope)?;
            Ok((list, envelope))
        });
        let Ok((list, envelope)) = opened else {
            tracing::debug!(%peer, "a list of revoked nodes that its site has not signed");
            return;
        };
        if !sites.contains(&Some(list.site_key)) {
            tracing::debug!(%peer, "a list of revoked nodes of a site that is not the peer's");
            return;
        }
        let revoked = list.nodes.len();
        match self.products.learn_revocations(product, list, envelope) {
            Ok(false) => {}
            Ok(true) => {
                self.observer.emit(Event::RevocationsTaken { peer, product, revoked });
                self.judge_again(product);
                self.tell_revocations(product, Some(peer));
            }
            Err(error) => self.observer.emit(Event::MetadataRefused {
                peer: Some(peer),
                product,
                why: error.to_string(),
            }),
        }
    }

    /// Tells everybody but `except` the lists that concern them.
    pub(super) fn tell_revocations(&self, product: ProductId, except: Option<NodeId>) {
        for peer in self.peers.nodes().into_iter().filter(|peer| Some(*peer) != except) {
            self.send_revocations(peer, product);
        }
    }

    /// Tells a peer the lists that concern it.
    pub(super) fn send_revocations(&self, peer: NodeId, product: ProductId) {
        let Some(known) = self.products.get(product) else {
            return;
        };
        let Some(covered) = self.peers.get(peer).and_then(|peer| peer.covered(product)) else {
            return;
        };
        for site_key in sites_for(known.own.as_ref(), covered) {
            if let Some((_, envelope)) = known.revocations_of(site_key) {
                let envelope = envelope.to_bytes();
                self.shell
                    .net
                    .send(peer, ControlMessage::SiteRevocations { product, envelope });
            }
        }
    }
}

/// The sites whose lists a peer is told: this node's own, and the peer's.
fn sites_for(own: Option<&Covered>, peer: &Covered) -> Vec<PublicKey> {
    let own = own.map(|own| own.site_key).filter(|own| *own != peer.site_key);
    own.into_iter().chain([peer.site_key]).collect()
}
