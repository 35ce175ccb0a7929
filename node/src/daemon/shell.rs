//! Performs what the scheduler wants done: the one place that joins network and store (AI-3).
//!
//! Nothing here waits or fails: tasks do the work and report. What the scheduler may have outstanding is bounded by
//! `limits`, and so are the queues here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{LayoutId, NodeId, RequestId, ServeId};
use samara_protocol::manifest::layout::Layout;
use samara_protocol::swarm::event::Event;
use samara_protocol::swarm::io::{DisconnectReason, Distance, Output, Refusal};
use samara_protocol::swarm::step::Effects;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::fetching::Fetching;
use super::report::Report;
use super::serving::{COMMANDS_MAX, ServeBudget, ServeCommand, Serving};
use crate::net::{NetHandle, ReplySink};
use crate::observe::span;
use crate::store::{Store, StoreError};

/// Complaints of neighbours that may wait to be looked at, and one that is.
const RECHECKS_WAITING_MAX: usize = 8;

/// Layouts of one neighbour whose spans are kept.
const SPANS_MAX: usize = 16;

/// What the scheduler's outputs act on.
pub(super) struct Shell {
    pub(super) net: NetHandle,
    pub(super) reports: mpsc::Sender<Report>,
    /// Layouts that the store has open.
    pub(super) layouts: BTreeMap<LayoutId, Arc<Layout>>,
    pub(super) store: Store,
    pub(super) facts: Vec<Fact>,
    fetches: BTreeMap<RequestId, (NodeId, CancellationToken)>,
    serves: BTreeMap<ServeId, (NodeId, mpsc::Sender<ServeCommand>)>,
    spans: BTreeMap<NodeId, BTreeMap<LayoutId, Span>>,
    budget: ServeBudget,
    rechecks: Rechecks,
}

/// What neighbours complained of and is to be reread: how much may wait, and that one is read at a time.
#[derive(Debug)]
struct Rechecks {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// What the driver has to look at after a step.
#[derive(Debug)]
pub(super) enum Fact {
    /// The scheduler says so.
    Swarm(Event),
    /// A peer was taken down.
    Disconnected {
        peer: NodeId,
        reason: DisconnectReason,
        quarantine: Duration,
    },
}

impl Shell {
    pub(super) fn new(net: NetHandle, store: Store, reports: mpsc::Sender<Report>) -> Self {
        Self {
            net,
            store,
            reports,
            layouts: BTreeMap::new(),
            facts: Vec::new(),
            fetches: BTreeMap::new(),
            serves: BTreeMap::new(),
            spans: BTreeMap::new(),
            budget: ServeBudget::new(),
            rechecks: Rechecks {
                places: Arc::new(Semaphore::new(RECHECKS_WAITING_MAX)),
                turn: Arc::new(Semaphore::new(1)),
            },
        }
    }

    /// Starts the task that answers an ask of a peer so far away; the scheduler's verdicts go to it.
    pub(super) fn serve(&mut self, to: (NodeId, Distance), layout: LayoutId, sink: ReplySink) -> ServeId {
        let (peer, distance) = to;
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let serve = sink.serve();
        self.serves.insert(serve, (peer, sender));
        let serving = Serving {
            serve,
            distance,
            id: layout,
            store: self.store.clone(),
            layout: self.layouts.get(&layout).cloned(),
            sink,
            commands,
            budget: self.budget.clone(),
            reports: self.reports.clone(),
            reply: None,
        };
        let span = span::answering(self.transfer(peer, layout), serve);
        tokio::spawn(serving.run().instrument(span));
        serve
    }

    /// Whether the fetch is still wanted; forgets it when `ended`.
    pub(super) fn is_fetching(&mut self, request: RequestId, ended: bool) -> bool {
        if ended {
            self.fetches.remove(&request).is_some()
        } else {
            self.fetches.contains_key(&request)
        }
    }

    /// Ends the task that answers an ask, unless it has been given all that it is to send.
    pub(super) fn end_serve(&mut self, serve: ServeId) {
        self.serves.remove(&serve);
    }

    /// Ends all fetches and serves of a peer that is gone.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.fetches.retain(|_, (of, cancel)| {
            if *of == peer {
                cancel.cancel();
            }
            *of != peer
        });
        self.serves.retain(|_, (of, _)| *of != peer);
        self.spans.remove(&peer);
    }

    /// The span of what is done with a neighbour on a layout.
    fn transfer(&mut self, with: NodeId, layout: LayoutId) -> &Span {
        let spans = self.spans.entry(with).or_default();
        if spans.len() >= SPANS_MAX && !spans.contains_key(&layout) {
            spans.clear();
        }
        spans.entry(layout).or_insert_with(|| span::transfer(with, layout))
    }

    fn fetch(&mut self, request: RequestId, from: (NodeId, Distance), id: LayoutId, groups: RangeSet) {
        let (peer, _) = from;
        let layout = Arc::clone(self.layouts.get(&id).expect("the scheduler fetches open layouts only"));
        let source = self.net.ask(
            peer,
            Ask::Groups {
                layout: id,
                groups: groups.clone(),
            },
        );
        let cancelled = CancellationToken::new();
        self.fetches.insert(request, (peer, cancelled.clone()));
        let (store, reports) = (self.store.clone(), self.reports.clone());
        let span = span::asking(self.transfer(peer, id), request);
        tokio::spawn(
            Fetching {
                request,
                from,
                id,
                layout,
                store,
                groups,
                source,
                cancelled,
                reports,
            }
            .run()
            .instrument(span),
        );
    }

    /// Answers an ask that the scheduler was not told of.
    pub(super) fn refuse(&mut self, serve: ServeId, reason: Refusal) {
        self.command(serve, ServeCommand::Refuse(reason));
    }

    fn command(&mut self, serve: ServeId, command: ServeCommand) {
        let ends = matches!(command, ServeCommand::Refuse(_) | ServeCommand::Send { last: true, .. });
        if let Some((_, commands)) = self.serves.get(&serve) {
            // Closed: the peer is gone and the driver will hear of it. Full: the scheduler keeps few portions
            // outstanding (up to five were counted where shares shrink), and the queue is longer than that.
            let full = matches!(commands.try_send(command), Err(mpsc::error::TrySendError::Full(_)));
            assert!(
                !full,
                "the scheduler keeps fewer portions of a serve outstanding than the queue holds"
            );
        }
        if ends {
            self.serves.remove(&serve);
        }
    }

    /// Rereads what a neighbour complains of, one such at a time: on a slow disk they must not fill the workers that everything
    /// else waits for. What finds no place is named again.
    fn recheck(&self, id: LayoutId, groups: RangeSet) {
        let Ok(place) = Arc::clone(&self.rechecks.places).try_acquire_owned() else {
            return;
        };
        let turn = Arc::clone(&self.rechecks.turn);
        self.check(id, async move {
            let turn = turn.acquire_owned().await.expect("it is never closed");
            move |store: Store| {
                let _until_done = (place, turn);
                store.recheck(id, &groups)
            }
        });
    }

    /// Has a worker hash what of a layout is only to be hashed before it is served: where one group has rotted others may
    /// have, and neighbours ask for each of them in vain until they are told. The store runs one such at a time.
    pub(super) fn scrub(&self, id: LayoutId) {
        self.check(id, async move { move |store: Store| store.scrub(id) });
    }

    /// Does on a worker what `work` says once its turn has come.
    fn check<W>(&self, id: LayoutId, work: impl Future<Output = W> + Send + 'static)
    where
        W: FnOnce(Store) -> Result<RangeSet, StoreError> + Send + 'static,
    {
        let (store, reports) = (self.store.clone(), self.reports.clone());
        tokio::spawn(async move {
            let work = work.await;
            let checked = tokio::task::spawn_blocking(move || work(store)).await;
            match checked.expect("checking does not panic and is not aborted") {
                Ok(lost) => {
                    let _ = reports.send(Report::Rechecked { layout: id, lost }).await;
                }
                Err(error) => tracing::warn!(%error, layout = ?id, "what a neighbour found damaged cannot be checked"),
            }
        });
    }
}

impl Effects for Shell {
    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { peer, message } => self.net.send(peer, ControlMessage::Swarm(message)),
            Output::Fetch {
                request,
                peer,
                layout,
                groups,
                distance,
            } => self.fetch(request, (peer, distance), layout, groups),
            Output::CancelFetch { request } => {
                if let Some((_, cancel)) = self.fetches.remove(&request) {
                    cancel.cancel();
                }
            }
            Output::Serve { serve, groups, last } => self.command(serve, ServeCommand::Send { groups, last }),
            Output::Refuse { serve, reason } => self.command(serve, ServeCommand::Refuse(reason)),
            Output::Recheck { layout, groups } => self.recheck(layout, groups),
            Output::Disconnect {
                peer,
                reason,
                quarantine,
            } => {
                self.net.disconnect(peer, quarantine);
                self.facts.push(Fact::Disconnected {
                    peer,
                    reason,
                    quarantine,
                });
            }
            Output::Event(event) => self.facts.push(Fact::Swarm(event)),
        }
    }
}

/// Why an ask for a layout that is not open is answered so: absent and not shown are one answer.
pub(super) const UNKNOWN_LAYOUT: Refusal = Refusal::Absent;
