//! Which connections may exist: bans, strangers in all and per address, two per peer. Closes what a handler gives up.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
    ListenFailure, NetworkBehaviour, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{UNADMITTED_MAX, UNADMITTED_PER_ADDRESS_MAX};

use super::address;
use super::handler::{End, Handler, ToBehaviour};
use super::shared::Shared;

/// Connections with one peer, of which one is on its way out or in.
const PER_PEER_MAX: usize = 2;

/// A dialled connection that ended before the peer was up.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) peer: NodeId,
    pub(super) reason: String,
    /// The peer has no place, and said so.
    pub(super) is_busy: bool,
}

/// Why a connection is not even begun.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Denied {
    #[error("its key is banned or not an Ed25519 one")]
    Peer,
    #[error("too many connections of strangers")]
    Strangers,
    #[error("too many connections with this peer")]
    PerPeer,
    #[error("nobody asked for this dial")]
    Unasked,
}

#[derive(Debug)]
struct Held {
    peer: Option<NodeId>,
    /// Which network a stranger's connection comes from; `None` for dialled ones and once admitted.
    stranger: Option<IpAddr>,
    dialled: bool,
    admitted: bool,
}

/// See the module.
pub(super) struct Behaviour {
    shared: Arc<Shared>,
    held: HashMap<ConnectionId, Held>,
    /// For what each peer is being dialled.
    dialling: HashMap<NodeId, ProductId>,
    actions: VecDeque<ToSwarm<Unanswered, std::convert::Infallible>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            held: HashMap::new(),
            dialling: HashMap::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Says what a dial that comes next is for.
    pub(super) fn dial_for(&mut self, peer: NodeId, product: ProductId) {
        self.dialling.insert(peer, product);
    }

    fn act(&mut self, action: ToSwarm<Unanswered, std::convert::Infallible>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn identify(&self, peer: PeerId) -> Result<NodeId, ConnectionDenied> {
        let node = NodeId::from_peer_id_bytes(&peer.to_bytes()).filter(|node| !self.shared.is_banned(*node));
        let node = node.ok_or_else(|| ConnectionDenied::new(Denied::Peer))?;
        let same = self.held.values().filter(|held| held.peer == Some(node)).count();
        if same >= PER_PEER_MAX {
            Err(ConnectionDenied::new(Denied::PerPeer))
        } else {
            Ok(node)
        }
    }

    fn not_dialled(&mut self, failure: &DialFailure<'_>) {
        self.held.remove(&failure.connection_id);
        // Where one was under way already, that one still is, and for the same peer.
        let is_under_way = matches!(failure.error, DialError::DialPeerConditionFalse(_));
        let peer = failure.peer_id.filter(|_| !is_under_way);
        if let Some(node) = peer.and_then(|peer| NodeId::from_peer_id_bytes(&peer.to_bytes())) {
            self.dialling.remove(&node);
        }
    }

    fn forget(&mut self, connection: ConnectionId, reason: Option<String>) {
        let Some(held) = self.held.remove(&connection) else {
            return;
        };
        if let (true, false, Some(peer)) = (held.dialled, held.admitted, held.peer) {
            let reason = reason.unwrap_or_else(|| "the connection ended before an answer".to_owned());
            let is_busy = false;
            self.act(ToSwarm::GenerateEvent(Unanswered { peer, reason, is_busy }));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Unanswered;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let from = address::ip_of(remote).map(network_of);
        let from = from.ok_or_else(|| ConnectionDenied::new(Denied::Strangers))?;
        let strangers = self.held.values().filter_map(|held| held.stranger);
        let (all, same) = strangers.fold((0, 0), |(all, same), ip| (all + 1, same + usize::from(ip == from)));
        if !has_place(all, same) {
            tracing::debug!(%from, all, same, "refused a stranger's connection");
            return Err(ConnectionDenied::new(Denied::Strangers));
        }
        self.held.insert(
            connection,
            Held {
                peer: None,
                stranger: Some(from),
                dialled: false,
                admitted: false,
            },
        );
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        let node = self.identify(peer)?;
        if let Some(held) = self.held.get_mut(&connection) {
            held.peer = Some(node);
        }
        Ok(Handler::new(
            Arc::clone(&self.shared),
            node,
            address::show(remote),
            None,
        ))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let peer = peer.ok_or_else(|| ConnectionDenied::new(Denied::Unasked))?;
        self.identify(peer).map(|_| Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        let node = self.identify(peer)?;
        let product = self
            .dialling
            .remove(&node)
            .ok_or_else(|| ConnectionDenied::new(Denied::Unasked))?;
        self.held.insert(
            connection,
            Held {
                peer: Some(node),
                stranger: None,
                dialled: true,
                admitted: false,
            },
        );
        Ok(Handler::new(
            Arc::clone(&self.shared),
            node,
            address::show(remote),
            Some(product),
        ))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.forget(connection_id, None),
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.held.remove(&connection_id);
            }
            FromSwarm::DialFailure(failure) => self.not_dialled(&failure),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToBehaviour) {
        match event {
            ToBehaviour::Admitted => {
                if let Some(held) = self.held.get_mut(&connection) {
                    (held.stranger, held.admitted) = (None, true);
                }
            }
            ToBehaviour::Close(end) => {
                // A stranger keeps its place until its connection is really gone.
                if let (Some(End { reason, is_busy }), Some(held)) = (end, self.held.get_mut(&connection))
                    && let (true, false, Some(peer)) = (held.dialled, held.admitted, held.peer)
                {
                    held.dialled = false;
                    self.act(ToSwarm::GenerateEvent(Unanswered { peer, reason, is_busy }));
                }
                let connection = CloseConnection::One(connection);
                self.act(ToSwarm::CloseConnection { peer_id, connection });
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Unanswered, std::convert::Infallible>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Whether one more stranger may come from an address that has `same` of `all` that there are: its n-th while less than an n-th
/// of all places is taken. Ten that hoard them, 4 each, would have them all, and whoever comes new would never be let in.
const fn has_place(all: usize, same: usize) -> bool {
    same < UNADMITTED_PER_ADDRESS_MAX && all < UNADMITTED_MAX / (same + 1)
}

/// What one machine may have to itself: an IPv4 address, or an IPv6 network of 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dial_opts::PeerCondition;
    use tokio::sync::mpsc;

    use super::*;
    use crate::net::dialer::Dialer;
    use crate::net::{Gate, Introduction, NetConfig, Verdict};

    struct Closed;

    impl Gate for Closed {
        fn hello(&self, _: NodeId, _: ProductId) -> Option<Introduction> {
            None
        }

        fn judge(&self, _: NodeId, _: ProductId, _: &[u8], _: bool) -> Verdict {
            Verdict::Refuse
        }

        fn is_banned(&self, _: NodeId) -> bool {
            false
        }
    }

    fn behaviour() -> Behaviour {
        let (events, _events) = mpsc::channel(1);
        let (config, dialer) = (NetConfig::new([1; 32]), Dialer::new(7, false));
        let shared = Shared::new(NodeId([1; 32]), Arc::new(Closed), events, &config, dialer);
        Behaviour::new(Arc::new(shared))
    }

    #[test]
    fn addresses_that_hoard_strangers_places_leave_some_to_whoever_comes_new() {
        let (mut behaviour, mut next) = (behaviour(), 0);
        let mut come = |address: usize| {
            let multiaddr = |text: String| text.parse::<Multiaddr>().expect("an address");
            let (local, remote) = (
                "/ip4/192.0.2.1/tcp/1".to_owned(),
                format!("/ip4/192.0.3.{address}/tcp/2"),
            );
            next += 1;
            let connection = ConnectionId::new_unchecked(next);
            let pending =
                behaviour.handle_pending_inbound_connection(connection, &multiaddr(local), &multiaddr(remote));
            pending.is_ok()
        };
        let alone = (0..8).filter(|_| come(1)).count();
        assert_eq!(alone, UNADMITTED_PER_ADDRESS_MAX, "one address alone");
        // One after the other takes all that it may, which is more than when all come at once.
        let hoarded = (2..=10)
            .flat_map(|address| [address; 8])
            .filter(|address| come(*address))
            .count();
        assert!(hoarded >= 9, "each of ten has one: {hoarded}");
        assert!(alone + hoarded < UNADMITTED_MAX, "{hoarded} beside the first");
        let others = (11..50).filter(|address| come(*address)).count();
        assert_eq!(
            alone + hoarded + others,
            UNADMITTED_MAX,
            "whoever comes new is let in, up to all places"
        );
    }

    #[test]
    fn of_a_dial_that_failed_nothing_is_kept_and_one_that_is_under_way_goes_on() {
        let mut behaviour = behaviour();
        let node = NodeId([2; 32]);
        behaviour.dial_for(node, ProductId([7; 32]));
        let mut fail = |error: &DialError| {
            behaviour.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: PeerId::from_bytes(&node.peer_id_bytes()).ok(),
                error,
                connection_id: ConnectionId::new_unchecked(1),
            }));
            behaviour.dialling.len()
        };
        assert_eq!(fail(&DialError::DialPeerConditionFalse(PeerCondition::NotDialing)), 1);
        assert_eq!(fail(&DialError::Aborted), 0);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_stranger_and_those_of_ipv4_are_not() {
        let of = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.2"), of("::ffff:192.0.2.1"));
    }
}
