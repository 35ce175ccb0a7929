//! What the handle, the swarm, the connections and the sessions share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{CONTROL_QUEUE_BYTES_MAX, EARLY_STREAMS_MAX};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;
use samara_protocol::wire::frame;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::address;
use super::config::{NetConfig, NetError};
use super::dialer::Dialer;
use super::event::NetEvent;
use super::gate::Gate;
use super::hello::HelloError;
use super::places::{Place, has_room};
use super::pool::Pool;
use super::reply::{CancelOnDrop, REPLY_QUEUE_MAX, ReplyFrame, ReplySource};

/// Bans remembered; the one that ends first goes when there are more.
const BANS_MAX: usize = 1024;

/// See the module.
pub(super) struct Shared {
    pub(super) local: NodeId,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) pool: Pool,
    /// One permit for each stream that may wait for its connection's control stream.
    pub(super) early: Arc<Semaphore>,
    pub(super) external: Vec<String>,
    pub(super) silence_max: Duration,
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) next_serve: AtomicU64,
    pub(super) dialer: Mutex<Dialer>,
    /// Wakes the swarm after a change of `dialer`.
    pub(super) changed: Notify,
    pub(super) stop: CancellationToken,
    pub(super) stopped: CancellationToken,
    links: Mutex<HashMap<NodeId, Link>>,
    bans: Mutex<HashMap<NodeId, Instant>>,
    listening: Mutex<Vec<String>>,
    was_dialled: AtomicBool,
}

/// The way to an admitted peer.
#[derive(Debug, Clone)]
pub(super) struct Link {
    peer: NodeId,
    control: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    asks: mpsc::Sender<AskOrder>,
    hellos: mpsc::Sender<ProductId>,
    covered: Arc<Mutex<HashSet<ProductId>>>,
    place: Place,
    /// Closes the connection.
    pub(super) close: CancellationToken,
    /// Cancelled once the daemon has been told that the peer is down.
    pub(super) over: CancellationToken,
}

/// An ask on its way to a stream.
#[derive(Debug)]
pub(super) struct AskOrder {
    pub(super) ask: Ask,
    pub(super) frames: mpsc::Sender<ReplyFrame>,
    pub(super) cancelled: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(
        peer: NodeId,
        control: mpsc::Sender<Vec<u8>>,
        asks: mpsc::Sender<AskOrder>,
        hellos: mpsc::Sender<ProductId>,
        place: Place,
        product: ProductId,
    ) -> Self {
        Self {
            peer,
            control,
            queued: Arc::new(AtomicUsize::new(0)),
            asks,
            hellos,
            covered: Arc::new(Mutex::new(HashSet::from([product]))),
            place,
            close: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    /// Queues a message, or closes the connection when the queue is full.
    pub(super) fn send(&self, message: &ControlMessage) {
        let bytes = frame::encode(&message.encode());
        let len = bytes.len();
        let fits = self.queued.fetch_add(len, Ordering::Relaxed) + len <= CONTROL_QUEUE_BYTES_MAX;
        if !fits || matches!(self.control.try_send(bytes), Err(mpsc::error::TrySendError::Full(_))) {
            tracing::info!(peer = %self.peer, "a peer does not take its control messages, disconnecting it");
            self.close.cancel();
        }
    }

    /// So many queued bytes went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds a product; false when it was covered already.
    pub(super) fn cover(&self, product: ProductId) -> bool {
        lock(&self.covered).insert(product)
    }

    /// Whether the product is open on this connection.
    pub(super) fn covers(&self, product: ProductId) -> bool {
        lock(&self.covered).contains(&product)
    }
}

impl Shared {
    pub(super) fn new(
        local: NodeId,
        gate: Arc<dyn Gate>,
        events: mpsc::Sender<NetEvent>,
        config: &NetConfig,
        dialer: Dialer,
    ) -> Self {
        Self {
            local,
            gate,
            pool: Pool::new(),
            early: Arc::new(Semaphore::new(EARLY_STREAMS_MAX)),
            external: config.external.clone(),
            silence_max: config.silence_max,
            events,
            next_serve: AtomicU64::new(1),
            dialer: Mutex::new(dialer),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            links: Mutex::new(HashMap::new()),
            bans: Mutex::new(HashMap::new()),
            listening: Mutex::new(Vec::new()),
            was_dialled: AtomicBool::new(false),
        }
    }

    /// Waits for a place among the daemon's events; while the network stops, an event without a place is dropped.
    pub(super) async fn tell(&self, event: NetEvent) {
        tokio::select! {
            biased;
            // Fails when the daemon listens no more.
            _ = self.events.send(event) => {}
            () = self.stop.cancelled() => {}
        }
    }

    pub(super) fn dialer(&self) -> MutexGuard<'_, Dialer> {
        lock(&self.dialer)
    }

    fn link(&self, peer: NodeId) -> Option<Link> {
        lock(&self.links).get(&peer).cloned()
    }

    pub(super) fn is_linked(&self, peer: NodeId) -> bool {
        lock(&self.links).contains_key(&peer)
    }

    /// Every link, for the end.
    pub(super) fn all_links(&self) -> Vec<Link> {
        lock(&self.links).values().cloned().collect()
    }

    /// Puts the link of a new session in place, if it may stand there; gives the one that stood there.
    pub(super) fn replace_link(&self, peer: NodeId, link: Link) -> Result<Option<Link>, HelloError> {
        let place = link.place;
        let (former, wanted_for) = {
            let mut links = lock(&self.links);
            self.check_place(&links, peer, place)?;
            (links.insert(peer, link), self.dialer().up(peer))
        };
        if !place.dialled_by_us {
            self.was_dialled.store(true, Ordering::Relaxed);
        }
        wanted_for.into_iter().for_each(|product| self.hello(peer, product));
        Ok(former)
    }

    /// Takes a session's link away, if it is still its own.
    pub(super) fn remove_link(&self, peer: NodeId, link: &Link) {
        let mut links = lock(&self.links);
        if links
            .get(&peer)
            .is_some_and(|held| Arc::ptr_eq(&held.covered, &link.covered))
        {
            links.remove(&peer);
            self.dialer().down(peer, Instant::now());
            self.changed.notify_one();
        }
    }

    /// Whether a connection may become the one with `peer`. Asked when it says hello and again when it is to begin,
    /// since another may have begun between the two.
    pub(super) fn may_join(&self, peer: NodeId, place: Place) -> Result<(), HelloError> {
        self.check_place(&lock(&self.links), peer, place)
    }

    /// Of two connections dialled from both ends at once the one that the lower key dialled stays, so that both ends
    /// keep the same; of two from the same end the newer, whose dialler knows that the older is gone.
    fn check_place(&self, links: &HashMap<NodeId, Link>, peer: NodeId, place: Place) -> Result<(), HelloError> {
        let by_us = place.dialled_by_us;
        match links.get(&peer) {
            None if !has_room(links.values().map(|link| link.place), place) => Err(HelloError::Full),
            Some(link) if link.place.dialled_by_us != by_us && by_us != (self.local < peer) => {
                Err(HelloError::Duplicate)
            }
            None | Some(_) => Ok(()),
        }
    }

    /// Whether nothing may be exchanged with `peer`.
    pub(super) fn is_banned(&self, peer: NodeId) -> bool {
        let banned = lock(&self.bans).get(&peer).is_some_and(|until| *until > Instant::now());
        banned || self.gate.is_banned(peer)
    }

    pub(super) fn want(
        &self,
        peer: NodeId,
        addresses: &[String],
        product: ProductId,
        once: bool,
    ) -> Result<(), NetError> {
        // A contact or a grant may name this very node.
        if peer == self.local {
            return Ok(());
        }
        let addresses = addresses
            .iter()
            .map(|text| address::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        self.dialer().want(peer, addresses, product, once, Instant::now());
        let covers = {
            // With the links locked: one that ends in between would leave a peer that is never dialled again.
            let links = lock(&self.links);
            links.get(&peer).map(|link| {
                let _ = self.dialer().up(peer);
                link.covers(product)
            })
        };
        if covers == Some(false) {
            self.hello(peer, product);
        }
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn unwant(&self, peer: NodeId) {
        self.dialer().unwant(peer);
    }

    pub(super) fn hello(&self, peer: NodeId, product: ProductId) {
        if let Some(link) = self.link(peer) {
            // A full queue means more products than anyone has; they come up at the next connection.
            let _ = link.hellos.try_send(product);
        }
    }

    pub(super) fn send(&self, peer: NodeId, message: &ControlMessage) {
        if let Some(link) = self.link(peer) {
            link.send(message);
        }
    }

    pub(super) fn ask(&self, peer: NodeId, ask: Ask) -> ReplySource {
        let (frames, receiver) = mpsc::channel(REPLY_QUEUE_MAX);
        let cancelled = CancellationToken::new();
        let order = AskOrder {
            ask,
            frames,
            cancelled: cancelled.clone(),
        };
        if let Some(link) = self.link(peer).filter(|_| order.ask.is_within_limits()) {
            // A full queue drops the order and with it the sender: the source is broken.
            let _ = link.asks.try_send(order);
        }
        ReplySource {
            frames: receiver,
            cancel: CancelOnDrop(cancelled),
            ended: false,
        }
    }

    pub(super) fn disconnect(&self, peer: NodeId, ban: Duration) {
        if !ban.is_zero() {
            let mut bans = lock(&self.bans);
            let now = Instant::now();
            bans.retain(|_, until| *until > now);
            let first = bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            if let Some(first) = first.filter(|_| bans.len() >= BANS_MAX) {
                bans.remove(&first);
            }
            bans.insert(peer, now + ban);
        }
        if let Some(link) = self.link(peer) {
            link.close.cancel();
        }
    }

    pub(super) fn listening(&self) -> Vec<String> {
        lock(&self.listening).clone()
    }

    /// Adds an address; false when it was there (TCP and QUIC share one).
    pub(super) fn set_listening(&self, address: &str) -> bool {
        let mut listening = lock(&self.listening);
        let is_new = !listening.iter().any(|held| held == address);
        if is_new {
            listening.push(address.to_owned());
        }
        is_new
    }

    pub(super) fn unset_listening(&self, address: &str) {
        lock(&self.listening).retain(|held| held != address);
    }

    pub(super) fn was_dialled(&self) -> bool {
        self.was_dialled.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
