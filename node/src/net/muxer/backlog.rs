//! How much of what streams have written waits inside the muxer.
//!
//! yamux lets each stream put eleven frames, or all that its window allows, into a queue before the socket has taken any: on
//! a line of 10 Mbit/s that four neighbours share, a second and more of bytes. What waits there can be taken back by nobody, and
//! what the peer is told waits behind it. Here a stream has one frame waiting, and more only as far as the measured rate of its
//! connection needs it.

use std::collections::BTreeMap;
use std::io::Result;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};

use crate::net::rate::Rate;

/// Bytes of all streams that may wait while no rate is known.
const WAITING: i64 = 128 << 10;
/// The same on the fastest line.
const WAITING_MAX: i64 = 1 << 20;
/// How long what waits may take at the measured rate, beyond a frame of each stream.
const WAITING_TIME: Duration = Duration::from_millis(10);

/// Of one connection.
#[derive(Debug, Clone)]
pub(super) struct Backlog(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    streams: BTreeMap<u32, Queue>,
    /// Bytes, over all streams.
    all: i64,
    /// Of these, as many as may wait before a stream that has some waits for the socket.
    most: i64,
    rate: Rate,
    /// Nothing is taken any more.
    is_closed: bool,
}

/// What one stream has waiting.
#[derive(Debug, Default)]
struct Queue {
    /// Less than nothing for a moment, when the socket takes a frame before its writer could count it.
    bytes: i64,
    /// Whoever would write more.
    writer: Option<Waker>,
}

impl Waiting {
    fn has_room(&self, queue: &Queue) -> bool {
        self.is_closed || queue.bytes <= 0 || self.all < self.most
    }

    /// Wakes all who have room now.
    fn wake(&mut self) {
        let (all, most, is_closed) = (self.all, self.most, self.is_closed);
        for queue in self.streams.values_mut() {
            if (is_closed || queue.bytes <= 0 || all < most)
                && let Some(writer) = queue.writer.take()
            {
                writer.wake();
            }
        }
    }
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            streams: BTreeMap::new(),
            all: 0,
            most: WAITING,
            rate: Rate::new(Instant::now()),
            is_closed: false,
        })))
    }

    /// Ready when the stream may write a frame.
    fn poll_room(&self, stream: u32, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        let queue = waiting.streams.entry(stream).or_default();
        queue.writer = Some(cx.waker().clone());
        let has_room = waiting.streams.get(&stream).is_none_or(|queue| waiting.has_room(queue));
        if has_room { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The stream has written a frame with so many bytes.
    fn add(&self, stream: u32, bytes: usize) {
        let mut waiting = self.lock();
        let bytes = signed(bytes);
        waiting.all += bytes;
        waiting.streams.entry(stream).or_default().bytes += bytes;
    }

    /// The socket has taken bytes of a stream's frame.
    pub(super) fn taken(&self, stream: u32, bytes: usize) {
        let mut waiting = self.lock();
        if let Some(rate) = waiting.rate.count(bytes, Instant::now()) {
            let most = u128::from(rate) * WAITING_TIME.as_micros() / Duration::from_secs(1).as_micros();
            waiting.most = i64::try_from(most).unwrap_or(WAITING_MAX).min(WAITING_MAX);
        }
        // Of a stream that was dropped nothing is counted any more.
        let Some(queue) = waiting.streams.get_mut(&stream) else {
            return;
        };
        queue.bytes -= signed(bytes);
        waiting.all -= signed(bytes);
        waiting.wake();
    }

    /// The connection is gone.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.wake();
    }

    fn forget(&self, stream: u32) {
        let mut waiting = self.lock();
        if let Some(queue) = waiting.streams.remove(&stream) {
            waiting.all -= queue.bytes;
            waiting.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("a frame is small")
}

/// A stream that waits for the socket.
#[derive(Debug)]
pub(crate) struct Paced {
    inner: yamux::Stream,
    id: u32,
    backlog: Backlog,
}

impl Paced {
    pub(super) fn new(inner: yamux::Stream, backlog: Backlog) -> Self {
        let id = inner.id().val();
        Self { inner, id, backlog }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.backlog.forget(self.id);
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        std::task::ready!(self.backlog.poll_room(self.id, cx));
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.backlog.add(self.id, *count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the stream may write, and how often it was woken when it might not.
    fn has_room(backlog: &Backlog, stream: u32, woken: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        backlog.poll_room(stream, &Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn a_stream_has_one_frame_waiting_however_much_others_have_and_is_woken_when_it_left() {
        let (backlog, woken) = (Backlog::new(), Arc::default());
        for stream in [1, 3, 5] {
            assert!(has_room(&backlog, stream, &woken), "its first frame");
            backlog.add(stream, 70_000);
        }
        assert!(!has_room(&backlog, 1, &woken), "210,000 bytes wait");
        backlog.taken(3, 70_000);
        backlog.taken(1, 69_999);
        assert!(woken.0.load(Ordering::Relaxed) > 0, "less than 128 KiB wait of all");
        assert!(has_room(&backlog, 1, &woken));
    }

    #[test]
    fn a_frame_that_left_before_it_was_counted_blocks_nobody() {
        let (backlog, woken) = (Backlog::new(), Arc::default());
        for _ in 0..10 {
            assert!(has_room(&backlog, 1, &woken));
            backlog.taken(1, 200_000);
            backlog.add(1, 200_000);
        }
    }

    #[test]
    fn streams_that_are_dropped_and_connections_that_end_leave_nobody_waiting() {
        let (backlog, woken) = (Backlog::new(), Arc::default());
        for stream in [1, 3] {
            backlog.add(stream, 100_000);
        }
        assert!(!has_room(&backlog, 3, &woken));
        backlog.forget(1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        backlog.taken(1, 100_000);
        assert!(has_room(&backlog, 3, &woken), "100,000 bytes wait");
        backlog.add(3, 100_000);
        assert!(!has_room(&backlog, 3, &woken));
        backlog.close();
        assert!(has_room(&backlog, 3, &woken));
    }
}
