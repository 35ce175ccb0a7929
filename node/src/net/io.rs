//! Two thin layers that make few system calls of many: large reads below TLS, whole frames above it.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// Bytes read from a socket at once. rustls asks for 4 to 16 KiB a time.
const READ_BYTES: usize = 128 << 10;
/// Read buffers kept for reuse.
const SPARE_MAX: usize = 4;
/// What is at most this long is a frame's head and waits for the rest.
const HEAD_BYTES_MAX: usize = 16;

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

/// Holds a frame's head back until its body, the next head or a flush comes, so that it is no TLS record and no system
/// call of its own.
#[derive(Debug)]
pub(super) struct HeadWithBody<T> {
    inner: T,
    head: [u8; HEAD_BYTES_MAX],
    start: usize,
    end: usize,
}

impl<T> HeadWithBody<T> {
    pub(super) const fn new(inner: T) -> Self {
        Self {
            inner,
            head: [0; HEAD_BYTES_MAX],
            start: 0,
            end: 0,
        }
    }
}

impl<T: AsyncWrite + Unpin> HeadWithBody<T> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.start < self.end {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.head[self.start..self.end]))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.start += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for HeadWithBody<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for HeadWithBody<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if bytes.len() <= HEAD_BYTES_MAX {
            ready!(this.poll_head(cx))?;
            this.head[..bytes.len()].copy_from_slice(bytes);
            (this.start, this.end) = (0, bytes.len());
            return Poll::Ready(Ok(bytes.len()));
        }
        while this.start < this.end {
            let parts = [IoSlice::new(&this.head[this.start..this.end]), IoSlice::new(bytes)];
            let count = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &parts))?;
            let of_head = count.min(this.end - this.start);
            this.start += of_head;
            match (count, count - of_head) {
                (0, _) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                (_, 0) => {}
                (_, of_body) => return Poll::Ready(Ok(of_body)),
            }
        }
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_head(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_head(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt};

    /// Takes and gives few bytes at a time and counts the calls.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        calls: usize,
        width: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            let count = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..count]);
            self.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.poll_write(cx, &joined)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn heads_and_bodies_arrive_whole_and_in_order_whatever_the_socket_takes() {
        for width in [1, 3, 13, 40, 1000] {
            let mut stream = HeadWithBody::new(Narrow {
                width,
                ..Narrow::default()
            });
            let mut sent = Vec::new();
            for (byte, len) in [(1, 12), (2, 300), (3, 12), (4, 12), (5, 20), (6, 100), (7, 5)] {
                stream.write_all(&vec![byte; len]).await.expect("takes all");
                sent.extend(vec![byte; len]);
            }
            stream.flush().await.expect("flushes");
            assert_eq!(stream.inner.taken, sent, "width {width}");
        }
    }

    #[tokio::test]
    async fn a_head_and_its_body_are_one_write() {
        let mut stream = HeadWithBody::new(Narrow {
            width: 1000,
            ..Narrow::default()
        });
        stream.write_all(&[1; 12]).await.expect("head");
        assert_eq!(stream.inner.calls, 0);
        stream.write_all(&[2; 500]).await.expect("body");
        assert_eq!((stream.inner.calls, stream.inner.taken.len()), (1, 512));
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
