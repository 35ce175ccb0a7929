//! Limits of a node's configuration: kept on the wire and shown by `status`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use samara_tests::network::{Network, NodeConfig, Plan};
use samara_tests::tree::Tree;

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(120);

/// One origin and sites without hosts; `up` of the origin, `down` of each site.
fn plan(sites: usize, up: Option<&str>, down: Option<&str>) -> Plan {
    Plan {
        sites,
        hosts: 0,
        origin: NodeConfig {
            up: up.map(str::to_owned),
            ..NodeConfig::default()
        },
        site: NodeConfig {
            follow: true,
            upload: Some("all".to_owned()),
            down: down.map(str::to_owned),
            ..NodeConfig::default()
        },
        ..Plan::default()
    }
}

/// Publishes 48 MiB and returns how long the last site took.
fn time_to_staged(network: &Network) -> Result<Duration> {
    let mut tree = Tree::new(network.folder("release")?, 11)?;
    tree.file("large", 48 * MIB)?;
    let start = Instant::now();
    network.publish(tree.root(), "1.0.0")?;
    for site in &network.sites {
        site.node.wait_staged("1.0.0", SOON)?;
    }
    Ok(start.elapsed())
}

/// The least time that 48 MiB take at 8 MiB/s, a second's worth of burst let through at once.
const AT_LEAST: Duration = Duration::from_secs(5);

#[test]
fn a_downlink_limit_is_kept_and_shown() -> Result<()> {
    let network = Network::start(&plan(1, None, Some("8MiB/s")))?;
    let took = time_to_staged(&network)?;
    ensure!(took >= AT_LEAST, "48 MiB came in {took:?} through 8 MiB/s");
    let limits = &network.sites[0].node.status()?["limits"];
    ensure!(limits["down_bytes_per_second"] == 8 * MIB, "{limits}");
    let shown = limits["receiving_bytes_per_second"].as_u64().unwrap_or(u64::MAX);
    ensure!(
        shown <= 10 * MIB,
        "status shows {shown} bytes/s, more than the limit allows"
    );
    ensure!(limits["received_bytes"].as_u64() >= Some(48 * MIB), "{limits}");
    Ok(())
}

#[test]
fn an_uplink_limit_holds_over_all_neighbours_together() -> Result<()> {
    let network = Network::start(&plan(3, Some("8MiB/s"), None))?;
    let took = time_to_staged(&network)?;
    ensure!(took >= AT_LEAST, "48 MiB left in {took:?} through 8 MiB/s");
    let limits = &network.origin.status()?["limits"];
    ensure!(limits["up_bytes_per_second"] == 8 * MIB, "{limits}");
    let shown = limits["sending_bytes_per_second"].as_u64().unwrap_or(u64::MAX);
    ensure!(
        shown <= 10 * MIB,
        "status shows {shown} bytes/s, more than the limit allows"
    );
    Ok(())
}

#[test]
fn an_uplink_for_the_site_feeds_its_host_and_no_other_site() -> Result<()> {
    let mut plan = plan(2, None, None);
    plan.hosts = 2;
    plan.site.upload = Some("site".to_owned());
    let network = Network::start(&plan)?;
    time_to_staged(&network)?;
    for (number, site) in network.sites.iter().enumerate() {
        let moved = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(
            moved.from("other") == 0,
            "nothing comes from another customer: {moved:?}"
        );
        let into = network.folder(&format!("out{number}"))?;
        site.fetch("acme/app@1.0.0", &into)?;
        let served = site
            .node
            .wait_transfer("1.0.0", "its host served", SOON, |now| now.sent >= 48 * MIB)?;
        ensure!(served.sent < 96 * MIB, "one host was served: {served:?}");
        ensure!(site.node.status()?["limits"]["upload"] == "site", "status says so");
    }
    Ok(())
}
