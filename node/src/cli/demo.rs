//! `samara demo`: the whole way of a release on one machine, with nothing that a user would not have.
//!
//! A vendor's origin, sites that are each a tenant of their own, and hosts: every one a process of this same binary, set
//! up with public verbs and configuration files. A release is published, sites fetch it from the origin and from each
//! other, one of them is killed in mid-transfer, hosts fetch from their sites, and this process compares what arrived.
//! Nothing stays: neither processes nor files, also after an error or Ctrl-C. Non-goal: measuring; the origin is slowed
//! down on purpose.

mod compare;
mod display;
mod guard;
mod keep;
mod kill;
mod node;
mod place;
mod process;
mod report;
mod setup;
mod source;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Instant;

use samara_protocol::units::{ByteRate, show_bytes};

use self::display::Display;
use self::guard::Guard;
use self::keep::Keep;
use self::kill::Kill;
use self::node::Host;
use self::place::Place;
use self::process::Runner;
use self::report::{Report, Run};
use self::setup::{Network, PRODUCT, Shape};
use super::{CliError, Context, ExitStatus, Printer};

/// The one version that is published.
const VERSION: &str = "1.0.0";
/// How long one copy takes through the origin's capped uplink.
const COPY_SECONDS: u64 = 9;
/// Less than this is over before anybody could interrupt it.
const INTERRUPTED_MIN: u64 = 4 << 20;

/// The whole way of a release on this machine: an origin, sites, hosts, and a kill in between.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file or folder to publish [default: at least 200 MB of this machine's own libraries].
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// How many sites, each a tenant of its own.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    sites: u8,
    /// How many hosts in all, spread over the sites [default: as many as sites].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    hosts: Option<u8>,
    /// Leave what the hosts fetched in DIR/hosts/NAME.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print each command line and configuration file.
    #[arg(long)]
    explain: bool,
}

/// Runs it.
///
/// # Errors
/// When a command of it fails: which, and the end of what it said. A host whose files differ from the source is a
/// result, and the status then is [`ExitStatus::Unverified`].
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let interrupt = context.interrupt();
    let outcome = demonstrate(args, interrupt, printer);
    if interrupt.requested() && outcome.is_err() {
        let error = CliError::new(ExitStatus::Interrupted, "signal", "stopped; nothing was left behind");
        return Err(error.way_out("run the demo again to start from the beginning"));
    }
    let report = outcome?;
    printer.print(&report)?;
    Ok(if report.verified {
        ExitStatus::Success
    } else {
        ExitStatus::Unverified
    })
}

/// The files to publish.
struct Source {
    path: PathBuf,
    bytes: u64,
}

fn demonstrate(args: &Args, interrupt: &super::Interrupt, printer: &mut Printer) -> Result<Report, CliError> {
    let kept = args.keep.as_deref().map(Keep::in_dir).transpose()?;
    let given = args.path.as_deref().map(given).transpose()?;
    let (sites, hosts) = (usize::from(args.sites), usize::from(args.hosts.unwrap_or(args.sites)));
    let place = Place::with_room_for(room(given.as_ref(), sites, hosts, kept.as_ref().map(Keep::hosts))?)?;
    let dir = place.dir().to_owned();
    // Dropped last, whatever happens: the processes go first, then the folder, then who watches over both.
    let guard = Guard::over(place).map_err(|error| CliError::failure("sh", error))?;
    let runner = Runner::new(&dir, guard.group(), args.explain, interrupt)?;
    runner.explain_line(&format!("cd {}", dir.display()), printer);
    let source = match given {
        Some(source) => source,
        None => gathered(&runner, printer)?,
    };
    let interruptible = source.bytes >= INTERRUPTED_MIN;
    let up = interruptible.then_some(ByteRate(source.bytes / COPY_SECONDS));
    say_plan(&source, sites, hosts, up, printer);
    printer.note("making everybody's keys, grants and configuration files");
    let mut network = setup::network(Shape { sites, hosts, up }, &runner, printer)?;
    let kill = if interruptible {
        Kill::Planned { site: sites.min(2) - 1 }
    } else {
        let least = show_bytes(INTERRUPTED_MIN);
        Kill::Never(format!(
            "PATH is too small to interrupt: {}, less than {least}",
            show_bytes(source.bytes)
        ))
    };
    let folders = kept
        .as_ref()
        .map_or_else(|| runner.path("hosts"), |keep| keep.hosts().to_owned());
    let (kill, mut run) = carry(&mut network, kill, &source, &folders, &runner, printer)?;
    (run.up, run.kept) = (up, kept.map(Keep::leave));
    Ok(Report::new(&network, &kill, run))
}

/// Publishes, lets everybody fetch, and checks what the hosts have.
fn carry(
    network: &mut Network,
    mut kill: Kill,
    source: &Source,
    folders: &Path,
    runner: &Runner,
    printer: &mut Printer,
) -> Result<(Kill, Run), CliError> {
    watch::start_nodes(network, runner, printer)?;
    printer.note("publishing: the origin reads, hashes and signs the release");
    let path = source.path.display().to_string();
    let words = [
        "--home",
        "vendor",
        "publish",
        &path,
        "--product",
        PRODUCT,
        "--version",
        VERSION,
        "--channel",
        "stable",
    ];
    let started = Instant::now();
    runner.run(&words, printer)?;
    let (published, publish_seconds) = (Instant::now(), started.elapsed().as_secs_f64());
    watch::start_hosts(network, VERSION, folders, runner, printer)?;
    let mut display = Display::new(network, printer);
    watch::until_all_have_it(network, &mut kill, &mut display, runner, printer)?;
    drop(display);
    network.origin.stop();
    network.sites.iter_mut().for_each(node::Node::stop);
    let wrong = check(network, source, folders, runner, printer)?;
    let run = Run {
        published,
        publish_seconds,
        up: None,
        kept: None,
        wrong,
    };
    Ok((kill, run))
}

/// Every host's folder against the source, twice: by this process and by `samara verify`, of which as many run at a time as
/// there are processors.
fn check(
    network: &Network,
    source: &Source,
    folders: &Path,
    runner: &Runner,
    printer: &mut Printer,
) -> Result<Vec<Vec<String>>, CliError> {
    let hosts = count(network.hosts.len(), "host");
    printer.note(format_args!("checking every file of {hosts} against the source"));
    let tree = compare::read(&source.path)?;
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Vec::new();
    for hosts in network.hosts.chunks(at_a_time) {
        let verify = |host: &Host| {
            let folder = folders.join(&host.name).display().to_string();
            let words = ["--home", &host.name, "--json", "verify", &folder];
            runner.start(&format!("{}-verify", host.name), &words, printer)
        };
        let verifying: Vec<_> = hosts.iter().map(verify).collect::<Result<_, _>>()?;
        for (host, mut verifying) in hosts.iter().zip(verifying) {
            let mut wrong = compare::differences(&tree, &compare::read(&folders.join(&host.name))?);
            match runner.finish(&mut verifying) {
                Ok(_) => {}
                Err(error) if error.status() == ExitStatus::Unverified => wrong.push(error.to_string()),
                Err(error) => return Err(error),
            }
            all.push(wrong);
        }
    }
    Ok(all)
}

fn given(path: &Path) -> Result<Source, CliError> {
    let failed = |error| CliError::io(path, &error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let bytes = compare::size(&absolute)?;
    Ok(Source { path: absolute, bytes })
}

fn gathered(runner: &Runner, printer: &mut Printer) -> Result<Source, CliError> {
    let path = runner.path("source");
    let from = source::gather(&path).map_err(|error| CliError::failure("PATH", error))?;
    let from: Vec<_> = from.iter().map(|from| from.display().to_string()).collect();
    printer.note(format_args!(
        "no PATH was given: copies of files in {} are published",
        from.join(", ")
    ));
    let bytes = compare::size(&path)?;
    Ok(Source { path, bytes })
}

/// Bytes of disk: the gathered files, the origin's copy, one for each site and each host.
fn room(given: Option<&Source>, sites: usize, hosts: usize, kept: Option<&Path>) -> Result<u64, CliError> {
    let bytes = given.map_or(source::BYTES_MAX, |source| source.bytes);
    let here = if kept.is_some() { 0 } else { hosts };
    if let Some(kept) = kept {
        let need = bytes.saturating_mul(hosts as u64);
        if place::free(kept).is_some_and(|free| free < need) {
            let what = format!("too little space: the hosts' folders need {}", show_bytes(need));
            return Err(CliError::new(ExitStatus::DiskFull, kept.display(), what)
                .way_out("name a folder on another disk with --keep"));
        }
    }
    let copies = 1 + usize::from(given.is_none()) + sites + here;
    Ok(bytes.saturating_mul(copies as u64))
}

fn say_plan(source: &Source, sites: usize, hosts: usize, up: Option<ByteRate>, printer: &mut Printer) {
    let bytes = show_bytes(source.bytes);
    printer.note(format_args!(
        "an origin, {} and {} on this machine; a release of {bytes} goes to all of them",
        count(sites, "site"),
        count(hosts, "host"),
    ));
    if let Some(up) = up {
        printer.note(format_args!(
            "the origin's uplink is capped at {up}, so that one copy takes about {COPY_SECONDS} s and there is a mid-transfer to kill a site in"
        ));
    }
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}
