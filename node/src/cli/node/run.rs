//! `samara node run`: an origin or a site's node, until it is told to stop.

use std::path::PathBuf;

use samara_protocol::swarm::config::Role as SwarmRole;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{listening, membership, preflight};
use crate::access::Machine;
use crate::access::entropy;
use crate::access::machine::JoinedProduct;
use crate::admin::server::{Call, Server};
use crate::cli::{CliError, Context, ExitStatus, Printer};
use crate::config::settings::{ProductSettings, Role, Settings};
use crate::daemon::{Engine, EngineConfig, ProductConfig};
use crate::net::NetConfig;
use crate::observe::{self, Observer};

/// Run a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's TOML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs until SIGTERM, Ctrl-C or a verb ends it.
///
/// # Errors
/// When the configuration, the home, the store or the network refuses.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let settings = Settings::load(&args.config, context.home())?;
    let machine = Machine::at(&settings.node.home);
    let cleared = preflight::look(&settings, context.now())?;
    for warning in &cleared.warnings {
        printer.warn(warning);
    }
    for file in &cleared.joins {
        machine.join(file, context.now())?;
    }
    let products = membership::chosen(&machine, &settings)?;
    let config = engine_config(&machine, &settings, products)?;
    observe::logging::init(settings.log, context.verbosity())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .max_blocking_threads(2 * worker_threads() + 2)
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("tokio", error))?;
    let ended = runtime.block_on(serve(config, &settings, context, printer));
    // Workers that are still hashing must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

/// One for each core, four at the most: more connections are busy than cores only for moments.
pub(in crate::cli) fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4)
}

async fn serve(
    config: EngineConfig,
    settings: &Settings,
    context: &Context,
    printer: &mut Printer,
) -> Result<ExitStatus, CliError> {
    let observer = Observer::new();
    let stop = CancellationToken::new();
    let server = Server::bind(&settings.node.socket)?;
    if let Some(address) = settings.metrics {
        observe::metrics::serve(address, observer.clone(), stop.clone()).await?;
    }
    let mut engine = Engine::start(config, observer)
        .await
        .map_err(|error| listening::not_started(error, &settings.node.listen))?;
    let (calls, socket) = server.start(stop.clone())?;
    let socket = tokio::spawn(socket);
    tokio::spawn(forward(calls, engine.calls()));
    printer.note(format_args!(
        "node is running; verbs reach it at {}",
        settings.node.socket.display()
    ));
    tokio::select! {
        () = context.interrupt().wait() => {
            printer.note("stopping: saying goodbye and making durable what was written");
            stop.cancel();
            engine.shutdown().await;
        }
        () = engine.stopped() => stop.cancel(),
    }
    // Its task ends once all calls are answered.
    let _ = socket.await;
    Ok(ExitStatus::Success)
}

async fn forward(mut calls: mpsc::Receiver<Call>, engine: mpsc::Sender<Call>) {
    while let Some(call) = calls.recv().await {
        if engine.send(call).await.is_err() {
            return;
        }
    }
}

fn engine_config(
    machine: &Machine,
    settings: &Settings,
    products: Vec<(JoinedProduct, ProductSettings)>,
) -> Result<EngineConfig, CliError> {
    let identity = machine.identity()?;
    let role = match settings.node.role {
        Role::Origin => SwarmRole::Origin,
        Role::Site => SwarmRole::Site,
    };
    let multiaddrs = |addresses: &[crate::config::address::Address]| {
        addresses
            .iter()
            .flat_map(crate::config::address::Address::multiaddrs)
            .collect()
    };
    let mut net = NetConfig::new(*identity.seed());
    net.listen = multiaddrs(&settings.node.listen);
    net.external = multiaddrs(&settings.node.external);
    net.proxy = settings
        .node
        .proxy
        .as_ref()
        .map(crate::config::proxy::Proxy::with_password);
    let products = products
        .into_iter()
        .map(|(joined, of)| product_config(joined, of, role))
        .collect();
    Ok(EngineConfig {
        role,
        identity,
        store: settings.store.dir.clone(),
        quota: settings.store.quota,
        reserve: settings.store.reserve,
        limits: settings.limits.into(),
        region: settings.node.region.clone(),
        net,
        products,
        dial: Vec::new(),
        seed: entropy::seed(),
    })
}

fn product_config(joined: JoinedProduct, settings: ProductSettings, role: SwarmRole) -> ProductConfig {
    ProductConfig {
        joined,
        follow: match role {
            SwarmRole::Origin => None,
            SwarmRole::Site | SwarmRole::Host => Some(settings.follow),
        },
        keep: usize::try_from(settings.keep).unwrap_or(usize::MAX),
        platforms: settings.platforms.unwrap_or_default(),
        priority: settings.priority,
        signer: settings.signer,
        session: None,
    }
}
