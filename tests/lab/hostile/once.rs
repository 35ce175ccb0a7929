//! One run: the swarm of `lab swarm`, with or without hostile processes, and what is looked at afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use samara_tests::hostile::Conduct;
use samara_tests::namespace::{Place, Star};
use samara_tests::network::{Network, Node, NodeConfig, Plan};
use samara_tests::tree::b3sum;
use serde_json::Value;

use super::attack::{self, Attacker};
use super::counted::{Counted, METRICS};
use super::verdicts::{self, Verdict};
use super::{Args, site_name};
use crate::measure::MIB;
use crate::swarm::{self, Bed, ORIGIN, neighbours, own};
use crate::warm_memory::WarmMemory;

/// What one run has shown.
#[derive(Debug)]
pub(crate) struct Row {
    /// Seconds of the last honest site, and of all of them in the mean.
    pub(crate) last: f64,
    /// See `last`.
    pub(crate) mean: f64,
    /// Bytes out of the origin's interface over the file's size, whoever they were for.
    pub(crate) origin_copies: f64,
    /// Bytes into an honest site's interface over the file's size, in the mean.
    pub(crate) received_copies: f64,
    /// Of the honest sites' nodes the largest peak, in MiB.
    pub(crate) site_peak: f64,
    /// The origin's.
    pub(crate) origin_peak: f64,
    /// Payload that honest sites have received beyond the release, over the release.
    pub(crate) waste: f64,
    /// CPU seconds of the honest nodes, from the start to the last copy.
    pub(crate) honest_cpu: f64,
    /// Those of the hostile ones.
    pub(crate) hostile_cpu: f64,
    /// The share of the machine's cores that was busy meanwhile, with whatever else runs there: near 1 it is the machine that is measured.
    pub(crate) busy: f64,
    /// Honest nodes that an honest node has kept out.
    pub(crate) honest_quarantined: u64,
    /// Whether every copy is the file.
    pub(crate) verified: bool,
    /// What became of each hostile one.
    pub(crate) attackers: Vec<Attacked>,
}

/// One hostile peer after a run.
#[derive(Debug)]
pub(crate) struct Attacked {
    /// What the honest nodes say of it.
    pub(crate) verdict: Verdict,
    /// What it says of them.
    pub(crate) seen: Value,
}

/// Sets everything up, has every honest site fetch beside one hostile process for each conduct, and ends it again.
pub(crate) fn run(args: &Args, conducts: &[Conduct], source: &Path, work: &Path, hash: &str) -> Result<Row> {
    let honest: Vec<String> = (0..args.honest).map(site_name).collect();
    let star = Arc::new(Star::new(places(args, conducts.len()))?);
    let bed = Bed {
        star: &star,
        sites: &honest,
        source,
        work,
        stagger: Duration::ZERO,
        limit: swarm::run_limit(&args.swarm()),
    };
    // A node's copy and that of the host beside it.
    let _memory = WarmMemory::new(honest.len(), 2 * args.size)?;
    let network = start(&bed, conducts.len())?;
    let published = own::publish(&bed, &network)?;
    let sites = &network.sites[..args.honest];
    own::meet(sites)?;
    let manifest = published["manifest"].as_str().context("the release's manifest")?;
    let attackers = attack::prepare(&bed, &network, conducts, manifest)?;

    let mut before = None;
    let mut barrier = || -> Result<()> {
        before = Some(Counted::now(&bed, &network, &attackers)?);
        attackers.iter().try_for_each(Attacker::begin)
    };
    let clock = bed.start(&mut barrier)?;
    let finished = own::fetch(&bed, sites, clock)?;
    let moved = Counted::now(&bed, &network, &attackers)?.since(&before.context("the barrier was reached")?);

    let mut nodes: Vec<&Node> = sites.iter().map(|site| &site.node).collect();
    let site_peak = peak(&nodes)?;
    let origin_peak = peak(&[&network.origin])?;
    nodes.push(&network.origin);
    let verdicts = verdicts_of(&nodes)?;
    let mut attacked = Vec::new();
    for attacker in &attackers {
        attacked.push(Attacked {
            verdict: verdicts.get(&attacker.peer).cloned().unwrap_or_default(),
            seen: attacker.end()?,
        });
    }
    let is_hostile = |peer: &String| attackers.iter().any(|attacker| attacker.peer == *peer);
    let blamed = verdicts.iter().filter(|(peer, _)| !is_hostile(peer));
    let honest_quarantined = blamed.filter(|(_, verdict)| verdict.quarantined_by > 0).count() as u64;
    let mut verified = true;
    for copy in own::copies(&bed) {
        verified &= b3sum(&copy)? == hash;
    }
    Ok(row(
        args,
        &finished,
        &moved,
        [site_peak, origin_peak],
        honest_quarantined,
        verified,
        attacked,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn row(
    args: &Args,
    finished: &[Duration],
    moved: &Counted,
    [site_peak, origin_peak]: [f64; 2],
    honest_quarantined: u64,
    verified: bool,
    attackers: Vec<Attacked>,
) -> Row {
    let seconds: Vec<f64> = finished.iter().map(Duration::as_secs_f64).collect();
    let (size, all) = (args.size as f64, args.size as f64 * args.honest as f64);
    Row {
        last: seconds.iter().copied().fold(0.0, f64::max),
        mean: seconds.iter().sum::<f64>() / seconds.len().max(1) as f64,
        origin_copies: moved.origin_sent as f64 / size,
        received_copies: moved.sites_received as f64 / all,
        site_peak,
        origin_peak,
        waste: moved.payload as f64 / all - 1.0,
        honest_cpu: moved.honest_cpu,
        hostile_cpu: moved.hostile_cpu,
        busy: moved.machine.busy(),
        honest_quarantined,
        verified,
        attackers,
    }
}

/// The origin's place, the honest sites' and behind them the hostile ones', all with the same links.
fn places(args: &Args, hostile: usize) -> Vec<Place> {
    let (up, down) = (swarm::mbit(args.site_up), swarm::mbit(args.site_down));
    let mut places = vec![Place::new(ORIGIN, Some(swarm::mbit(args.origin_up)), None)];
    places.extend((0..args.honest + hostile).map(|index| Place::new(site_name(index), Some(up), Some(down))));
    places
}

/// The origin's node and those of the bed's sites; the hostile ones' sites are granted and enrolled, and their nodes do not run.
fn start(bed: &Bed<'_>, hostile: usize) -> Result<Network> {
    let logged = NodeConfig {
        log: Some("info"),
        ..NodeConfig::default()
    };
    let plan = Plan {
        sites: bed.sites.len() + hostile,
        site: NodeConfig {
            upload: Some("all".to_owned()),
            metrics: Some(METRICS.to_owned()),
            ..logged.clone()
        },
        origin: logged,
        places: Some(bed.star.clone()),
        ..Plan::default()
    };
    neighbours::make_room(plan.sites + 1)?;
    let mut network = Network::prepare(&plan)?;
    network.origin.start()?;
    for site in &mut network.sites[..bed.sites.len()] {
        site.node.start()?;
    }
    Ok(network)
}

/// The largest peak of some nodes, in MiB.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn peak(nodes: &[&Node]) -> Result<f64> {
    let mut most = 0;
    for node in nodes {
        most = most.max(node.process()?.usage().peak_rss);
    }
    Ok(most as f64 / MIB)
}

fn verdicts_of(nodes: &[&Node]) -> Result<std::collections::BTreeMap<String, Verdict>> {
    let mut logs = Vec::new();
    for node in nodes {
        logs.push(node.process()?.lines());
    }
    Ok(verdicts::of(&logs))
}
