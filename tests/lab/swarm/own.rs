//! Samara in the swarm: the origin's node and one node at each site, admitted to each other before the barrier; then a host
//! beside each node asks for the release and is done when its own copy is verified and in place.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::Process;
use samara_tests::network::{Network, NodeConfig, PRODUCT, Plan, Site, fetch_command};
use serde_json::Value;

use super::clock::Clock;
use super::{Barrier, Bed, ORIGIN, Run};

/// How long the nodes may take to find each other.
const MEETING: Duration = Duration::from_secs(60);

/// One origin and its sites, connected before the barrier.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
    let site = NodeConfig {
        upload: Some("all".to_owned()),
        ..NodeConfig::default()
    };
    let plan = Plan {
        sites: bed.sites.len(),
        site,
        places: Some(bed.star.clone()),
        ..Plan::default()
    };
    let network = Network::start(&plan)?;
    publish(bed, &network)?;
    meet(&network.sites)?;
    let sent = sent_bytes(&network)?;
    let clock = bed.start(barrier)?;
    let finished = fetch(bed, &network.sites, clock)?;
    Ok(Run {
        finished,
        origin_payload: Some(sent_bytes(&network)? - sent),
        copies: copies(bed),
    })
}

/// Publishes the folder that the file lies in: the file alone. What `publish` printed.
pub(crate) fn publish(bed: &Bed<'_>, network: &Network) -> Result<Value> {
    let folder = release(bed);
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(bed.source, folder.join("file"))?;
    network.publish(&folder, "1.0.0")?.json()
}

/// The folder that is published.
pub(crate) fn release(bed: &Bed<'_>) -> PathBuf {
    bed.work.join("release")
}

/// Waits until each of the sites, which run, is connected to the origin.
pub(crate) fn meet(sites: &[Site]) -> Result<()> {
    for site in sites {
        site.node.wait_status("a connection to the origin", MEETING, |status| {
            status["peers"]
                .as_array()
                .is_some_and(|peers| peers.iter().any(|peer| peer["distance"] == "origin"))
        })?;
    }
    Ok(())
}

/// Tells a host of each of the bed's sites to fetch, and returns how long each took.
pub(crate) fn fetch(bed: &Bed<'_>, sites: &[Site], clock: Clock) -> Result<Vec<Duration>> {
    let sites: Vec<_> = bed.sites.iter().zip(sites).collect();
    clock.each(&sites, |(name, site)| {
        let host = site.hosts.first().context("the site has a host")?;
        let began = Instant::now();
        let product = format!("{PRODUCT}@1.0.0");
        let fetch = Process::start(&mut fetch_command(host, &product, &bed.work.join(name)))?;
        Ok(began + fetch.finish(bed.limit)?.success()?.elapsed)
    })
}

/// Where the copies lie then.
pub(crate) fn copies(bed: &Bed<'_>) -> Vec<PathBuf> {
    bed.sites.iter().map(|site| bed.work.join(site).join("file")).collect()
}

fn sent_bytes(network: &Network) -> Result<u64> {
    let status = network.origin.status().with_context(|| format!("asking {ORIGIN}"))?;
    status["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes of the origin's status")
}
