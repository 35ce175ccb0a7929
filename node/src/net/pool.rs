//! Reused buffers for reply bodies, bounded over all peers.

use std::io::Result;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::{AsyncRead, AsyncReadExt};
use samara_protocol::limits::RECEIVE_BYTES_MAX;
use samara_protocol::wire::data::REPLY_BODY_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Buffers that may be with the daemon at a time; a stream stops reading when none is left.
#[expect(clippy::cast_possible_truncation, reason = "4 MiB")]
const BUFFERS_MAX: usize = RECEIVE_BYTES_MAX as usize / REPLY_BODY_BYTES_MAX;

/// The pool.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Buffers that nobody uses.
    spare: Mutex<Vec<Box<[u8]>>>,
    /// Counts the buffers in use, but for those of peers that are slow.
    used: Arc<Semaphore>,
}

/// The body of one reply frame: proof and data, or a piece of a file. Goes back to the pool when dropped.
#[derive(Debug)]
pub struct Buffer {
    room: Option<Box<[u8]>>,
    len: usize,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            spare: Mutex::new(Vec::new()),
            used: Arc::new(Semaphore::new(BUFFERS_MAX)),
        }))
    }

    /// Receives the body of `len` bytes; waits before the first of them while too many are with the daemon.
    ///
    /// A body that is not whole yet does not count while the rest is waited for: a peer that sends it slowly or never must
    /// not keep others from theirs. Each stream receives one at a time, so this needs no bound of its own.
    ///
    /// # Errors
    /// What the stream says.
    pub(super) async fn receive(&self, stream: &mut (impl AsyncRead + Unpin), len: usize) -> Result<Buffer> {
        let permit = self.permit().await;
        let mut room = self.room();
        let mut read = stream.read_exact(&mut room[..len]);
        let permit = if let Poll::Ready(whole) = futures::poll!(&mut read) {
            whole?;
            permit
        } else {
            drop(permit);
            read.await?;
            self.permit().await
        };
        Ok(Buffer {
            room: Some(room),
            len,
            pool: self.clone(),
            _permit: permit,
        })
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.0.used).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    fn room(&self) -> Box<[u8]> {
        let spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; REPLY_BODY_BYTES_MAX].into_boxed_slice())
    }

    fn put(&self, bytes: Box<[u8]>) {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < BUFFERS_MAX {
            spare.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.room.as_deref().map_or(&[], |bytes| &bytes[..self.len])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.room.take() {
            self.pool.put(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test]
    async fn what_comes_waits_while_too_much_is_with_the_daemon_and_takes_no_memory_meanwhile() {
        let pool = Pool::new();
        let mut held = Vec::new();
        for number in 0..BUFFERS_MAX {
            let byte = [u8::try_from(number).expect("few")];
            held.push(pool.receive(&mut &byte[..], 1).await.expect("received"));
        }
        let mut more = &[7, 8][..];
        {
            let mut waiting = Box::pin(pool.receive(&mut more, 2));
            assert!(futures::poll!(&mut waiting).is_pending());
        }
        assert_eq!(more.len(), 2, "nothing was read");
        held.pop();
        let mut waiting = Box::pin(pool.receive(&mut more, 2));
        let Poll::Ready(Ok(buffer)) = futures::poll!(&mut waiting) else {
            panic!("there is room again");
        };
        assert_eq!(&*buffer, [7, 8]);
    }

    #[tokio::test]
    async fn peers_that_do_not_send_the_rest_keep_nobody_from_receiving() {
        let pool = Pool::new();
        let mut stuck = Vec::new();
        for _ in 0..2 * BUFFERS_MAX {
            let (near, far) = tokio::io::duplex(16);
            let mut far = far.compat();
            far.write_all(&[1]).await.expect("sent");
            let pool = pool.clone();
            let mut body = Box::pin(async move { pool.receive(&mut near.compat(), 2).await });
            assert!(futures::poll!(&mut body).is_pending());
            stuck.push((body, far));
        }
        assert_eq!(&*pool.receive(&mut &[9][..], 1).await.expect("received"), [9]);
        let (mut body, mut far) = stuck.pop().expect("one of them");
        far.write_all(&[2]).await.expect("sent");
        assert_eq!(&*body.as_mut().await.expect("received"), [1, 2]);
    }
}
