//! What the daemon holds: starts the network, says whom to connect to, sends, asks.

use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;
use tokio::sync::mpsc;

use super::address;
use super::config::{NetConfig, NetError};
use super::event::NetEvent;
use super::gate::Gate;
use super::reply::ReplySource;
use super::shared::Shared;
use super::swarm;

/// Starts networks.
#[derive(Debug)]
pub struct Net;

impl Net {
    /// Binds the listeners and starts the network's tasks on the current tokio runtime. Events are bounded: a daemon
    /// that does not take them stalls the network, never its memory.
    ///
    /// # Errors
    /// When an address or the proxy cannot be read or nothing can listen there.
    pub async fn start(
        config: NetConfig,
        gate: Arc<dyn Gate>,
    ) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
        let (shared, events) = swarm::start(config, gate).await?;
        Ok((NetHandle { shared }, events))
    }
}

/// The daemon's end. Clones share one network. No call waits, except [`NetHandle::shutdown`]: so the owner of the
/// scheduler may call from its loop.
#[derive(Debug, Clone)]
pub struct NetHandle {
    pub(super) shared: Arc<Shared>,
}

impl NetHandle {
    /// This node.
    #[must_use]
    pub fn local(&self) -> NodeId {
        self.shared.local
    }

    /// Connects to `peer` and says hello for `product`, again and again with growing pauses, until [`Self::unwant`].
    /// Called again, adds the product and replaces the addresses. `peer` may be connected already.
    ///
    /// # Errors
    /// When an address cannot be read.
    pub fn want(&self, peer: NodeId, addresses: &[String], product: ProductId) -> Result<(), NetError> {
        self.shared.want(peer, addresses, product, false)
    }

    /// As [`Self::want`], but tries once: after success or [`NetEvent::DialFailed`] it is forgotten.
    ///
    /// # Errors
    /// When an address cannot be read.
    pub fn dial(&self, peer: NodeId, addresses: &[String], product: ProductId) -> Result<(), NetError> {
        self.shared.want(peer, addresses, product, true)
    }

    /// No more redials; the connection, if there is one, stays.
    pub fn unwant(&self, peer: NodeId) {
        self.shared.unwant(peer);
    }

    /// Opens a further product with an admitted peer: [`NetEvent::Covers`] or [`NetEvent::CoverRefused`] follows.
    pub fn hello(&self, peer: NodeId, product: ProductId) {
        self.shared.hello(peer, product);
    }

    /// Queues a control message. A peer that does not take its messages is disconnected when its queue is full.
    #[expect(clippy::needless_pass_by_value, reason = "the caller has no further use for it")]
    pub fn send(&self, peer: NodeId, message: ControlMessage) {
        self.shared.send(peer, &message);
    }

    /// Asks a peer. With no such peer, or more asks open than `REQUESTS_PER_PEER_MAX`, the source is broken from the start.
    #[must_use]
    pub fn ask(&self, peer: NodeId, ask: Ask) -> ReplySource {
        self.shared.ask(peer, ask)
    }

    /// Closes the connection; for `ban` neither dials nor admits the peer (zero: only closes).
    pub fn disconnect(&self, peer: NodeId, ban: Duration) {
        self.shared.disconnect(peer, ban);
    }

    /// Where this node listens now, `host:port`.
    #[must_use]
    pub fn listening(&self) -> Vec<String> {
        self.shared.listening()
    }

    /// The addresses configured as external: multiaddrs, as others are told.
    #[must_use]
    pub fn external(&self) -> Vec<String> {
        let parsed = self.shared.external.iter().filter_map(|text| address::parse(text).ok());
        let both = parsed.flat_map(|parsed| [parsed.tcp, parsed.quic]);
        both.flatten().map(|address| address.to_string()).collect()
    }

    /// The same for people: `host:port`, each once.
    #[must_use]
    pub fn external_shown(&self) -> Vec<String> {
        let parsed = self.shared.external.iter().filter_map(|text| address::parse(text).ok());
        let mut shown: Vec<String> = parsed
            .filter_map(|parsed| parsed.tcp.or(parsed.quic))
            .map(|address| address::show(&address))
            .collect();
        shown.dedup();
        shown
    }

    /// Whether any connection from outside has come in since the start: shown as "dialable" in `status`.
    #[must_use]
    pub fn was_dialled(&self) -> bool {
        self.shared.was_dialled()
    }

    /// Says goodbye to all, closes all and stops; returns when the sockets are closed.
    pub async fn shutdown(&self) {
        self.shared.stop().await;
    }
}
