//! `samara fetch`: a release into a folder, verified by this process itself.
//!
//! The same engine as a node's, as a leaf: it finds the site's node, takes metadata and bytes from it and believes
//! neither. What it has verified lies in DIR/.samara/store until the switch, so a broken fetch goes on where it ended.

mod dir;
mod leftovers;
mod machine;
pub(super) mod session;
mod target;
mod wait;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use samara_protocol::id::ManifestId;
use samara_protocol::swarm::config::Role;
use samara_protocol::swarm::io::{Limits, UploadAudience};
use samara_protocol::units::ByteRate;
use semver::Version;
use serde::Serialize;

use self::dir::Output;
use self::machine::Machines;
use self::target::Target;
use super::{CliError, Context, ExitStatus, Printer, blame};
use crate::access::machine::JoinedProduct;
use crate::access::{Machine, entropy};
use crate::admin::api::{ReleaseState, Select};
use crate::admin::status::SourceBytes;
use crate::config::proxy::Proxy;
use crate::config::rate;
use crate::daemon::{Engine, EngineConfig, ProductConfig, StartError, channel_not_granted};
use crate::net::NetConfig;
use crate::observe::Observer;
use crate::release::place::PlaceReport;
use crate::release::sizes::Sizes;
use crate::store::StoreError;

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
    #[arg(long, value_name = "PATH", value_parser = clap::builder::NonEmptyStringValueParser::new())]
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
    #[arg(long, value_name = "RATE", value_parser = rate::limit)]
    down: Option<ByteRate>,
    /// The way out for sites that have no other, http://host:port.
    #[arg(long, value_name = "URL")]
    proxy: Option<Proxy>,
}

/// What stood in the way and was not the release's.
#[derive(Debug, Serialize)]
struct Moved {
    path: String,
    to: String,
}

/// What was fetched.
#[derive(Debug, Serialize)]
struct Fetched {
    product: String,
    version: Version,
    manifest: ManifestId,
    /// The one that was asked for; all of them without.
    entry: Option<String>,
    output: PathBuf,
    written: u64,
    unchanged: u64,
    removed: u64,
    kept: Vec<String>,
    moved: Vec<Moved>,
    bytes: u64,
    file_bytes: u64,
    unique_bytes: u64,
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
            removed,
            seconds,
            ..
        } = self;
        match &self.entry {
            Some(entry) if self.output == Path::new("-") => {
                write!(f, "{entry} of {product}@{version} was written to stdout")?;
            }
            _ => write!(f, "{product}@{version} is in {}", self.output.display())?,
        }
        write!(f, ": {written} written, {unchanged} unchanged, ")?;
        if *removed > 0 {
            write!(f, "{removed} removed, ")?;
        }
        let sizes = Sizes {
            files: self.file_bytes,
            unique: self.unique_bytes,
        };
        write!(f, "{sizes}, verified in {seconds:.1} s")?;
        for path in &self.kept {
            match self.moved.iter().find(|moved| moved.path == *path) {
                Some(moved) => write!(f, "\nyour {path} stood in the way and is now {}", moved.to)?,
                None => write!(f, "\nyour changed {path} was left where it is")?,
            }
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
    let engine = runtime
        .block_on(Engine::start(config, Observer::new()))
        .map_err(|error| not_started(args, error))?;
    // Keeps other processes out of the folder until nothing of this one's is in it any more.
    let store = engine.store();
    let waited = runtime.block_on(wait::release(args, &engine, present.ids(), context, printer));
    let placed = waited.and_then(|state| {
        let platforms = machine::wanted(&args.platform);
        let report = output.place(&store, &state, &platforms, &present, args.sync, printer)?;
        Ok((state, report))
    });
    runtime.block_on(engine.shutdown());
    runtime.shutdown_timeout(Duration::from_millis(500));
    match placed {
        Ok((state, report)) => {
            output.clean(store)?;
            finish(args, &state, report, started, printer)
        }
        Err(error) => {
            output.forget(&error, store);
            Err(error)
        }
    }
}

fn not_started(args: &Args, error: StartError) -> CliError {
    match error {
        StartError::Store(StoreError::Owned { pid, .. }) => {
            let what = format!("another fetch into it is running, process {pid}");
            CliError::new(ExitStatus::Conflict, args.output.display(), what).way_out(
                "wait for it, or give another folder: any number of fetches run side by side, each into its own",
            )
        }
        // There is no configuration to change, as a node has one.
        StartError::Store(error) if error.is_full() => blame::store(&error, args.output.display())
            .way_out("free some space on that disk and run the same command again"),
        error => blame::start(error, args.output.display()),
    }
}

fn finish(
    args: &Args,
    state: &ReleaseState,
    report: PlaceReport,
    started: Instant,
    printer: &mut Printer,
) -> Result<ExitStatus, CliError> {
    let fetched = Fetched {
        product: state.product.clone(),
        version: state.version.clone(),
        manifest: state.manifest,
        entry: args.entry.clone(),
        output: args.output.clone(),
        written: report.written,
        unchanged: report.unchanged,
        removed: report.removed,
        kept: kept(&report),
        moved: report.kept.into_iter().map(|(path, to)| Moved { path, to }).collect(),
        bytes: report.bytes,
        file_bytes: report.sizes.files,
        unique_bytes: report.sizes.unique,
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

/// Everything that somebody had altered or put there and that was not lost, moved out of the way or left.
fn kept(report: &PlaceReport) -> Vec<String> {
    let moved = report.kept.iter().map(|(path, _)| path);
    let mut kept: Vec<String> = moved.chain(&report.left).cloned().collect();
    kept.sort();
    kept.dedup();
    kept
}

/// A channel that the grant does not have is never offered, however long one waits.
fn granted(target: &Target, joined: &JoinedProduct) -> Result<(), CliError> {
    let (Select::Channel(channel), Some(granted)) = (&target.select, joined.channels()) else {
        return Ok(());
    };
    if granted.iter().any(|name| name.as_str() == channel) {
        return Ok(());
    }
    Err(channel_not_granted(&target.product, channel, &granted).into())
}

fn engine_config(args: &Args, context: &Context, store: PathBuf) -> Result<EngineConfig, CliError> {
    let machine = Machine::at(context.home());
    let joined = machine.product_named(&args.target.product)?;
    granted(&args.target, &joined)?;
    let (identity, session) = session::key(&machine, &joined, context)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_kept_is_named_wherever_it_is_now() {
        let report = PlaceReport {
            kept: vec![("bin/app".to_owned(), ".samara/kept/1/bin/app".to_owned())],
            left: vec!["old".to_owned(), "also/old".to_owned()],
            ..PlaceReport::default()
        };
        assert_eq!(kept(&report), ["also/old", "bin/app", "old"]);
    }
    #[test]
    fn the_text_says_where_it_is_and_what_was_removed() {
        let fetched = |entry: Option<&str>, output: &str, removed| Fetched {
            product: "acme/app".to_owned(),
            version: Version::new(1, 0, 0),
            manifest: ManifestId([1; 32]),
            entry: entry.map(str::to_owned),
            output: output.into(),
            written: 2,
            unchanged: 1,
            removed,
            kept: Vec::new(),
            moved: Vec::new(),
            bytes: 5,
            file_bytes: 3072,
            unique_bytes: 1024,
            sources: Vec::new(),
            seconds: 0.1,
            verified: true,
        };
        let folder = fetched(None, "app", 3).to_string();
        assert!(folder.starts_with("acme/app@1.0.0 is in app: "), "{folder}");
        assert!(
            folder.contains("1 unchanged, 3 removed, 3.0 KiB of files, 1.0 KiB unique, verified in 0.1 s"),
            "{folder}"
        );
        let one = fetched(Some("bin/tool"), "app", 0).to_string();
        assert!(one.contains("is in app") && !one.contains("removed"), "{one}");
        let stdout = fetched(Some("bin/tool"), "-", 0).to_string();
        assert!(
            stdout.starts_with("bin/tool of acme/app@1.0.0 was written to stdout: "),
            "{stdout}"
        );
    }
}
