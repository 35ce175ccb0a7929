//! One ask's answer: read, encoded and handed to the socket, in the portions that the scheduler grants.
//!
//! Memory is bounded twice: two portions of an ask are on their way at the most, and all asks together share one budget
//! of bytes. A peer that does not read holds its portions, never more.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use samara_protocol::id::{LayoutId, ServeId};
use samara_protocol::limits::SERVE_BYTES_MAX;
use samara_protocol::swarm::io::Refusal;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{ENCODING_RAW, EndStatus, GroupHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::report::Report;
use crate::net::{ReplySink, Written};
use crate::store::LayoutHandle;

/// Commands to one serve that may wait: the scheduler keeps two portions outstanding, and a refusal may follow.
pub(super) const COMMANDS_MAX: usize = 8;
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
        Self(Arc::new(Semaphore::new(usize::try_from(SERVE_BYTES_MAX).expect("fits"))))
    }

    async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.min(SERVE_BYTES_MAX)).expect("8 MiB fit");
        Arc::clone(&self.0).acquire_many_owned(bytes).await.expect("the budget is never closed")
    }
}

/// What a serve needs.
pub(super) struct Serving {
    pub(super) serve: ServeId,
    pub(super) id: LayoutId,
    pub(super) disk: Option<LayoutHandle>,
    pub(super) sink: ReplySink,
    pub(super) commands: mpsc::Receiver<ServeCommand>,
    pub(super) budget: ServeBudget,
    pub(super) reports: mpsc::Sender<Report>,
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
                    if !self.sent(portion, taken).await { return }
                }
                command = self.commands.recv(), if sending.len() < PORTIONS_MAX => match command {
                    // The scheduler closed it: the peer is gone or took the ask back.
                    None => return,
                    Some(ServeCommand::Refuse(reason)) => break refused(reason),
                    Some(ServeCommand::Send { groups, last }) => {
                        let Some((portion, written)) = self.read(groups).await else { break EndStatus::Failed };
                        sending.push_back(async move { (portion, written.await.is_ok()) });
                        if last { break EndStatus::Done }
                    }
                },
                () = self.sink.cancelled() => {
                    let _ = self.reports.send(Report::ServeGone { serve: self.serve }).await;
                    return;
                }
            }
        };
        let Self { sink, reports, serve, .. } = self;
        // Gone peers are told to the driver by the network.
        let _ = sink.end(status).await;
        while let Some((portion, taken)) = sending.next().await {
            if !taken {
                return;
            }
            let _ = reports.send(Report::ServeSent { serve, groups: portion.groups, bytes: portion.bytes }).await;
        }
    }

    /// Reads and queues a portion; `None` when the disk failed, which has then been reported.
    async fn read(&self, groups: RangeSet) -> Option<(Portion, Written)> {
        let disk = self.disk.clone()?;
        let permit = self.budget.take(disk.bytes_of(&groups)).await;
        let (id, wanted) = (self.sink.wire_id(), groups.clone());
        let read = move || {
            let mut frames = Vec::new();
            let header = |group, proof_len, data_len| GroupHeader { id, group, encoding: ENCODING_RAW, proof_len, data_len }.encode();
            disk.read(&wanted, header, &mut frames).map(|bytes| (frames, bytes))
        };
        match tokio::task::spawn_blocking(read).await.expect("reading does not panic and is not aborted") {
            Ok((frames, bytes)) => {
                let written = self.sink.send(frames).await.ok()?;
                Some((Portion { groups, bytes, _permit: permit }, written))
            }
            Err(failure) => {
                let report = Report::ServeFailed { serve: self.serve, layout: self.id, lost: failure.lost };
                let _ = self.reports.send(report).await;
                None
            }
        }
    }

    /// Reports a portion that the socket took; false when the peer is gone.
    async fn sent(&self, portion: Portion, taken: bool) -> bool {
        if taken {
            let Portion { groups, bytes, .. } = portion;
            let _ = self.reports.send(Report::ServeSent { serve: self.serve, groups, bytes }).await;
        } else {
            let _ = self.reports.send(Report::ServeGone { serve: self.serve }).await;
        }
        taken
    }
}

fn refused(reason: Refusal) -> EndStatus {
    match reason {
        Refusal::Busy(wait) => EndStatus::Busy { millis: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) },
        Refusal::Absent => EndStatus::Absent,
    }
}
