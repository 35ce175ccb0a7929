//! `lab tables`: every measurement as the tables of `docs/performance.md`, each with the commit and the machine it is of.
//!
//! Reads what `--json` had printed before: `--from FOLDER` with `pair.json`, `memory.json`, `import.json`, `small-files.json`
//! and any number of `swarm*.json`, `hostile*.json` and `scenario*.json`; the last make one table together.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{hostile, links, provenance, scenario};

/// Uplinks of sites that go without saying, as of `lab swarm`.
const SITE_UP_MBIT: f64 = 50.0;

/// Where the figures come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with what each command printed with `--json`.
    #[arg(long)]
    from: PathBuf,
}

/// Returns the page.
pub(crate) fn run(args: &Args) -> Result<String> {
    let mut page = String::new();
    let mut names: Vec<_> = fs::read_dir(&args.from)
        .with_context(|| args.from.display().to_string())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    names.sort();
    let mut scenarios = Vec::new();
    for path in names
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
    {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let value = read(path)?;
        match stem.split(['-', '_', '0']).next().unwrap_or_default() {
            "pair" => pair(&mut page, &value)?,
            "memory" => memory(&mut page, &value)?,
            "import" => import(&mut page, &value)?,
            "small" => small_files(&mut page, &value)?,
            "links" => links::table(&mut page, &value)?,
            "scenario" => {
                scenarios.push(value);
                continue;
            }
            _ if stem.starts_with("hostile") => hostile::table(&mut page, &value)?,
            _ if stem.starts_with("swarm") => swarm(&mut page, &value)?,
            _ => continue,
        }
        writeln!(page, "\n{}", provenance::of(&value))?;
    }
    if !scenarios.is_empty() {
        scenario::table(&mut page, &scenarios)?;
        let stamps: BTreeSet<String> = scenarios.iter().map(provenance::of).collect();
        for stamp in stamps {
            writeln!(page, "\n{stamp}")?;
        }
    }
    Ok(page)
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what --json prints", path.display()))
}

fn pair(page: &mut String, value: &Value) -> Result<()> {
    writeln!(page, "\n### One pair, {}\n", size(&value["size"]))?;
    writeln!(
        page,
        "| program | MB/s | seconds to durable | CPU s/GiB receiver, sender | peak MiB receiver, sender | Samara is |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|")?;
    for name in ["samara", "https", "http", "rqbit", "sendme"] {
        let row = &value[name];
        if row.is_null() {
            continue;
        }
        let ratio = value["ratio"][name]
            .as_f64()
            .map_or_else(String::new, |ratio| format!("{ratio:.2} x"));
        let (cpu, rss) = (&row["cpu_s_per_gib"], &row["rss_mib"]);
        writeln!(
            page,
            "| {name} | {} | {} | {}, {} | {}, {} | {ratio} |",
            number(&row["mb_s"], 0),
            number(&row["durable_s"], 2),
            number(&cpu["receiver"], 2),
            number(&cpu["sender"], 2),
            number(&rss["receiver"], 0),
            number(&rss["sender"], 0)
        )?;
    }
    Ok(())
}

fn memory(page: &mut String, value: &Value) -> Result<()> {
    writeln!(
        page,
        "\n### Memory of a node\n\n| artifact | neighbours | of which do not read | peak MiB | of the runs |\n|---|---|---|---|---|"
    )?;
    for row in value.as_array().into_iter().flatten() {
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            size(&row["size"]),
            row["neighbours"],
            row["unread"],
            number(&row["rss_mib"], 1),
            spread(&row["runs_mib"])
        )?;
    }
    Ok(())
}

/// The least and the most of some runs.
fn spread(runs: &Value) -> String {
    let runs = runs.as_array().into_iter().flatten().filter_map(Value::as_f64);
    let (least, most) = runs.fold((f64::INFINITY, 0.0), |(least, most), run| {
        (run.min(least), run.max(most))
    });
    format!("{least:.1} to {most:.1}")
}

fn import(page: &mut String, value: &Value) -> Result<()> {
    writeln!(page, "\n### Import, {}\n\n| | |\n|---|---|", size(&value["size"]))?;
    writeln!(
        page,
        "| hash and outboard | {} GB/s |",
        number(&value["samara"]["hash_gb_s"], 2)
    )?;
    writeln!(
        page,
        "| b3sum, {} threads | {} GB/s |",
        value["threads"],
        number(&value["b3sum"]["gb_s"], 2)
    )?;
    writeln!(page, "| ratio | {} |", number(&value["ratio"], 2))?;
    writeln!(
        page,
        "| the whole of `publish --link` | {} s |",
        number(&value["samara"]["publish_s"], 2)
    )?;
    writeln!(page, "| `cp` of the same file | {} s |", number(&value["cp"]["s"], 2))?;
    Ok(())
}

fn small_files(page: &mut String, value: &Value) -> Result<()> {
    writeln!(
        page,
        "\n### {} small files, {}\n\n| | seconds |\n|---|---|",
        value["files"],
        size(&value["bytes"])
    )?;
    writeln!(page, "| into a site's store | {} |", number(&value["site_store_s"], 2))?;
    writeln!(
        page,
        "| from there into a host's folder | {} |",
        number(&value["host_folder_s"], 2)
    )?;
    writeln!(page, "| `cp -r` | {} |", number(&value["cp_r_s"], 2))?;
    writeln!(page, "| ratio | {} |", number(&value["ratio"], 2))?;
    Ok(())
}

fn swarm(page: &mut String, value: &Value) -> Result<()> {
    writeln!(
        page,
        "\n### A swarm of {} sites, {}{}{}; bound {} s\n",
        value["sites"],
        size(&value["size"]),
        uplinks(&value["site_up_mbit"]),
        staggered(&value["stagger_s"]),
        number(&value["bound_s"], 2)
    )?;
    writeln!(
        page,
        "| | last / bound | of the runs | mean / bound | last durable / bound | payload copies | interface copies | into a site | verified |\n|---|---|---|---|---|---|---|---|---|"
    )?;
    for name in ["samara", "libtorrent", "libtorrent-super", "rqbit", "http", "chain"] {
        let row = &value[name];
        if row.is_null() {
            continue;
        }
        if !row["error"].is_null() {
            writeln!(page, "| {name} | failed | - | - | - | - | - | - | - |")?;
            continue;
        }
        writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            number(&row["last_over_bound"], 2),
            from_to(&row["runs"]),
            number(&row["mean_over_bound"], 2),
            number(&row["last_durable_over_bound"], 2),
            number(&row["origin_copies"], 2),
            number(&row["origin_interface_copies"], 2),
            number(&row["received_interface_copies"], 2),
            row["all_verified"]
        )?;
    }
    Ok(())
}

/// What a title says of uplinks that are not those of all other tables.
fn uplinks(mbit: &Value) -> String {
    let other = mbit.as_f64().filter(|mbit| *mbit != SITE_UP_MBIT);
    other.map_or_else(String::new, |mbit| format!(", uplinks of {mbit} Mbit/s"))
}

/// What a title says where the sites did not begin together.
fn staggered(seconds: &Value) -> String {
    let apart = seconds.as_f64().filter(|seconds| *seconds > 0.0);
    apart.map_or_else(String::new, |seconds| format!(", told {seconds} s apart"))
}

/// The least and the most of several runs; of one alone nothing.
fn from_to(runs: &Value) -> String {
    let mut runs: Vec<f64> = runs
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    runs.sort_by(f64::total_cmp);
    match runs.as_slice() {
        [least, .., most] => format!("{least:.2} to {most:.2}"),
        _ => "-".to_owned(),
    }
}

fn number(value: &Value, decimals: usize) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn size(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "-".to_owned(), samara_protocol::units::show_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_json_prints_becomes_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, value: Value| fs::write(folder.path().join(name), value.to_string()).expect("is ours");
        let row = json!({"mb_s": 1000.4, "durable_s": 1.5, "cpu_s_per_gib": {"receiver": 1.0, "sender": 0.5}, "rss_mib": {"receiver": 20.0, "sender": 30.0}});
        write(
            "pair.json",
            json!({"samara": row, "https": row, "sendme": null, "ratio": {"https": 1.0, "sendme": null}, "size": 1_u64 << 30}),
        );
        write(
            "memory.json",
            json!([{"size": 1_u64 << 30, "neighbours": 32, "unread": 4, "rss_mib": 48.25, "runs_mib": [48.25, 47.0, 49.5]}]),
        );
        write(
            "swarm8.json",
            json!({"bound_s": 10.74, "sites": 8, "size": 64 << 20, "samara": {"last_over_bound": 1.2, "mean_over_bound": 1.1, "origin_copies": 1.0, "origin_interface_copies": 1.05, "received_interface_copies": 1.07, "all_verified": true}, "site_up_mbit": 50.0}),
        );
        let rival = json!({"last_over_bound": 2.2, "mean_over_bound": 2.1, "origin_copies": null, "origin_interface_copies": 2.05, "all_verified": true});
        write(
            "swarm16.json",
            json!({"bound_s": 10.74, "sites": 16, "size": 64 << 20, "site_up_mbit": 10.0, "stagger_s": 2.0, "libtorrent": rival, "libtorrent-super": rival, "http": null, "rqbit": {"error": "run 2"}, "chain": rival}),
        );
        for name in ["scenario-a", "scenario-b"] {
            let lab = json!({"last_over_bound": 1.1, "links": {"kind": "wan"}});
            write(
                &format!("{name}.json"),
                json!({"scenario": name, "bound_s": 2.0, "lab": lab}),
            );
        }
        let page = run(&Args {
            from: folder.path().to_path_buf(),
        })
        .expect("four files");
        assert!(
            page.contains("| samara | 1000 | 1.50 | 1.00, 0.50 | 20, 30 |"),
            "{page}"
        );
        assert!(
            page.contains("| https | 1000 | 1.50 | 1.00, 0.50 | 20, 30 | 1.00 x |"),
            "{page}"
        );
        assert!(page.contains("| 1.00 GiB | 32 | 4 | 48.2 | 47.0 to 49.5 |"), "{page}");
        assert!(
            page.contains("| samara | 1.20 | - | 1.10 | - | 1.00 | 1.05 | 1.07 | true |"),
            "{page}"
        );
        assert!(!page.contains("sendme"), "{page}");
        for name in ["libtorrent", "libtorrent-super", "chain"] {
            let row = format!("| {name} | 2.20 | - | 2.10 | - | - | 2.05 | - | true |");
            assert!(page.contains(&row), "{page}");
        }
        assert!(
            page.contains("16 sites, 64.0 MiB, uplinks of 10 Mbit/s, told 2 s apart; bound"),
            "{page}"
        );
        assert!(page.contains("8 sites, 64.0 MiB; bound"), "{page}");
        assert!(
            page.contains("| rqbit | failed |") && !page.contains("| http |"),
            "{page}"
        );
        assert!(page.contains("| scenario-a | wan | 2.00 | 1.10 |"), "{page}");
        assert_eq!(page.matches("### Scenarios").count(), 1, "{page}");
        assert_eq!(page.matches("Commit unknown").count(), 5, "{page}");
    }
}
