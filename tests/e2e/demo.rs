//! What a newcomer runs first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::tree::{Tree, b3sum, same};
use samara_tests::{Finished, Process, binary, runnable, wait};
use tempfile::TempDir;

const DEMO: Duration = Duration::from_secs(300);

#[test]
fn the_demo_carries_a_release_through_a_kill_and_says_what_it_did() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tree = Tree::new(folder.path().join("release"), 1)?;
    tree.file("large.bin", 96 << 20)?
        .small_files(200, 4 << 10, 32 << 10)?
        .executable("bin/run", 100_000)?;
    let keep = folder.path().join("kept");
    let mut demo = Command::new(binary::samara());
    demo.arg("demo")
        .arg(tree.root())
        .args(["--sites", "3", "--hosts", "3", "--json", "--keep"])
        .arg(&keep);
    let finished = Finished::of(&mut demo, DEMO)?.success()?;
    let report = finished.json()?;
    ensure!(report["schema"] == 1 && report["verified"] == true, "{report:#}");
    ensure!(
        report["artifact_bytes"].as_u64().is_some_and(|bytes| bytes > 96 << 20),
        "{report:#}"
    );
    ensure!(
        report["resumed_after_kill"] == true
            && report["killed"]["resumed_bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 0),
        "it was killed in mid-transfer: {report:#}"
    );
    ensure!(
        report["refetched_bytes_after_kill"]
            .as_u64()
            .is_some_and(|bytes| bytes <= 1 << 20),
        "{report:#}"
    );
    ensure!(
        report["origin_copies"]
            .as_f64()
            .is_some_and(|copies| copies > 0.9 && copies < 2.0),
        "{report:#}"
    );
    ensure!(
        report["in_flight_lost_bytes"].is_u64() && report["seconds"].is_number(),
        "{report:#}"
    );
    ensure!(
        report["nodes"].as_array().is_some_and(|nodes| nodes.len() >= 7),
        "origin, sites and hosts: {report:#}"
    );
    let mut hosts = 0;
    for host in std::fs::read_dir(keep.join("hosts"))? {
        let host = host?.path();
        hosts += 1;
        let copy = release_in(&host)?;
        same(tree.root(), &copy)?;
    }
    ensure!(hosts == 3, "{hosts} hosts were kept");
    Ok(())
}

#[test]
fn without_a_path_the_demo_finds_files_of_this_machine_and_explains_each_verb_that_it_runs() -> Result<()> {
    let finished = Finished::of(
        Command::new(binary::samara()).args(["demo", "--json", "--explain"]),
        DEMO,
    )?
    .success()?;
    let (report, said) = (finished.json()?, &finished.stderr);
    ensure!(
        report["verified"] == true && report["problems"] == serde_json::json!([]),
        "{report:#}"
    );
    ensure!(
        report["artifact_bytes"].as_u64() >= Some(200_000_000),
        "less than 200 MB were found: {report:#}"
    );
    ensure!(said.contains("no PATH was given: copies of files in /"), "{said}");
    let rows = report["nodes"].as_array().context("a row for each")?;
    let of_sites = rows.iter().filter(|row| row["role"] == "site");
    let from_each_other: Vec<_> = of_sites.filter_map(|row| row["other_sites_bytes"].as_u64()).collect();
    ensure!(
        from_each_other.len() == 3 && from_each_other.iter().any(|bytes| *bytes > 0),
        "the sites feed each other: {report:#}"
    );
    ensure!(
        report["resumed_after_kill"] == true && report["killed"]["resumed_bytes"].as_u64() > Some(0),
        "one of them was killed and went on: {report:#}"
    );
    explains(said)
}

/// Fails unless each step of the way is shown as a line that could be typed, of verbs that `--help` lists.
fn explains(said: &str) -> Result<()> {
    let help = Finished::of(Command::new(binary::samara()).arg("--help"), DEMO)?
        .success()?
        .text();
    let is_public = |verb: &str| help.lines().any(|line| line.split_whitespace().next() == Some(verb));
    let shown: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    for line in shown.iter().filter_map(|line| line.strip_prefix("samara ")) {
        let mut words = line.split_whitespace().peekable();
        while words.peek().is_some_and(|word| word.starts_with('-')) {
            // `--home` has a value; `--json` has none.
            if words.next() == Some("--home") {
                words.next();
            }
        }
        let verb = words.next().context("a verb")?;
        ensure!(is_public(verb), "`{verb}` of `{line}` is no public verb:\n{help}");
    }
    for step in [
        "samara --home vendor vendor init",
        "samara --home vendor vendor product acme/demo",
        "samara --home vendor request origin --address 127.0.0.1:",
        "samara --home vendor grant origin.request --product acme/demo -o origin.join",
        "samara --home vendor join origin.join",
        "cat > origin.toml",
        "samara --home site1 site init -o site1.request",
        "samara --home vendor grant site3.request --product acme/demo --tenant tenant3 --site site3 --reseed all",
        "samara --home site3 site enrol site3-node.request -o site3-node.join",
        "samara --home site2 join site2-node.join",
        "cat > site2.toml",
        "samara --home host1 request host -o host1.request",
        "samara --home host3 join host3.join",
        "samara node run --config origin.toml",
        "samara node run --config site3.toml",
        "samara --home vendor publish /",
        "samara --home host2 --json fetch acme/demo@1.0.0 -o /",
        "kill -9 ",
        "samara --home host2 --json verify /",
    ] {
        ensure!(
            shown.iter().any(|line| line.starts_with(step)),
            "`{step}` is not shown:\n{said}"
        );
    }
    let restarted = shown.iter().filter(|line| line.starts_with("samara node run"));
    ensure!(
        restarted.count() == 5,
        "an origin, three sites, and one of them again:\n{said}"
    );
    Ok(())
}

#[test]
fn one_small_file_is_too_small_to_interrupt_and_the_demo_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiny");
    std::fs::write(&file, "hello")?;
    let keep = folder.path().join("kept");
    let mut demo = Command::new(binary::samara());
    demo.arg("demo")
        .arg(&file)
        .args(["--sites", "2", "--hosts", "2", "--json", "--keep"])
        .arg(&keep);
    let report = Finished::of(&mut demo, DEMO)?.success()?.json()?;
    ensure!(
        report["verified"] == true && report["resumed_after_kill"].is_null(),
        "{report:#}"
    );
    let host = std::fs::read_dir(keep.join("hosts"))?.next().context("a host")??.path();
    ensure!(b3sum(&find(&host, "tiny")?)? == b3sum(&file)?, "the file itself");
    Ok(())
}

#[test]
fn the_demo_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiny");
    std::fs::write(&file, "hello")?;
    let mut demo = demo_in(&folder)?;
    demo.arg(&file).args(["--sites", "1", "--hosts", "1"]);
    Finished::of(&mut demo, DEMO)?.success()?;
    nothing_is_left(&folder)
}

#[test]
fn a_demo_that_is_interrupted_or_killed_half_way_leaves_nothing_behind() -> Result<()> {
    for (signal, code) in [(libc::SIGINT, Some(7)), (libc::SIGTERM, Some(7)), (libc::SIGKILL, None)] {
        let folder = tempfile::tempdir()?;
        let mut tree = Tree::new(folder.path().join("release"), 2)?;
        tree.file("large.bin", 48 << 20)?;
        let demo = Process::start(
            demo_in(&folder)?
                .arg(tree.root())
                .args(["--keep"])
                .arg(folder.path().join("kept")),
        )?;
        demo.line("bytes on their way", DEMO, |line| line.starts_with("origin sent"))?;
        ensure!(!processes(&folder.path().join("tmp")).is_empty(), "nodes and hosts run");
        demo.signal(signal)?;
        let finished = demo.finish(Duration::from_secs(30))?;
        ensure!(
            finished.code() == code,
            "{signal}: {:?}\n{}",
            finished.status,
            finished.stderr
        );
        nothing_is_left(&folder)?;
        // Whoever ends it with kill -9 has to remove what was to be kept.
        ensure!(
            code.is_none() || !folder.path().join("kept").exists(),
            "no half results are kept"
        );
    }
    Ok(())
}

#[test]
fn on_a_terminal_the_demo_draws_how_far_everybody_is() -> Result<()> {
    if !runnable("a terminal", &["script"], false) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut tree = Tree::new(folder.path().join("release"), 3)?;
    tree.file("large.bin", 8 << 20)?;
    let line = format!("{} demo {}", binary::samara().display(), tree.root().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env("TERM", "xterm").env("TMPDIR", folder.path());
    let shown = Finished::of(&mut script, DEMO)?.success()?.text();
    for name in ["origin", "site1", "site2", "site3", "host1", "host2", "host3"] {
        let bar = shown.split('\r').flat_map(|part| part.split('\n'));
        let mut bar = bar.filter(|line| line.contains(name) && line.contains('%'));
        ensure!(bar.next().is_some(), "no bar of {name}:\n{shown}");
    }
    ensure!(
        shown.contains("every host has exactly the files of the source"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn a_path_that_is_not_there_is_named_and_nothing_is_started() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let finished = Finished::of(demo_in(&folder)?.arg("no/such/thing"), DEMO)?;
    ensure!(finished.code() == Some(3), "{:?}", finished.status);
    ensure!(finished.stderr.contains("no/such/thing"), "{}", finished.stderr);
    nothing_is_left(&folder)
}

/// `samara demo`, with its temporary and home folders below `folder`.
fn demo_in(folder: &TempDir) -> Result<Command> {
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let mut demo = Command::new(binary::samara());
    demo.arg("demo").env("TMPDIR", &temporary).env("HOME", folder.path());
    Ok(demo)
}

/// Waits until the temporary folder is empty and no process works below it: after `kill -9` that takes a moment.
fn nothing_is_left(folder: &TempDir) -> Result<()> {
    let temporary = folder.path().join("tmp");
    let waited = wait::until("everything to be gone", Duration::from_secs(20), || {
        let is_empty = std::fs::read_dir(&temporary)?.next().is_none();
        Ok((is_empty && processes(&temporary).is_empty()).then_some(()))
    });
    waited.with_context(|| format!("still there: {:?}", processes(&temporary)))
}

/// The command lines of all processes that work in a folder or name it.
fn processes(below: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let named = numbers.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let works_there = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at.starts_with(below));
        (works_there || line.contains(&*below.to_string_lossy())).then_some(line)
    });
    named.collect()
}

/// The host's folder itself, or the one folder in it that the release lies in.
fn release_in(host: &Path) -> Result<PathBuf> {
    let found = find(host, "large.bin")?;
    Ok(found.parent().context("it lies in a folder")?.to_path_buf())
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with(".samara") {
                open.push(path);
            } else if path.ends_with(name) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no {name} below {}", folder.display())
}
