//! Looks at everybody a few times a second until all have everything, and lets the kill happen in between.

use std::path::Path;
use std::time::{Duration, Instant};

use super::display::Display;
use super::kill::Kill;
use super::process::Runner;
use super::setup::{Network, PRODUCT};
use crate::cli::{CliError, Printer};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(80);
/// How long nodes may take to start and to find each other.
const START: Duration = Duration::from_secs(30);
/// How long nothing at all may move.
const STANDSTILL: Duration = Duration::from_secs(90);

/// Starts the nodes and waits until every site is connected.
pub(super) fn start_nodes(network: &mut Network, runner: &Runner, printer: &mut Printer) -> Result<(), CliError> {
    network.origin.start(runner, printer)?;
    let end = Instant::now() + START;
    while network.origin.status.is_none() {
        pause(runner)?;
        network.origin.look()?;
        if Instant::now() > end {
            return Err(network.origin.stuck("does not answer on its socket"));
        }
    }
    for site in &mut network.sites {
        site.start(runner, printer)?;
    }
    loop {
        pause(runner)?;
        for site in &mut network.sites {
            site.look()?;
        }
        let Some(alone) = network.sites.iter().find(|site| site.peers() == 0) else {
            return Ok(());
        };
        if Instant::now() > end {
            return Err(alone.stuck("found nobody to connect to"));
        }
    }
}

/// Starts the hosts' fetches, while their sites have next to nothing yet.
pub(super) fn start_hosts(
    network: &mut Network,
    version: &str,
    hosts: &Path,
    runner: &Runner,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let release = format!("{PRODUCT}@{version}");
    for host in &mut network.hosts {
        let output = hosts.join(&host.name).display().to_string();
        host.start(&release, &output, runner, printer)?;
    }
    Ok(())
}

/// Returns when every site has staged the release and every host's fetch has ended well.
pub(super) fn until_all_have_it(
    network: &mut Network,
    kill: &mut Kill,
    display: &mut Display,
    runner: &Runner,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (mut moved, mut last) = (Instant::now(), 0);
    loop {
        pause(runner)?;
        look(network)?;
        if let Some(told) = display.aside(|| kill.look(network, runner, printer))? {
            display.aside(|| printer.note(&told));
        }
        display.show(network, printer);
        if is_over(network) {
            // What was sent and received last.
            return look(network);
        }
        let now = sum(network);
        if now != last {
            (moved, last) = (Instant::now(), now);
        } else if moved.elapsed() > STANDSTILL {
            return Err(stuck(network));
        }
    }
}

fn look(network: &mut Network) -> Result<(), CliError> {
    network.look_at_nodes()?;
    for index in 0..network.hosts.len() {
        let site = network.hosts[index].site;
        let hosts = network.hosts.iter();
        let fetching = hosts
            .filter(|host| host.site == site && host.finished.is_none())
            .count() as u64;
        network.hosts[index].look(&network.sites[site], fetching)?;
    }
    Ok(())
}

fn is_over(network: &Network) -> bool {
    network.sites.iter().all(|site| site.finished.is_some()) && network.hosts.iter().all(|host| host.finished.is_some())
}

/// Changes whenever anything moves.
fn sum(network: &Network) -> u64 {
    let sites = network.sites.iter().filter_map(|site| site.payload());
    let sites: u64 = sites.map(|payload| payload.have_bytes).sum();
    let hosts = network
        .hosts
        .iter()
        .map(|host| host.have() + u64::from(host.finished.is_some()));
    sites + network.origin.sent() + hosts.sum::<u64>()
}

fn stuck(network: &Network) -> CliError {
    let what = format!("nothing has moved for {} s", STANDSTILL.as_secs());
    let site = network.sites.iter().find(|site| site.finished.is_none());
    let host = network.hosts.iter().find(|host| host.finished.is_none());
    match (site, host) {
        (Some(site), _) => site.stuck(&what),
        (None, Some(host)) => host.stuck(&what),
        (None, None) => CliError::failure("demo", what),
    }
}

fn pause(runner: &Runner) -> Result<(), CliError> {
    runner.interrupt().check()?;
    std::thread::sleep(LOOK);
    Ok(())
}
