//! Large reads below TLS: few system calls instead of many.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

/// Bytes read from a socket at once. rustls asks for 4 to 16 KiB a time.
const READ_BYTES: usize = 128 << 10;
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

/// Reads ahead.
#[derive(Debug)]
pub(super) struct ReadAhead<T> {
    inner: T,
    buffers: ReadBuffers,
    /// Bytes that were read, and which of them are left.
    held: Option<(Box<[u8]>, usize, usize)>,
}

impl<T> ReadAhead<T> {
    pub(super) const fn new(inner: T, buffers: ReadBuffers) -> Self {
        Self {
            inner,
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

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
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
