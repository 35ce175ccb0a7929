//! What handle, swarm and sessions share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::REQUESTS_PER_PEER_MAX;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::config::NetError;
use super::reply::{CancelOnDrop, REPLY_QUEUE_MAX, ReplyFrame, ReplySource};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) local: NodeId,
    pub(super) external: Vec<String>,
    pub(super) links: Mutex<HashMap<NodeId, Link>>,
    pub(super) bans: Mutex<HashMap<NodeId, Instant>>,
    pub(super) listening: Mutex<Vec<String>>,
    pub(super) dialled: AtomicBool,
    /// Wakes the swarm after a change of `wanted` or `bans`.
    pub(super) changed: Notify,
    pub(super) stop: CancellationToken,
    pub(super) stopped: CancellationToken,
}

/// The way to an admitted peer.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) control: mpsc::Sender<ControlMessage>,
    pub(super) asks: mpsc::Sender<AskOrder>,
    pub(super) hellos: mpsc::Sender<ProductId>,
    /// Closes the connection.
    pub(super) close: CancellationToken,
}

/// An ask on its way to a stream.
#[derive(Debug)]
pub(super) struct AskOrder {
    pub(super) ask: Ask,
    pub(super) frames: mpsc::Sender<ReplyFrame>,
    pub(super) cancelled: CancellationToken,
}

impl Shared {
    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self, peer: NodeId) -> Option<Link> {
        Self::lock(&self.links).get(&peer).cloned()
    }

    pub(super) fn want(&self, _: NodeId, _: &[String], _: ProductId, _: bool) -> Result<(), NetError> {
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn unwant(&self, _: NodeId) {
        self.changed.notify_one();
    }

    pub(super) fn hello(&self, peer: NodeId, product: ProductId) {
        if let Some(link) = self.link(peer) {
            let _ = link.hellos.try_send(product);
        }
    }

    pub(super) fn send(&self, peer: NodeId, message: ControlMessage) {
        if let Some(link) = self.link(peer)
            && let Err(mpsc::error::TrySendError::Full(_)) = link.control.try_send(message)
        {
            tracing::info!(peer = %peer, "peer does not take its control messages, disconnecting");
            link.close.cancel();
        }
    }

    pub(super) fn ask(&self, peer: NodeId, ask: Ask) -> ReplySource {
        const { assert!(REQUESTS_PER_PEER_MAX > 0) };
        let (frames, receiver) = mpsc::channel(REPLY_QUEUE_MAX);
        let cancelled = CancellationToken::new();
        let order = AskOrder {
            ask,
            frames,
            cancelled: cancelled.clone(),
        };
        if let Some(link) = self.link(peer) {
            // A full queue drops the order and with it the sender: the source is broken.
            let _ = link.asks.try_send(order);
        }
        ReplySource {
            frames: receiver,
            _cancel: CancelOnDrop(cancelled),
            ended: false,
        }
    }

    pub(super) fn disconnect(&self, peer: NodeId, ban: Duration) {
        if !ban.is_zero() {
            Self::lock(&self.bans).insert(peer, Instant::now() + ban);
        }
        if let Some(link) = self.link(peer) {
            link.close.cancel();
        }
        self.changed.notify_one();
    }

    pub(super) fn listening(&self) -> Vec<String> {
        Self::lock(&self.listening).clone()
    }

    pub(super) fn was_dialled(&self) -> bool {
        self.dialled.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}
