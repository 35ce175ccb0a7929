//! Samara in the swarm: the origin's node and one node at each site, admitted to each other before the barrier; then a host
//! beside each node asks for the release and is done when its own copy is verified and in place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::Process;
use samara_tests::namespace::Star;
use samara_tests::network::{Network, NodeConfig, PRODUCT, Plan, fetch_command};

use super::{Bed, ORIGIN, RUN_LIMIT, Run};

/// How long the nodes may take to find each other.
const MEETING: Duration = Duration::from_secs(60);

/// One origin and its sites, connected before the barrier.
pub(crate) fn run(bed: &Bed<'_>, star: &Arc<Star>, barrier: &mut dyn FnMut() -> Result<()>) -> Result<Run> {
    let site = NodeConfig {
        upload: Some("all".to_owned()),
        ..NodeConfig::default()
    };
    let plan = Plan {
        sites: bed.sites.len(),
        site,
        places: Some(star.clone()),
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
    barrier()?;
    let started = Instant::now();
    let mut running = Vec::new();
    for (name, site) in bed.sites.iter().zip(&network.sites) {
        let into = bed.work.join(name);
        let host = site.hosts.first().context("the site has a host")?;
        let offset = started.elapsed();
        let process = Process::start(&mut fetch_command(host, &format!("{PRODUCT}@1.0.0"), &into))?;
        running.push((offset, process, into.join("file")));
    }
    let mut run = Run {
        finished: Vec::new(),
        origin_payload: None,
        copies: Vec::new(),
    };
    for (offset, process, copy) in running {
        run.finished
            .push(offset + process.finish(RUN_LIMIT)?.success()?.elapsed);
        run.copies.push(copy);
    }
    run.origin_payload = Some(sent_bytes(&network)? - sent);
    Ok(run)
}

fn sent_bytes(network: &Network) -> Result<u64> {
    let status = network.origin.status().with_context(|| format!("asking {ORIGIN}"))?;
    status["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes of the origin's status")
}
