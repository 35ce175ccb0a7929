//! One request's reply: frames in, verified off the network threads, written, reported. At most one batch is being
//! verified while the next is received, so a reply costs two batches of memory.
//!
//! Invariant (AI-5): a group is reported only after its hash check and its write. Nothing is decided here: what is
//! asked of whom, and when to stop, comes from the scheduler. What was on its way already when a request was taken back
//! has cost the line what it costs: it is taken as it comes, and counts like the rest.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{LayoutId, NodeId, RequestId};
use samara_protocol::manifest::layout::Layout;
use samara_protocol::manifest::reply::LayoutVerifier;
use samara_protocol::swarm::io::{Distance, FetchFault};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{ENCODING_RAW, EndStatus, GroupHeader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::report::{Report, Verified};
use crate::net::{Buffer, ReplyFrame, ReplySource};
use crate::store::{GroupWrite, Store, StoreError};

/// Frames verified in one go: 1 MiB.
const BATCH_FRAMES: usize = 16;

/// What a fetch needs.
pub(super) struct Fetching {
    pub(super) request: RequestId,
    /// Whom, and how far away it was.
    pub(super) from: (NodeId, Distance),
    pub(super) id: LayoutId,
    pub(super) layout: Arc<Layout>,
    pub(super) store: Store,
    pub(super) groups: RangeSet,
    pub(super) source: ReplySource,
    pub(super) cancelled: CancellationToken,
    pub(super) reports: mpsc::Sender<Report>,
}

/// How a reply ended, before it is put into words for the scheduler.
enum Ending {
    Done,
    Failed(FetchFault, String),
    Disk(StoreError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("all has come"),
            Self::Failed(_, what) => f.write_str(what),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

/// Frames to be verified, and the verifier that travels with them to the worker and back.
struct Batch {
    verifier: LayoutVerifier,
    frames: Vec<(GroupHeader, Buffer)>,
}

/// What became of a batch.
struct Checked {
    verifier: LayoutVerifier,
    groups: RangeSet,
    bytes: u64,
    ending: Option<Ending>,
}

impl Fetching {
    /// Runs until the reply ends: where it is taken back, at what the peer had sent by then.
    pub(super) async fn run(mut self) {
        let ending = self.receive().await;
        // Its span says whose, of what and which.
        let taken_back = self.cancelled.is_cancelled();
        tracing::debug!(taken_back, "a request ended: {ending}");
        let report = match ending {
            Ending::Done => Report::FetchDone { request: self.request },
            Ending::Failed(fault, what) => Report::FetchFailed {
                request: self.request,
                peer: self.from.0,
                fault,
                what,
            },
            Ending::Disk(error) => {
                self.report(Report::WriteFailed { layout: self.id, error }).await;
                Report::FetchFailed {
                    request: self.request,
                    peer: self.from.0,
                    fault: FetchFault::Local,
                    what: "the disk".to_owned(),
                }
            }
        };
        self.report(report).await;
    }

    async fn receive(&mut self) -> Ending {
        let mut taken_back = false;
        let mut due = self.groups.clone();
        let mut verifier = Some(LayoutVerifier::new(Arc::clone(&self.layout)));
        let mut working: Option<JoinHandle<Checked>> = None;
        let mut frames = Vec::with_capacity(BATCH_FRAMES);
        loop {
            let received = tokio::select! {
                biased;
                () = self.cancelled.cancelled(), if !taken_back => {
                    taken_back = true;
                    self.source.take_back();
                    continue;
                }
                received = self.source.next_many(&mut frames, BATCH_FRAMES) => received,
                // Nothing more has come yet: what is verified is told all the same.
                checked = is_done(&mut working), if working.is_some() => {
                    working = None;
                    let (back, early) = self.told(checked).await;
                    if let Some(ending) = early {
                        return ending;
                    }
                    verifier = Some(back);
                    continue;
                }
            };
            if matches!(frames.first(), Some(ReplyFrame::Begun)) {
                self.report(Report::FetchBegun { request: self.request }).await;
            }
            let (batch, mut ending) = sort(&mut frames, &mut due, received.is_ok());
            if let Some(job) = working.take() {
                let (back, early) = self.settle(job).await;
                verifier = Some(back);
                ending = early.or(ending);
            }
            if let Some(verifier) = verifier.take_if(|_| !batch.is_empty()) {
                working = Some(self.work(Batch {
                    verifier,
                    frames: batch,
                }));
            }
            if let Some(ending) = ending {
                let early = match working.take() {
                    Some(job) => self.settle(job).await.1,
                    None => None,
                };
                return early.unwrap_or(ending);
            }
        }
    }

    /// Has a worker verify and write a batch, in the request's span: what the store says of it names the request too.
    fn work(&self, batch: Batch) -> JoinHandle<Checked> {
        let (store, id, span) = (self.store.clone(), self.id, Span::current());
        tokio::task::spawn_blocking(move || span.in_scope(|| check(batch, &store, id)))
    }

    /// Waits for a batch and reports what it brought.
    async fn settle(&self, job: JoinHandle<Checked>) -> (LayoutVerifier, Option<Ending>) {
        let checked = job.await.expect("verification does not panic and is not aborted");
        self.told(checked).await
    }

    async fn told(&self, checked: Checked) -> (LayoutVerifier, Option<Ending>) {
        if !checked.groups.is_empty() {
            let (groups, bytes) = (checked.groups, checked.bytes);
            self.report(Report::FetchVerified(Verified {
                request: self.request,
                from: self.from,
                layout: self.id,
                groups,
                bytes,
            }))
            .await;
        }
        (checked.verifier, checked.ending)
    }

    async fn report(&self, report: Report) {
        // The driver is gone only when everything ends.
        let _ = self.reports.send(report).await;
    }
}

/// What a batch that is being worked on comes to; can be dropped and asked again.
async fn is_done(working: &mut Option<JoinHandle<Checked>>) -> Checked {
    let job = working.as_mut().expect("asked only while there is one");
    job.await.expect("verification does not panic and is not aborted")
}

/// Takes the frames that were received apart: groups that were asked for and are due, and how the reply ends, if it does.
fn sort(
    frames: &mut Vec<ReplyFrame>,
    due: &mut RangeSet,
    is_whole: bool,
) -> (Vec<(GroupHeader, Buffer)>, Option<Ending>) {
    let mut batch = Vec::with_capacity(frames.len());
    for frame in frames.drain(..) {
        let ending = match frame {
            ReplyFrame::Begun => continue,
            ReplyFrame::Group { header, body } => {
                let in_order = due.ranges().first().is_some_and(|first| first.start == header.group);
                if header.encoding != ENCODING_RAW || !in_order {
                    let what = format!("group {} was not the next one asked for", header.group);
                    return (batch, Some(Ending::Failed(FetchFault::Invalid, what)));
                }
                due.remove(header.group..header.group + 1);
                batch.push((header, body));
                continue;
            }
            ReplyFrame::File { .. } => Ending::Failed(FetchFault::Invalid, "a file instead of groups".to_owned()),
            ReplyFrame::End(status) => ended(status, due.is_empty()),
        };
        return (batch, Some(ending));
    }
    let broken = || Ending::Failed(FetchFault::Broken, "the connection ended".to_owned());
    (batch, (!is_whole).then(broken))
}

fn ended(status: EndStatus, complete: bool) -> Ending {
    match status {
        EndStatus::Done if complete => Ending::Done,
        EndStatus::Done => Ending::Failed(FetchFault::Invalid, "the reply ended before it was complete".to_owned()),
        EndStatus::Busy { millis } => Ending::Failed(
            FetchFault::Busy(Duration::from_millis(millis.into())),
            "busy".to_owned(),
        ),
        EndStatus::Absent => Ending::Failed(FetchFault::Absent, "the peer does not have it".to_owned()),
        EndStatus::Failed => Ending::Failed(FetchFault::Unreadable, "the peer cannot read it".to_owned()),
        EndStatus::Cancelled => Ending::Failed(FetchFault::Broken, "the peer ended it".to_owned()),
    }
}

/// On a worker thread: hash, then write, then count.
fn check(mut batch: Batch, store: &Store, id: LayoutId) -> Checked {
    let (mut ending, mut verified) = (None, Vec::with_capacity(batch.frames.len()));
    for (header, body) in &batch.frames {
        let (proof, data) = body.split_at(header.proof_len.into());
        match batch.verifier.verify(header.group, proof, data) {
            Ok(group) => verified.push((header.group, data, group.pairs)),
            Err(error) => {
                ending = Some(Ending::Failed(FetchFault::Invalid, error.to_string()));
                break;
            }
        }
    }
    let writes: Vec<_> = verified
        .iter()
        .map(|(group, data, pairs)| GroupWrite {
            group: *group,
            data,
            pairs,
        })
        .collect();
    let (mut groups, mut bytes) = (RangeSet::new(), 0);
    match store.write(id, &writes) {
        Ok(()) => {
            for write in &writes {
                groups.insert(write.group..write.group + 1);
                bytes += write.data.len() as u64;
            }
        }
        Err(error) => ending = Some(Ending::Disk(error)),
    }
    Checked {
        verifier: batch.verifier,
        groups,
        bytes,
        ending,
    }
}
