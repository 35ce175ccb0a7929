//! Samara in the swarm: the origin's node and one node at each site, admitted to each other before the barrier.
//!
//! Told all at once, the sites follow a channel on which the release is promoted at the barrier, and a site is done when its
//! node says that all of it is verified and written; hosts take their copies from there afterwards, to be compared. Told
//! one after the other, a host beside each node asks for the release, and is done when its own copy is in place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::network::{Network, NodeConfig, PRODUCT, Plan, Site, VERB, fetch_command};
use samara_tests::{Finished, Process, wait};
use serde_json::Value;

use super::clock::Clock;
use super::{Barrier, Bed, ORIGIN, Run};

/// How long the nodes may take to find each other.
const MEETING: Duration = Duration::from_secs(60);
/// Who has made and lost no connection for so long has met whom there is.
const SETTLED: Duration = Duration::from_secs(3);

/// One origin and its sites, connected before the barrier.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
    let together = bed.stagger.is_zero();
    let site = NodeConfig {
        upload: Some("all".to_owned()),
        follow: together,
        log: together.then_some("info"),
        ..NodeConfig::default()
    };
    let plan = Plan {
        sites: bed.sites.len(),
        site,
        places: Some(bed.star.clone()),
        ..Plan::default()
    };
    let network = Network::start(&plan)?;
    if together {
        publish_draft(bed, &network)?;
    } else {
        publish(bed, &network)?;
    }
    meet(&network.sites)?;
    let sent = sent_bytes(&network)?;
    let clock = bed.start(barrier)?;
    let (finished, durable) = if together {
        let times = promote(bed, &network, clock)?;
        (times.verified, Some(times.staged))
    } else {
        (fetch(bed, &network.sites, clock)?, None)
    };
    let origin_payload = Some(sent_bytes(&network)? - sent);
    if together {
        fetch(bed, &network.sites, Clock::start(Duration::ZERO))?;
    }
    Ok(Run {
        finished,
        durable,
        origin_payload,
        copies: copies(bed),
    })
}

/// How long each site took.
pub(crate) struct Times {
    /// Until all was verified and written.
    pub(crate) verified: Vec<Duration>,
    /// Until all was durable too, and the release staged.
    pub(crate) staged: Vec<Duration>,
}

/// Promotes the draft on the channel that all sites follow, and waits for each of the bed's sites.
pub(crate) fn promote(bed: &Bed<'_>, network: &Network, clock: Clock) -> Result<Times> {
    let sites = &network.sites[..bed.sites.len()];
    let said = |what: &'static str, words: [&'static str; 2]| {
        let said = move |line: &str| words.iter().all(|word| line.contains(word));
        move |site: &Site| {
            let line = site.node.process()?.line(what, bed.limit, said);
            line.map(|_| Instant::now())
                .with_context(|| site.node.actor.name().to_owned())
        }
    };
    let verified = said("the whole release", ["\"transfer_completed\"", "\"payload\""]);
    let staged = said("the release to be staged", ["\"release_staged\"", "\"1.0.0\""]);
    thread::scope(|scope| {
        let staged = scope.spawn(|| clock.each(sites, staged));
        let verified = scope.spawn(|| clock.each(sites, verified));
        let release = format!("{PRODUCT}@1.0.0");
        Finished::of(&mut network.vendor_command(["promote", &release]), VERB)?.success()?;
        let ended = |thread: thread::ScopedJoinHandle<'_, Result<Vec<Duration>>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok(Times {
            verified: ended(verified)?,
            staged: ended(staged)?,
        })
    })
}

/// Publishes the folder that the file lies in, on no channel yet.
pub(crate) fn publish_draft(bed: &Bed<'_>, network: &Network) -> Result<Value> {
    let folder = folder_of_release(bed)?;
    let mut publish = network.vendor_command(["publish", "--product", PRODUCT, "--version", "1.0.0", "--json"]);
    let publish = Finished::of(publish.arg(folder), bed.limit)?;
    publish.success()?.json()
}

/// Publishes the folder that the file lies in: the file alone. What `publish` printed.
pub(crate) fn publish(bed: &Bed<'_>, network: &Network) -> Result<Value> {
    network.publish(&folder_of_release(bed)?, "1.0.0")?.json()
}

/// Makes the folder that is published.
fn folder_of_release(bed: &Bed<'_>) -> Result<PathBuf> {
    let folder = release(bed);
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(bed.source, folder.join("file"))?;
    Ok(folder)
}

/// The folder that is published.
pub(crate) fn release(bed: &Bed<'_>) -> PathBuf {
    bed.work.join("release")
}

/// Waits until each of the sites, which run, is connected to the origin, and nobody connects to anybody any more: handshakes
/// are no part of the transfer.
pub(crate) fn meet(sites: &[Site]) -> Result<()> {
    for site in sites {
        site.node.wait_status("a connection to the origin", MEETING, |status| {
            status["peers"]
                .as_array()
                .is_some_and(|peers| peers.iter().any(|peer| peer["distance"] == "origin"))
        })?;
    }
    let (mut before, mut since) = (BTreeSet::new(), Instant::now());
    wait::until("the sites to have met", MEETING, || {
        let mut now = BTreeSet::new();
        for (at, site) in sites.iter().enumerate() {
            let status = site.node.status()?;
            let peers = status["peers"].as_array().into_iter().flatten();
            now.extend(peers.map(|peer| (at, peer["peer"].to_string())));
        }
        if before != now {
            (before, since) = (std::mem::take(&mut now), Instant::now());
        }
        Ok((since.elapsed() >= SETTLED).then_some(()))
    })
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
