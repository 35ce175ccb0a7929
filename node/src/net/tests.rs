//! Whole networks on loopback sockets, and a stranger made of stock libp2p parts.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, NodeId, Part, ProductId};
use samara_protocol::wire::data::Ask;
use tokio::sync::mpsc;

use super::{Gate, Introduction, Net, NetConfig, NetEvent, NetHandle, PeerUp, Seat, Verdict};

mod admission;
mod control;
mod data;
mod paths;
mod stranger;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(20);
/// What opens doors here.
const GOOD: &[u8] = b"good credentials";

const PRODUCT: ProductId = ProductId([0xa1; 32]);
const OTHER_PRODUCT: ProductId = ProductId([0xa2; 32]);

/// Admits who shows [`GOOD`] for an open product and is not barred.
struct TestGate {
    shows: Vec<u8>,
    open: HashSet<ProductId>,
    barred: Mutex<HashSet<NodeId>>,
    seat: Seat,
}

impl TestGate {
    fn new() -> Self {
        Self {
            shows: GOOD.to_vec(),
            open: HashSet::from([PRODUCT]),
            barred: Mutex::default(),
            seat: Seat::Own,
        }
    }

    fn showing(shows: &[u8]) -> Self {
        Self {
            shows: shows.to_vec(),
            ..Self::new()
        }
    }

    fn opening(products: &[ProductId]) -> Self {
        Self {
            open: products.iter().copied().collect(),
            ..Self::new()
        }
    }
}

impl Gate for TestGate {
    fn hello(&self, _: NodeId, product: ProductId) -> Option<Introduction> {
        let summary = product.0[..4].to_vec();
        Some(Introduction {
            credentials: self.shows.clone(),
            summary,
        })
    }

    fn judge(&self, _: NodeId, product: ProductId, credentials: &[u8], _: bool) -> Verdict {
        if credentials == GOOD && self.open.contains(&product) {
            Verdict::Admit {
                expired: false,
                seat: self.seat,
            }
        } else {
            Verdict::Refuse
        }
    }

    fn is_banned(&self, peer: NodeId) -> bool {
        self.barred.lock().expect("not poisoned").contains(&peer)
    }
}

/// A network under test.
struct Node {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    id: NodeId,
}

impl Node {
    /// Starts one; `edit` changes the configuration: TCP on a free loopback port, no QUIC.
    async fn start(seed: u8, gate: TestGate, edit: impl FnOnce(&mut NetConfig)) -> Self {
        let mut config = NetConfig::new([seed; 32]);
        config.listen = vec!["127.0.0.1:0".to_owned()];
        config.quic = false;
        edit(&mut config);
        let (net, events) = Net::start(config, Arc::new(gate)).await.expect("starts");
        let id = net.local();
        Self { net, events, id }
    }

    async fn open(seed: u8) -> Self {
        Self::start(seed, TestGate::new(), |_| {}).await
    }

    fn address(&self) -> String {
        self.net.listening().first().expect("listens").clone()
    }

    fn dial(&self, other: &Self) {
        self.net
            .dial(other.id, &[other.address()], PRODUCT)
            .expect("an address");
    }

    /// The first event for which `pick` gives something; others are dropped.
    async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("no {what} in time"))
    }

    async fn expect_up(&mut self) -> PeerUp {
        self.expect("peer up", |event| match event {
            NetEvent::Up(up) => Some(up),
            _ => None,
        })
        .await
    }

    async fn expect_down(&mut self) -> NodeId {
        self.expect("peer down", |event| match event {
            NetEvent::Down { peer } => Some(peer),
            _ => None,
        })
        .await
    }

    async fn expect_dial_failed(&mut self) -> String {
        self.expect("failed dial", |event| match event {
            NetEvent::DialFailed { error, .. } => Some(error),
            _ => None,
        })
        .await
    }

    /// Events that are there already, without waiting.
    fn pending(&mut self) -> Vec<NetEvent> {
        let mut events = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        events
    }
}

/// Two nodes that are up with each other: the first has dialled.
async fn pair() -> (Node, Node) {
    let (mut dialler, mut listener) = (Node::open(1).await, Node::open(2).await);
    dialler.dial(&listener);
    dialler.expect_up().await;
    listener.expect_up().await;
    (dialler, listener)
}

/// The id of the node that [`Node::start`] makes of a seed.
fn id_of(seed: u8) -> NodeId {
    let identity = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).expect("a seed");
    NodeId::from_peer_id_bytes(&identity.public().to_peer_id().to_bytes()).expect("Ed25519")
}

fn layout() -> LayoutId {
    LayoutId {
        manifest: ManifestId([7; 32]),
        part: Part::Payload,
    }
}

fn ask(groups: std::ops::Range<u32>) -> Ask {
    Ask::Groups {
        layout: layout(),
        groups: groups.into(),
    }
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}
