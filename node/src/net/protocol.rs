//! The three protocols and how a stream is opened with one of them.

use std::convert::Infallible;
use std::iter::Copied;
use std::slice;

use futures::future::{Ready, ready};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::Stream;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    /// One exchange about one product.
    Hello,
    /// Control messages, both ways, for as long as the connection.
    Control,
    /// Asks from the one that opened it, replies from the other.
    Data,
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        match self {
            Self::Hello => "/samara/hello/0",
            Self::Control => "/samara/control/0",
            Self::Data => "/samara/data/0",
        }
    }
}

/// The protocols that one side would speak on a new stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer(&'static [Protocol]);

impl Offer {
    /// To a stranger.
    pub(super) const STRANGER: Self = Self(&[Protocol::Hello]);
    /// To an admitted peer.
    pub(super) const ADMITTED: Self = Self(&[Protocol::Hello, Protocol::Control, Protocol::Data]);

    /// One protocol, to open a stream with.
    pub(super) const fn one(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Hello => Self(&[Protocol::Hello]),
            Protocol::Control => Self(&[Protocol::Control]),
            Protocol::Data => Self(&[Protocol::Data]),
        }
    }
}

impl UpgradeInfo for Offer {
    type Info = Protocol;
    type InfoIter = Copied<slice::Iter<'static, Protocol>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().copied()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
