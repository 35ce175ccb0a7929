//! `samara fetch`: a release into a folder, verified by this process itself.
//!
//! The same engine as a node's, as a leaf: it finds the site's node, takes metadata and bytes from it and believes
//! neither. What it has verified lies in DIR/.samara/store until the switch, so a broken fetch goes on where it ended.

mod dir;
mod leftovers;
mod machine;
mod target;
mod wait;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use samara_protocol::id::ManifestId;
use samara_protocol::swarm::config::Role;
use samara_protocol::swarm::io::{Limits, UploadAudience};
use samara_protocol::time::WallTime;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::{Enrolment, MemberKind};
use samara_protocol::trust::key::SigningKey;
use samara_protocol::units::{ByteRate, show_bytes};
use semver::Version;
use serde::Serialize;

use self::dir::Output;
use self::machine::Machines;
use self::target::Target;
use super::{CliError, Context, ExitStatus, Printer};
use crate::access::machine::JoinedProduct;
use crate::access::{Machine, entropy};
use crate::admin::api::ReleaseState;
use crate::admin::status::SourceBytes;
use crate::config::proxy::Proxy;
use crate::daemon::{Engine, EngineConfig, ProductConfig};
use crate::net::NetConfig;
use crate::observe::Observer;

/// How long a fetch may use its own key.
const SESSION_SECONDS: i64 = 7 * 24 * 3600;

/// Fetch a release into a folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What: acme/app@1.0.0, acme/app:stable, or acme/app for its channel stable.
    #[arg(value_name = "PRODUCT[@VERSION|:CHANNEL]")]
    target: Target,
    /// Into which folder; `-` with --entry writes the one file to stdout.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// One entry of the release only, by its path.
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// For which machine, e.g. linux/amd64, or all; may be given several times [default: this machine].
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Machines>,
    /// Wait for a node that can be reached and for the release to appear, e.g. 90s, 10m; without a value as long as it takes.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "forever")]
    wait: Option<wait::Patience>,
    /// Return only when everything is safe from a power loss.
    #[arg(long)]
    sync: bool,
    /// Take at most so much, e.g. 50mbit.
    #[arg(long, value_name = "RATE")]
    down: Option<ByteRate>,
    /// The way out for sites that have no other, http://host:port.
    #[arg(long, value_name = "URL")]
    proxy: Option<Proxy>,
}

/// What was fetched.
#[derive(Debug, Serialize)]
struct Fetched {
    product: String,
    version: Version,
    manifest: ManifestId,
    output: PathBuf,
    written: u64,
    unchanged: u64,
    removed: u64,
    kept: Vec<String>,
    bytes: u64,
    sources: Vec<SourceBytes>,
    seconds: f64,
    verified: bool,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            product,
            version,
            written,
            unchanged,
            bytes,
            seconds,
            ..
        } = self;
        let output = self.output.display();
        write!(
            f,
            "{product}@{version} is in {output}: {written} written, {unchanged} unchanged, {} verified in {seconds:.1} s",
            show_bytes(*bytes)
        )?;
        for kept in &self.kept {
            write!(f, "\nyour changed {kept} was kept")?;
        }
        Ok(())
    }
}

/// Fetches.
///
/// # Errors
/// When nobody can be reached, the release is not offered, something does not verify or the disk refuses. What was
/// verified stays, and the same command goes on with it.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let started = Instant::now();
    let output = Output::new(&args.output, args.entry.as_deref(), context)?;
    let present = output.present()?;
    let config = engine_config(args, context, output.store())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(super::node::run::worker_threads())
        .max_blocking_threads(2 * super::node::run::worker_threads() + 2)
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("tokio", error))?;
    let (engine, state) = runtime.block_on(async {
        let engine = Engine::start(config, Observer::new())
            .await
            .map_err(|error| CliError::failure(args.output.display(), error))?;
        match wait::release(args, &engine, present.ids(), context, printer).await {
            Ok(state) => Ok((engine, state)),
            Err(error) => {
                engine.shutdown().await;
                Err(error)
            }
        }
    })?;
    let report = output.place(
        &engine.store(),
        &state,
        &machine::wanted(&args.platform),
        &present,
        args.sync,
        printer,
    )?;
    runtime.block_on(engine.shutdown());
    runtime.shutdown_timeout(Duration::from_millis(500));
    output.clean()?;
    finish(args, &state, report, started, printer)
}

fn finish(
    args: &Args,
    state: &ReleaseState,
    report: crate::release::place::PlaceReport,
    started: Instant,
    printer: &mut Printer,
) -> Result<ExitStatus, CliError> {
    let fetched = Fetched {
        product: state.product.clone(),
        version: state.version.clone(),
        manifest: state.manifest,
        output: args.output.clone(),
        written: report.written,
        unchanged: report.unchanged,
        removed: report.removed,
        kept: report
            .kept
            .into_iter()
            .map(|(path, kept)| format!("{path} (now {kept})"))
            .collect(),
        bytes: report.bytes,
        sources: state.sources.clone(),
        seconds: started.elapsed().as_secs_f64(),
        verified: true,
    };
    if args.output == Path::new("-") {
        printer.note(&fetched);
    } else {
        printer.print(&fetched)?;
    }
    Ok(ExitStatus::Success)
}

fn engine_config(args: &Args, context: &Context, store: PathBuf) -> Result<EngineConfig, CliError> {
    let machine = Machine::at(context.home());
    let joined = machine.product_named(&args.target.product)?;
    let (identity, session) = session(&machine, &joined, context.now())?;
    let mut net = NetConfig::new(*identity.seed());
    net.proxy = args.proxy.as_ref().map(Proxy::with_password);
    let limits = Limits {
        up: None,
        down: args.down,
        upload: UploadAudience::Off,
        origin_copies_max: None,
    };
    let product = ProductConfig {
        joined,
        follow: Some(Vec::new()),
        keep: 1,
        platforms: machine::wanted(&args.platform),
        priority: 0,
        signer: None,
        session,
    };
    Ok(EngineConfig {
        role: Role::Host,
        identity,
        store,
        quota: None,
        reserve: 0,
        limits,
        region: None,
        net,
        products: vec![product],
        dial: wait::node_beside(context),
        seed: entropy::seed(),
    })
}

/// A key for this fetch alone, enrolled by the host's own: two processes with one PeerId would push each other out of
/// their places at the node. A machine that is no host (a node's, an origin's) uses its own key.
fn session(
    machine: &Machine,
    joined: &JoinedProduct,
    now: WallTime,
) -> Result<(SigningKey, Option<Envelope>), CliError> {
    let own = machine.identity()?;
    let credentials = joined.membership.credentials();
    // Judged, and told why not, once the engine runs.
    let Ok(host) = joined.trust.admit(&credentials, own.public().into(), [], now) else {
        return Ok((own, None));
    };
    if host.kind != MemberKind::Host {
        return Ok((own, None));
    }
    let key = entropy::new_key();
    let enrolment = Enrolment {
        schema: 0,
        site_key: host.site_key,
        node: key.public().into(),
        kind: MemberKind::Host,
        enrol: false,
        serial: 0,
        not_after: now.plus_seconds(SESSION_SECONDS),
    };
    let envelope =
        Envelope::sign(&enrolment, &[&own]).map_err(|error| CliError::failure("this machine's key", error))?;
    Ok((key, Some(envelope)))
}
