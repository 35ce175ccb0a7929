//! Samara in the swarm: the origin's node and one node at each site, admitted to each other before the barrier; then a host
//! beside each node asks for the release and is done when its own copy is verified and in place.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::Process;
use samara_tests::network::{Network, NodeConfig, PRODUCT, Plan, fetch_command};

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
    // The release is the folder that the file lies in: the file alone.
    let folder = bed.work.join("release");
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(bed.source, folder.join("file"))?;
    network.publish(&folder, "1.0.0")?;
    for site in &network.sites {
        site.node.wait_status("a connection to the origin", MEETING, |status| {
            status["peers"]
                .as_array()
                .is_some_and(|peers| peers.iter().any(|peer| peer["distance"] == "origin"))
        })?;
    }
    let sent = sent_bytes(&network)?;
    let clock = bed.start(barrier)?;
    let sites: Vec<_> = bed.sites.iter().zip(&network.sites).collect();
    let finished = clock.each(&sites, |(name, site)| {
        let host = site.hosts.first().context("the site has a host")?;
        let began = Instant::now();
        let product = format!("{PRODUCT}@1.0.0");
        let fetch = Process::start(&mut fetch_command(host, &product, &bed.work.join(name)))?;
        Ok(began + fetch.finish(bed.limit)?.success()?.elapsed)
    })?;
    Ok(Run {
        finished,
        origin_payload: Some(sent_bytes(&network)? - sent),
        copies: bed.sites.iter().map(|site| bed.work.join(site).join("file")).collect(),
    })
}

fn sent_bytes(network: &Network) -> Result<u64> {
    let status = network.origin.status().with_context(|| format!("asking {ORIGIN}"))?;
    status["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes of the origin's status")
}
