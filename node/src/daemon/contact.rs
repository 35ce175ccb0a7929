//! Contacts between neighbours: this node's own, those that it is told, those that it tells and dials.

use std::time::Duration;

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::swarm::io::UploadAudience;
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::credentials::Covered;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::Reseed;
use samara_protocol::wire::control::ControlMessage;

use super::clock::wall_time;
use super::contacts::Contacts;
use super::driver::Driver;
use crate::config::address::Address;

/// How often neighbours that stay are told again, so that nothing ends that is still so.
pub(super) const TELL_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// How long others may keep it: thirty days, renewed at every meeting and every day.
const LIFETIME_SECONDS: i64 = 30 * 24 * 3600;

impl Driver {
    /// A peer tells contacts: they count when its credentials cover the product now.
    pub(super) fn on_contacts(&mut self, peer: NodeId, product: ProductId, envelopes: &[Vec<u8>]) {
        let Some(teller) = self.peers.get(peer).and_then(|peer| peer.covered(product)).cloned() else {
            tracing::debug!(%peer, "contacts of somebody whose credentials do not cover the product");
            return;
        };
        let learned = self.products.learn_contacts(product, envelopes, &teller);
        self.let_contacts_go(&learned.gone);
        if learned.any {
            self.products.keep_contacts();
            self.dial_contacts(product);
        }
        if learned.of_teller {
            self.peers.said_contact(peer, product);
            self.introduce_newcomers();
        }
    }

    /// Tells those who are there of everybody whose contact has come since: they were told what was known when they came.
    pub(super) fn introduce_newcomers(&mut self) {
        for (newcomer, product) in self.peers.due_to_introduce(self.clock.now()) {
            self.introduce(newcomer, product);
        }
    }

    fn introduce(&mut self, newcomer: NodeId, product: ProductId) {
        let Some(of) = self.member(newcomer, product) else {
            return;
        };
        let others: Vec<NodeId> = self.peers.of_product(product).map(|(peer, _)| peer).collect();
        for peer in others.into_iter().filter(|peer| *peer != newcomer) {
            let mut named = self.peers.take_named(peer, product);
            let envelope = self
                .listener(peer, product)
                .and_then(|(contacts, own, to)| contacts.introduction(&of, own, to, &mut named));
            self.peers.set_named(peer, product, named);
            for message in ControlMessage::contacts(product, envelope.into_iter().collect()) {
                self.shell.net.send(peer, message);
            }
        }
    }

    /// Forgets contacts that have ended.
    pub(super) fn prune_contacts(&mut self, product: ProductId) {
        let peers = &self.peers;
        let gone = self.products.prune_contacts(product, |node| peers.get(node).is_some());
        self.let_contacts_go(&gone);
    }

    fn let_contacts_go(&self, gone: &[NodeId]) {
        for node in gone {
            if !self.products.know_contact(*node) && self.config.dial.iter().all(|(named, _)| named != node) {
                self.shell.net.unwant(*node);
            }
        }
    }

    /// Tells everybody anew what they may know.
    pub(super) fn tell_contacts_again(&mut self) {
        let now = self.clock.now();
        if now < self.contacts_due {
            return;
        }
        self.contacts_due = now.after(TELL_AGAIN);
        for product in self.products.ids() {
            for peer in self.peers.nodes() {
                self.send_contacts(peer, product);
            }
        }
    }

    pub(super) fn send_contacts(&mut self, peer: NodeId, product: ProductId) {
        let Some((contacts, own, to)) = self.listener(peer, product) else {
            return;
        };
        let (mut envelopes, named) = contacts.to_tell(own, to, |node| self.member(node, product));
        self.peers.set_named(peer, product, named);
        envelopes.extend(self.own_contact(product));
        for message in ControlMessage::contacts(product, envelopes) {
            self.shell.net.send(peer, message);
        }
    }

    /// What contacts there are for a peer to be told of, what this node is and what the peer is; nothing when it is told none.
    fn listener(&self, peer: NodeId, product: ProductId) -> Option<(&Contacts, &Covered, &Covered)> {
        let known = self.products.get(product)?;
        let own = known.own.as_ref()?;
        let to = self.peers.get(peer)?.covered(product)?;
        let is_told = to.kind != MemberKind::Host || own.site == to.site;
        is_told.then_some((&known.contacts, own, to))
    }

    fn member(&self, node: NodeId, product: ProductId) -> Option<Covered> {
        self.peers.get(node)?.covered(product).cloned()
    }

    /// Wants connections with the contacts of a product, as many as there may be neighbours.
    /// One that is there is asked to open the product.
    pub(super) fn dial_contacts(&mut self, product: ProductId) {
        let now = self.clock.now();
        let Some(known) = self.products.get(product) else {
            return;
        };
        let contacts = known.contacts.to_dial(self.config.leaf, !self.config.dial.is_empty());
        for (node, addresses) in self.config.dial.iter().chain(&contacts) {
            let there = self.peers.get_mut(*node);
            if there.is_some_and(|peer| !peer.is_to_open(product, now)) {
                continue;
            }
            if let Err(error) = self.shell.net.want(*node, addresses, product) {
                tracing::debug!(peer = %node, %error, "a contact cannot be dialled");
            }
        }
    }

    /// The contact for a product, encoded; nothing when this node cannot be dialled or serves nobody.
    pub(super) fn own_contact(&self, product: ProductId) -> Option<Vec<u8>> {
        let own = self.products.get(product)?.own.as_ref()?;
        let audience = match (self.config.limits.upload, own.rights.reseed) {
            (UploadAudience::Off, _) => return None,
            _ if own.kind == MemberKind::Origin => Audience::All,
            (UploadAudience::Site, _) | (_, Reseed::None) => Audience::Site,
            (UploadAudience::Tenant, _) | (_, Reseed::Own) => Audience::Tenant,
            (UploadAudience::All, Reseed::All) => Audience::All,
        };
        let addresses = self.addresses();
        if own.kind == MemberKind::Host || addresses.is_empty() {
            return None;
        }
        let now = wall_time();
        let contact = Contact {
            schema: 0,
            product: Some(product),
            node: self.shell.net.local(),
            kind: own.kind,
            addresses,
            region: self.config.region.clone(),
            audience,
            sequence: u64::try_from(now.0).unwrap_or(0),
            not_after: WallTime(now.0.saturating_add(LIFETIME_SECONDS)),
        };
        Envelope::sign(&contact, &[&self.config.identity])
            .ok()
            .map(|envelope| envelope.to_bytes())
    }

    /// What is configured as external, else what is listened on.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.shell.net.external();
        if addresses.is_empty() {
            let listening = self.shell.net.listening();
            let parsed = listening
                .iter()
                .filter_map(|address| Address::parse_external(address).ok());
            addresses = parsed.flat_map(|address| address.multiaddrs()).collect();
        }
        addresses.truncate(samara_protocol::limits::CONTACT_ADDRESSES_MAX);
        addresses
    }
}
