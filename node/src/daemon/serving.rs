//! One ask's answer: read, encoded and handed to the socket, in the portions that the scheduler grants.
//!
//! Memory is bounded twice: two portions of an ask are on their way at the most, and all asks together share one budget
//! of bytes. A peer that does not read holds its portions, never more.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use samara_protocol::id::{LayoutId, NodeId, ServeId};
use samara_protocol::limits::SERVE_BYTES_MAX;
use samara_protocol::manifest::layout::Layout;
use samara_protocol::swarm::io::Refusal;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{ENCODING_RAW, EndStatus, GroupHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::report::Report;
use crate::net::{ReplySink, Written};
use crate::store::{FrameShape, Reply, Served, Store, StoreError};

/// Commands to one serve that may wait: the scheduler keeps two portions outstanding, and a refusal may follow.
pub(super) const COMMANDS_MAX: usize = 8;
/// What a peer is told to wait while files cannot be read at this moment.
const LATER_MILLIS: u32 = 250;
/// Portions read and not yet taken by the socket.
const PORTIONS_MAX: usize = 2;

/// What the scheduler says about an ask.
#[derive(Debug)]
pub(super) enum ServeCommand {
    /// Send these groups; the reply ends after the last.
    Send { groups: RangeSet, last: bool },
    /// Answer with the reason instead.
    Refuse(Refusal),
}

/// Bytes read and not yet sent, over all asks.
#[derive(Debug, Clone)]
pub(super) struct ServeBudget(Arc<Semaphore>);

impl ServeBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(
            usize::try_from(SERVE_BYTES_MAX).expect("fits"),
        )))
    }

    async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.min(SERVE_BYTES_MAX)).expect("8 MiB fit");
        Arc::clone(&self.0)
            .acquire_many_owned(bytes)
            .await
            .expect("the budget is never closed")
    }
}

/// What a serve needs.
pub(super) struct Serving {
    pub(super) serve: ServeId,
    /// Whom it answers.
    pub(super) peer: NodeId,
    pub(super) id: LayoutId,
    pub(super) store: Store,
    /// Payload bytes of a group at the most.
    pub(super) layout: Option<Arc<Layout>>,
    pub(super) sink: ReplySink,
    pub(super) commands: mpsc::Receiver<ServeCommand>,
    pub(super) budget: ServeBudget,
    pub(super) reports: mpsc::Sender<Report>,
    /// Which pairs the reply has carried so far.
    pub(super) reply: Option<Reply>,
    /// A buffer that the socket gave back.
    pub(super) spare: Vec<u8>,
}

/// A portion on its way.
struct Portion {
    groups: RangeSet,
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Serving {
    /// Runs until the ask is answered, refused or taken back.
    pub(super) async fn run(mut self) {
        let mut sending = FuturesOrdered::new();
        let status = loop {
            tokio::select! {
                biased;
                Some((portion, taken)) = sending.next(), if !sending.is_empty() => {
                    let Some(buffer) = taken else { return self.gone().await };
                    self.spare = buffer;
                    self.sent(portion).await;
                }
                command = self.commands.recv(), if sending.len() < PORTIONS_MAX => match command {
                    // The scheduler closed it: the peer is gone or took the ask back.
                    None => return,
                    Some(ServeCommand::Refuse(reason)) => break refused(reason),
                    Some(ServeCommand::Send { groups, last }) => {
                        let (portion, written) = match self.read(groups).await {
                            Ok(read) => read,
                            Err(status) => break status,
                        };
                        sending.push_back(async move { (portion, written.await.ok()) });
                        if last { break EndStatus::Done }
                    }
                },
                () = self.sink.cancelled() => {
                    return self.gone().await;
                }
            }
        };
        let Self {
            sink,
            reports,
            serve,
            peer,
            ..
        } = self;
        // Gone peers are told to the driver by the network.
        let _ = sink.end(status).await;
        while let Some((portion, taken)) = sending.next().await {
            if taken.is_none() {
                return;
            }
            let _ = reports
                .send(Report::ServeSent {
                    peer,
                    serve,
                    groups: portion.groups,
                    bytes: portion.bytes,
                })
                .await;
        }
    }

    /// Reads and queues a portion. An error, how the reply ends instead: what the disk has lost has then been reported.
    async fn read(&mut self, groups: RangeSet) -> Result<(Portion, Written), EndStatus> {
        let layout = self.layout.clone().ok_or(EndStatus::Failed)?;
        let permit = self.budget.take(bytes_of(&layout, &groups)).await;
        let (store, id, wire_id) = (self.store.clone(), self.id, self.sink.wire_id());
        let reply = self.reply.take();
        let (wanted, mut frames) = (groups.clone(), std::mem::take(&mut self.spare));
        let work = move || -> Result<(Reply, Vec<u8>, Served), StoreError> {
            let mut reply = match reply {
                Some(reply) => reply,
                None => store.reply(id)?,
            };
            frames.clear();
            let served = store.read(&mut reply, &wanted, &mut frames, &mut |shape, out| {
                put_header(wire_id, shape, out);
            })?;
            Ok((reply, frames, served))
        };
        let read = tokio::task::spawn_blocking(work)
            .await
            .expect("reading does not panic and is not aborted");
        let (lost, status) = match read {
            Ok((reply, frames, served)) if served.lost.is_empty() && served.later.is_empty() => {
                self.reply = Some(reply);
                let written = self.sink.send(frames).await.map_err(|_| EndStatus::Failed)?;
                return Ok((
                    Portion {
                        groups,
                        bytes: served.bytes,
                        _permit: permit,
                    },
                    written,
                ));
            }
            Ok((_, _, served)) if served.lost.is_empty() => (served.lost, EndStatus::Busy { millis: LATER_MILLIS }),
            Ok((_, _, served)) => (served.lost, EndStatus::Failed),
            Err(error) => {
                tracing::warn!(%error, layout = ?self.id, "what a neighbour asked for cannot be read");
                (groups, EndStatus::Failed)
            }
        };
        let report = Report::ServeFailed {
            serve: self.serve,
            layout: self.id,
            lost,
        };
        let _ = self.reports.send(report).await;
        Err(status)
    }

    /// Reports a portion that the socket took.
    async fn sent(&self, portion: Portion) {
        let Portion { groups, bytes, .. } = portion;
        let _ = self
            .reports
            .send(Report::ServeSent {
                peer: self.peer,
                serve: self.serve,
                groups,
                bytes,
            })
            .await;
    }

    /// Reports that nobody waits for the answer any more.
    async fn gone(&self) {
        let _ = self.reports.send(Report::ServeGone { serve: self.serve }).await;
    }
}

fn put_header(id: u32, shape: FrameShape, out: &mut Vec<u8>) {
    let header = GroupHeader {
        id,
        group: shape.group,
        encoding: ENCODING_RAW,
        proof_len: u16::try_from(shape.proof_len).expect("a proof is at most 4 KiB"),
        data_len: u32::try_from(shape.data_len).expect("a group is at most 64 KiB"),
    };
    out.extend_from_slice(&header.encode());
}

fn bytes_of(layout: &Layout, groups: &RangeSet) -> u64 {
    groups
        .iter()
        .filter_map(|group| layout.group(group))
        .map(|group| u64::from(group.len()))
        .sum()
}

fn refused(reason: Refusal) -> EndStatus {
    match reason {
        Refusal::Busy(wait) => EndStatus::Busy {
            millis: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        },
        Refusal::Absent => EndStatus::Absent,
    }
}
