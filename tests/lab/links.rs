//! `lab links`: one release over one bad link, beside one TCP stream over the same link, for each rung of the ladder.
//!
//! The origin's own link is without fault, the site's is the rung's. Samara's clock runs from the moment the site's host, its node
//! running, connected to the origin and aware of what is published by name, is told to fetch, to its verified copy. The stream's clock is that of curl: from its start,
//! handshake and all, to its end; nginx sends plain HTTP with the congestion control that the kernel gives every program, Samara
//! among them. Both start on a new link of the same seed: the same losses for the n-th packet of each direction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use samara_protocol::time::WallTime;
use samara_tests::network::{Network, NodeConfig, PRODUCT, Plan, fetch_command};
use samara_tests::tree::{b3sum, random_file};
use samara_tests::wan::{LADDER, Link, Profile, Wan, profile};
use samara_tests::{Process, wait, web};
use serde_json::{Value, json};

use crate::measure::{median, round};

mod table;

pub(crate) use table::table;

/// The place of the sender, whose link is without fault, and that of the receiver.
const ORIGIN: &str = "o";
/// See [`ORIGIN`].
const SITE: &str = "s1";
/// How long the two nodes may take to find each other over the worst link.
const MEETING: Duration = Duration::from_secs(300);
/// What one file may take at the link's rate: nobody means more than an hour of each link.
const SECONDS_MAX: f64 = 3600.0;
/// The least that is moved: on a narrow link handshakes would be most of less.
const SIZE_MIN: u64 = 1 << 20;
/// Of one TCP stream's speed, what Samara is to reach at least.
const GOAL: f64 = 0.7;
/// On these rungs it only has to finish.
const NO_GOAL: [&str; 2] = ["barely-usable", "absurd"];

/// Which links, and how much over each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rungs of the ladder, by name; all of them unless given.
    #[arg(long, value_delimiter = ',')]
    profiles: Vec<String>,
    /// The file's size, as the time that it takes at the link's rate; at least 1 MiB.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// How often, with the seeds 1, 2 and so on; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds after which a transfer counts as one that does not finish.
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

/// One transfer over one link.
#[derive(Debug, Clone, Copy)]
struct Crossed {
    seconds: f64,
    /// Bytes that came out of the downlink meanwhile, headers and all.
    down: u64,
    /// By how much the emulator was late at worst, and packets that it lost.
    late: Duration,
    overruns: u64,
}

/// What all runs over one rung gave; who did not finish is not among them.
struct Rung {
    profile: Profile,
    size: u64,
    samara: Vec<Crossed>,
    tcp: Vec<Crossed>,
    failures: Vec<String>,
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    ensure!(
        samara_tests::usage::is_root(),
        "lab links makes network namespaces: run it as root"
    );
    check(args)?;
    let known: Vec<&str> = LADDER.iter().map(|rung| rung.name).collect();
    for name in &args.profiles {
        ensure!(
            known.contains(&name.as_str()),
            "no profile {name}; known: {}",
            known.join(", ")
        );
    }
    let asked = |rung: &&Profile| args.profiles.is_empty() || args.profiles.iter().any(|name| name == rung.name);
    let mut rungs = Vec::new();
    for rung in LADDER.iter().filter(asked) {
        rungs.push(climb(args, profile(rung.name))?.report());
    }
    Ok(json!({
        "rungs": rungs,
        "runs": args.runs,
        "tcp_congestion_control": congestion_control()?,
        "goal": GOAL,
    }))
}

/// Refuses what would measure nothing, or never end.
fn check(args: &Args) -> Result<()> {
    ensure!(
        args.seconds > 0.0 && args.seconds <= SECONDS_MAX,
        "--seconds must be above 0 and at most {SECONDS_MAX}, not {}",
        args.seconds
    );
    ensure!(args.runs > 0, "--runs must be at least 1");
    ensure!(args.limit > 0, "--limit must be at least 1");
    Ok(())
}

/// All runs over one rung.
fn climb(args: &Args, profile: Profile) -> Result<Rung> {
    let folder = crate::work_folder()?;
    let source = folder.path().join("release.bin");
    let mut rung = Rung {
        profile,
        size: size(profile.mbit, args.seconds),
        samara: Vec::new(),
        tcp: Vec::new(),
        failures: Vec::new(),
    };
    random_file(&source, rung.size, 1)?;
    let hash = b3sum(&source)?;
    let limit = Duration::from_secs(args.limit);
    for seed in 1..=u64::from(args.runs) {
        for tool in ["samara", "tcp"] {
            let work = folder.path().join(format!("{tool}{seed}"));
            std::fs::create_dir_all(&work)?;
            let wan = Arc::new(Wan::new(seed, [(ORIGIN, Link::default()), (SITE, profile.link())])?);
            let crossed = if tool == "samara" {
                own(&wan, &source, &work, limit)
            } else {
                tcp(&wan, &source, &work, limit)
            };
            let crossed = crossed.and_then(|(crossed, copy)| {
                ensure!(b3sum(&copy)? == hash, "another file came out than went in");
                Ok(crossed)
            });
            rung.add(tool, seed, crossed);
            std::fs::remove_dir_all(&work)?;
        }
    }
    Ok(rung)
}

/// An origin's node, a site's node and its host.
fn own(wan: &Arc<Wan>, source: &Path, work: &Path, limit: Duration) -> Result<(Crossed, PathBuf)> {
    let plan = Plan {
        // What is followed would be under way before anybody asks for it.
        site: NodeConfig::default(),
        places: Some(wan.clone()),
        ..Plan::default()
    };
    let mut network = Network::prepare(&plan)?;
    network.origin.start()?;
    // Metadata is told apart by the second that it was signed in.
    let granted = signed(&network.origin.status()?);
    wait::until("the second to be over", Duration::from_secs(5), || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok((granted < Some(WallTime(i64::try_from(now)?))).then_some(()))
    })?;
    // The release is the folder that the file lies in: the file alone.
    let folder = work.join("release");
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(source, folder.join("file"))?;
    network.publish(&folder, "1.0.0")?;
    let published = signed(&network.origin.status()?);
    let site = network.sites.first_mut().context("a site")?;
    site.node.start()?;
    site.node.wait_status("what is published, by name", MEETING, |status| {
        let mut peers = status["peers"].as_array().into_iter().flatten();
        peers.any(|peer| peer["distance"] == "origin") && signed(status) == published
    })?;
    let host = site.hosts.first().context("the site has a host")?;
    let into = work.join("copy");
    let mut fetch = fetch_command(host, &format!("{PRODUCT}@1.0.0"), &into);
    Ok((cross(wan, &mut fetch, limit)?, into.join("file")))
}

/// When the newest metadata was signed that a node has of its one product.
fn signed(status: &Value) -> Option<WallTime> {
    WallTime::from_rfc3339(status["products"][0]["metadata_at"].as_str()?)
}

/// nginx and curl.
fn tcp(wan: &Arc<Wan>, source: &Path, work: &Path, limit: Duration) -> Result<(Crossed, PathBuf)> {
    let folder = work.join("www");
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(source, folder.join("file"))?;
    let address = wan.address(ORIGIN);
    let _server = web::serve(wan.command(ORIGIN, "nginx"), &folder, &address, 80, None)?;
    let copy = work.join("copy");
    let mut curl = wan.command(SITE, "curl");
    curl.args(["-sS", "-o"])
        .arg(&copy)
        .arg(format!("http://{address}/file"));
    Ok((cross(wan, &mut curl, limit)?, copy))
}

/// Runs the receiver to its end.
fn cross(wan: &Wan, receiver: &mut std::process::Command, limit: Duration) -> Result<Crossed> {
    let before = wan.traffic(SITE);
    let finished = Process::start(receiver)?.finish(limit)?.success()?;
    Ok(Crossed {
        seconds: finished.elapsed.as_secs_f64(),
        down: wan.traffic(SITE).since(&before).down.bytes,
        late: wan.lateness().worst,
        overruns: wan.overruns()?,
    })
}

impl Rung {
    fn add(&mut self, tool: &str, seed: u64, crossed: Result<Crossed>) {
        let name = self.profile.name;
        match crossed {
            Ok(crossed) => {
                crate::note(&format!("{name}, seed {seed}: {tool} {:.2} s", crossed.seconds));
                let all = if tool == "samara" {
                    &mut self.samara
                } else {
                    &mut self.tcp
                };
                all.push(crossed);
            }
            Err(error) => {
                let failure = format!("seed {seed}: {tool}: {error:#}");
                crate::note(&format!("{name}, {failure}"));
                self.failures.push(failure);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
    fn report(&self) -> Value {
        let seconds = |runs: &[Crossed]| {
            let has_any = !runs.is_empty();
            has_any.then(|| round(median(runs.iter().map(|run| run.seconds))))
        };
        let copies = |runs: &[Crossed]| {
            let has_any = !runs.is_empty();
            has_any.then(|| round(median(runs.iter().map(|run| run.down as f64 / self.size as f64))))
        };
        let (samara, tcp) = (seconds(&self.samara), seconds(&self.tcp));
        let ratio = samara.zip(tcp).map(|(samara, tcp)| round(tcp / samara));
        let has_finished = !self.failures.iter().any(|failure| failure.contains(": samara:"));
        let is_free = NO_GOAL.contains(&self.profile.name);
        let all = || self.samara.iter().chain(&self.tcp);
        json!({
            "profile": self.profile.name,
            "mbit": self.profile.mbit,
            "rtt_ms": self.profile.rtt_ms,
            "loss": self.profile.loss,
            "size": self.size,
            "samara_s": samara,
            "tcp_s": tcp,
            "ratio": ratio,
            "finished": has_finished,
            "goal_met": has_finished && (is_free || ratio.is_none_or(|ratio| ratio >= GOAL)),
            "samara_runs": self.samara.iter().map(|run| round(run.seconds)).collect::<Vec<_>>(),
            "tcp_runs": self.tcp.iter().map(|run| round(run.seconds)).collect::<Vec<_>>(),
            "interface_copies": {"samara": copies(&self.samara), "tcp": copies(&self.tcp)},
            "late_ms": all().map(|run| round(run.late.as_secs_f64() * 1e3)).fold(0.0, f64::max),
            "overruns": all().map(|run| run.overruns).sum::<u64>(),
            "failures": self.failures,
        })
    }
}

/// What so many seconds at a rate bring.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, some GB at the most"
)]
fn size(mbit: f64, seconds: f64) -> u64 {
    ((mbit * 125_000.0 * seconds) as u64).max(SIZE_MIN)
}

/// What every socket has that does not ask for another. New namespaces take it over.
fn congestion_control() -> Result<String> {
    let file = "/proc/sys/net/ipv4/tcp_congestion_control";
    Ok(std::fs::read_to_string(file).context(file)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossed(seconds: f64) -> Crossed {
        Crossed {
            seconds,
            down: 11 << 20,
            late: Duration::from_millis(2),
            overruns: 0,
        }
    }

    fn rung(name: &str, samara: &[f64], tcp: &[f64]) -> Rung {
        Rung {
            profile: profile(name),
            size: 10 << 20,
            samara: samara.iter().map(|seconds| crossed(*seconds)).collect(),
            tcp: tcp.iter().map(|seconds| crossed(*seconds)).collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn what_would_measure_nothing_is_refused() {
        let good = Args {
            profiles: Vec::new(),
            seconds: 20.0,
            runs: 1,
            limit: 900,
        };
        check(&good).expect("the defaults");
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let args = Args {
                seconds,
                profiles: Vec::new(),
                ..good
            };
            assert!(
                check(&args).expect_err("no time").to_string().contains("--seconds"),
                "{seconds}"
            );
        }
        let args = Args {
            runs: 0,
            profiles: Vec::new(),
            ..good
        };
        assert!(check(&args).expect_err("no run").to_string().contains("--runs"));
    }

    #[test]
    fn a_narrow_link_moves_a_mebibyte_at_least() {
        assert_eq!(size(8.0, 20.0), 20_000_000);
        assert_eq!(size(0.256, 20.0), SIZE_MIN);
    }

    #[test]
    fn the_ratio_is_of_medians_and_the_last_rungs_have_no_goal() {
        let report = rung("weak-4g", &[20.0, 30.0, 40.0], &[21.0, 15.0, 60.0]).report();
        assert_eq!(report["ratio"], 0.7);
        assert_eq!(report["goal_met"], true);
        assert_eq!(report["interface_copies"]["samara"], 1.1);
        assert_eq!(rung("weak-4g", &[40.0], &[20.0]).report()["goal_met"], false);
        assert_eq!(rung("absurd", &[40.0], &[20.0]).report()["goal_met"], true);
    }

    #[test]
    fn who_does_not_finish_meets_no_goal_and_the_rival_may_fail() {
        let mut hung = rung("absurd", &[], &[20.0]);
        hung.add("samara", 1, Err(anyhow::anyhow!("still running")));
        let report = hung.report();
        assert_eq!(
            (&report["finished"], &report["goal_met"]),
            (&json!(false), &json!(false))
        );
        assert!(report["samara_s"].is_null() && report["ratio"].is_null());
        let mut alone = rung("weak-4g", &[20.0], &[]);
        alone.add("tcp", 1, Err(anyhow::anyhow!("reset")));
        let report = alone.report();
        assert_eq!((&report["finished"], &report["goal_met"]), (&json!(true), &json!(true)));
    }
}
