//! `lab memory`: the peak memory of a site node with 32 neighbours, of which four do not read what they asked for.
//!
//! 32 sites' nodes take a release at a trickle. When each has something to give, a host asks the node under test for it, which
//! then fetches it at full speed, from the origin and from all of them, and gives to all of them. At any moment four of these are stopped (SIGSTOP) after bytes have reached them, so that they have asked, hold open
//! connections and do not read: for ten seconds, and then the next four, as a node drops who is silent for fifteen. The run ends
//! when the node under test has the whole file. `neighbours` is how many there were at the least at any look. A run's peak is the
//! kernel's `VmHWM`; the sizes take turns, and the median of a size counts: buffers fill by chance, and one peak is the
//! largest of many chances.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_tests::Process;
use samara_tests::network::{Network, PRODUCT, Plan, Transfer, fetch_command};
use samara_tests::tree::Tree;
use serde_json::{Value, json};

use crate::measure::{median, round};

const NEIGHBOURS: usize = 32;
const UNREAD: usize = 4;
/// How long four of them do not read: less than what a node waits for.
const SILENCE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(900);
/// What a neighbour has before the measurement: at least the largest block of these releases.
const BLOCK: u64 = 2 << 20;
/// What each neighbour takes: little enough that 32 of them leave the machine to the node under test.
const TRICKLE: &str = "256KiB/s";

/// Sizes to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file's size.
    #[arg(long, value_delimiter = ',', default_value = "1GiB,8GiB", value_parser = samara_protocol::units::parse_bytes)]
    sizes: Vec<u64>,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let mut peaks = vec![Vec::new(); args.sizes.len()];
    let mut least = vec![NEIGHBOURS; args.sizes.len()];
    for number in 0..args.runs {
        for (at, size) in args.sizes.iter().enumerate() {
            let (peak, neighbours) = once(*size)?;
            crate::note(&format!("run {}: {size} bytes: {peak:.1} MiB", number + 1));
            peaks[at].push(round(peak));
            least[at] = least[at].min(neighbours);
        }
    }
    let rows = args.sizes.iter().zip(peaks).zip(least);
    let rows = rows.map(|((size, peaks), neighbours)| {
        json!({
            "size": size,
            "neighbours": neighbours,
            "unread": UNREAD,
            "rss_mib": median(peaks.iter().copied()),
            "runs_mib": peaks,
        })
    });
    Ok(rows.collect())
}

/// The peak in MiB, and the least number of neighbours.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn once(size: u64) -> Result<(f64, usize)> {
    let mut plan = Plan {
        sites: 1 + NEIGHBOURS,
        hosts: 0,
        // Of another customer's sites a node is told of sixteen at the most: these would never all meet.
        sites_per_tenant: usize::MAX,
        ..Plan::default()
    };
    plan.site.upload = Some("all".to_owned());
    plan.site.follow = true;
    plan.site.down = Some(TRICKLE.to_owned());
    let mut network = Network::prepare(&plan)?;
    network.sites[0].node.configure(|config| {
        config.down = None;
        config.follow = false;
    })?;
    network.add_host(0, "host")?;
    network.origin.start()?;
    for site in &mut network.sites {
        site.node.start()?;
    }
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("release.bin", size)?;
    network.publish(tree.root(), "1.0.0")?;

    let (site, neighbours) = network.sites.split_first().context("a node under test")?;
    let tested = &site.node;
    tested.wait_status("32 neighbours", LIMIT, |status| neighbours_in(status) >= NEIGHBOURS)?;
    for site in neighbours {
        site.node
            .wait_transfer("1.0.0", "a block at a neighbour", LIMIT, |now| now.have >= BLOCK)?;
    }
    let host = site.hosts.first().context("a host")?;
    let mut asks = fetch_command(host, &format!("{PRODUCT}@1.0.0"), &network.folder("out")?);
    // What it takes itself is little; that it asked is what counts.
    let _asks = Process::start(asks.args(["--down", TRICKLE]))?;
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
    Ok((tested.process()?.usage().peak_rss as f64 / 1_048_576.0, least))
}

fn neighbours_in(status: &Value) -> usize {
    // The origin and the host are at other distances.
    let peers = status["peers"].as_array();
    peers.map_or(0, |peers| {
        peers.iter().filter(|peer| peer["distance"] == "tenant").count()
    })
}

fn is_staged(status: &Value) -> bool {
    Transfer::find(status, "1.0.0").is_some_and(|transfer| transfer.stage == "staged")
}
