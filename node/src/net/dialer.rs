//! Whom this node wants to be connected to, and when to try again.
//!
//! A value without clock or socket: the swarm's task asks what to do, and says what happened. Of a peer's addresses all
//! TCP ones are tried first, then the QUIC ones. Pauses double from one second to two minutes, with jitter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::CONTACTS_MAX;
use samara_protocol::rng::Rng;

use super::address::Address;

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// A connection that lasted so long starts the pauses anew.
const STABLE: Duration = Duration::from_secs(30);
/// Addresses of one peer that are tried.
const ADDRESSES_MAX: usize = 8;
/// Dials under way at a time.
const DIALS_MAX: usize = 8;
/// Peers wanted at a time.
const WANTED_MAX: usize = CONTACTS_MAX * 2;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) peer: NodeId,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) product: ProductId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Tried at that time.
    Waiting(Instant),
    /// On its TCP or its QUIC addresses.
    Dialling { quic: bool },
    /// Since when.
    Connected(Instant),
}

#[derive(Debug)]
struct Wanted {
    tcp: Vec<Multiaddr>,
    quic: Vec<Multiaddr>,
    products: BTreeSet<ProductId>,
    once: bool,
    state: State,
    failures: u32,
}

impl Wanted {
    /// What to say hello for: another one after each failure, since a peer may turn this node away for one of them alone.
    fn product(&self) -> Option<ProductId> {
        let turn = self.failures as usize % self.products.len().max(1);
        self.products.iter().nth(turn).copied()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Dialer {
    wanted: BTreeMap<NodeId, Wanted>,
    rng: Rng,
    with_quic: bool,
}

impl Dialer {
    pub(super) const fn new(seed: u64, with_quic: bool) -> Self {
        Self {
            wanted: BTreeMap::new(),
            rng: Rng::new(seed),
            with_quic,
        }
    }

    /// Adds a peer, or a product and other addresses to one; tried at once unless it is waiting out a failure.
    pub(super) fn want(&mut self, peer: NodeId, addresses: Vec<Address>, product: ProductId, once: bool, now: Instant) {
        if self.wanted.len() >= WANTED_MAX && !self.wanted.contains_key(&peer) {
            return;
        }
        let (tcp, quic): (Vec<_>, Vec<_>) = addresses.into_iter().map(|address| (address.tcp, address.quic)).unzip();
        let tcp: Vec<_> = tcp.into_iter().flatten().take(ADDRESSES_MAX).collect();
        let quic: Vec<_> = quic
            .into_iter()
            .flatten()
            .take(ADDRESSES_MAX)
            .filter(|_| self.with_quic)
            .collect();
        let wanted = self.wanted.entry(peer).or_insert_with(|| Wanted {
            tcp: Vec::new(),
            quic: Vec::new(),
            products: BTreeSet::new(),
            once,
            state: State::Waiting(now),
            failures: 0,
        });
        if matches!(wanted.state, State::Waiting(_)) && (wanted.tcp != tcp || wanted.quic != quic || once) {
            wanted.state = State::Waiting(now);
        }
        (wanted.tcp, wanted.quic) = (tcp, quic);
        wanted.once &= once;
        wanted.products.insert(product);
    }

    pub(super) fn unwant(&mut self, peer: NodeId) {
        self.wanted.remove(&peer);
    }

    /// The peer is connected, whoever dialled. Returns the products that it is wanted for.
    pub(super) fn up(&mut self, peer: NodeId) -> BTreeSet<ProductId> {
        let Some(wanted) = self.wanted.get_mut(&peer) else {
            return BTreeSet::new();
        };
        let products = wanted.products.clone();
        if wanted.once {
            self.wanted.remove(&peer);
        } else if !matches!(wanted.state, State::Connected(_)) {
            wanted.state = State::Connected(Instant::now());
        }
        products
    }

    /// The peer is connected no more.
    pub(super) fn down(&mut self, peer: NodeId, now: Instant) {
        let Some(wanted) = self.wanted.get_mut(&peer) else {
            return;
        };
        if let State::Connected(since) = wanted.state {
            wanted.failures = if now.saturating_duration_since(since) > STABLE {
                1
            } else {
                wanted.failures + 1
            };
            self.pause(peer, now);
        }
    }

    /// A dial came to nothing. True when that is news: nothing else is tried at once.
    pub(super) fn failed(&mut self, peer: NodeId, now: Instant) -> bool {
        let Some(wanted) = self.wanted.get_mut(&peer) else {
            return true;
        };
        match wanted.state {
            State::Dialling { quic: false } if !wanted.quic.is_empty() => {
                wanted.state = State::Dialling { quic: true };
                false
            }
            State::Dialling { .. } if wanted.once => {
                self.wanted.remove(&peer);
                true
            }
            State::Dialling { .. } => {
                wanted.failures += 1;
                self.pause(peer, now);
                true
            }
            State::Waiting(_) | State::Connected(_) => false,
        }
    }

    fn pause(&mut self, peer: NodeId, now: Instant) {
        let jitter = 0.5 + self.rng.unit() / 2.0;
        if let Some(wanted) = self.wanted.get_mut(&peer) {
            let doublings = wanted.failures.saturating_sub(1).min(10);
            let pause = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(doublings)).mul_f64(jitter);
            wanted.state = State::Waiting(now + pause);
        }
    }

    /// What to dial now that this is the time.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Dial> {
        let under_way = self
            .wanted
            .values()
            .filter(|wanted| matches!(wanted.state, State::Dialling { .. }))
            .count();
        let mut dials = Vec::new();
        for (peer, wanted) in &mut self.wanted {
            if under_way + dials.len() >= DIALS_MAX {
                break;
            }
            let (State::Waiting(at), Some(product)) = (wanted.state, wanted.product()) else {
                continue;
            };
            if at <= now {
                let quic = wanted.tcp.is_empty();
                wanted.state = State::Dialling { quic };
                let addresses = if quic { wanted.quic.clone() } else { wanted.tcp.clone() };
                dials.push(Dial {
                    peer: *peer,
                    addresses,
                    product,
                });
            }
        }
        dials
    }

    /// The dial to go on with after [`Self::failed`] said that something else is tried.
    pub(super) fn second(&self, peer: NodeId) -> Option<Dial> {
        let wanted = self.wanted.get(&peer)?;
        let product = wanted.product()?;
        matches!(wanted.state, State::Dialling { quic: true }).then(|| Dial {
            peer,
            addresses: wanted.quic.clone(),
            product,
        })
    }

    /// When [`Self::due`] may next have something.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let waiting = |wanted: &Wanted| match wanted.state {
            State::Waiting(at) => Some(at),
            State::Dialling { .. } | State::Connected(_) => None,
        };
        self.wanted.values().filter_map(waiting).min()
    }
}

#[cfg(test)]
mod tests;
