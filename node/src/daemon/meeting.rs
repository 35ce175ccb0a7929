//! What happens when peers meet: admission, what they may know, metadata and contacts that travel, asks that come in.

use std::sync::Arc;

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::swarm::io::{Distance, Input, PeerInfo};
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::files::{MetadataFiles, Summary};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;

use super::driver::Driver;
use super::files::{self, FileName};
use super::opening::Selection;
use super::peers::{Shown, may_feed, peer_info};
use super::report::FileFault;
use super::shell::UNKNOWN_LAYOUT;
use crate::net::{NetEvent, PeerUp};
use crate::observe::Event;

impl Driver {
    pub(super) fn on_network(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { address } => self.observer.emit(Event::Listening { address }),
            NetEvent::Up(up) => self.on_up(up),
            NetEvent::Covers(up) => self.on_covers(up),
            NetEvent::CoverRefused { peer, product } => {
                tracing::debug!(%peer, %product, "a further product was not opened");
            }
            NetEvent::Broke { peer, what } => {
                self.observer.emit(Event::ProtocolBroken { peer, what });
                self.input(Input::PeerBroke { peer });
            }
            NetEvent::Down { peer } => self.on_down(peer),
            NetEvent::DialFailed { peer, error, answered } => {
                self.peers.turned_away |= answered;
                self.observer.emit(Event::DialFailed { peer, error });
            }
            NetEvent::Control { peer, message } => self.on_control(peer, message),
            NetEvent::Asked {
                peer,
                ask: Ask::Groups { layout, groups },
                reply,
            } => {
                let known = self.shell.layouts.contains_key(&layout);
                // Who is not there is sent nothing.
                let distance = self.peers.get(peer).map_or(Distance::Other, |known| known.distance);
                let serve = self.shell.serve((peer, distance), layout, reply);
                if known {
                    self.input(Input::ServeAsked {
                        serve,
                        peer,
                        layout,
                        groups,
                    });
                } else {
                    self.input(Input::PeerBothered { peer });
                    self.shell.refuse(serve, UNKNOWN_LAYOUT);
                }
            }
            NetEvent::Asked {
                peer,
                ask: Ask::File { product, name, offset },
                reply,
            } => {
                self.input(Input::PeerBothered { peer });
                let file = self.file_for(peer, product, &name);
                if file.is_none() {
                    self.take_up_for(peer, product, &name);
                } else {
                    self.asked_again(peer, product, &name);
                }
                if let Some(known) = self.peers.get(peer) {
                    tokio::spawn(files::send(reply, file, offset, Arc::clone(&known.serving)));
                }
            }
            NetEvent::AskCancelled { serve, .. } => self.serve_over(serve),
        }
    }

    fn on_up(&mut self, up: PeerUp) {
        let peer = up.peer;
        self.peers
            .insert(peer, up.remote_address.clone(), up.dialled, self.clock.now());
        let covered = self.doors.judge(peer, up.product, &up.credentials).ok();
        let product = self.products.get(up.product);
        let contact = product.and_then(|product| product.contacts.get(peer));
        let own = product.and_then(|product| product.own.as_ref());
        let info = peer_info(own, covered.as_ref(), contact, self.config.region.as_deref());
        if let Some(known) = self.peers.get_mut(peer) {
            known.distance = info.distance;
        }
        self.observer.emit(Event::PeerUp {
            peer,
            address: up.remote_address.clone(),
            distance: info.distance,
        });
        self.input(Input::PeerUp { peer, info });
        self.on_covers(up);
    }

    fn on_covers(&mut self, up: PeerUp) {
        let PeerUp {
            peer,
            product,
            credentials,
            summary,
            dialled,
            expired,
            ..
        } = up;
        if let Some(known) = self.products.get_mut(product).filter(|_| dialled) {
            known.told_ended = expired;
        }
        let judged = self.doors.judge(peer, product, &credentials);
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.products.insert(product, Shown::new(credentials, judged));
        self.compare(peer, product, &summary);
        self.tell_if_behind(peer, product, &summary);
        self.show_releases(peer, product);
        self.send_contacts(peer, product);
        self.send_revocations(peer, product);
        self.tell_blocked(peer, product);
        for (manifest, of) in self.releases.without_head() {
            if of == product {
                self.ask_for_head(manifest);
            }
        }
        self.remind(peer, product);
    }

    /// Asks a node of the own site, which has just come up, for the heads of releases that are on their way here. What
    /// they are is known; the question is what makes it carry them ([`Self::take_up_for`]), and a node that was restarted
    /// has forgotten that it was asked.
    fn remind(&mut self, peer: NodeId, product: ProductId) {
        let theirs = self.peers.get(peer).and_then(|known| known.covered(product));
        let is_node = theirs.is_some_and(|theirs| theirs.kind == MemberKind::Node);
        if is_node && self.is_own_site(peer, product) {
            for manifest in self.releases.under_way(product) {
                self.ask_file(peer, product, FileName::Head(manifest));
            }
        }
    }

    fn on_down(&mut self, peer: NodeId) {
        if !self.peers.remove(peer) {
            return;
        }
        self.shell.forget(peer);
        self.observer.emit(Event::PeerDown { peer });
        self.input(Input::PeerDown { peer });
        for (manifest, _) in self.releases.asking(peer) {
            self.head_refused(manifest, peer);
        }
    }

    fn on_control(&mut self, peer: NodeId, message: ControlMessage) {
        if !matches!(message, ControlMessage::Swarm(_)) {
            self.input(Input::PeerBothered { peer });
        }
        match message {
            ControlMessage::Swarm(message) => self.input(Input::Message { peer, message }),
            ControlMessage::Metadata { product, summary } => {
                if self
                    .peers
                    .get(peer)
                    .is_some_and(|peer| peer.products.contains_key(&product))
                {
                    self.compare(peer, product, &summary);
                }
            }
            ControlMessage::Contacts { product, envelopes } => self.on_contacts(peer, product, &envelopes),
            ControlMessage::SiteRevocations { product, envelope } => self.on_revocations(peer, product, &envelope),
            ControlMessage::Room {
                product,
                manifest,
                full,
            } => self.on_room(peer, product, manifest, full),
            ControlMessage::Ping(_) | ControlMessage::Pong(_) | ControlMessage::Goodbye(_) => {}
        }
    }

    /// Asks for metadata when the peer is ahead.
    fn compare(&mut self, peer: NodeId, product: ProductId, summary: &[u8]) {
        let Some((theirs, known)) = Summary::decode(summary).zip(self.products.get(product)) else {
            return;
        };
        let is_ahead = theirs.is_ahead_of(&known.trust.summary());
        let was_current = known.heard.is_current();
        if let Some(shown) = self.shown_by(peer, product) {
            shown.claim = Some(theirs);
        }
        if is_ahead {
            self.ask_metadata(peer, product);
            return;
        }
        self.has_nothing_newer(peer, product);
        if !was_current {
            self.serve_waiters();
        }
    }

    fn has_nothing_newer(&mut self, peer: NodeId, product: ProductId) {
        let covered = self.peers.get(peer).and_then(|known| known.covered(product));
        let is_origin = covered.is_some_and(|covered| covered.kind == MemberKind::Origin);
        let now = self.clock.now();
        if let Some(known) = self.products.get_mut(product) {
            known.heard.nothing_newer(is_origin, now);
        }
    }

    fn ask_metadata(&mut self, peer: NodeId, product: ProductId) {
        if self.peers.may_ask_metadata(peer, self.clock.now())
            && self.ask_file(peer, product, FileName::Metadata)
            && let Some(shown) = self.shown_by(peer, product)
        {
            shown.promised = shown.claim;
        }
    }

    fn shown_by(&mut self, peer: NodeId, product: ProductId) -> Option<&mut Shown> {
        self.peers.get_mut(peer)?.products.get_mut(&product)
    }

    /// Whether metadata that a peer has said it has is newer than what there is now.
    fn is_ahead(&self, claim: Option<Summary>, product: ProductId) -> bool {
        let known = self.products.get(product);
        claim
            .zip(known)
            .is_some_and(|(claim, known)| claim.is_ahead_of(&known.trust.summary()))
    }

    /// Asks those again that said that they are ahead and have not given what they have.
    pub(super) fn ask_who_is_ahead(&mut self) {
        for product in self.products.ids() {
            let ours = self.products.get(product).map(|known| known.trust.summary());
            for peer in self.peers.ahead(product, &ours.unwrap_or_default()) {
                self.ask_metadata(peer, product);
            }
        }
    }

    /// Something may have been published after our hello and before the peer was up, when nobody told it. One that is behind
    /// is told what there is now; where it knew that from the hello, it has asked already.
    fn tell_if_behind(&self, peer: NodeId, product: ProductId, summary: &[u8]) {
        let Some((theirs, known)) = Summary::decode(summary).zip(self.products.get(product)) else {
            return;
        };
        let ours = known.trust.summary();
        if ours.is_ahead_of(&theirs) {
            let summary = ours.encode();
            self.shell.net.send(peer, ControlMessage::Metadata { product, summary });
        }
    }

    /// Asks a peer for a file, once at a time; false when it is being asked already or is gone.
    pub(super) fn ask_file(&mut self, peer: NodeId, product: ProductId, name: FileName) -> bool {
        let patience = self.peers.patience(peer);
        let Some(known) = self.peers.get_mut(peer) else {
            return false;
        };
        if !known.asked.insert((product, name)) {
            return false;
        }
        tokio::spawn(files::ask(
            self.shell.net.clone(),
            peer,
            product,
            name,
            patience,
            self.shell.reports.clone(),
        ));
        true
    }

    pub(super) fn on_file(
        &mut self,
        peer: NodeId,
        product: ProductId,
        name: FileName,
        outcome: Result<Vec<u8>, FileFault>,
    ) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.asked.remove(&(product, name));
        }
        match &outcome {
            Err(FileFault::Late(waited)) => {
                self.peers.was_late(peer, self.clock.now());
                let (file, waited) = (name.to_wire(), *waited);
                self.observer.emit(Event::FileLate { peer, file, waited });
            }
            Err(FileFault::Broken) => {}
            Ok(_) | Err(FileFault::Absent | FileFault::TooLarge(_)) => self.peers.was_in_time(peer),
        }
        match (name, outcome) {
            (FileName::Metadata, Ok(bytes)) => self.on_metadata(peer, product, &bytes),
            (FileName::Metadata, Err(fault)) => {
                tracing::debug!(%peer, %fault, "no metadata came");
                if matches!(fault, FileFault::Absent | FileFault::TooLarge(_)) {
                    self.peers.was_refused(peer, self.clock.now());
                }
            }
            (FileName::Head(manifest), Ok(bytes)) => self.on_head(manifest, peer, bytes),
            (FileName::Head(manifest), Err(_)) => self.head_refused(manifest, peer),
        }
    }

    fn on_metadata(&mut self, peer: NodeId, product: ProductId, bytes: &[u8]) {
        let promised = self.shown_by(peer, product).and_then(|shown| shown.promised);
        if !self.is_ahead(promised, product) {
            // Somebody else was faster; what the peer has got since, it has said.
            return;
        }
        let files = MetadataFiles::decode(bytes);
        let installed = files
            .map_err(Into::into)
            .and_then(|files| self.products.install(product, &files));
        match installed {
            Ok(changed) => {
                if self.is_ahead(promised, product) {
                    let why = "it is older than the peer said that it is".to_owned();
                    self.metadata_refused(peer, product, why);
                } else {
                    self.has_nothing_newer(peer, product);
                }
                if changed.is_some_and(|changed| changed.any()) {
                    self.metadata_changed(product);
                }
                self.serve_waiters();
            }
            Err(error) => {
                let is_the_peers_doing = error.is_the_peers_doing();
                self.metadata_refused(peer, product, error.to_string());
                if is_the_peers_doing {
                    self.input(Input::PeerBroke { peer });
                }
            }
        }
        self.ask_who_is_ahead();
    }

    fn metadata_refused(&mut self, peer: NodeId, product: ProductId, why: String) {
        self.peers.was_refused(peer, self.clock.now());
        self.observer.emit(Event::MetadataRefused {
            peer: Some(peer),
            product,
            why,
        });
    }

    /// Everything that follows from new metadata: who is covered, what is wanted, who is told.
    pub(super) fn metadata_changed(&mut self, product: ProductId) {
        self.observer.emit(Event::MetadataTaken { product });
        let Some(known) = self.products.get(product) else {
            return;
        };
        let summary = known.trust.summary().encode();
        for peer in self.judge_again(product) {
            self.shell.net.send(
                peer,
                ControlMessage::Metadata {
                    product,
                    summary: summary.clone(),
                },
            );
        }
        self.sync_releases(product);
        for peer in self.peers.nodes() {
            self.show_releases(peer, product);
        }
    }

    /// Tells the scheduler which open releases a peer may know of.
    pub(super) fn show_releases(&mut self, peer: NodeId, product: ProductId) {
        for manifest in self.releases.of_product(product) {
            let release = self.releases.get(manifest).expect("just listed");
            let number = release.number;
            let shown = self.peers.get(peer).is_none_or(|known| known.told.contains(&number));
            if !shown && !release.open.is_empty() && self.may_know(peer, product, manifest) {
                let (info, fed) = (self.info(peer, product), self.may_feed(peer, product));
                if let Some(known) = self.peers.get_mut(peer) {
                    if known.told.is_empty() {
                        // As the scheduler takes it: nothing could be judged when it came, perhaps.
                        known.distance = info.distance;
                    }
                    known.told.insert(number);
                }
                self.input(Input::PeerCovers {
                    peer,
                    product: number,
                    info,
                    fed,
                });
            }
        }
    }

    /// What a peer is by what it has shown for a product.
    fn info(&self, peer: NodeId, product: ProductId) -> PeerInfo {
        let known = self.products.get(product);
        let own = known.and_then(|known| known.own.as_ref());
        let contact = known.and_then(|known| known.contacts.get(peer));
        let covered = self.peers.get(peer).and_then(|peer| peer.covered(product));
        peer_info(own, covered, contact, self.config.region.as_deref())
    }

    /// Whether the grants of both let this node pass releases of a product on to a peer.
    fn may_feed(&self, peer: NodeId, product: ProductId) -> bool {
        let own = self.products.get(product).and_then(|known| known.own.as_ref());
        let theirs = self.peers.get(peer).and_then(|peer| peer.covered(product));
        own.zip(theirs).is_some_and(|(own, theirs)| may_feed(own, theirs))
    }

    /// A host or node of the own site asks for a release that is here because somebody asked for it: it stays for longer.
    fn asked_again(&mut self, peer: NodeId, product: ProductId, name: &str) {
        let Some(FileName::Head(manifest)) = FileName::from_wire(name) else {
            return;
        };
        let is_asked = self
            .releases
            .get(manifest)
            .is_some_and(|release| release.asked.is_some());
        if is_asked && self.is_own_site(peer, product) {
            self.asked_for(manifest);
        }
    }

    /// A host or node of the own site asks for a release that this node does not carry: it starts fetching it for them.
    fn take_up_for(&mut self, peer: NodeId, product: ProductId, name: &str) {
        let Some(FileName::Head(manifest)) = FileName::from_wire(name) else {
            return;
        };
        if self.config.leaf || !self.may_know(peer, product, manifest) {
            return;
        }
        let Some(known) = self.products.get(product) else {
            return;
        };
        let own_site = self.is_own_site(peer, product);
        let listed = known.trust.documents().listings(manifest).next();
        let Some(version) = listed.map(|(_, place)| place.version.clone()).filter(|_| own_site) else {
            return;
        };
        let selection = Selection {
            platforms: known.platforms.clone(),
            ..Selection::default()
        };
        let priority = known.priority;
        self.take_up(manifest, product, version, selection, priority);
        self.asked_for(manifest);
    }
}
