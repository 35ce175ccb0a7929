//! One ask's answer: read, encoded and handed to the socket, in the portions that the scheduler grants.
//!
//! Memory is bounded twice: two portions of an ask are on their way at the most, and all asks together share one budget
//! of bytes. A portion gives its part back as soon as the socket took it, or the ask is taken back, whatever the task is
//! waiting for at that moment: a peer that does not read holds its own portions (how much that is, the scheduler bounds),
//! and nobody waits for a peer that no longer wants an answer.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use samara_protocol::id::{LayoutId, ServeId};
use samara_protocol::limits::{PROOF_BYTES_MAX, SERVE_BYTES_MAX};
use samara_protocol::manifest::layout::Layout;
use samara_protocol::swarm::io::{Distance, Refusal};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{ENCODING_RAW, EndStatus, GroupHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::report::Report;
use crate::net::{ReplySink, Written};
use crate::store::{FrameShape, Frames, Reply, Served, Store, StoreError};

#[cfg(test)]
mod tests;

/// Commands to one serve that may wait: the scheduler keeps two portions outstanding, and a refusal may follow.
pub(super) const COMMANDS_MAX: usize = 8;
/// What a peer is told to wait while files cannot be read at this moment.
const LATER_MILLIS: u32 = 250;
/// Portions read and not yet taken by the socket.
const PORTIONS_MAX: usize = 2;
/// Buffers of portions that are kept for the next.
const SPARE_MAX: usize = 2;

/// What the scheduler says about an ask.
#[derive(Debug)]
pub(super) enum ServeCommand {
    /// Send these groups; the reply ends after the last.
    Send { groups: RangeSet, last: bool },
    /// Answer with the reason instead.
    Refuse(Refusal),
}

/// Bytes read and not yet sent, over all asks, and buffers that the socket gave back.
#[derive(Debug, Clone)]
pub(super) struct ServeBudget {
    bytes: Arc<Semaphore>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ServeBudget {
    pub(super) fn new() -> Self {
        let bytes = usize::try_from(SERVE_BYTES_MAX).expect("fits");
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            spare: Arc::default(),
        }
    }

    /// Room for `len` bytes: a buffer that was in use before, if there is one that is not far too large. A small portion for
    /// a slow peer must not hold a large one's memory, of which the budget knows nothing.
    fn buffer(&self, len: usize) -> Frames {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| (len..=2 * len).contains(&buffer.capacity());
        let found = spare.iter().position(fits).map(|at| spare.swap_remove(at));
        drop(spare);
        let mut frames = Frames::within(found.unwrap_or_default());
        frames.reserve(len);
        frames
    }

    /// Keeps a buffer for the next portion of its size, in the place of the one that has waited longest.
    fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() == SPARE_MAX {
            spare.remove(0);
        }
        spare.push(buffer);
    }

    async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.min(SERVE_BYTES_MAX)).expect("8 MiB fit");
        Arc::clone(&self.bytes)
            .acquire_many_owned(bytes)
            .await
            .expect("the budget is never closed")
    }
}

/// What a serve needs.
pub(super) struct Serving {
    pub(super) serve: ServeId,
    /// How far away the peer is: it may be gone when its bytes are counted.
    pub(super) distance: Distance,
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
}

/// The stream ended under the reply.
struct Broken;

/// A portion that was read.
struct Portion {
    groups: RangeSet,
    bytes: u64,
    permit: OwnedSemaphorePermit,
}

/// The portions of one ask that the socket has not taken yet.
struct Sending {
    serve: ServeId,
    distance: Distance,
    reports: mpsc::Sender<Report>,
    portions: FuturesOrdered<BoxFuture<'static, (Portion, Option<Vec<u8>>)>>,
    budget: ServeBudget,
}

impl Sending {
    fn push(&mut self, portion: Portion, written: Written) {
        self.portions
            .push_back(Box::pin(async move { (portion, written.await.ok()) }));
    }

    /// Does `work` while portions leave: what it waits for may be what they hold.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Broken> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some((portion, buffer)) = self.portions.next(), if !self.portions.is_empty() => {
                    self.left(portion, buffer).await?;
                }
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Waits until fewer than `count` portions are on their way.
    async fn until_fewer_than(&mut self, count: usize) -> Result<(), Broken> {
        while self.portions.len() >= count
            && let Some((portion, buffer)) = self.portions.next().await
        {
            self.left(portion, buffer).await?;
        }
        Ok(())
    }

    /// Gives back what a portion held and reports it, if the socket took it.
    async fn left(&mut self, portion: Portion, buffer: Option<Vec<u8>>) -> Result<(), Broken> {
        let Portion { groups, bytes, permit } = portion;
        drop(permit);
        self.budget.give_back(buffer.ok_or(Broken)?);
        let report = Report::ServeSent {
            distance: self.distance,
            serve: self.serve,
            groups,
            bytes,
        };
        // The driver is gone only when everything ends.
        let _ = self.reports.send(report).await;
        Ok(())
    }
}

impl Serving {
    /// Runs until the ask is answered, refused or taken back.
    pub(super) async fn run(self) {
        let (serve, reports, cancelled) = (self.serve, self.reports.clone(), self.sink.cancelled());
        let answered = tokio::select! {
            biased;
            () = cancelled => Err(Broken),
            answered = self.answer() => answered,
        };
        if answered.is_err() {
            // The scheduler still counts what it granted.
            let _ = reports.send(Report::ServeGone { serve }).await;
        }
    }

    async fn answer(mut self) -> Result<(), Broken> {
        let mut sending = Sending {
            serve: self.serve,
            distance: self.distance,
            reports: self.reports.clone(),
            portions: FuturesOrdered::new(),
            budget: self.budget.clone(),
        };
        let status = loop {
            sending.until_fewer_than(PORTIONS_MAX).await?;
            match sending.meanwhile(self.commands.recv()).await? {
                // The scheduler closed it: the peer is gone or took the ask back.
                None => return Ok(()),
                Some(ServeCommand::Refuse(reason)) => break refused(reason),
                Some(ServeCommand::Send { groups, last }) => {
                    let (portion, frames) = match sending.meanwhile(self.read(groups)).await? {
                        Ok(read) => read,
                        Err(status) => break status,
                    };
                    if last {
                        let written = sending.meanwhile(self.sink.send_last(frames)).await?;
                        sending.push(portion, written.map_err(|_| Broken)?);
                        return sending.until_fewer_than(1).await;
                    }
                    let written = sending.meanwhile(self.sink.send(frames)).await?.map_err(|_| Broken)?;
                    sending.push(portion, written);
                }
            }
        };
        sending.meanwhile(self.sink.end(status)).await?.map_err(|_| Broken)?;
        sending.until_fewer_than(1).await
    }

    /// Reads a portion. An error, how the reply ends instead: what the disk has lost has then been reported.
    async fn read(&mut self, groups: RangeSet) -> Result<(Portion, Vec<u8>), EndStatus> {
        let layout = self.layout.clone().ok_or(EndStatus::Failed)?;
        let bytes = bytes_of(&layout, &groups);
        let permit = self.budget.take(bytes).await;
        let mut frames = self.budget.buffer(bytes_of_frames(bytes, groups.count()));
        let (store, id, wire_id) = (self.store.clone(), self.id, self.sink.wire_id());
        let (reply, wanted) = (self.reply.take(), groups.clone());
        let work = move || -> Result<(Reply, Vec<u8>, Served, OwnedSemaphorePermit), StoreError> {
            let mut reply = match reply {
                Some(reply) => reply,
                None => store.reply(id)?,
            };
            let served = store.read(&mut reply, &wanted, &mut frames, &mut |shape, out| {
                put_header(wire_id, shape, out);
            })?;
            Ok((reply, frames.into_vec(), served, permit))
        };
        let read = tokio::task::spawn_blocking(work)
            .await
            .expect("reading does not panic and is not aborted");
        let (lost, status) = match read {
            Ok((reply, frames, served, permit)) if served.lost.is_empty() && served.later.is_empty() => {
                self.reply = Some(reply);
                let bytes = served.bytes;
                return Ok((Portion { groups, bytes, permit }, frames));
            }
            Ok((_, _, served, _)) if served.lost.is_empty() => (served.lost, EndStatus::Busy { millis: LATER_MILLIS }),
            Ok((_, _, served, _)) => (served.lost, EndStatus::Failed),
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
}

/// Room for so many groups of `bytes` in all. Of a run of groups a proof is a pair or two; one that stands alone has up to
/// two thousand bytes, and an eighth of a portion of such ones is reckoned with.
fn bytes_of_frames(bytes: u64, groups: u64) -> usize {
    let bytes = usize::try_from(bytes).expect("a portion");
    let groups = usize::try_from(groups).expect("of a portion");
    bytes + PROOF_BYTES_MAX + groups * (GroupHeader::BYTES + PROOF_BYTES_MAX / 8)
}

fn put_header(id: u32, shape: FrameShape, out: &mut Frames) {
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
