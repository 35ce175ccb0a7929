//! Builds an engine and sets it going.

use std::path::PathBuf;
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, NodeId};
use samara_protocol::limits::ADMIN_CALLS_MAX;
use samara_protocol::manifest::platform::Platform;
use samara_protocol::swarm::Swarm;
use samara_protocol::swarm::config::{Role, SwarmConfig};
use samara_protocol::swarm::io::Limits;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::key::SigningKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::checkpoints::Checkpoints;
use super::clock::Clock;
use super::collecting::Collecting;
use super::contact::TELL_AGAIN;
use super::driver::{Driver, DriverConfig};
use super::gate::Doors;
use super::opening::Selections;
use super::peers::Peers;
use super::products::{Follow, Product, ProductPolicy, Products};
use super::publishing::Publishings;
use super::releases::Releases;
use super::renewing::FIRST_LOOK;
use super::report::REPORTS_MAX;
use super::revoking::Pace;
use super::shell::Shell;
use super::standings::Standings;
use super::throughput::Throughput;
use crate::access::AccessError;
use crate::access::machine::JoinedProduct;
use crate::admin::server::Call;
use crate::net::{Net, NetConfig, NetError};
use crate::observe::{Event, Observer, span};
use crate::store::{Store, StoreError, StoreOptions};

/// What an engine is started with.
#[derive(Debug)]
pub struct EngineConfig {
    /// Origin, site or host.
    pub role: Role,
    /// This node's key.
    pub identity: SigningKey,
    /// Where verified bytes lie.
    pub store: PathBuf,
    /// Bytes that the store may take.
    pub quota: Option<u64>,
    /// Bytes of the disk that it leaves to others.
    pub reserve: u64,
    /// The operator's limits.
    pub limits: Limits,
    /// Where this node is, for contacts.
    pub region: Option<String>,
    /// Addresses, proxy and the like; the identity in it is replaced.
    pub net: NetConfig,
    /// What it carries.
    pub products: Vec<ProductConfig>,
    /// Nodes to be connected to whatever the contacts say.
    pub dial: Vec<(NodeId, Vec<String>)>,
    /// Decides the scheduler's random choices and the jitter of redials.
    pub seed: u64,
}

/// One product of an engine.
#[derive(Debug)]
pub struct ProductConfig {
    /// As it was joined.
    pub joined: JoinedProduct,
    /// Channels to follow; none to take everything that is listed, as an origin does.
    pub follow: Option<Vec<ChannelName>>,
    /// Releases of a channel to keep.
    pub keep: usize,
    /// The machines it is for; all when empty.
    pub platforms: Vec<Platform>,
    /// Higher goes first.
    pub priority: u8,
    /// Where snapshot.key and timestamp.key are, on the one origin that seals.
    pub signer: Option<PathBuf>,
    /// The host's own enrolment of this fetch's key: shown behind what was joined.
    pub session: Option<Envelope>,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be set up.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What was joined cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// A running engine. Dropping it stops it.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    selections: Selections,
    calls: mpsc::Sender<Call>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Opens the store, binds the network and runs, on the current tokio runtime.
    ///
    /// # Errors
    /// When one of them cannot.
    pub async fn start(config: EngineConfig, observer: Observer) -> Result<Self, StartError> {
        let options = StoreOptions {
            quota: config.quota,
            reserve: config.reserve,
            ..StoreOptions::default()
        };
        let store = open_store(config.store.clone(), options, &observer).await?;
        let doors = Doors::default();
        let net = NetConfig {
            identity_seed: *config.identity.seed(),
            jitter_seed: config.seed,
            ..config.net
        };
        let (net, network) = Net::start(net, Arc::new(doors.clone())).await?;
        let clock = Clock::start();
        let mut products = Products::new(net.local(), doors.clone());
        for product in config.products {
            products.add(open_product(product)?);
        }
        let swarm_config = SwarmConfig {
            limits: config.limits,
            ..SwarmConfig::unlimited(config.role)
        };
        let mut swarm = Swarm::new(&swarm_config, net.local(), config.seed, clock.now());
        let standings = Standings::at(&config.store);
        swarm.restore(clock.now(), &standings.load());
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let (stop, selections) = (CancellationToken::new(), Selections::default());
        let (calls, called) = mpsc::channel(ADMIN_CALLS_MAX);
        let driver = Driver {
            swarm,
            config: DriverConfig {
                leaf: config.role == Role::Host,
                role: match config.role {
                    Role::Origin => "origin",
                    Role::Site => "site",
                    Role::Host => "host",
                },
                limits: config.limits,
                quota: config.quota,
                store: config.store,
                stop: stop.clone(),
                region: config.region,
                dial: config.dial,
                selections: selections.clone(),
                identity: config.identity,
            },
            clock,
            shell: Shell::new(net, store.clone(), reports),
            store: store.clone(),
            doors,
            products,
            releases: Releases::default(),
            peers: Peers::default(),
            checkpoints: Checkpoints::new(config.role == Role::Host),
            collecting: Collecting::default(),
            publishings: Publishings::default(),
            standings,
            sent: Throughput::default(),
            received: Throughput::default(),
            observer,
            waiters: Vec::new(),
            swarm_due: None,
            housekeeping_due: clock.now(),
            renewal_due: FIRST_LOOK,
            pace: Pace::default(),
            contacts_due: clock.now().after(TELL_AGAIN),
            stopping: false,
        };
        let node = span::node(driver.shell.net.local());
        let task = tokio::spawn(driver.run(network, reported, called).instrument(node));
        Ok(Self {
            store,
            selections,
            calls,
            stop,
            task,
        })
    }

    /// Where calls of verbs go, whether they come over a socket or from this process.
    #[must_use]
    pub fn calls(&self) -> mpsc::Sender<Call> {
        self.calls.clone()
    }

    /// The store, for placing what was fetched.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Artifacts that need not be fetched for what is wanted from here on: whoever asks has them.
    pub fn want_without(&self, present: &[ArtifactId]) {
        self.selections.set(present);
    }

    /// Stops it: says goodbye to the neighbours and makes durable what was written.
    ///
    /// # Panics
    /// When the engine itself panicked.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.task.await.expect("the engine does not panic and is not aborted");
    }

    /// Resolves when it has stopped by itself, as after a call to.
    ///
    /// # Panics
    /// When the engine itself panicked.
    pub async fn stopped(&mut self) {
        (&mut self.task)
            .await
            .expect("the engine does not panic and is not aborted");
    }
}

/// Opens the store on a worker, and says in which state it was.
async fn open_store(dir: PathBuf, options: StoreOptions, observer: &Observer) -> Result<Store, StartError> {
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir, options)).await;
    let (store, recovered) = opened.expect("opening a store does not panic and is not aborted")?;
    observer.emit(Event::StoreOpened {
        // A new store has no index either, and nothing to rebuild it from.
        rebuilt: recovered.index_rebuilt && recovered.releases > 0,
        releases: recovered.releases,
    });
    Ok(store)
}

fn open_product(config: ProductConfig) -> Result<Product, StartError> {
    let JoinedProduct {
        home,
        membership,
        trust,
    } = config.joined;
    let policy = ProductPolicy {
        follow: config.follow.map_or(Follow::Everything, Follow::Channels),
        keep: config.keep,
        platforms: config.platforms,
        priority: config.priority,
        signer: config.signer,
        session: config.session,
    };
    Ok(Product::open(trust, &home, membership.name, policy)?)
}
