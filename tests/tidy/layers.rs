//! AI-3 and AI-9: who may import whom, inside a crate and between crates.

use std::collections::{BTreeMap, BTreeSet};

use crate::expect_none;
use crate::source::{Source, rust};

/// Modules of `protocol`, lowest layer first. Modules on one line may not import each other in a circle.
const PROTOCOL: &[&[&str]] = &[
    &["bits", "id", "limits", "rng", "sorted", "time", "units"],
    &["tree"],
    &["manifest", "trust", "wire"],
    &["swarm"],
];

/// Modules of `node`, lowest layer first.
const NODE: &[&[&str]] = &[
    &["config", "heap"],
    &["access", "admin", "net", "observe", "release", "store"],
    &["daemon"],
    &["cli"],
];

/// Upward imports that still stand. May only become fewer: one that is gone must leave this list.
const DEBTS: &[(&str, &str)] = &[
    // `tree::verify` names `manifest::layout::ArtifactRef`, which belongs below both.
    ("tree", "manifest"),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn imports_go_down_the_layer_table() {
    let mut paid = DEBTS.to_vec();
    for (under, table) in [("protocol/src/", PROTOCOL), ("node/src/", NODE)] {
        let mut graph = graph(under, &rust(under));
        for (from, to) in DEBTS {
            if graph.get_mut(*from).is_some_and(|uses| uses.remove(*to)) {
                paid.retain(|debt| debt != &(*from, *to));
            }
        }
        expect_none("AI-9: imports go down", &upward(&graph, table));
        expect_none(
            "AI-9: every module stands in the layer table of tests/tidy/layers.rs",
            &unlisted(&graph, table),
        );
        expect_none("AI-9: no circles between modules", &circles(&graph));
    }
    assert!(
        paid.is_empty(),
        "AI-9: no longer a debt, take it out of DEBTS: {paid:?}"
    );
}

#[test]
fn net_and_store_do_not_know_each_other() {
    let graph = graph("node/src/", &rust("node/src/"));
    for (a, b) in [("net", "store"), ("store", "net")] {
        assert!(
            !graph.get(a).is_some_and(|uses| uses.contains(b)),
            "AI-3: `{a}` imports `{b}`; `daemon` joins them"
        );
    }
}

#[test]
fn only_net_names_libp2p_and_only_store_names_redb() {
    let mut found = Vec::new();
    for source in rust("") {
        let path = source.path.as_str();
        let net = path == "node/src/net.rs" || path.starts_with("node/src/net/");
        // A peer that means harm is made of stock parts, not of ours.
        let net = net || path == "tests/harness/hostile.rs" || path.starts_with("tests/harness/hostile/");
        let store = path == "node/src/store.rs" || path.starts_with("node/src/store/");
        if !net {
            found.extend(source.lines_with(&["libp2p", "libp2p_tls", "yamux"]));
        }
        if !store {
            found.extend(source.lines_with(&["redb"]));
        }
    }
    expect_none("AI-3: libp2p belongs to node/src/net, redb to node/src/store", &found);
}

#[test]
fn the_layer_check_finds_upward_imports_and_circles() {
    let files = [
        Source::new("x/src/low.rs", "use crate::high::Thing;\n"),
        Source::new(
            "x/src/high/deep.rs",
            "use crate::{low, other};\nfn f() { crate::low::g() }\n",
        ),
        Source::new("x/src/other.rs", "use crate::{low::{A, B}, high as h};\n"),
    ];
    let graph = graph("x/src/", &files);
    assert_eq!(upward(&graph, &[&["low"], &["other"], &["high"]]).len(), 2, "{graph:?}");
    assert!(graph["high"].contains("other"), "{graph:?}");
    assert!(graph["other"].contains("high"), "{graph:?}");
    assert!(!circles(&graph).is_empty());
    assert_eq!(unlisted(&graph, &[&["low"], &["high"]]), ["other"]);
}

/// Which top-level module names which.
fn graph(under: &str, sources: &[Source]) -> Graph {
    let mut graph = Graph::new();
    for source in sources {
        let inside = source.path.strip_prefix(under).unwrap_or(&source.path);
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if source.is_test() || module == "lib" || module == "main" {
            continue;
        }
        let uses = graph.entry(module.to_owned()).or_default();
        uses.extend(imports(&source.code).into_iter().filter(|name| name != module));
    }
    graph
}

/// The first names after `crate::`, braces included.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(first_level(list)),
            None => names.extend(leading_name(rest)),
        }
    }
    names
}

fn first_level(list: &str) -> Vec<String> {
    let mut depth = 0usize;
    let mut names = Vec::new();
    let mut expect = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            c if expect && depth == 0 && !c.is_whitespace() => {
                names.extend(leading_name(&list[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let module = name.chars().next().is_some_and(char::is_lowercase);
    (module && name != "self").then_some(name)
}

fn rank(table: &[&[&str]], module: &str) -> Option<usize> {
    table.iter().position(|layer| layer.contains(&module))
}

fn upward(graph: &Graph, table: &[&[&str]]) -> Vec<String> {
    let edges = graph
        .iter()
        .flat_map(|(from, uses)| uses.iter().map(move |to| (from, to)));
    edges
        .filter(|(from, to)| rank(table, to) > rank(table, from))
        .map(|(from, to)| format!("{from} imports {to}"))
        .collect()
}

fn unlisted(graph: &Graph, table: &[&[&str]]) -> Vec<String> {
    graph
        .keys()
        .filter(|module| rank(table, module).is_none())
        .cloned()
        .collect()
}

/// Modules that reach themselves.
fn circles(graph: &Graph) -> Vec<String> {
    graph
        .keys()
        .filter(|start| reaches(graph, start, start))
        .cloned()
        .collect()
}

fn reaches(graph: &Graph, from: &str, goal: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if module == goal {
            return true;
        }
        if seen.insert(module) {
            next.extend(graph.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    false
}
