//! The one owner: every event of the network, every report of a task, every command of a verb and every deadline comes
//! here, becomes an input of the scheduler or a step of a release, and is drained before the next is looked at.
//!
//! What moves payload waits for no disk here: workers read and write, and report. Inline are small files that come seldom:
//! signed metadata and lists of revocations, which are durable before they count, the keys at a renewal, and what a verb
//! asks for (homes that are read again, the start of a publish).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use samara_protocol::id::{LayoutId, ManifestId, NodeId, ProductId, ServeId};
use samara_protocol::limits::ASKED_RELEASE_KEPT;
use samara_protocol::swarm::Swarm;
use samara_protocol::swarm::io::{FetchFault, Input, Limits};
use samara_protocol::swarm::step::step;
use samara_protocol::time::Timestamp;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::trust::key::SigningKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answering::Waiter;
use super::checkpoints::Checkpoints;
use super::clock::Clock;
use super::collecting::Collecting;
use super::gate::Doors;
use super::opening::Selections;
use super::peers::Peers;
use super::products::Products;
use super::publishing::Publishings;
use super::releases::Releases;
use super::report::{Report, Verified};
use super::revoking::Pace;
use super::shell::{Fact, Shell};
use super::standings::Standings;
use super::throughput::Throughput;
use crate::admin::server::Call;
use crate::heap;
use crate::net::NetEvent;
use crate::observe::{Event, Observer};
use crate::store::Store;

/// How often what has no event of its own is looked at: heads that nobody had, redials, metadata polls.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How the driver was configured.
pub(super) struct DriverConfig {
    /// A leaf is done when everything is verified; a node when it is durable as well.
    pub(super) leaf: bool,
    /// In words.
    pub(super) role: &'static str,
    /// The operator's limits.
    pub(super) limits: Limits,
    /// Where the store lies.
    pub(super) store: PathBuf,
    /// Nodes to be connected to whatever the contacts say.
    pub(super) dial: Vec<(NodeId, Vec<String>)>,
    /// What wants leave out.
    pub(super) selections: Selections,
    /// Ends the engine.
    pub(super) stop: CancellationToken,
    /// The store's quota.
    pub(super) quota: Option<u64>,
    /// For the contacts of this node.
    pub(super) region: Option<String>,
    /// Signs them.
    pub(super) identity: SigningKey,
}

/// The owner of everything.
pub(super) struct Driver {
    pub(super) config: DriverConfig,
    pub(super) clock: Clock,
    pub(super) swarm: Swarm,
    pub(super) shell: Shell,
    pub(super) store: Store,
    pub(super) doors: Doors,
    pub(super) products: Products,
    pub(super) releases: Releases,
    pub(super) peers: Peers,
    pub(super) checkpoints: Checkpoints,
    pub(super) collecting: Collecting,
    pub(super) publishings: Publishings,
    pub(super) standings: Standings,
    /// Payload of this run.
    pub(super) sent: Throughput,
    /// See `sent`.
    pub(super) received: Throughput,
    pub(super) observer: Observer,
    pub(super) waiters: Vec<Waiter>,
    pub(super) swarm_due: Option<Timestamp>,
    pub(super) housekeeping_due: Timestamp,
    pub(super) renewal_due: Timestamp,
    pub(super) contacts_due: Timestamp,
    pub(super) pace: Pace,
    pub(super) stopping: bool,
}

impl Driver {
    /// Runs until a command stops it or everybody who could send one is gone.
    pub(super) async fn run(
        mut self,
        mut network: mpsc::Receiver<NetEvent>,
        mut reports: mpsc::Receiver<Report>,
        mut calls: mpsc::Receiver<Call>,
    ) {
        let stop = self.config.stop.clone();
        self.start();
        while !self.stopping {
            let due = tokio::time::Instant::from_std(self.next_due());
            tokio::select! {
                Some(report) = reports.recv() => self.on_report(report),
                Some(event) = network.recv() => self.on_network(event),
                call = calls.recv() => match call {
                    Some(call) => self.on_call(call),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => {}
                () = stop.cancelled() => break,
            }
            self.on_time();
        }
        self.stop().await;
    }

    /// Hands one input to the scheduler and looks at what it said.
    pub(super) fn input(&mut self, input: Input) {
        self.swarm_due = step(&mut self.swarm, self.clock.now(), input, &mut self.shell).map(|(at, _)| at);
        for fact in std::mem::take(&mut self.shell.facts) {
            self.on_fact(fact);
        }
    }

    fn start(&mut self) {
        self.observer.emit(Event::NodeStarted {
            peer: self.shell.net.local(),
            role: self.config.role,
        });
        self.measure_store();
        for product in self.products.ids() {
            self.sync_releases(product);
            self.dial_contacts(product);
        }
    }

    fn next_due(&self) -> Instant {
        let due = [self.swarm_due, self.checkpoints.next(), Some(self.housekeeping_due)];
        self.clock
            .instant(due.into_iter().flatten().min().unwrap_or(self.housekeeping_due))
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if self.swarm_due.is_some_and(|due| due <= now) {
            self.input(Input::TimedOut);
        }
        if self.checkpoints.start_if_due(now) {
            self.checkpoint();
        }
        self.collect_if_due();
        if self.housekeeping_due <= now {
            self.housekeeping_due = now.after(HOUSEKEEPING);
            self.housekeeping();
        }
    }

    fn housekeeping(&mut self) {
        for (manifest, _) in self.releases.without_head() {
            self.ask_for_head(manifest);
        }
        for product in self.products.ids() {
            self.prune_contacts(product);
            self.dial_contacts(product);
        }
        self.tell_contacts_again();
        self.introduce_newcomers();
        self.ask_who_is_ahead();
        self.take_lists();
        self.let_asked_go(ASKED_RELEASE_KEPT);
        for manifest in self.releases.to_retry(self.clock.now()) {
            self.retry(manifest);
        }
        self.renew_timestamps();
        self.sweep_publishings();
        self.keep_standings();
        self.products.keep_contacts();
        self.serve_waiters();
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::FetchBegun { request } => {
                if self.shell.is_fetching(request, false) {
                    self.input(Input::FetchBegun { request });
                }
            }
            Report::FetchVerified(verified) => self.on_verified(verified),
            Report::FetchDone { request } => {
                if self.shell.is_fetching(request, true) {
                    self.input(Input::FetchDone { request });
                }
            }
            Report::FetchFailed {
                request,
                peer,
                fault,
                what,
            } => {
                // Whoever wants it: it was sent. What was taken back meanwhile is held against nobody.
                if fault == FetchFault::Invalid {
                    self.observer.emit(Event::GroupRejected { peer, what });
                }
                if self.shell.is_fetching(request, true) {
                    self.standings.faulted(fault);
                    self.input(Input::FetchFailed { request, fault });
                }
            }
            Report::WriteFailed { layout, error } => self.on_write_failed(layout, &error),
            Report::ServeSent {
                distance,
                serve,
                groups,
                bytes,
            } => {
                self.sent.add(self.clock.now(), bytes);
                self.observer.emit(Event::BytesSent { distance, bytes });
                self.input(Input::ServeSent { serve, groups, bytes });
            }
            Report::ServeFailed { serve, layout, lost } => {
                self.shell.end_serve(serve);
                self.input(Input::ServeFailed { serve });
                self.found_damaged(layout, lost);
            }
            Report::ServeGone { serve } => self.serve_over(serve),
            Report::Rechecked { layout, lost } => {
                if !lost.is_empty() {
                    self.checkpoints.wrote(self.clock.now(), 1);
                }
                self.lost(layout, lost);
            }
            Report::Checkpointed(checkpoint) => self.on_checkpoint(checkpoint),
            Report::Collected(outcome) => self.on_collected(outcome),
            Report::Imported(imported) => self.on_imported(imported),
            Report::Looked { manifest, outcome } => self.on_looked(manifest, outcome),
            Report::Opened {
                manifest,
                number,
                outcome,
            } => self.on_opened(manifest, number, outcome),
            Report::File {
                peer,
                product,
                name,
                outcome,
            } => self.on_file(peer, product, name, outcome),
        }
    }

    fn on_verified(&mut self, mut verified: Verified) {
        let (bytes, (_, distance)) = (verified.bytes, verified.from);
        self.checkpoints.wrote(self.clock.now(), bytes);
        self.received.add(self.clock.now(), bytes);
        self.observer.emit(Event::BytesReceived { distance, bytes });
        // A sync may have failed, or the file gone, between the write and now: that loss was told before. Looked at before
        // whoever waits is told that all is there: a `fetch` takes the files out at once.
        let gone = self
            .store
            .missing(verified.layout, &verified.groups)
            .unwrap_or_default();
        if let Some(layout) = self.shell.layouts.get(&verified.layout) {
            verified = verified.without(&gone, layout);
        }
        let Verified {
            request,
            from: (peer, distance),
            layout,
            groups,
            bytes,
        } = verified;
        // Taken back meanwhile: it is verified and written all the same.
        let input = if self.shell.is_fetching(request, false) {
            Input::FetchVerified { request, groups, bytes }
        } else {
            Input::FetchedLate {
                peer,
                distance,
                layout,
                groups,
                bytes,
            }
        };
        self.input(input);
        self.lost(layout, gone);
    }

    fn on_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Swarm(event) => self.on_swarm_event(event),
            Fact::Disconnected {
                peer,
                reason,
                quarantine,
            } => {
                self.standings.quarantined();
                self.observer.emit(Event::PeerDropped {
                    peer,
                    reason,
                    quarantine,
                });
            }
        }
    }

    /// Nobody waits for an answer any more. All of it may have been granted already, and only the scheduler knows what of
    /// that is still to be sent.
    pub(super) fn serve_over(&mut self, serve: ServeId) {
        self.shell.end_serve(serve);
        self.input(Input::ServeCancelled { serve });
    }

    /// A neighbour asked for groups that are damaged: what else is of the layout is looked at now, and not when it is asked
    /// for. Other releases that have the same artifacts hear of it by the next checkpoint.
    fn found_damaged(&mut self, layout: LayoutId, groups: RangeSet) {
        if !groups.is_empty() {
            self.checkpoints.wrote(self.clock.now(), 1);
            self.shell.scrub(layout);
        }
        self.lost(layout, groups);
    }

    /// Groups turned out not to be held: peers are told, and they are fetched again. Where several found it at a time, those
    /// that are held again by now are not lost for the sake of who told of it last.
    pub(super) fn lost(&mut self, layout: LayoutId, mut groups: RangeSet) {
        if let Ok(missing) = self.store.missing(layout, &groups) {
            groups = missing;
        }
        if !groups.is_empty() {
            self.observer.emit(Event::GroupsLost {
                layout,
                groups: groups.clone(),
            });
            self.input(Input::Lost { layout, groups });
            self.unstage(layout);
        }
    }

    /// Makes durable what is written, on a worker.
    fn checkpoint(&self) {
        let (store, reports) = (self.store.clone(), self.shell.reports.clone());
        tokio::spawn(async move {
            let checkpoint = tokio::task::spawn_blocking(move || {
                let checkpoint = store.checkpoint();
                heap::trim();
                checkpoint
            });
            let checkpoint = checkpoint
                .await
                .expect("a checkpoint does not panic and is not aborted");
            let _ = reports.send(Report::Checkpointed(checkpoint)).await;
        });
    }

    /// Says goodbye, and makes durable what was written.
    async fn stop(mut self) {
        self.observer.emit(Event::NodeStopping);
        self.shell.net.shutdown().await;
        self.keep_last_standings().await;
        self.products.keep_last_contacts().await;
        let store = self.store.clone();
        let checkpoint = tokio::task::spawn_blocking(move || store.checkpoint()).await;
        if let Some(error) = checkpoint
            .expect("a checkpoint does not panic and is not aborted")
            .fault
        {
            tracing::warn!(%error, "the last checkpoint is incomplete; what it lacks is checked again at the next start");
        }
    }

    /// What this node calls a product, for people.
    pub(super) fn name_of(&self, product: ProductId) -> String {
        self.products
            .get(product)
            .map_or_else(|| product.short(), |known| known.name.clone())
    }

    /// Whether a peer may know of a release.
    pub(super) fn may_know(&self, peer: NodeId, product: ProductId, manifest: ManifestId) -> bool {
        let covered = self.peers.get(peer).and_then(|peer| peer.covered(product));
        let product = self.products.get(product);
        covered
            .zip(product)
            .is_some_and(|(covered, product)| product.offers(manifest, covered))
    }
}
