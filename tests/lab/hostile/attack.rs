//! The hostile processes of one run: made ready before the clock, set loose with it, and asked afterwards.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use samara_tests::Process;
use samara_tests::hostile::{Conduct, Insider};
use samara_tests::network::{Network, Site};
use serde_json::Value;

use super::peer::READY;
use crate::swarm::{Bed, own};

/// How long one may take to get the release's list, or to end.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Elsewhere they would have machines of their own: what they cost this one comes after what the honest nodes need.
const NICE: &str = "10";

/// One of them.
#[derive(Debug)]
pub(crate) struct Attacker {
    /// What it does.
    pub(crate) conduct: Conduct,
    /// Its name, as logs have it.
    pub(crate) peer: String,
    process: Process,
}

/// Starts one for each conduct, each at the place and with the identity of one of the `sites`, and waits until all are ready. Their
/// victims are the origin and the sites of the bed.
pub(crate) fn prepare(bed: &Bed<'_>, network: &Network, conducts: &[Conduct], manifest: &str) -> Result<Vec<Attacker>> {
    let (honest, others) = network.sites.split_at(bed.sites.len());
    let mut victims: Vec<String> = honest.iter().map(|site| site.node.address()).collect();
    victims.push(network.origin.address());
    let mut attackers = Vec::new();
    for (number, (site, conduct)) in others.iter().zip(conducts).enumerate() {
        let place = super::site_name(honest.len() + number);
        attackers.push(start(bed, network, site, &place, *conduct, manifest, &victims)?);
    }
    for attacker in &attackers {
        let what = format!("the {} peer to be ready", name(attacker.conduct));
        attacker.process.line(&what, READY_LIMIT, |line| line == READY)?;
    }
    Ok(attackers)
}

fn start(
    bed: &Bed<'_>,
    network: &Network,
    site: &Site,
    place: &str,
    conduct: Conduct,
    manifest: &str,
    victims: &[String],
) -> Result<Attacker> {
    let home = site.node.actor.home();
    let mut command = bed.star.command(place, "nice");
    command.arg("-n").arg(NICE).arg(std::env::current_exe()?);
    command.args(["hostile-peer", "--conduct", &name(conduct)]);
    command.args(["--manifest", manifest, "--origin", &network.origin.address()]);
    command.args(["--victims", &victims.join(",")]);
    command.arg("--home").arg(home).arg("--folder").arg(own::release(bed));
    Ok(Attacker {
        conduct,
        peer: Insider::of(home)?.node().to_string(),
        process: Process::start(&mut command)?,
    })
}

impl Attacker {
    /// Sets it loose.
    pub(crate) fn begin(&self) -> Result<()> {
        self.process.signal(libc::SIGUSR1)
    }

    /// CPU seconds that it has cost so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.process.usage().cpu.as_secs_f64()
    }

    /// Ends it; what its victims have done with it.
    pub(crate) fn end(&self) -> Result<Value> {
        let ended = self.process.terminate(READY_LIMIT)?.success();
        let seen = ended.with_context(|| format!("the {} peer", name(self.conduct)))?;
        seen.json()
    }
}

/// A conduct as the command line has it.
pub(crate) fn name(conduct: Conduct) -> String {
    let named = conduct.to_possible_value();
    named.map_or_else(String::new, |value| value.get_name().to_owned())
}
