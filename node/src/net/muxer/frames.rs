//! A layer between yamux and TLS that knows where yamux's frames begin.
//!
//! It answers pings itself: the yamux crate reads nothing more while the answer to a ping waits to be written, so that two
//! ends which both send at full speed, with a ping in each direction, would wait for each other for ever. And it writes
//! a frame's head together with its body, so that the head is no TLS record and no system call of its own. And it lets no
//! round trip look shorter than [`ROUND_TRIP_MIN`], from which yamux sizes its windows.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::backlog::Backlog;

/// Bytes of a frame's head.
const HEAD: usize = 12;
/// Answers that may wait for the end of the frame that is being written; a peer that asks for more is cut.
const PONGS_MAX: usize = 8;
/// The least round trip that yamux is shown: an answer that is back sooner waits. A window grows when half of it is read in
/// two round trips. A reader is away for milliseconds on a machine with work to do, so that a window for the bare round
/// trip of a short line starves it; and yamux asks once in ten seconds, so that chance, a ping that met a busy moment, decided
/// when windows grew. With this every line that is fast has its windows from the start.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(10);

const TYPE_DATA: u8 = 0;
const TYPE_PING: u8 = 2;
const FLAG_SYN: u16 = 1;
const FLAG_ACK: u16 = 2;

/// What a head says that matters here.
struct Head {
    is_ping: bool,
    is_pong: bool,
    stream: u32,
    body: usize,
}

impl Head {
    fn read(bytes: &[u8; HEAD]) -> Self {
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        let length = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        Self {
            is_ping: bytes[1] == TYPE_PING && flags & FLAG_SYN != 0,
            is_pong: bytes[1] == TYPE_PING && flags & FLAG_ACK != 0,
            stream: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            body: if bytes[1] == TYPE_DATA { length as usize } else { 0 },
        }
    }
}

/// The answer to a ping: the same number, acknowledged.
fn pong(ping: &[u8; HEAD]) -> [u8; HEAD] {
    let mut pong = [0; HEAD];
    pong[1] = TYPE_PING;
    pong[2..4].copy_from_slice(&FLAG_ACK.to_be_bytes());
    pong[8..].copy_from_slice(&ping[8..]);
    pong
}

/// See the module.
#[derive(Debug)]
pub(super) struct Frames<T> {
    inner: T,
    /// The head that is being read.
    incoming: [u8; HEAD],
    /// How much of it has come, and how much of it has been passed on.
    came: usize,
    passed: usize,
    /// Bytes of the current frame's body that have not come.
    body_to_come: usize,
    /// Answers and the head of the frame that is being written.
    heads: Vec<u8>,
    /// How much of them has gone.
    gone: usize,
    /// Answers that wait for the end of the frame that is being written.
    pongs: Vec<[u8; HEAD]>,
    /// Bytes of the current frame's body that have not gone, and whose they are.
    body_to_go: usize,
    stream: u32,
    backlog: Backlog,
    /// [`ROUND_TRIP_MIN`].
    round_trip_min: Duration,
    /// When yamux last asked for a round trip.
    pinged: Option<Instant>,
    /// The answer to that, while it is too early to pass it on.
    early: Option<([u8; HEAD], Pin<Box<Sleep>>)>,
}

impl<T> Frames<T> {
    pub(super) const fn new(inner: T, backlog: Backlog) -> Self {
        Self {
            inner,
            backlog,
            stream: 0,
            incoming: [0; HEAD],
            came: 0,
            passed: 0,
            body_to_come: 0,
            heads: Vec::new(),
            gone: 0,
            pongs: Vec::new(),
            body_to_go: 0,
            round_trip_min: ROUND_TRIP_MIN,
            pinged: None,
            early: None,
        }
    }

    /// Keeps the answer that has just come for as long as it is early. Of two that come unasked the second is passed on at
    /// once, for yamux to judge.
    fn keep_early(&mut self) {
        let due = self.pinged.take().map(|pinged| pinged + self.round_trip_min);
        if let Some(due) = due.filter(|due| *due > Instant::now()) {
            self.early = Some((self.incoming, Box::pin(tokio::time::sleep_until(due))));
            self.came = 0;
        }
    }

    /// Puts the answer whose time has come where the next head would be.
    fn place_early(&mut self, cx: &mut Context<'_>) {
        if let Some((head, sleep)) = &mut self.early
            && sleep.as_mut().poll(cx).is_ready()
        {
            (self.incoming, self.came) = (*head, HEAD);
            self.early = None;
        }
    }

    /// Bytes of the current frame's body are in the socket.
    fn went(&mut self, bytes: usize) {
        self.body_to_go -= bytes;
        self.backlog.taken(self.stream, bytes);
    }

    /// Moves waiting answers in front of what is written next, where a frame may begin.
    fn place_pongs(&mut self) {
        let at_boundary = self.body_to_go == 0 && self.gone == self.heads.len();
        if at_boundary && !self.pongs.is_empty() {
            (self.heads, self.gone) = (self.pongs.concat(), 0);
            self.pongs.clear();
        }
    }
}

impl<T> Drop for Frames<T> {
    fn drop(&mut self) {
        self.backlog.close();
    }
}

impl<T: AsyncWrite + Unpin> Frames<T> {
    fn poll_heads(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.place_pongs();
        while self.gone < self.heads.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.heads[self.gone..]))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.gone += count;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a ping out of what yamux sees.
    fn answer(&mut self, cx: &mut Context<'_>) -> Result<()> {
        if self.pongs.len() == PONGS_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "a flood of pings"));
        }
        self.pongs.push(pong(&self.incoming));
        // Where it cannot be written now, the socket wakes the connection, and yamux flushes before it does anything.
        if self.poll_heads(cx)?.is_ready() {
            let _ = Pin::new(&mut self.inner).poll_flush(cx)?;
        }
        Ok(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if this.body_to_come > 0 {
            let most = out.len().min(this.body_to_come);
            let count = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut out[..most]))?;
            this.body_to_come -= count;
            return Poll::Ready(Ok(count));
        }
        loop {
            if this.came == 0 {
                this.place_early(cx);
            }
            if this.came == HEAD {
                break;
            }
            let count = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.incoming[this.came..]))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.came += count;
            if this.came < HEAD {
                continue;
            }
            let head = Head::read(&this.incoming);
            if head.is_ping {
                this.came = 0;
                this.answer(cx)?;
            } else if head.is_pong {
                this.keep_early();
            }
        }
        let count = out.len().min(HEAD - this.passed);
        out[..count].copy_from_slice(&this.incoming[this.passed..this.passed + count]);
        this.passed += count;
        if this.passed == HEAD {
            this.body_to_come = Head::read(&this.incoming).body;
            (this.came, this.passed) = (0, 0);
        }
        Poll::Ready(Ok(count))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if this.body_to_go == 0 {
            // yamux gives a head whole, and this takes it whole.
            let Some(head) = bytes.first_chunk::<HEAD>() else {
                return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, "a frame begins with its head")));
            };
            ready!(this.poll_heads(cx))?;
            (this.heads, this.gone) = (head.to_vec(), 0);
            let head = Head::read(head);
            (this.body_to_go, this.stream) = (head.body, head.stream);
            if head.is_ping {
                this.pinged = Some(Instant::now());
            }
            return Poll::Ready(Ok(HEAD));
        }
        let bytes = &bytes[..bytes.len().min(this.body_to_go)];
        while this.gone < this.heads.len() {
            let parts = [IoSlice::new(&this.heads[this.gone..]), IoSlice::new(bytes)];
            let count = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &parts))?;
            let of_heads = count.min(this.heads.len() - this.gone);
            this.gone += of_heads;
            match (count, count - of_heads) {
                (0, _) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                (_, 0) => {}
                (_, of_body) => {
                    this.went(of_body);
                    return Poll::Ready(Ok(of_body));
                }
            }
        }
        let count = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.went(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_heads(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_heads(cx))?;
        Pin::new(&mut this.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    /// Gives what it was made with, takes few bytes at a time and counts the calls.
    #[derive(Default)]
    struct Narrow {
        gives: Vec<u8>,
        taken: Vec<u8>,
        calls: usize,
        width: usize,
    }

    impl AsyncRead for Narrow {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize>> {
            let count = out.len().min(self.width).min(self.gives.len());
            out[..count].copy_from_slice(&self.gives[..count]);
            self.gives.drain(..count);
            Poll::Ready(Ok(count))
        }
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

    fn head(kind: u8, flags: u16, length: u32) -> Vec<u8> {
        [&[0, kind][..], &flags.to_be_bytes(), &[0; 4], &length.to_be_bytes()].concat()
    }

    fn frame(length: u32, byte: u8) -> Vec<u8> {
        [head(TYPE_DATA, 0, length), vec![byte; length as usize]].concat()
    }

    #[tokio::test]
    async fn frames_arrive_whole_and_in_order_whatever_the_socket_takes() {
        for width in [1, 3, 13, 40, 1000] {
            let mut stream = Frames::new(
                Narrow {
                    width,
                    ..Narrow::default()
                },
                Backlog::new(),
            );
            let mut sent = Vec::new();
            for (length, byte) in [(300, 1), (0, 0), (20, 2), (1, 3)] {
                let frame = frame(length, byte);
                stream.write_all(&frame[..HEAD]).await.expect("head");
                stream.write_all(&frame[HEAD..]).await.expect("body");
                stream
                    .write_all(&head(1, 0, 77))
                    .await
                    .expect("a window update has no body");
                sent.extend([frame, head(1, 0, 77)].concat());
            }
            stream.flush().await.expect("flushes");
            assert_eq!(stream.inner.taken, sent, "width {width}");
        }
    }

    #[tokio::test]
    async fn a_head_and_its_body_are_one_write() {
        let mut stream = Frames::new(
            Narrow {
                width: 1000,
                ..Narrow::default()
            },
            Backlog::new(),
        );
        stream.write_all(&head(TYPE_DATA, 0, 500)).await.expect("head");
        assert_eq!(stream.inner.calls, 0);
        stream.write_all(&[2; 500]).await.expect("body");
        assert_eq!((stream.inner.calls, stream.inner.taken.len()), (1, 512));
    }

    #[tokio::test]
    async fn pings_are_answered_between_frames_and_all_else_is_passed_on() {
        let ping = |number| head(TYPE_PING, FLAG_SYN, number);
        let seen = [frame(100, 1), head(TYPE_PING, FLAG_ACK, 9), frame(30, 2)];
        for width in [1, 5, 12, 1000] {
            let gives = [
                ping(5),
                seen[0].clone(),
                ping(6),
                seen[1].clone(),
                ping(7),
                seen[2].clone(),
                ping(8),
            ]
            .concat();
            let mut stream = Frames::new(
                Narrow {
                    gives,
                    width,
                    ..Narrow::default()
                },
                Backlog::new(),
            );
            // A frame is half written when the pings come.
            stream.write_all(&head(TYPE_DATA, 0, 50)).await.expect("head");
            stream.write_all(&[3; 20]).await.expect("half of the body");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.expect("reads");
            assert_eq!(read, seen.concat(), "width {width}");
            stream.write_all(&[3; 30]).await.expect("the rest");
            stream.flush().await.expect("flushes");
            let pongs: Vec<u8> = (5..9).flat_map(|number| head(TYPE_PING, FLAG_ACK, number)).collect();
            assert_eq!(stream.inner.taken, [frame(50, 3), pongs].concat(), "width {width}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_pings_ends_the_connection() {
        let gives = head(TYPE_PING, FLAG_SYN, 1).repeat(PONGS_MAX + 1);
        let mut stream = Frames::new(
            Narrow {
                gives,
                width: 1000,
                ..Narrow::default()
            },
            Backlog::new(),
        );
        stream
            .write_all(&head(TYPE_DATA, 0, 50))
            .await
            .expect("a frame that is never finished");
        let error = stream.read(&mut [0; HEAD]).await.expect_err("a flood");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    /// A stream over a pipe, a round trip asked for on it, and the pipe's other end.
    async fn asked(round_trip_min: Duration) -> (Frames<Compat<DuplexStream>>, Compat<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1000);
        let mut stream = Frames::new(near.compat(), Backlog::new());
        stream.round_trip_min = round_trip_min;
        stream.write_all(&head(TYPE_PING, FLAG_SYN, 9)).await.expect("head");
        stream.flush().await.expect("flushes");
        let mut far = far.compat();
        far.read_exact(&mut [0; HEAD]).await.expect("the ping");
        (stream, far)
    }

    #[tokio::test]
    async fn an_answer_that_is_back_early_waits_and_what_comes_behind_it_does_not() {
        let (least, began) = (Duration::from_millis(500), Instant::now());
        let (mut stream, mut far) = asked(least).await;
        let (answer, frame) = (head(TYPE_PING, FLAG_ACK, 9), frame(30, 1));
        far.write_all(&[&answer[..], &frame].concat()).await.expect("sent");
        let mut read = vec![0; frame.len()];
        stream.read_exact(&mut read).await.expect("the frame");
        assert_eq!(read, frame);
        let mut read = vec![0; HEAD];
        stream.read_exact(&mut read).await.expect("the answer");
        assert_eq!(read, answer);
        assert!(began.elapsed() >= least);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_early_and_one_that_nobody_asked_for_are_passed_on_at_once() {
        for least in [Duration::ZERO, Duration::from_secs(3600)] {
            let (mut stream, mut far) = asked(least).await;
            let answers = [9, 8].map(|number| head(TYPE_PING, FLAG_ACK, number));
            far.write_all(&answers.concat()).await.expect("sent");
            let due = if least.is_zero() {
                answers.concat()
            } else {
                answers[1].clone()
            };
            let mut read = vec![0; due.len()];
            stream.read_exact(&mut read).await.expect("what is due");
            assert_eq!(read, due);
        }
    }
}
