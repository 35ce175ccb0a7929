//! Reused buffers for reply bodies, bounded over all peers.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Counts the buffers handed out.
    handed: Arc<Semaphore>,
}

/// Memory for one body while it is being received.
#[derive(Debug)]
pub(super) struct Room {
    pool: Pool,
    bytes: Box<[u8]>,
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
        let handed = Arc::new(Semaphore::new(BUFFERS_MAX));
        Self(Arc::new(Inner {
            spare: Mutex::new(Vec::new()),
            handed,
        }))
    }

    /// Memory to receive into. Each stream holds one at the most, so this needs no bound of its own.
    pub(super) fn room(&self) -> Room {
        let spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; REPLY_BODY_BYTES_MAX].into_boxed_slice());
        Room {
            pool: self.clone(),
            bytes,
        }
    }

    fn put(&self, bytes: Box<[u8]>) {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < BUFFERS_MAX {
            spare.push(bytes);
        }
    }
}

impl Room {
    /// The first `len` bytes, to be written.
    pub(super) fn first(&mut self, len: usize) -> &mut [u8] {
        &mut self.bytes[..len]
    }

    /// Hands the first `len` bytes on; waits while too many are with the daemon.
    pub(super) async fn hand_over(self, len: usize) -> Buffer {
        let permit = Arc::clone(&self.pool.0.handed).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        Buffer {
            room: Some(self.bytes),
            len,
            pool: self.pool,
            _permit: permit,
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
