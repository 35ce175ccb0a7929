//! The small files that peers ask each other for by name: a product's metadata and manifest heads. A name is ASCII.

use std::sync::Arc;
use std::time::{Duration, Instant};

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::limits::{FILE_RATE_MIN, HEAD_BYTES_MAX, METADATA_SET_BYTES_MAX};
use samara_protocol::wire::data::{Ask, EndStatus, FileHeader};
use tokio::sync::{Semaphore, mpsc};

use super::driver::Driver;
use super::report::{FileFault, Report};
use crate::net::{NetHandle, ReplyFrame, ReplySink, ReplySource};

/// Bytes of a file in one frame.
const CHUNK: usize = 32 << 10;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FileName {
    /// All current metadata of the product, as one file.
    Metadata,
    /// One release's manifest head.
    Head(ManifestId),
}

impl FileName {
    /// The name on the wire.
    pub(super) fn to_wire(self) -> String {
        match self {
            Self::Metadata => "metadata".to_owned(),
            Self::Head(manifest) => format!("head/{manifest}"),
        }
    }

    /// Reads a name from the wire; `None` for anything else, which is answered as absent.
    pub(super) fn from_wire(name: &str) -> Option<Self> {
        match name.strip_prefix("head/") {
            Some(manifest) => manifest.parse().ok().map(Self::Head),
            None => (name == "metadata").then_some(Self::Metadata),
        }
    }

    /// Bytes that such a file may have.
    const fn bytes_max(self) -> u64 {
        match self {
            Self::Metadata => METADATA_SET_BYTES_MAX,
            Self::Head(_) => HEAD_BYTES_MAX,
        }
    }
}

/// Asks `peer` for a file and reports what came of it; a peer that sends nothing for `patience` is late.
pub(super) async fn ask(
    net: NetHandle,
    peer: NodeId,
    product: ProductId,
    name: FileName,
    patience: Duration,
    reports: mpsc::Sender<Report>,
) {
    let ask = Ask::File {
        product,
        name: name.to_wire(),
        offset: 0,
    };
    let outcome = receive(net.ask(peer, ask), name, patience).await;
    // The driver is gone only when everything ends.
    let _ = reports
        .send(Report::File {
            peer,
            product,
            name,
            outcome,
        })
        .await;
}

async fn receive(mut source: ReplySource, name: FileName, patience: Duration) -> Result<Vec<u8>, FileFault> {
    let mut bytes = Vec::new();
    let mut deadline = Deadline::new(Instant::now(), patience);
    loop {
        let frame = tokio::time::timeout_at(deadline.at().into(), source.next());
        let frame = frame.await.map_err(|_| FileFault::Late(patience))?;
        match frame.map_err(|_| FileFault::Broken)? {
            ReplyFrame::File { total, chunk } => {
                if total > name.bytes_max() || bytes.len() + chunk.len() > usize::try_from(total).unwrap_or(0) {
                    return Err(FileFault::TooLarge(name.bytes_max()));
                }
                bytes.extend_from_slice(&chunk);
                deadline.got(Instant::now(), chunk.len());
            }
            ReplyFrame::Begun => {}
            ReplyFrame::End(EndStatus::Done) => return Ok(bytes),
            ReplyFrame::End(EndStatus::Absent) => return Err(FileFault::Absent),
            ReplyFrame::End(_) => return Err(FileFault::Broken),
            ReplyFrame::Group { .. } => return Err(FileFault::Absent),
        }
    }
}

impl Driver {
    /// The bytes of a file that a peer may have; absent and not shown are one answer. All who are sent a file share them.
    pub(super) fn file_for(&mut self, peer: NodeId, product: ProductId, name: &str) -> Option<Arc<[u8]>> {
        let shown = self.peers.get(peer)?.products.get(&product)?;
        match FileName::from_wire(name)? {
            // Metadata goes to expired credentials too: it is how they learn what is new.
            FileName::Metadata if !shown.is_or_was_member() => None,
            FileName::Metadata => Some(self.products.get_mut(product)?.metadata()),
            FileName::Head(manifest) => {
                let _covered = shown.covered.as_ref()?;
                let may_know = self.may_know(peer, product, manifest);
                let release = self.releases.get(manifest).filter(|_| may_know)?;
                release.manifest.as_ref().map(|manifest| Arc::clone(manifest.bytes()))
            }
        }
    }
}

/// Sends a file from `offset` on, a chunk at a time. A peer is sent one file at a time: `turn` is its.
pub(super) async fn send(reply: ReplySink, file: Option<Arc<[u8]>>, offset: u64, turn: Arc<Semaphore>) {
    let Some(file) = file else {
        // A peer that is gone needs no answer.
        let _ = reply.end(EndStatus::Absent).await;
        return;
    };
    let cancelled = reply.cancelled();
    let turn = tokio::select! {
        turn = turn.acquire_owned() => turn,
        () = cancelled => return,
    };
    let total = file.len() as u64;
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
    for chunk in file[from..].chunks(CHUNK) {
        let header = FileHeader {
            id: reply.wire_id(),
            total,
            chunk_len: u32::try_from(chunk.len()).expect("32 KiB fit"),
        };
        let frame = [header.encode().as_slice(), chunk].concat();
        // The next one is made when the socket has taken this one.
        let Ok(written) = reply.send(frame).await else { return };
        if written.await.is_err() {
            return;
        }
    }
    drop(turn);
    let _ = reply.end(EndStatus::Done).await;
}

/// Until when the next bytes of a file must come: each silence has its bound, and so has the whole by what has come of it.
struct Deadline {
    patience: Duration,
    last: Instant,
    earned: Instant,
}

impl Deadline {
    fn new(now: Instant, patience: Duration) -> Self {
        Self {
            patience,
            last: now,
            earned: now + patience,
        }
    }

    fn at(&self) -> Instant {
        self.earned.min(self.last + self.patience)
    }

    fn got(&mut self, now: Instant, bytes: usize) {
        self.last = now;
        self.earned += Duration::from_millis(bytes as u64 * 1000 / FILE_RATE_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_none() {
        for name in [FileName::Metadata, FileName::Head(ManifestId([9; 32]))] {
            assert_eq!(FileName::from_wire(&name.to_wire()), Some(name));
        }
        for bad in ["", "metadata/", "head/", "head/zz", "../secret"] {
            assert_eq!(FileName::from_wire(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_is_silent_or_drips_is_late_and_who_is_slow_is_not() {
        let (start, patience) = (Instant::now(), Duration::from_secs(10));
        let second = |number| start + Duration::from_secs(number);
        let mut deadline = Deadline::new(start, patience);
        assert_eq!(deadline.at(), second(10), "nothing came");
        for now in [3, 6, 9] {
            deadline.got(second(now), 1);
        }
        assert!(deadline.at() < second(11), "three bytes are worth no more time");
        let mut deadline = Deadline::new(start, patience);
        for now in (9..90).step_by(9) {
            assert!(second(now) < deadline.at());
            deadline.got(second(now), 32 << 10);
        }
        assert_eq!(
            deadline.at(),
            second(81 + 10),
            "a silence is one, however much came before"
        );
    }
}
