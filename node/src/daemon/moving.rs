//! A release's way from a line on a channel to staged: the steps of the table in [`super::releases`].

use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, Part, ProductId};
use samara_protocol::swarm::event::Event as SwarmEvent;
use samara_protocol::swarm::io::{Input, OpenTransfer};
use samara_protocol::swarm::stats::TransferStats;
use samara_protocol::tree::ranges::RangeSet;

use super::driver::Driver;
use super::opening::{self, Opened, Selection};
use super::releases::{Blockage, Cause, Phase};
use super::report::{OpenError, Report};
use crate::observe::Event;
use crate::store::{Checkpoint, StoreError};

/// How long a blocked release waits before it is tried again: room may have been made.
const RETRY: Duration = Duration::from_secs(10);

impl Driver {
    /// Takes up what the followed channels list now, and lets go of what they do not.
    pub(super) fn sync_releases(&mut self, product: ProductId) {
        let Some(known) = self.products.get(product) else {
            return;
        };
        let mut wanted = known.wanted();
        let room = self.releases.room_for(product, &wanted);
        if wanted.len() > room {
            self.observer.emit(Event::ReleasesLeftOut {
                product,
                served: room as u64,
                left_out: (wanted.len() - room) as u64,
            });
            wanted.truncate(room);
        }
        let (platforms, priority) = (known.platforms.clone(), known.priority);
        let gone = self.releases.of_product(product).into_iter().filter(|manifest| {
            let listed = wanted.iter().any(|promotion| promotion.manifest == *manifest);
            let recalled = known.trust.documents().recalls.contains_key(manifest);
            let asked_for = self
                .releases
                .get(*manifest)
                .is_some_and(|release| release.asked.is_some());
            recalled || !(listed || asked_for)
        });
        for manifest in gone.collect::<Vec<_>>() {
            self.let_go(manifest);
        }
        for manifest in self.releases.of_product(product) {
            let listed = wanted.iter().any(|promotion| promotion.manifest == manifest);
            self.releases.get_mut(manifest).expect("just listed").listed = listed;
        }
        for promotion in wanted {
            let selection = Selection {
                platforms: platforms.clone(),
                ..Selection::default()
            };
            self.take_up(promotion.manifest, product, promotion.version, selection, priority);
            if let Some(release) = self.releases.get_mut(promotion.manifest) {
                release.listed = true;
            }
        }
    }

    /// Somebody asked for a release by name, just now. Those that were asked for longest ago make room for it.
    pub(super) fn asked_for(&mut self, manifest: ManifestId) {
        let now = self.clock.now();
        if let Some(release) = self.releases.get_mut(manifest) {
            release.asked = Some(now);
        }
        while let Some(oldest) = self.releases.asked_too_many().filter(|_| !self.config.leaf) {
            self.let_go(oldest);
        }
    }

    /// Lets go of what is staged, is listed by no followed channel, and was not asked for during `time`.
    pub(super) fn let_asked_go(&mut self, time: Duration) {
        if self.config.leaf {
            return;
        }
        for manifest in self.releases.not_asked_for(self.clock.now(), time) {
            self.let_go(manifest);
        }
    }

    /// A release that a channel lists does not fit: what is here for who once asked for it makes room.
    pub(super) fn make_room_for(&mut self, manifest: ManifestId) {
        if self.releases.get(manifest).is_some_and(|release| release.listed) {
            self.let_asked_go(Duration::ZERO);
        }
    }

    /// Starts on a release, unless it is under way.
    pub(super) fn take_up(
        &mut self,
        manifest: ManifestId,
        product: ProductId,
        version: semver::Version,
        selection: Selection,
        priority: u8,
    ) {
        if self.releases.get(manifest).is_none()
            && let Some(oldest) = self.releases.to_make_place()
        {
            self.let_go(oldest);
        }
        if self.releases.add(manifest, product, version, selection, priority) {
            let (store, reports) = (self.store.clone(), self.shell.reports.clone());
            tokio::spawn(async move {
                let outcome = tokio::task::spawn_blocking(move || store.head(manifest)).await;
                let outcome = outcome.expect("reading does not panic and is not aborted");
                let _ = reports.send(Report::Looked { manifest, outcome }).await;
            });
        }
    }

    fn let_go(&mut self, manifest: ManifestId) {
        let Some(release) = self.releases.remove(manifest) else {
            return;
        };
        for part in release.open {
            let layout = LayoutId { manifest, part };
            self.input(Input::Close { layout });
            self.shell.layouts.remove(&layout);
        }
        self.close_in_store(manifest);
    }

    /// Has a worker open a layout.
    pub(super) fn open(&mut self, manifest: ManifestId, part: Part) {
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        let Some(verified) = release.manifest.clone() else {
            return;
        };
        release.phase = Phase::Opening(part);
        let number = release.number;
        let (store, selection, reports) = (
            self.store.clone(),
            release.selection.clone(),
            self.shell.reports.clone(),
        );
        tokio::spawn(async move {
            let work = move || match part {
                Part::Entries => opening::entries(&store, &verified),
                Part::Payload => opening::payload(&store, &verified, &selection),
            };
            let outcome = tokio::task::spawn_blocking(work)
                .await
                .expect("opening does not panic and is not aborted");
            let opened = Report::Opened {
                manifest,
                number,
                outcome,
            };
            let _ = reports.send(opened).await;
        });
    }

    pub(super) fn on_opened(&mut self, manifest: ManifestId, number: u32, outcome: Result<Opened, OpenError>) {
        let Some(release) = self.releases.get(manifest) else {
            // Let go while the worker was at it.
            return self.close_in_store(manifest);
        };
        // Let go or blocked, and taken up again: it is opened once more, and what was held before says nothing.
        let part = outcome.as_ref().ok().map(|opened| opened.part);
        let awaited = match release.phase {
            Phase::Opening(opening) => part.is_none_or(|part| part == opening),
            _ => false,
        };
        if release.number != number || !awaited {
            return;
        }
        let opened = match outcome {
            Ok(opened) => opened,
            Err(error) => return self.not_opened(manifest, &error),
        };
        let Opened {
            part,
            layout: opened,
            held,
            wanted,
        } = opened;
        let layout = LayoutId { manifest, part };
        // What a checkpoint has changed since the worker looked was told while nobody here knew the layout.
        let held = self.store.held(layout).unwrap_or(held);
        if part == Part::Payload && release.found.is_none() {
            let mut all = held.durable.clone();
            all.union_with(&held.volatile);
            let found = self
                .releases
                .find(manifest, &opened, &opened.blocks().groups_of(&wanted), &all);
            self.releases.get_mut(manifest).expect("looked up above").found = Some(found);
        }
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        (release.phase, release.has_all_room) = (Phase::Moving(part), false);
        let room_again = part == Part::Payload && std::mem::take(&mut release.full_told);
        release.open.insert(part);
        let (number, priority, product) = (release.number, release.priority, release.product);
        release.layouts.insert(part, std::sync::Arc::clone(&opened));
        let table = std::sync::Arc::clone(opened.blocks());
        let complete = is_complete(&table.groups_of(&wanted), &held.durable);
        self.shell.layouts.insert(layout, opened);
        if !held.volatile.is_empty() {
            self.checkpoints.wrote(self.clock.now(), 1);
        }
        let (durable, volatile) = (held.durable, held.volatile);
        self.input(Input::Open(OpenTransfer {
            layout,
            table,
            wanted,
            durable,
            volatile,
            priority,
            product: number,
        }));
        for peer in self.peers.nodes() {
            self.show_releases(peer, product);
        }
        if room_again {
            self.tell_room(manifest, false);
        }
        if complete {
            self.moved(layout);
        }
    }

    /// A list that was held and turned out damaged is fetched again at once, and where there is no room some may be made;
    /// anything else has to be mended by somebody.
    fn not_opened(&mut self, manifest: ManifestId, error: &OpenError) {
        let part = Part::Entries;
        let damaged = matches!(error, OpenError::Store(StoreError::Damaged(_) | StoreError::Absent(_)));
        let opening = self.releases.get(manifest).is_some_and(|release| {
            let list = release.layouts.get(&part);
            let held = self.store.held(LayoutId { manifest, part });
            release.phase == Phase::Opening(Part::Payload)
                && list.zip(held.ok()).is_some_and(|(list, mut held)| {
                    held.durable.union_with(&held.volatile);
                    !held.durable.contains_range(0..list.group_count())
                })
        });
        if damaged && opening {
            self.open(manifest, part);
        } else if self.may_get_room(manifest, error) {
            self.collect();
        } else {
            self.block(manifest, error.into());
        }
    }

    /// A staged release of which something was lost is on its way again.
    pub(super) fn unstage(&mut self, layout: LayoutId) {
        let short = |transfer: TransferStats| transfer.have < transfer.wanted;
        if layout.part == Part::Payload
            && self.transfer(layout.manifest).is_some_and(short)
            && let Some(release) = self.releases.get_mut(layout.manifest)
            && release.phase == Phase::Staged
        {
            release.phase = Phase::Moving(layout.part);
        }
    }

    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent) {
        match &event {
            SwarmEvent::TransferComplete { layout, .. } if self.config.leaf => self.moved(*layout),
            SwarmEvent::TransferComplete { .. } => self.checkpoints.hurry(),
            SwarmEvent::TransferDurable { layout } => self.moved(*layout),
            _ => {}
        }
        self.observer.emit(Event::Swarm(event));
    }

    /// All that is wanted of a layout is here.
    fn moved(&mut self, layout: LayoutId) {
        let Some(release) = self.releases.get_mut(layout.manifest) else {
            return;
        };
        if release.phase != Phase::Moving(layout.part) {
            return;
        }
        // Another release may have brought what was promised to this one.
        self.store.unreserve(layout);
        match layout.part {
            Part::Entries => self.open(layout.manifest, Part::Payload),
            Part::Payload => {
                release.phase = Phase::Staged;
                let (product, version) = (release.product, release.version.clone());
                self.observer.emit(Event::ReleaseStaged {
                    product,
                    version,
                    manifest: layout.manifest,
                });
                self.serve_waiters();
                self.collect();
                self.measure_store();
            }
        }
    }

    pub(super) fn on_checkpoint(&mut self, checkpoint: Checkpoint) {
        let elapsed = self.checkpoints.ended(self.clock.now(), checkpoint.fault.is_none());
        self.observer.emit(Event::Checkpointed { elapsed });
        if let Some(error) = checkpoint.fault {
            self.observer.emit(Event::DiskFailed {
                what: error.to_string(),
            });
        }
        for (layout, changes) in checkpoint.layouts {
            if !changes.durable.is_empty() {
                self.input(Input::Durable {
                    layout,
                    groups: changes.durable,
                });
            }
            self.lost(layout, changes.lost);
        }
    }

    /// What was received cannot be written. A layout that was closed meanwhile needs nothing any more.
    pub(super) fn on_write_failed(&mut self, layout: LayoutId, error: &StoreError) {
        if !matches!(error, StoreError::NotOpen(_)) {
            self.block(layout.manifest, error.into());
        }
    }

    /// A release cannot go on: its transfers stop, what is verified stays, and whoever waits is told why.
    pub(super) fn block(&mut self, manifest: ManifestId, blockage: Blockage) {
        let now = self.clock.now();
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        if matches!(release.phase, Phase::Blocked(_)) {
            return;
        }
        let Blockage { why, cause } = blockage.clone();
        let full = cause == Cause::Full;
        // Refused by the disk itself: what is not needed is to go before it is tried again.
        let collects = full && !release.has_all_room;
        (release.phase, release.retry_at) = (Phase::Blocked(blockage), now.after(RETRY));
        release.has_all_room = false;
        let news = full && !std::mem::replace(&mut release.full_told, true);
        let (product, version) = (release.product, release.version.clone());
        for part in std::mem::take(&mut release.open) {
            let layout = LayoutId { manifest, part };
            self.input(Input::Close { layout });
            self.shell.layouts.remove(&layout);
        }
        // What of it is here stays open, and so is kept; room that it does not use now is for others.
        for part in [Part::Entries, Part::Payload] {
            self.store.unreserve(LayoutId { manifest, part });
        }
        if collects {
            self.make_room_for(manifest);
            self.collect();
        }
        // Whoever asked for an entry that is not there is told so; with the release nothing is wrong.
        if !matches!(cause, Cause::NoEntry { .. }) {
            self.observer.emit(Event::ReleaseBlocked {
                product,
                version,
                manifest,
                why,
            });
        }
        if news {
            self.tell_room(manifest, true);
        }
        self.serve_waiters();
    }

    /// Tries a blocked release again from its head.
    pub(super) fn retry(&mut self, manifest: ManifestId) {
        let Some(release) = self.releases.get_mut(manifest) else {
            return;
        };
        match release.manifest {
            Some(_) => self.open(manifest, Part::Entries),
            None => release.phase = Phase::start(),
        }
    }

    /// Has a worker look at how much the store takes; it goes through all its files.
    pub(super) fn measure_store(&self) {
        let (store, observer) = (self.store.clone(), self.observer.clone());
        tokio::task::spawn_blocking(move || {
            if let Ok(usage) = store.usage() {
                observer.emit(Event::StoreMeasured {
                    used: usage.used,
                    free: usage.free,
                });
            }
        });
    }
}

fn is_complete(wanted: &RangeSet, held: &RangeSet) -> bool {
    wanted.difference(held).is_empty()
}
