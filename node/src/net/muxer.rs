//! The stream muxer: yamux with bounded streams and windows and large frames.
//!
//! libp2p-yamux allows 1 GiB of windows a connection, splits at 16 KiB and can be told neither. Frames here are up to
//! [`SPLIT_BYTES`]; the wire is the same.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{Ready, ready};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use samara_protocol::limits::{STREAMS_WAITING_MAX, SUBSTREAMS_MAX, YAMUX_WINDOW_MIN};
use tokio::time::Sleep;

mod backlog;
mod frames;

use backlog::{Backlog, Paced};
use frames::Frames;

/// The most payload in one yamux frame that this node sends: a group with its proof and the end of the reply. What another
/// stream has to say waits for one at most.
pub(super) const SPLIT_BYTES: usize = 72 << 10;
/// The least window of a stream.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const WINDOW_MIN: usize = YAMUX_WINDOW_MIN as usize;
/// How long a graceful close may take before the socket is dropped: a peer that does not read must not keep it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The upgrade, for both directions.
#[derive(Debug, Clone)]
pub(super) struct Yamux(yamux::Config);

impl Yamux {
    /// `growth` bytes may be added to the windows of one connection above the least of each stream.
    pub(super) fn new(growth: usize) -> Self {
        let mut config = yamux::Config::default();
        let least = SUBSTREAMS_MAX * WINDOW_MIN;
        config.set_max_num_streams(SUBSTREAMS_MAX);
        config.set_max_connection_receive_window(Some(least + growth));
        config.set_split_send_size(SPLIT_BYTES);
        Self(config)
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = std::io::Error;
    type Future = Ready<Result<Muxer<C>, std::io::Error>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = std::io::Error;
    type Future = Ready<Result<Muxer<C>, std::io::Error>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Client)))
    }
}

/// One connection's streams.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: yamux::Connection<Frames<C>>,
    backlog: Backlog,
    inbound: VecDeque<yamux::Stream>,
    inbound_waker: Option<Waker>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, config: yamux::Config, mode: yamux::Mode) -> Self {
        let backlog = Backlog::new();
        Self {
            connection: yamux::Connection::new(Frames::new(io, backlog.clone()), config, mode),
            backlog,
            inbound: VecDeque::new(),
            inbound_waker: None,
            closing: None,
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<yamux::Stream, yamux::ConnectionError>> {
        let next = std::task::ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(yamux::ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Paced;
    type Error = yamux::ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(Ok(Paced::new(stream, self.backlog.clone())));
        }
        // The connection itself moves in `poll`, which every owner of a muxer has to call: twice a wake-up would be once too often.
        self.inbound_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = std::task::ready!(self.connection.poll_new_outbound(cx))?;
        Poll::Ready(Ok(Paced::new(stream, self.backlog.clone())))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let stream = std::task::ready!(self.poll_connection(cx))?;
        if self.inbound.len() < STREAMS_WAITING_MAX {
            self.inbound.push_back(stream);
            if let Some(waker) = self.inbound_waker.take() {
                waker.wake();
            }
        } else {
            tracing::debug!("peer opens streams faster than they are looked at, resetting one");
            drop(stream);
        }
        // The connection must be polled again before it registers a waker.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let deadline = self
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.connection.poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
