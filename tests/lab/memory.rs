//! `lab memory`: the peak memory of a site node with 32 neighbours, of which four do not read what they asked for.
//!
//! The node under test fetches one file from the origin at full speed, while 32 other sites' nodes take the same release at a
//! trickle. At any moment four of these are stopped (SIGSTOP) after bytes have reached them, so that they have asked, hold open
//! connections and do not read: for ten seconds, and then the next four, as a node drops who is silent for fifteen. The run ends
//! when the node under test has the whole file. `neighbours` is how many there were at the least at any look. The peak is the
//! kernel's `VmHWM`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Network, Plan, Transfer};
use samara_tests::tree::Tree;
use serde_json::{Value, json};

use crate::measure::round;

const NEIGHBOURS: usize = 32;
const UNREAD: usize = 4;
/// How long four of them do not read: less than what a node waits for.
const SILENCE: Duration = Duration::from_secs(10);
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
    tested.wait_status("32 neighbours", LIMIT, |status| neighbours_in(status) >= NEIGHBOURS)?;
    let (mut fours, mut least) = (neighbours.chunks(UNREAD).cycle(), NEIGHBOURS);
    loop {
        let four = fours.next().context("32 neighbours go round")?;
        for site in four {
            let has_some = |now: &Transfer| now.have > 0;
            site.node
                .wait_transfer("1.0.0", "bytes at a neighbour", LIMIT, has_some)?;
            site.node.process()?.signal(libc::SIGSTOP)?;
        }
        let (until, seen) = (Instant::now() + SILENCE, Cell::new(least));
        let status = tested.wait_status("the file, or the end of a silence", LIMIT, |status| {
            seen.set(seen.get().min(neighbours_in(status)));
            is_staged(status) || until <= Instant::now()
        })?;
        least = seen.get();
        for site in four {
            site.node.process()?.signal(libc::SIGCONT)?;
        }
        if is_staged(&status) {
            break;
        }
    }
    ensure!(
        least >= NEIGHBOURS - UNREAD,
        "only {least} neighbours were left at one time"
    );
    let peak = tested.process()?.usage().peak_rss;
    crate::note(&format!("{size} bytes: {:.1} MiB", peak as f64 / 1_048_576.0));
    Ok(json!({ "size": size, "neighbours": least, "unread": UNREAD, "rss_mib": round(peak as f64 / 1_048_576.0) }))
}

fn neighbours_in(status: &Value) -> usize {
    // One of them is the origin.
    status["peers"]
        .as_array()
        .map_or(0, |peers| peers.len().saturating_sub(1))
}

fn is_staged(status: &Value) -> bool {
    Transfer::find(status, "1.0.0").is_some_and(|transfer| transfer.stage == "staged")
}
