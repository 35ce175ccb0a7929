//! The socket below TLS: large reads, and no more unsent bytes in the kernel than the line needs.
//!
//! What the kernel holds and cannot send yet delays every control message behind it. But each time that it asks for
//! more costs a wake-up; so how little it holds follows the measured rate.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};

use super::rate::Rate;

/// Bytes read from a socket at once. rustls asks for 4 to 16 KiB a time.
const READ_BYTES: usize = 128 << 10;
/// Unsent bytes that the kernel may hold while no rate is known, and at rates that take 10 to 100 ms for so many.
const UNSENT: u32 = 128 << 10;
/// The same on the slowest line: one of the muxer's frames, which is then one system call.
const UNSENT_MIN: u32 = 64 << 10;
/// The same on the fastest.
const UNSENT_MAX: u32 = 1 << 20;
/// How long the unsent bytes may take at the measured rate, where that is more than [`UNSENT`].
const UNSENT_TIME: Duration = Duration::from_millis(10);
/// The same where it is less.
const UNSENT_SLOW_TIME: Duration = Duration::from_millis(100);
/// Read buffers kept for reuse.
const SPARE_MAX: usize = 4;

/// Read buffers of all connections; one is in use only while it holds bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadBuffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl ReadBuffers {
    fn take(&self) -> Box<[u8]> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice())
    }

    fn put(&self, buffer: Box<[u8]>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }
}

/// A socket that can be told how many unsent bytes it may hold.
pub(super) trait Socket {
    /// From now on.
    fn set_unsent_max(&self, bytes: u32);
}

impl Socket for libp2p::tcp::tokio::TcpStream {
    #[cfg(target_os = "linux")]
    fn set_unsent_max(&self, bytes: u32) {
        if let Err(error) = socket2::SockRef::from(&self.0).set_tcp_notsent_lowat(bytes) {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT cannot be set; control messages may be late under load");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn set_unsent_max(&self, _: u32) {}
}

/// How many unsent bytes a socket may hold that takes `rate` bytes a second.
fn unsent(rate: u64) -> u32 {
    let in_time = |time: Duration| u128::from(rate) * time.as_micros() / Duration::from_secs(1).as_micros();
    let slow = in_time(UNSENT_SLOW_TIME).clamp(UNSENT_MIN.into(), UNSENT.into());
    let bound = in_time(UNSENT_TIME).clamp(slow, UNSENT_MAX.into());
    u32::try_from(bound).expect("at most 1 MiB")
}

/// Reads ahead, and bounds what is unsent.
#[derive(Debug)]
pub(super) struct ReadAhead<T> {
    inner: T,
    rate: Rate,
    unsent_max: u32,
    buffers: ReadBuffers,
    /// Bytes that were read, and which of them are left.
    held: Option<(Box<[u8]>, usize, usize)>,
}

impl<T: Socket> ReadAhead<T> {
    pub(super) fn new(inner: T, buffers: ReadBuffers) -> Self {
        inner.set_unsent_max(UNSENT);
        Self {
            inner,
            rate: Rate::new(Instant::now()),
            unsent_max: UNSENT,
            buffers,
            held: None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let (buffer, start, end) = match this.held.take() {
            Some(held) => held,
            None => {
                let mut buffer = this.buffers.take();
                match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(count)) if count > 0 => (buffer, 0, count),
                    other => {
                        this.buffers.put(buffer);
                        return other;
                    }
                }
            }
        };
        let count = out.len().min(end - start);
        out[..count].copy_from_slice(&buffer[start..start + count]);
        if start + count < end {
            this.held = Some((buffer, start + count, end));
        } else {
            this.buffers.put(buffer);
        }
        Poll::Ready(Ok(count))
    }
}

impl<T: Socket> ReadAhead<T> {
    fn count(&mut self, taken: &Poll<Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = taken else { return };
        let Some(rate) = self.rate.count(*bytes, Instant::now()) else {
            return;
        };
        let bound = unsent(rate);
        // Small changes are not worth a system call.
        if bound / 2 >= self.unsent_max || bound <= self.unsent_max / 2 {
            self.unsent_max = bound;
            self.inner.set_unsent_max(bound);
        }
    }
}

impl<T: AsyncWrite + Socket + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let taken = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(&taken);
        taken
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let taken = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.count(&taken);
        taken
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
    use super::*;
    use futures::AsyncReadExt;

    impl Socket for futures::io::Cursor<Vec<u8>> {
        fn set_unsent_max(&self, _: u32) {}
    }

    #[test]
    fn a_slow_line_holds_little_and_a_fast_one_enough() {
        assert_eq!(unsent(0), UNSENT_MIN);
        assert_eq!(unsent(300_000), UNSENT_MIN, "a quarter of 10 Mbit/s");
        assert_eq!(unsent(1_000_000), 100_000);
        assert_eq!(unsent(6_250_000), UNSENT, "50 Mbit/s");
        assert_eq!(unsent(50_000_000), 500_000);
        assert_eq!(unsent(u64::MAX), UNSENT_MAX);
    }

    #[tokio::test]
    async fn reading_ahead_loses_nothing_and_gives_the_buffer_back() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let buffers = ReadBuffers::default();
        let mut stream = ReadAhead::new(futures::io::Cursor::new(bytes.clone()), buffers.clone());
        let (mut read, mut piece) = (Vec::new(), [0; 4099]);
        loop {
            let count = stream.read(&mut piece).await.expect("reads");
            if count == 0 {
                break;
            }
            read.extend_from_slice(&piece[..count]);
        }
        assert_eq!(read, bytes);
        assert_eq!(
            buffers.0.lock().expect("not poisoned").len(),
            1,
            "one buffer was enough"
        );
    }
}
