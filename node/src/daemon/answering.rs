//! What verbs ask of the node, answered: status, wants, releases, metadata that is brought by hand.

use std::time::Duration;

use samara_protocol::id::{ManifestId, ProductId};
use samara_protocol::limits::METADATA_BYTES_MAX;
use samara_protocol::time::Timestamp;
use samara_protocol::trust::document::Promotion;
use samara_protocol::trust::files::MetadataFiles;

use super::clock::wall_time;
use super::driver::Driver;
use super::freshness;
use super::not_offered;
use super::opening::Selection;
use super::opening::one_entry::entry_culprit;
use super::own_credentials::TURNED_AWAY;
use super::releases::{Blockage, Cause, Phase};
use crate::admin::api::{Progress, Refusal, RefusalKind, ReleaseName, Request, Response, Select};
use crate::admin::server::{Call, Reply};
use crate::observe::Event;

/// How often somebody who waits is told how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

/// Somebody who waits for a release.
#[derive(Debug)]
pub(super) struct Waiter {
    release: ReleaseName,
    selection: Selection,
    /// The release, once the metadata says which it is.
    found: Option<ManifestId>,
    told: Timestamp,
    reply: Reply,
}

impl Driver {
    pub(super) fn on_call(&mut self, call: Call) {
        let Call {
            request,
            files,
            reply,
            connection,
            closed,
            caller,
        } = call;
        self.observer.emit(Event::VerbCalled {
            uid: caller.uid,
            request: request.name(),
        });
        match request {
            Request::Status => self.answer_status(reply),
            Request::Doctor => reply.finish(Response::Checks { checks: self.checks() }),
            Request::Events => self.observer.subscribe(reply),
            Request::Want {
                release,
                platforms,
                entry,
            } => self.on_want(release, platforms, entry, reply),
            Request::Release { release } => self.on_release(&release, reply),
            Request::Import { product, signed } => self.on_import(product, &signed, files, reply),
            Request::PublishBegin { product, version, link } => {
                self.publish_begin((connection, closed), &product, version, link, reply);
            }
            Request::PublishArtifacts { artifacts } => self.publish_artifacts(connection, artifacts, files, reply),
            Request::PublishCommit { manifest, signed } => {
                self.publish_commit(connection, manifest, &signed, files, reply);
            }
            Request::Shutdown => {
                self.stopping = true;
                reply.finish(Response::Done);
            }
            Request::Reload => match self.reload() {
                Ok(()) => reply.finish(Response::Done),
                Err(error) => reply.refuse(Refusal::new(RefusalKind::Failure, "the node's home", error.to_string())),
            },
        }
    }

    fn on_want(&mut self, release: ReleaseName, platforms: Option<Vec<String>>, entry: Option<String>, reply: Reply) {
        let Some((_, product)) = self.products.named(&release.product) else {
            return reply.refuse(unknown_product(&release.product));
        };
        let platforms = match platforms {
            None => Ok(product.platforms.clone()),
            Some(texts) => texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>(),
        };
        match platforms {
            Ok(platforms) => {
                let selection = Selection {
                    platforms,
                    entry,
                    present: self.config.selections.get(),
                };
                self.waiters.push(Waiter {
                    release,
                    selection,
                    found: None,
                    told: Timestamp::ZERO,
                    reply,
                });
                self.serve_waiters();
            }
            Err(error) => reply.refuse(Refusal::new(RefusalKind::Usage, "--platform", error.to_string())),
        }
    }

    /// Looks at everybody who waits: what they name may be known by now, and may be here.
    pub(super) fn serve_waiters(&mut self) {
        let now = self.clock.now();
        for mut waiter in std::mem::take(&mut self.waiters) {
            if waiter.reply.is_closed() {
                continue;
            }
            if waiter.found.is_none() {
                match self.find(&waiter.release) {
                    Ok(Some((product, promotion))) => {
                        waiter.found = Some(promotion.manifest);
                        let priority = self.products.get(product).map_or(0, |known| known.priority);
                        let selection = waiter.selection.clone();
                        self.take_up(promotion.manifest, product, promotion.version, selection, priority);
                        self.asked_for(promotion.manifest);
                    }
                    Ok(None) => {}
                    Err(refusal) => {
                        waiter.reply.refuse(refusal);
                        continue;
                    }
                }
            }
            self.serve_waiter(waiter, now);
        }
    }

    fn serve_waiter(&mut self, mut waiter: Waiter, now: Timestamp) {
        match waiter
            .found
            .and_then(|manifest| Some((manifest, self.releases.get(manifest)?)))
        {
            Some((manifest, release)) => match &release.phase {
                Phase::Staged => {
                    return waiter
                        .reply
                        .finish(Response::Release(self.release_state(manifest, release)));
                }
                Phase::Blocked(blockage) => {
                    let refusal = self.cannot_go_on(&waiter, blockage);
                    return waiter.reply.refuse(refusal);
                }
                // What is being opened may be here already.
                Phase::Looking | Phase::Opening(_) | Phase::Room(_) => {}
                Phase::Head { .. } | Phase::Moving(_) => {
                    let refusal = self.full_everywhere(manifest, release);
                    if let Some(refusal) = refusal.or_else(|| self.shut_out(&waiter.release.product)) {
                        return waiter.reply.refuse(refusal);
                    }
                }
            },
            None if waiter.found.is_some() => {
                let refusal = self.let_go_of(&waiter);
                return waiter.reply.refuse(refusal);
            }
            None => {
                if let Some(refusal) = self.shut_out(&waiter.release.product) {
                    return waiter.reply.refuse(refusal);
                }
            }
        }
        if now.since(waiter.told) >= PROGRESS {
            waiter.told = now;
            if !waiter.reply.progress(Response::Progress(self.progress(&waiter))) {
                return;
            }
        }
        self.waiters.push(waiter);
    }

    /// A release that somebody waits for is carried no more: it was recalled, as a rule.
    fn let_go_of(&self, waiter: &Waiter) -> Refusal {
        let name = &waiter.release.product;
        let recalls = self
            .products
            .named(name)
            .map(|(_, known)| &known.trust.documents().recalls);
        let recall = recalls.and_then(|recalls| recalls.get(&waiter.found?));
        recall.map_or_else(
            || Refusal::new(RefusalKind::Absent, name.clone(), "the release is not offered any more"),
            |recall| not_offered::recalled(name, recall),
        )
    }

    fn cannot_go_on(&self, waiter: &Waiter, blockage: &Blockage) -> Refusal {
        let name = waiter.release.product.clone();
        let Blockage { why, cause } = blockage;
        match cause {
            Cause::NoEntry { way_out } => {
                let entry = waiter.selection.entry.as_deref().unwrap_or_default();
                Refusal::new(RefusalKind::Absent, entry_culprit(entry), why.clone()).way_out(way_out.clone())
            }
            // A machine that only fetches has no configuration to change.
            Cause::Full if self.is_leaf() => {
                let what = why.split_once("; ").map_or(why.as_str(), |(what, _)| what);
                let refusal = Refusal::new(RefusalKind::DiskFull, name, what);
                refusal.way_out(
                    "free some space on that disk and run the same command again, which goes on where this ended",
                )
            }
            Cause::Full => Refusal::new(RefusalKind::DiskFull, name, why.clone()),
            Cause::Other => Refusal::new(RefusalKind::Failure, name, why.clone()),
        }
    }

    /// The release that a verb names; none while the metadata may be older than what neighbours have.
    fn find(&self, name: &ReleaseName) -> Result<Option<(ProductId, Promotion)>, Refusal> {
        let (id, product) = self
            .products
            .named(&name.product)
            .ok_or_else(|| unknown_product(&name.product))?;
        let is_asked = product.heard.is_current() || !self.is_leaf();
        let until = freshness::good_until(&product.trust);
        if let Some(refusal) = freshness::refuse_latest(name, until, wall_time()).filter(|_| is_asked) {
            return Err(refusal);
        }
        let documents = product.trust.documents();
        let found = match &name.select {
            Select::Version(version) => {
                let granted = product.granted();
                let ours = |name| granted.is_none_or(|granted| granted.contains(name));
                let channels = documents.channels.values().filter(|channel| ours(&channel.name));
                let listed = channels.flat_map(|channel| &channel.releases);
                let mut listed = listed.filter(|release| release.version == *version);
                listed
                    .find(|release| !release.held && !documents.recalls.contains_key(&release.manifest))
                    .cloned()
            }
            // "Latest" is a question about now: an answer from before the last contact would be an old one.
            Select::Channel(_) if !product.heard.is_current() && self.is_leaf() => None,
            Select::Channel(channel) => channel.parse().ok().and_then(|name| documents.latest(&name).cloned()),
        };
        match found {
            Some(promotion) => Ok(Some((id, promotion))),
            None if !is_asked => Ok(None),
            None => {
                let granted = product.granted();
                let known = not_offered::known_reason(name, documents, granted);
                let is_settled = !self.is_leaf() || product.heard.is_settled(self.clock.now());
                match known.or_else(|| is_settled.then(|| not_offered::nowhere(name, documents, granted))) {
                    Some(refusal) => Err(refusal),
                    None => Ok(None),
                }
            }
        }
    }

    fn on_release(&mut self, name: &ReleaseName, reply: Reply) {
        match self.find(name) {
            Ok(Some((_, promotion))) => match self.releases.get(promotion.manifest) {
                Some(release) => reply.finish(Response::Release(self.release_state(promotion.manifest, release))),
                None => reply.refuse(Refusal::new(
                    RefusalKind::Absent,
                    name.product.clone(),
                    "it is offered, and this node does not carry it",
                )),
            },
            Ok(None) => reply.refuse(Refusal::new(
                RefusalKind::Unreachable,
                name.product.clone(),
                "no neighbour has been reached yet",
            )),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    fn on_import(
        &mut self,
        product: Option<ProductId>,
        signed: &[crate::admin::api::SignedFile],
        files: Vec<std::os::fd::OwnedFd>,
        reply: Reply,
    ) {
        let Some(product) = product else {
            let refusal = Refusal::new(RefusalKind::Usage, "import", "the product is not named");
            return reply.refuse(refusal);
        };
        let outcome = read_signed(signed, files).and_then(|files| match self.products.install(product, &files) {
            Ok(Some(changed)) => Ok(changed.any()),
            Ok(None) => Err(Refusal::new(
                RefusalKind::Absent,
                product.to_string(),
                "this node does not carry the product",
            )),
            Err(error) => Err(Refusal::new(
                RefusalKind::Unverified,
                product.to_string(),
                error.to_string(),
            )),
        });
        match outcome {
            Ok(changed) => {
                if changed {
                    self.metadata_changed(product);
                }
                reply.finish(Response::Done);
            }
            Err(refusal) => reply.refuse(refusal),
        }
    }

    fn progress(&self, waiter: &Waiter) -> Progress {
        let release = waiter
            .found
            .and_then(|manifest| Some((manifest, self.releases.get(manifest)?)));
        let (phase, manifest) = match release {
            found if self.peers.turned_away && self.peers.is_empty() => {
                (TURNED_AWAY.to_owned(), found.map(|(manifest, _)| manifest))
            }
            None if self.peers.is_empty() => ("reaching a node that has it".to_owned(), None),
            None if self.is_current(waiter) => ("waiting for news of it".to_owned(), None),
            None => ("reading the product's metadata".to_owned(), None),
            Some((manifest, release)) => (release.phase.in_words().to_owned(), Some(manifest)),
        };
        let transfer = manifest.and_then(|manifest| self.transfer(manifest));
        let (have_bytes, wanted_bytes, bytes_per_second, sources) =
            transfer.map_or((0, 0, 0, Vec::new()), |transfer| {
                (
                    transfer.have,
                    transfer.wanted,
                    transfer.rate,
                    super::status::sources(&transfer.sources),
                )
            });
        Progress {
            phase,
            have_bytes,
            wanted_bytes,
            bytes_per_second,
            sources,
        }
    }

    /// Whether what a waiter names is none of what the newest metadata offers that some neighbour has.
    fn is_current(&self, waiter: &Waiter) -> bool {
        let named = self.products.named(&waiter.release.product);
        named.is_some_and(|(_, product)| product.heard.is_current())
    }

    fn is_leaf(&self) -> bool {
        self.config.leaf
    }
}

/// Signed files as they came over the socket.
pub(super) fn read_signed(
    signed: &[crate::admin::api::SignedFile],
    files: Vec<std::os::fd::OwnedFd>,
) -> Result<MetadataFiles, Refusal> {
    let mut all = MetadataFiles::default();
    for (name, file) in signed.iter().zip(files) {
        let read = crate::admin::files::read(&file, METADATA_BYTES_MAX);
        let bytes = read.map_err(|error| Refusal::new(RefusalKind::Failure, name.name.clone(), error.to_string()))?;
        if !all.insert(&name.name, bytes) {
            return Err(Refusal::new(
                RefusalKind::Usage,
                name.name.clone(),
                "it is no metadata file",
            ));
        }
    }
    Ok(all)
}

fn unknown_product(name: &str) -> Refusal {
    let refusal = Refusal::new(RefusalKind::Absent, name, "this machine has not joined such a product");
    refusal.way_out("`samara status` lists the products it has; `samara join FILE` adds one")
}
