//! Whom credentials no longer cover, and the lists by which sites say so.
//!
//! A site's list is told to whom it concerns and to nobody else: to every peer that may be shown this node's own
//! credentials, its own site's; to a peer, that of the peer's own site. So it reaches the site's nodes also by way of
//! an origin, and nobody hears of a site that he has not met.

use std::collections::BTreeMap;
use std::time::Duration;

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::SITE_REVOCATIONS_INTERVAL;
use samara_protocol::time::Timestamp;
use samara_protocol::trust::credentials::{Covered, Refusal};
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::SiteRevocations;
use samara_protocol::trust::key::PublicKey;
use samara_protocol::wire::control::ControlMessage;

use super::driver::Driver;
use crate::observe::Event;

/// A list that a peer brought.
#[derive(Debug)]
pub(super) struct Brought {
    peer: NodeId,
    list: SiteRevocations,
    envelope: Envelope,
}

/// When each site's list was taken last, and the newest of those that came too soon after it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken: BTreeMap<(ProductId, PublicKey), Timestamp>,
    waiting: BTreeMap<(ProductId, PublicKey), Brought>,
}

impl Pace {
    /// Gives the list back if its site's turn has come; else it waits, and an older one that did is dropped.
    fn turn(&mut self, now: Timestamp, product: ProductId, brought: Brought) -> Option<Brought> {
        let of = (product, brought.list.site_key);
        let last = self.taken.get(&of);
        if last.is_none_or(|last| last.after(SITE_REVOCATIONS_INTERVAL) <= now) {
            self.taken.insert(of, now);
            self.waiting.remove(&of);
            return Some(brought);
        }
        let waits = self.waiting.get(&of);
        if waits.is_none_or(|waits| waits.list.sequence < brought.list.sequence) {
            self.waiting.insert(of, brought);
        }
        None
    }

    /// Those that wait no longer.
    fn due(&mut self, now: Timestamp) -> Vec<(ProductId, Brought)> {
        self.taken.retain(|_, last| last.after(SITE_REVOCATIONS_INTERVAL) > now);
        let taken = &mut self.taken;
        let due = self.waiting.extract_if(.., |of, _| !taken.contains_key(of));
        let due: Vec<_> = due.map(|((product, _), brought)| (product, brought)).collect();
        for (product, brought) in &due {
            self.taken.insert((*product, brought.list.site_key), now);
        }
        due
    }
}

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
        let held = self
            .products
            .get(product)
            .and_then(|known| known.revocations_of(list.site_key));
        if held.is_some_and(|(held, _)| held.sequence >= list.sequence) {
            return;
        }
        let brought = Brought { peer, list, envelope };
        if let Some(brought) = self.pace.turn(self.clock.now(), product, brought) {
            self.take_list(product, brought);
        }
    }

    /// Takes the lists that came too soon and waited.
    pub(super) fn take_lists(&mut self) {
        for (product, brought) in self.pace.due(self.clock.now()) {
            self.take_list(product, brought);
        }
    }

    fn take_list(&mut self, product: ProductId, brought: Brought) {
        let Brought { peer, list, envelope } = brought;
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

#[cfg(test)]
mod tests {
    use samara_protocol::trust::key::SigningKey;

    use super::*;

    const PRODUCT: ProductId = ProductId([7; 32]);

    fn brought(site: u8, sequence: u64) -> Brought {
        let key = SigningKey::from_seed([site; 32]);
        let list = SiteRevocations {
            schema: 0,
            site_key: key.public(),
            sequence,
            nodes: Vec::new(),
        };
        Brought {
            peer: NodeId([site; 32]),
            envelope: Envelope::sign(&list, &[&key]).expect("signed"),
            list,
        }
    }

    #[test]
    fn of_a_sites_lists_that_follow_each_other_the_first_counts_at_once_and_then_the_newest() {
        let mut pace = Pace::default();
        let mut now = Timestamp::ZERO;
        let mut taken = Vec::new();
        for sequence in 1..=1000 {
            let turn = pace.turn(now, PRODUCT, brought(1, sequence));
            taken.extend(turn.map(|brought| brought.list.sequence));
            taken.extend(pace.due(now).iter().map(|(_, brought)| brought.list.sequence));
            now = now.after(Duration::from_millis(5));
        }
        assert_eq!(taken, [1], "five seconds of them");
        assert!(
            pace.turn(now, PRODUCT, brought(2, 1)).is_some(),
            "another site's does not wait"
        );
        // An older one does not take the place of the newest.
        assert!(pace.turn(now, PRODUCT, brought(1, 900)).is_none());
        now = now.after(SITE_REVOCATIONS_INTERVAL);
        let due: Vec<u64> = pace.due(now).iter().map(|(_, brought)| brought.list.sequence).collect();
        assert_eq!(due, [1000]);
        assert!(
            pace.turn(now, PRODUCT, brought(1, 1001)).is_none(),
            "that one counts as taken"
        );
        assert!(pace.due(now).is_empty());
    }
}
