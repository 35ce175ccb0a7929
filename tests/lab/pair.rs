//! `lab pair`: one file between two processes on loopback, beside the programs that people use for it.
//!
//! The clock runs from the receiving process's start to its end with exit 0 (rqbit: to the moment it says that it has finished,
//! since it then goes on seeding). Programs take turns, so that a slow minute of the machine hits all of them. Every output is
//! compared with the source, outside the clock.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use samara_tests::tree::{b3sum, random_file};
use serde_json::{Value, json};

use crate::measure::{Transfer, pair_row, round};
use crate::rivals::{self, Rival};
use crate::samara::Pair;

/// What to move, and beside whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file's size.
    #[arg(long, default_value = "1GiB", value_parser = samara_protocol::units::parse_bytes)]
    pub(crate) size: u64,
    /// Programs to compare with: https, http, rqbit, sendme. One that is not installed is null.
    #[arg(long, value_delimiter = ',', default_value = "https,rqbit,sendme")]
    pub(crate) vs: Vec<String>,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// Leave Samara itself out: to prove the rivals' half.
    #[arg(long)]
    pub(crate) rivals_only: bool,
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let folder = crate::work_folder()?;
    let source = folder.path().join("source").join("release.bin");
    fs::create_dir_all(source.parent().context("a folder")?)?;
    random_file(&source, args.size, 1)?;
    let hash = b3sum(&source)?;
    let mut contenders: Vec<Box<dyn Rival>> = Vec::new();
    let mut missing = Vec::new();
    if !args.rivals_only {
        contenders.push(Box::new(Pair::start(&source)?));
    }
    for name in &args.vs {
        match rivals::start(name, &source)? {
            Some(rival) => contenders.push(rival),
            None => missing.push(name.clone()),
        }
    }
    let mut runs: BTreeMap<&str, Vec<Transfer>> = BTreeMap::new();
    for round in 0..args.runs {
        for contender in &mut contenders {
            let transfer = once(contender.as_mut(), folder.path(), &hash)?;
            let seconds = transfer.elapsed.as_secs_f64();
            crate::note(&format!("{} run {}: {seconds:.3} s", contender.name(), round + 1));
            runs.entry(contender.name()).or_default().push(transfer);
        }
    }
    Ok(report(args.size, &runs, &missing))
}

fn once(contender: &mut dyn Rival, folder: &Path, hash: &str) -> Result<Transfer> {
    let into = folder.join("out");
    fs::create_dir_all(&into)?;
    let (transfer, file): (Transfer, PathBuf) = contender.fetch(&into)?;
    ensure!(
        b3sum(&file)? == hash,
        "{} moved other bytes than the source's",
        contender.name()
    );
    fs::remove_dir_all(&into)?;
    Ok(transfer)
}

fn report(size: u64, runs: &BTreeMap<&str, Vec<Transfer>>, missing: &[String]) -> Value {
    let mut out = serde_json::Map::new();
    for (name, runs) in runs {
        out.insert((*name).to_owned(), pair_row(size, runs));
    }
    let own = out.get("samara").and_then(|row| row["mb_s"].as_f64());
    let mut ratio = serde_json::Map::new();
    for (name, row) in out.iter().filter(|(name, _)| *name != "samara") {
        let value = own.zip(row["mb_s"].as_f64()).map(|(own, other)| round(own / other));
        ratio.insert(name.clone(), json!(value));
    }
    for name in missing {
        out.insert(name.clone(), Value::Null);
        ratio.insert(name.clone(), Value::Null);
    }
    out.insert("ratio".to_owned(), Value::Object(ratio));
    out.insert("size".to_owned(), json!(size));
    Value::Object(out)
}
