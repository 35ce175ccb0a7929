//! `lab memory`: the peak memory of a site node with 32 neighbours, of which four never read what they asked for.
//!
//! The node under test fetches one file from the origin at full speed, while 32 other sites' nodes take the same release at a
//! trickle; four of these are stopped (SIGSTOP) once bytes have reached them, so that they have asked, hold open connections
//! and never read again. The run ends when the node under test has the whole file. The peak is the kernel's `VmHWM`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Network, Node, Plan};
use samara_tests::tree::Tree;
use serde_json::{Value, json};

use crate::measure::round;

const NEIGHBOURS: usize = 32;
const UNREAD: usize = 4;
const LIMIT: Duration = Duration::from_secs(900);
/// What each neighbour takes: little enough that 32 of them leave the machine to the node under test.
const TRICKLE: &str = "256KiB/s";

/// Sizes to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file's size, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1GiB,8GiB", value_parser = samara_protocol::units::parse_bytes)]
    sizes: Vec<u64>,
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let rows: Result<Vec<Value>> = args.sizes.iter().map(|size| once(*size)).collect();
    Ok(Value::Array(rows?))
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn once(size: u64) -> Result<Value> {
    let mut plan = Plan {
        sites: 1 + NEIGHBOURS,
        hosts: 0,
        // Of another customer's sites a node is told of sixteen at the most: these would never all meet.
        one_tenant: true,
        ..Plan::default()
    };
    plan.site.upload = Some("all".to_owned());
    plan.site.follow = true;
    plan.site.down = Some(TRICKLE.to_owned());
    let mut network = Network::prepare(&plan)?;
    network.sites[0].node.configure(|config| config.down = None)?;
    network.origin.start()?;
    for site in &mut network.sites {
        site.node.start()?;
    }
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("release.bin", size)?;
    network.publish(tree.root(), "1.0.0")?;

    let (tested, neighbours) = network.sites.split_first().context("a node under test")?;
    let tested = &tested.node;
    // The 32 sites, and the origin.
    let connected = |status: &Value| status["peers"].as_array().is_some_and(|peers| peers.len() > NEIGHBOURS);
    tested.wait_status("32 neighbours", LIMIT, connected)?;
    for site in &neighbours[..UNREAD] {
        site.node
            .wait_transfer("1.0.0", "bytes at a neighbour", LIMIT, |now| now.have > 0)?;
        pause(&site.node)?;
    }
    tested.wait_staged("1.0.0", LIMIT)?;
    let status = tested.status()?;
    let peers = status["peers"].as_array().map_or(0, Vec::len);
    ensure!(
        peers >= NEIGHBOURS - UNREAD,
        "only {peers} neighbours were left at the end"
    );
    let peak = tested.process()?.usage().peak_rss;
    crate::note(&format!("{size} bytes: {:.1} MiB", peak as f64 / 1_048_576.0));
    Ok(json!({ "size": size, "neighbours": NEIGHBOURS, "unread": UNREAD, "rss_mib": round(peak as f64 / 1_048_576.0) }))
}

fn pause(node: &Node) -> Result<()> {
    node.process()?.signal(libc::SIGSTOP)
}
