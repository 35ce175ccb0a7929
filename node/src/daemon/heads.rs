//! A release's first step: its head, from the store or from a neighbour, bound to its version by the metadata.

use samara_protocol::id::{ManifestId, NodeId, Part};
use samara_protocol::trust::release::{ManifestRefusal, VerifiedManifest};

use super::driver::Driver;
use super::files::FileName;
use super::releases::{Phase, Release};
use crate::observe::Event;
use crate::store::StoreError;

impl Driver {
    /// A worker has looked for a release's head in the store.
    pub(super) fn on_looked(&mut self, manifest: ManifestId, outcome: Result<Option<Vec<u8>>, StoreError>) {
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        if release.phase != Phase::Looking {
            return;
        }
        release.phase = Phase::start();
        let stored = match outcome {
            Ok(stored) => stored,
            Err(error) => return self.block(manifest, (&error).into()),
        };
        release.begun_before = stored.is_some();
        // What the store held is not what the metadata says: it is asked for as if it had not been there.
        if stored.is_none_or(|bytes| self.accept_head(manifest, bytes).is_err()) {
            self.ask_for_head(manifest);
        }
    }

    /// Asks a neighbour that has not refused for the head; the next one when it cannot help.
    pub(super) fn ask_for_head(&mut self, manifest: ManifestId) {
        let Some(release) = self.releases.get(manifest) else {
            return;
        };
        let Phase::Head { asking: None, refused } = &release.phase else {
            return;
        };
        let product = release.product;
        let neighbours = self.peers.to_ask(product);
        let next = neighbours
            .iter()
            .find(|node| !refused.contains(node))
            .or(neighbours.first())
            .copied();
        let Some(peer) = next else { return };
        if self.ask_file(peer, product, FileName::Head(manifest))
            && let Some(release) = self.releases.get_mut(manifest)
            && let Phase::Head { asking, .. } = &mut release.phase
        {
            *asking = Some(peer);
        }
    }

    /// The peer that was asked for a head cannot help. The next one is asked at once, or all again at the next
    /// housekeeping.
    pub(super) fn head_refused(&mut self, manifest: ManifestId, peer: NodeId) {
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        let Phase::Head { asking, refused } = &mut release.phase else {
            return;
        };
        if *asking == Some(peer) {
            *asking = None;
        }
        refused.insert(peer);
        let product = release.product;
        let Phase::Head { refused, .. } = &self.releases.get(manifest).expect("just seen").phase else {
            return;
        };
        if self.peers.of_product(product).any(|(node, _)| !refused.contains(&node)) {
            self.ask_for_head(manifest);
        } else if let Some(release) = self.releases.get_mut(manifest) {
            release.phase = Phase::start();
        }
    }

    /// A head came from a peer.
    pub(super) fn on_head(&mut self, manifest: ManifestId, peer: NodeId, bytes: Vec<u8>) {
        if let Err(error) = self.accept_head(manifest, bytes) {
            self.observer.emit(Event::HeadRefused {
                peer,
                manifest,
                why: error.to_string(),
            });
            self.head_refused(manifest, peer);
        }
    }

    /// Takes a head that the metadata binds to its version; the worker that opens the list of files keeps it. One that is
    /// not waited for any more is passed over.
    fn accept_head(&mut self, manifest: ManifestId, bytes: Vec<u8>) -> Result<(), ManifestRefusal> {
        let waiting = |release: &&mut Release| matches!(release.phase, Phase::Head { .. });
        let Some(release) = self.releases.get_mut(manifest).filter(waiting) else {
            return Ok(());
        };
        let Some(product) = self.products.get(release.product) else {
            return Ok(());
        };
        release.manifest = Some(VerifiedManifest::verify(&product.trust, &release.version, bytes)?);
        self.open(manifest, Part::Entries);
        Ok(())
    }
}
