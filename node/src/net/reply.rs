//! The two ends of a reply: what a responder writes into and what a requester reads from.

use std::pin::Pin;
use std::task::{Context, Poll};

use samara_protocol::id::ServeId;
use samara_protocol::wire::data::{End, EndStatus, GroupHeader};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::pool::Buffer;

/// Frames of one reply that may wait for the daemon.
pub(super) const REPLY_QUEUE_MAX: usize = 16;

/// The stream or connection ended before the reply did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended before the reply did")]
pub struct ReplyBroken;

/// One frame of a reply.
#[derive(Debug)]
pub enum ReplyFrame {
    /// The first group is on its way: its header is here. Comes once, before that group.
    Begun,
    /// A group: `body` is `header.proof_len` bytes of proof, then the data.
    Group {
        /// The fixed part.
        header: GroupHeader,
        /// Proof and data.
        body: Buffer,
    },
    /// A piece of a file.
    File {
        /// Size of the whole file.
        total: u64,
        /// The next bytes of it.
        chunk: Buffer,
    },
    /// Nothing follows.
    End(EndStatus),
}

/// Where the frames of a reply arrive. Dropping it takes the ask back, and what comes all the same is dropped unread.
#[derive(Debug)]
pub struct ReplySource {
    pub(super) frames: mpsc::Receiver<ReplyFrame>,
    pub(super) cancel: CancelOnDrop,
    pub(super) ended: bool,
}

/// Tells a stream's writer when its owner is dropped.
#[derive(Debug)]
pub(super) struct CancelOnDrop(pub(super) CancellationToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl ReplySource {
    /// Takes the ask back. What was on its way already can still be read, up to the end.
    pub fn take_back(&self) {
        self.cancel.0.cancel();
    }

    /// The next frame with something in it; [`ReplyFrame::End`] is the last.
    ///
    /// # Errors
    /// [`ReplyBroken`] when the reply cannot end properly any more, and after its end.
    pub async fn next(&mut self) -> Result<ReplyFrame, ReplyBroken> {
        if self.ended {
            return Err(ReplyBroken);
        }
        loop {
            let frame = self.frames.recv().await.ok_or(ReplyBroken)?;
            self.ended = matches!(frame, ReplyFrame::End(_));
            if !matches!(frame, ReplyFrame::Begun) {
                return Ok(frame);
            }
        }
    }

    /// Adds the frames that are there to `frames`, at least one and at most `limit`: fewer wake-ups than [`Self::next`].
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_many(&mut self, frames: &mut Vec<ReplyFrame>, limit: usize) -> Result<(), ReplyBroken> {
        if self.ended || self.frames.recv_many(frames, limit).await == 0 {
            return Err(ReplyBroken);
        }
        self.ended = matches!(frames.last(), Some(ReplyFrame::End(_)));
        Ok(())
    }
}

/// Bytes for a data stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whole frames.
    pub(super) bytes: Vec<u8>,
    /// Gets the buffer back once the socket took it.
    pub(super) written: Option<oneshot::Sender<Vec<u8>>>,
    /// The ask that ends with these bytes.
    pub(super) ends: Option<u32>,
}

/// Where the frames of a reply go. Dropped without [`ReplySink::end`], the peer is told that it failed.
#[derive(Debug)]
pub struct ReplySink {
    pub(super) serve: ServeId,
    pub(super) wire_id: u32,
    pub(super) out: mpsc::Sender<Outgoing>,
    /// One slot for each ask that the stream may have open, so that a drop can always say so.
    pub(super) abandoned: mpsc::Sender<u32>,
    pub(super) cancelled: CancellationToken,
    pub(super) ended: bool,
}

/// Resolves to the buffer, for reuse, once the connection took all of its bytes.
#[derive(Debug)]
pub struct Written(oneshot::Receiver<Vec<u8>>);

impl Future for Written {
    type Output = Result<Vec<u8>, ReplyBroken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| ReplyBroken)
    }
}

impl ReplySink {
    /// Names the ask in this process.
    #[must_use]
    pub const fn serve(&self) -> ServeId {
        self.serve
    }

    /// The id that this reply's frames carry.
    #[must_use]
    pub const fn wire_id(&self) -> u32 {
        self.wire_id
    }

    /// Whether the peer took the ask back or is gone: nothing more need be read for it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled() || self.out.is_closed()
    }

    /// Resolves when the peer took the ask back or is gone. Does not borrow the sink: it may be given away meanwhile.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let (cancelled, out) = (self.cancelled.clone(), self.out.clone());
        async move {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = out.closed() => {}
            }
        }
    }

    /// Queues whole frames (any number, encoded with [`Self::wire_id`]) behind those before; waits for a place in the
    /// queue. What it returns resolves when the connection took the bytes: keep one or two of them outstanding, so that
    /// memory stays bounded and the line stays full.
    ///
    /// # Errors
    /// When the peer took the ask back or is gone.
    pub async fn send(&self, frames: Vec<u8>) -> Result<Written, ReplyBroken> {
        if self.cancelled.is_cancelled() {
            return Err(ReplyBroken);
        }
        let (written, receiver) = oneshot::channel();
        let outgoing = Outgoing {
            bytes: frames,
            written: Some(written),
            ends: None,
        };
        self.out.send(outgoing).await.map_err(|_| ReplyBroken)?;
        Ok(Written(receiver))
    }

    /// Queues the last frames and the end of the reply behind them as one: of a group that is all of a reply, the end would
    /// be a packet of its own.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_last(mut self, mut frames: Vec<u8>) -> Result<Written, ReplyBroken> {
        if self.cancelled.is_cancelled() {
            return Err(ReplyBroken);
        }
        let (id, status) = (self.wire_id, EndStatus::Done);
        frames.extend_from_slice(&End { id, status }.encode());
        let (written, receiver) = oneshot::channel();
        let outgoing = Outgoing {
            bytes: frames,
            written: Some(written),
            ends: Some(id),
        };
        self.out.send(outgoing).await.map_err(|_| ReplyBroken)?;
        self.ended = true;
        Ok(Written(receiver))
    }

    /// Ends the reply behind what was sent.
    ///
    /// # Errors
    /// When the peer is gone.
    pub async fn end(mut self, status: EndStatus) -> Result<(), ReplyBroken> {
        let status = if self.cancelled.is_cancelled() {
            EndStatus::Cancelled
        } else {
            status
        };
        let bytes = End {
            id: self.wire_id,
            status,
        }
        .encode()
        .to_vec();
        let outgoing = Outgoing {
            bytes,
            written: None,
            ends: Some(self.wire_id),
        };
        self.out.send(outgoing).await.map_err(|_| ReplyBroken)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for ReplySink {
    fn drop(&mut self) {
        if !self.ended {
            // Cannot be full, see the field; closed means that the peer is gone.
            let _ = self.abandoned.try_send(self.wire_id);
        }
    }
}
