//! The task that owns the libp2p swarm: listens, dials when the dialer says so, reports what fails.

use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{Config, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, TransportError};
use samara_protocol::id::NodeId;
use samara_protocol::limits::{NEIGHBOURS_MAX, STREAMS_NEGOTIATING_MAX, SUBSTREAMS_MAX};
use samara_protocol::wire::control::{ControlMessage, Goodbye};
use tokio::sync::mpsc;

use super::address;
use super::behaviour::{Behaviour, Unanswered};
use super::config::{NetConfig, NetError};
use super::dialer::{Dial, Dialer};
use super::event::NetEvent;
use super::gate::Gate;
use super::shared::Shared;
use super::transport;

/// Events that may wait for the daemon.
const EVENTS_MAX: usize = 16 * NEIGHBOURS_MAX;
/// Addresses of one peer dialled at once.
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::MIN.saturating_add(3);
/// How long a shutdown waits for connections to close.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a listener may take until it knows its address.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the network; see `Net::start`.
pub(super) async fn start(
    config: NetConfig,
    gate: Arc<dyn Gate>,
) -> Result<(Arc<Shared>, mpsc::Receiver<NetEvent>), NetError> {
    let identity = Keypair::ed25519_from_bytes(config.identity_seed);
    let identity = identity.map_err(|error| NetError::Certificate(error.to_string()))?;
    let local_peer = PeerId::from(identity.public());
    let local = node_id(local_peer).ok_or_else(|| NetError::Certificate("not an Ed25519 key".to_owned()))?;
    for text in &config.external {
        address::parse(text)?;
    }
    let with_quic = quic_allowed(&config);
    let config = NetConfig {
        quic: with_quic,
        ..config
    };
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let dialer = Dialer::new(config.jitter_seed, with_quic);
    let shared = Arc::new(Shared::new(local, gate, events, &config, dialer));

    let transport = transport::build(&config, &identity)?;
    let swarm_config = Config::with_tokio_executor()
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_max_negotiating_inbound_streams(STREAMS_NEGOTIATING_MAX)
        .with_dial_concurrency_factor(DIAL_CONCURRENCY)
        .with_notify_handler_buffer_size(NonZeroUsize::MIN)
        .with_per_connection_event_buffer_size(SUBSTREAMS_MAX)
        // Handlers decide when a connection has no use.
        .with_idle_connection_timeout(Duration::MAX);
    let mut swarm = Swarm::new(transport, Behaviour::new(Arc::clone(&shared)), local_peer, swarm_config);
    listen(&mut swarm, &config, with_quic, &shared).await?;
    tokio::spawn(
        Driver {
            swarm,
            shared: Arc::clone(&shared),
        }
        .run(),
    );
    Ok((shared, receiver))
}

/// QUIC does not go through a proxy. Its TLS is stock, which would write session keys to `SSLKEYLOGFILE`.
fn quic_allowed(config: &NetConfig) -> bool {
    if config.quic && std::env::var_os("SSLKEYLOGFILE").is_some_and(|file| !file.is_empty()) {
        tracing::warn!("QUIC is off: SSLKEYLOGFILE is set and would receive its session keys");
        return false;
    }
    config.quic && config.proxy.is_none()
}

/// Listens on all addresses and waits until each is bound, so that a port in use is an error of the start.
async fn listen(
    swarm: &mut Swarm<Behaviour>,
    config: &NetConfig,
    with_quic: bool,
    shared: &Arc<Shared>,
) -> Result<(), NetError> {
    for text in &config.listen {
        let address = address::parse(text)?;
        let failed = |reason: String| NetError::Listen {
            address: text.clone(),
            reason,
        };
        let tcp = match address.tcp {
            Some(tcp) => Some(bind(swarm, tcp, shared).await.map_err(failed)?),
            None => None,
        };
        if let Some(quic) = address.quic.filter(|_| with_quic) {
            // With port 0, QUIC takes the number that TCP got.
            let port = tcp.as_ref().and_then(address::port);
            let quic = port.map_or(quic.clone(), |port| address::with_port(&quic, port));
            if let Err(reason) = bind(swarm, quic, shared).await {
                tracing::warn!(address = text, reason, "QUIC is not listened on");
            }
        }
    }
    Ok(())
}

async fn bind(swarm: &mut Swarm<Behaviour>, address: Multiaddr, shared: &Arc<Shared>) -> Result<Multiaddr, String> {
    if let Some(socket) = address::tcp_socket(&address) {
        // libp2p listens with SO_REUSEPORT, so that a second node on the port would take every other connection of the
        // first. A plain listener finds that out.
        drop(std::net::TcpListener::bind(socket).map_err(|error| error.to_string())?);
    }
    let id = swarm.listen_on(address).map_err(|error| chain(&error))?;
    let bound = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => {
                    announce(shared, &address).await;
                    return Ok(address);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason: Err(error),
                    ..
                } if listener_id == id => {
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(LISTEN_TIMEOUT, bound)
        .await
        .unwrap_or_else(|_| Err("no address came up".to_owned()))
}

async fn announce(shared: &Shared, address: &Multiaddr) {
    let address = address::show(address);
    if shared.set_listening(&address) {
        shared.tell(NetEvent::Listening { address }).await;
    }
}

struct Driver {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            for dial in self.dials() {
                self.dial(dial).await;
            }
            let wake = self.shared.dialer().wake_at();
            let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event).await,
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                () = self.shared.stop.cancelled() => break,
            }
        }
        self.farewell().await;
        self.shared.stopped.cancel();
    }

    fn dials(&self) -> Vec<Dial> {
        self.shared.dialer().due(Instant::now())
    }

    async fn dial(&mut self, dial: Dial) {
        let Dial {
            peer,
            addresses,
            product,
        } = dial;
        if addresses.is_empty() {
            return self
                .failed(peer, "it has no address that this node can dial".to_owned(), false)
                .await;
        }
        let Ok(peer_id) = PeerId::from_bytes(&peer.peer_id_bytes()) else {
            return;
        };
        self.swarm.behaviour_mut().dial_for(peer, product);
        let options = DialOpts::peer_id(peer_id)
            // A stranger's connection from this peer must not keep us from ours.
            .condition(PeerCondition::NotDialing)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            self.failed(peer, describe(&error), false).await;
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<Unanswered>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => announce(&self.shared, &address).await,
            SwarmEvent::ExpiredListenAddr { address, .. } => self.shared.unset_listening(&address::show(&address)),
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer_id),
                error,
                ..
            } => {
                if let Some(peer) = node_id(peer_id) {
                    self.failed(peer, describe(&error), false).await;
                }
            }
            SwarmEvent::Behaviour(Unanswered {
                peer,
                is_busy: true,
                reason,
            }) => {
                tracing::info!(%peer, "{reason}");
                self.failed(peer, reason, false).await;
            }
            SwarmEvent::Behaviour(Unanswered { peer, reason, .. }) => self.failed(peer, reason, true).await,
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::warn!(%error, "a listener closed");
            }
            _ => {}
        }
    }

    async fn failed(&mut self, peer: NodeId, error: String, answered: bool) {
        let is_news = self.shared.dialer().failed(peer, Instant::now());
        let second = self.shared.dialer().second(peer);
        match second.filter(|_| !is_news) {
            Some(second) => {
                tracing::debug!(%peer, error, "trying the peer's QUIC addresses");
                Box::pin(self.dial(second)).await;
            }
            None if is_news && !self.shared.is_linked(peer) => {
                self.shared.tell(NetEvent::DialFailed { peer, error, answered }).await;
            }
            None => {}
        }
    }

    /// Says goodbye, closes, and gives the connections a moment to do so.
    async fn farewell(&mut self) {
        let links = self.shared.all_links();
        for link in &links {
            link.send(&ControlMessage::Goodbye(Goodbye::Shutdown));
        }
        let closed = async {
            for link in &links {
                link.over.cancelled().await;
            }
        };
        let driven = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        tokio::select! {
            () = closed => {}
            () = driven => {}
            () = tokio::time::sleep(FAREWELL) => links.iter().for_each(|link| link.close.cancel()),
        }
    }
}

fn node_id(peer: PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

/// For people: each address that was tried, and why it did not work.
fn describe(error: &DialError) -> String {
    match error {
        DialError::Transport(tried) => {
            let one = |(address, error): &(Multiaddr, TransportError<std::io::Error>)| {
                format!("{}: {}", address::show(address), chain(error))
            };
            tried.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        DialError::WrongPeerId { obtained, address } => {
            format!("{}: another node answers there, {obtained}", address::show(address))
        }
        DialError::Denied { cause } => chain(cause),
        other => chain(other),
    }
}

/// An error and what caused it, without saying the same twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
