//! AI-1 over Cargo's own resolution: what each crate may depend on, directly and in its closure.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::expect_none;
use crate::source::{read, root, rust};

/// Never below `protocol`, however far.
const NOT_BELOW_PROTOCOL: &[&str] = &[
    "tokio",
    "libp2p",
    "libp2p-swarm",
    "redb",
    "clap",
    "anyhow",
    "mio",
    "async-std",
    "futures",
];
/// What a crate may never depend on directly.
const NOT_DIRECT: &[(&str, &[&str])] = &[
    ("samara-node", &["samara-simulations", "samara-tests"]),
    (
        "samara-simulations",
        &["samara-node", "samara-tests", "tokio", "libp2p", "redb"],
    ),
    // The lab performs the simulator's scenarios on real processes and prints both.
    ("samara-tests", &["samara-node"]),
];

#[test]
fn protocol_is_free_of_runtimes_networks_and_databases() {
    let below: BTreeSet<_> = linked("samara-protocol")
        .into_iter()
        .map(|linked| linked.name)
        .collect();
    assert!(below.len() > 20, "the closure is not empty: {below:?}");
    let found: Vec<_> = NOT_BELOW_PROTOCOL
        .iter()
        .filter(|name| below.contains(**name))
        .map(|name| (*name).to_owned())
        .collect();
    expect_none("AI-1: not below samara-protocol", &found);
}

#[test]
fn protocols_direct_dependencies_are_the_reviewed_list() {
    let direct = direct("samara-protocol");
    let reviewed = reviewed(&read("docs/architecture.md"));
    let unreviewed: Vec<_> = direct
        .difference(&reviewed.keys().cloned().collect())
        .cloned()
        .collect();
    expect_none("AI-1: not in the reviewed list of docs/architecture.md", &unreviewed);
    let gone: Vec<_> = reviewed
        .keys()
        .filter(|name| !direct.contains(*name))
        .cloned()
        .collect();
    expect_none("AI-1: reviewed but no longer used", &gone);
    let bare: Vec<_> = reviewed
        .iter()
        .filter(|(_, reason)| reason.len() < 15)
        .map(|(name, _)| name.clone())
        .collect();
    expect_none("AI-1: reviewed without a reason", &bare);
}

#[test]
fn crates_depend_in_one_direction() {
    let mut found = Vec::new();
    for (package, banned) in NOT_DIRECT {
        let direct = direct(package);
        found.extend(
            banned
                .iter()
                .filter(|name| direct.contains(**name))
                .map(|name| format!("{package} uses {name}")),
        );
    }
    expect_none("tests and simulations never use node, node never uses them", &found);
}

#[test]
fn only_the_scenarios_of_the_lab_use_the_simulator() {
    let users = rust("tests/");
    let elsewhere = users
        .iter()
        .filter(|source| !source.path.starts_with("tests/lab/scenario"))
        .flat_map(|source| source.lines_with(&["samara_simulations"]));
    expect_none(
        "the harness and the tests stay black box",
        &elsewhere.collect::<Vec<_>>(),
    );
    let lab = users.iter().find(|source| source.path == "tests/lab/scenario.rs");
    let used = lab.map(|source| source.lines_with(&["samara_simulations"]));
    assert!(
        used.is_some_and(|lines| !lines.is_empty()),
        "the rule looks for what is there"
    );
}

#[test]
fn a_dependency_tree_is_read_with_who_uses_whom() {
    let tree = parse_tree("0 a v1.0.0 (/x)|MIT\n1 b v2.0.0|MIT OR ISC\n2 c v1.0.0|ISC\n1 c v1.0.0|ISC\n");
    let users: Vec<_> = tree
        .iter()
        .map(|linked| (linked.name.as_str(), linked.user.as_str()))
        .collect();
    assert_eq!(users, [("a", ""), ("b", "a"), ("c", "a"), ("c", "b")]);
}

#[test]
fn the_reviewed_list_is_read_from_its_table() {
    let text = "## What `protocol` depends on\n\n| crate | reason |\n|---|---|\n| `blake3` | the tree hash itself |\n| `x` | no |\n\n## Next\n| `y` | other |\n";
    let list = reviewed(text);
    assert_eq!(list.len(), 2, "{list:?}");
    assert_eq!(list["blake3"], "the tree hash itself");
}

/// Names of a workspace crate's direct, non-development dependencies.
fn direct(package: &str) -> BTreeSet<String> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|candidate| candidate["name"] == package);
    let found = found.unwrap_or_else(|| panic!("no package {package}"));
    let dependencies = found["dependencies"].as_array().expect("dependencies");
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    normal
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
        .collect()
}

/// One crate that is linked into, or built for, one of ours, as Cargo resolves features for it alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Linked {
    pub(crate) name: String,
    pub(crate) licence: String,
    /// The crate that asks for it; empty for our own at the top.
    pub(crate) user: String,
}

/// Everything below `package`, itself included.
pub(crate) fn linked(package: &str) -> BTreeSet<Linked> {
    let args = [
        "tree",
        "--locked",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--prefix",
        "depth",
    ];
    parse_tree(&cargo(&[&args[..], &["--no-dedupe", "--format", " {p}|{l}"]].concat()))
}

fn parse_tree(text: &str) -> BTreeSet<Linked> {
    let mut above: Vec<String> = Vec::new();
    let mut linked = BTreeSet::new();
    for line in text.lines() {
        let (Some((depth, rest)), Some((_, licence))) = (line.split_once(' '), line.rsplit_once('|')) else {
            continue;
        };
        let depth: usize = depth.parse().expect("cargo tree prints the depth first");
        let name = rest.split(' ').next().unwrap_or_default().to_owned();
        above.truncate(depth);
        let user = above.last().cloned().unwrap_or_default();
        above.push(name.clone());
        linked.insert(Linked {
            name,
            licence: licence.to_owned(),
            user,
        });
    }
    linked
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints unicode")
}

/// Rows of the table under the heading that ends in "depends on".
fn reviewed(page: &str) -> BTreeMap<String, String> {
    let section = page.split("\n## ").find(|section| {
        section
            .lines()
            .next()
            .is_some_and(|title| title.ends_with("depends on"))
    });
    let section = section.expect("docs/architecture.md has a section `What protocol depends on`");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
    });
    cells
        .filter_map(|mut cells| Some((cells.next()?, cells.next()?)))
        .collect()
}
