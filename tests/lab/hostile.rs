//! `lab hostile`: the swarm of `lab swarm` with and without as many sites that mean harm, in turns.
//!
//! Each hostile one is a process with a legitimate site's key and grant, in a namespace of its own with a site's link, and of one
//! conduct. All of them are set loose at the moment at which the honest sites are told to fetch, so that whatever they do falls into the clock, and
//! every honest node is a victim of each. The bound is that of the honest nodes alone. Peaks are the kernel's `VmHWM`, the largest of all runs;
//! who is kept out is read from the honest nodes' logs.

use anyhow::{Context, Result, ensure};
use samara_protocol::units::ByteRate;
use samara_tests::hostile::Conduct;
use samara_tests::tree::{b3sum, random_file};
use serde_json::{Value, json};

use crate::measure::{median, round};
use crate::swarm;

mod attack;
mod counted;
mod once;
pub(crate) mod peer;
mod table;
mod verdicts;

pub(crate) use table::table;

use once::Row;

/// The catalogue: garbage, a stall, a slow drip, lying haves, a flood, hoards of streams and of connections, half and oversized frames, a storm
/// of reconnects.
const CATALOGUE: [Conduct; 10] = [
    Conduct::WrongData,
    Conduct::Stall,
    Conduct::Drip,
    Conduct::Lie,
    Conduct::FloodHaves,
    Conduct::HoardStreams,
    Conduct::HoardConnections,
    Conduct::HalfFrame,
    Conduct::OversizedReply,
    Conduct::ReconnectStorm,
];

/// The shape of the swarm, and who is in it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Honest sites beside the origin.
    #[arg(long, default_value_t = 10)]
    honest: usize,
    /// Hostile ones.
    #[arg(long, default_value_t = 10)]
    hostile: usize,
    /// What the hostile ones do, one conduct each, from the first again where there are more of them; the catalogue unless given.
    #[arg(long, value_delimiter = ',', value_enum)]
    conduct: Vec<Conduct>,
    /// The origin's uplink.
    #[arg(long, default_value = "50mbit")]
    origin_up: ByteRate,
    /// Each site's uplink.
    #[arg(long, default_value = "50mbit")]
    site_up: ByteRate,
    /// Each site's downlink.
    #[arg(long, default_value = "100mbit")]
    site_down: ByteRate,
    /// The file's size.
    #[arg(long, default_value = "64MiB", value_parser = samara_protocol::units::parse_bytes)]
    size: u64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

impl Args {
    /// The honest sites as a swarm of their own.
    fn swarm(&self) -> swarm::Args {
        swarm::Args {
            sites: self.honest,
            origin_up: self.origin_up,
            site_up: self.site_up,
            site_down: self.site_down,
            size: self.size,
            runs: self.runs,
            vs: Vec::new(),
            stagger: 0.0,
            rivals_only: false,
        }
    }

    fn conducts(&self) -> Vec<Conduct> {
        let listed = if self.conduct.is_empty() {
            &CATALOGUE[..]
        } else {
            &self.conduct
        };
        listed.iter().copied().cycle().take(self.hostile).collect()
    }
}

/// The name of a site's place, counted from 0: the honest ones come first.
fn site_name(index: usize) -> String {
    format!("s{}", index + 1)
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    ensure!(
        samara_tests::usage::is_root(),
        "lab hostile makes network namespaces: run it as root"
    );
    ensure!(
        args.honest > 0 && args.hostile > 0,
        "--honest and --hostile must be at least 1; without hostile ones it is `lab swarm`"
    );
    let folder = crate::work_folder()?;
    let source = folder.path().join("source").join("release.bin");
    std::fs::create_dir_all(source.parent().context("a folder")?)?;
    random_file(&source, args.size, 1)?;
    let hash = b3sum(&source)?;
    let conducts = args.conducts();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for number in 1..=args.runs {
        for (name, conducts, rows) in [("alone", &[][..], &mut alone), ("beside", &conducts[..], &mut beside)] {
            let work = folder.path().join(name);
            std::fs::create_dir_all(&work)?;
            let row =
                once::run(args, conducts, &source, &work, &hash).with_context(|| format!("{name}, run {number}"))?;
            std::fs::remove_dir_all(&work)?;
            crate::note(&format!(
                "{name} run {number}: last {:.2} s, {:.3} interface copies, peaks {:.1} and {:.1} MiB, {} honest ones kept out, cores {:.0} % busy",
                row.last,
                row.origin_copies,
                row.site_peak,
                row.origin_peak,
                row.honest_quarantined,
                row.busy * 100.0
            ));
            rows.push(row);
        }
    }
    Ok(report(args, &alone, &beside))
}

fn report(args: &Args, alone: &[Row], beside: &[Row]) -> Value {
    let bound = swarm::bound(&args.swarm());
    let last = |rows: &[Row]| median(rows.iter().map(|row| row.last));
    let names: Vec<String> = args.conducts().into_iter().map(attack::name).collect();
    json!({
        "honest": args.honest,
        "hostile": names,
        "size": args.size,
        "bound_s": round(bound),
        "alone": summary(alone, bound),
        "beside": summary(beside, bound),
        "ratio": round(last(beside) / last(alone)),
        "peers": (0..names.len()).map(|at| became(&names[at], at, beside)).collect::<Vec<_>>(),
    })
}

fn summary(rows: &[Row], bound: f64) -> Value {
    let over = |value: fn(&Row) -> f64| median(rows.iter().map(value));
    let most = |value: fn(&Row) -> f64| rows.iter().map(value).fold(0.0, f64::max);
    json!({
        "last_over_bound": round(over(|row| row.last) / bound),
        "mean_over_bound": round(over(|row| row.mean) / bound),
        "origin_interface_copies": round(over(|row| row.origin_copies)),
        "received_interface_copies": round(over(|row| row.received_copies)),
        "waste": round(over(|row| row.waste)),
        "site_peak_mib": round(most(|row| row.site_peak)),
        "origin_peak_mib": round(most(|row| row.origin_peak)),
        "honest_cpu_s": round(over(|row| row.honest_cpu)),
        "hostile_cpu_s": round(over(|row| row.hostile_cpu)),
        "machine_busy": round(over(|row| row.busy)),
        "honest_quarantined": rows.iter().map(|row| row.honest_quarantined).sum::<u64>(),
        "all_verified": rows.iter().all(|row| row.verified),
        "runs": rows.iter().map(|row| round(row.last / bound)).collect::<Vec<_>>(),
    })
}

/// What became of the hostile one with this number, in each run.
fn became(name: &str, at: usize, rows: &[Row]) -> Value {
    let attacked: Vec<_> = rows.iter().filter_map(|row| row.attackers.get(at)).collect();
    let mut events: Vec<&String> = attacked.iter().flat_map(|one| &one.verdict.events).collect();
    events.sort();
    events.dedup();
    json!({
        "conduct": name,
        "quarantined_by": attacked.iter().map(|one| one.verdict.quarantined_by).collect::<Vec<_>>(),
        "named": events,
        "seen": attacked.iter().map(|one| &one.seen).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, ValueEnum};
    use std::collections::BTreeSet;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(more: &[&str]) -> Args {
        Line::parse_from([&["lab"], more].concat()).args
    }

    #[test]
    fn ten_of_ten_conducts_unless_told_otherwise_and_a_short_list_goes_round() {
        assert_eq!(args(&[]).conducts(), CATALOGUE);
        let short = args(&["--conduct", "lie,drip", "--hostile", "3"]);
        assert_eq!(short.conducts(), [Conduct::Lie, Conduct::Drip, Conduct::Lie]);
        let names: BTreeSet<_> = Conduct::value_variants().iter().map(|one| attack::name(*one)).collect();
        assert_eq!(
            names.len(),
            Conduct::value_variants().len(),
            "each has a name of its own"
        );
        assert!(!names.contains(""), "{names:?}");
    }

    #[test]
    fn the_bound_is_that_of_the_honest_sites_alone() {
        let bound = swarm::bound(&args(&["--hostile", "1000"]).swarm());
        assert!((bound - 10.737).abs() < 0.001, "the origin's uplink: {bound}");
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_a_peak_is_the_largest() {
        let row = |last: f64, site_peak: f64| Row {
            last,
            mean: last,
            origin_copies: 1.0,
            received_copies: 1.0,
            site_peak,
            origin_peak: 20.0,
            waste: 0.0,
            honest_cpu: 5.0,
            hostile_cpu: 1.0,
            busy: 0.5,
            honest_quarantined: 1,
            verified: true,
            attackers: Vec::new(),
        };
        let alone = [row(10.0, 20.0), row(12.0, 21.0), row(11.0, 22.0)];
        let beside = [row(22.0, 30.0), row(11.0, 40.0), row(30.0, 35.0)];
        let report = report(&args(&["--hostile", "1"]), &alone, &beside);
        assert_eq!(report["ratio"], 2.0);
        assert_eq!(report["beside"]["site_peak_mib"], 40.0);
        assert_eq!(report["beside"]["honest_quarantined"], 3);
        assert_eq!(report["peers"][0]["conduct"], "wrong-data");
    }
}
