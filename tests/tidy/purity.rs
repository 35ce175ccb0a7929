//! AI-1, AI-2 and AI-8: what `protocol` decides, it decides from values.

use std::collections::BTreeSet;

use crate::expect_none;
use crate::source::{Source, has_word, rust};

/// Names by which a clock, entropy, a file, a socket, a thread or the process could be reached.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::path",
    "stdin",
    "stdout",
    "stderr",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "Timestamp::now",
    "Zoned::now",
    "now()",
    "getrandom",
    "rand",
    "OsRng",
    "SystemRandom",
    "thread_rng",
    "generate_pkcs8",
    "KeyPair::generate",
    "tokio",
    "libp2p",
    "redb",
    "println!",
    "eprintln!",
    "tempfile",
    "spawn",
];

/// Sources of an order or content that differs between two runs.
const UNSTABLE: &[&str] = &["RandomState", "DefaultHasher"];
/// Maps and sets that may be looked into by key; walking them shows an order that differs between two runs.
const HASHED: &[&str] = &["HashMap", "HashSet"];
/// How a map or set is walked.
const WALKS: &[&str] = &[
    "iter",
    "iter_mut",
    "keys",
    "values",
    "values_mut",
    "into_iter",
    "into_keys",
    "into_values",
    "drain",
    "retain",
    "extract_if",
];

/// Walks whose order cannot be seen in what comes out: reviewed one by one. One that is gone must leave this list.
const ORDER_NOT_SEEN: &[&str] = &[
    // One map is collected into another.
    "protocol/src/manifest/layout.rs: `by_id.into_iter`",
    // Each group is shortened once, by its own figure.
    "protocol/src/manifest/layout/builder.rs: `in &self.group_bytes_of_packs`",
];

/// Types that could carry payload.
const PAYLOAD: &[&str] = &["Vec<u8>", "[u8]", "Bytes", "BytesMut", "Box<[u8]>"];

#[test]
fn protocol_reads_no_clock_entropy_file_socket_or_thread() {
    expect_none(
        "AI-1: protocol takes time, seeds and bytes as values",
        &found("protocol/src/", OUTSIDE),
    );
}

#[test]
fn payload_never_enters_the_scheduler() {
    let found = found("protocol/src/swarm", PAYLOAD);
    expect_none("AI-2: the scheduler sees ranges, sizes and faults", &found);
}

#[test]
fn protocol_has_no_order_that_differs_between_runs() {
    let mut found = found("protocol/src/", UNSTABLE);
    let sources = rust("protocol/src/").into_iter().filter(|source| !source.is_test());
    found.extend(sources.flat_map(|source| walked(&source)));
    let gone: Vec<_> = ORDER_NOT_SEEN
        .iter()
        .filter(|walk| !found.iter().any(|line| line == *walk))
        .collect();
    assert!(
        gone.is_empty(),
        "no longer there, take it out of ORDER_NOT_SEEN: {gone:?}"
    );
    found.retain(|line| !ORDER_NOT_SEEN.contains(&line.as_str()));
    expect_none("AI-8: same seed and inputs, same outputs", &found);
}

#[test]
fn the_purity_check_finds_a_clock() {
    let source = Source::new(
        "protocol/src/x.rs",
        "fn f() -> u64 { std::time::Instant::now().elapsed() }\n",
    );
    assert_eq!(source.lines_with(OUTSIDE).len(), 1);
}

#[test]
fn the_purity_check_finds_a_hash_map_that_is_walked() {
    let looked_up = "struct S { seen: HashMap<u64, u32> }\nfn f(s: &S) { s.seen.get(&1); s.seen.len(); }\n";
    assert!(walked(&Source::new("protocol/src/x.rs", looked_up)).is_empty());
    for walk in [
        "fn f(s: &S) { s.seen.values().sum() }",
        "fn f(s: &S) { for x in &s.seen {} }",
        "fn f() { let seen = HashSet::new(); for x in seen {} }",
        "fn f(s: &S) { s.seen\n    .iter().max() }",
    ] {
        let text = format!("struct S {{ seen: HashMap<u64, u32> }}\n{walk}\n");
        assert_eq!(walked(&Source::new("protocol/src/x.rs", &text)).len(), 1, "{walk}");
    }
}

/// Each place where a hash map or set of this file is walked.
fn walked(source: &Source) -> Vec<String> {
    let names: BTreeSet<_> = HASHED.iter().flat_map(|kind| bound(&source.code, kind)).collect();
    let flat = source
        .code
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" .", ".");
    let mut found = Vec::new();
    for name in names {
        let calls = WALKS.iter().map(|walk| format!("{name}.{walk}("));
        let loops = [
            "in ",
            "in &",
            "in &mut ",
            "in self.",
            "in &self.",
            "in &mut self.",
            "in s.",
            "in &s.",
        ];
        let loops = loops.iter().map(|start| format!("{start}{name} {{"));
        for pattern in calls.chain(loops).filter(|pattern| has_word(&flat, pattern)) {
            found.push(format!(
                "{}: `{}`",
                source.path,
                pattern.trim_end_matches(['(', '{', ' '])
            ));
        }
    }
    found
}

/// Names that are declared with, or made as, a `kind`.
fn bound(code: &str, kind: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(kind) {
        let before = code[..at]
            .trim_end()
            .trim_end_matches("collections::")
            .trim_end_matches("std::")
            .trim_end();
        let Some(before) = before
            .strip_suffix([':', '='])
            .map(str::trim_end)
            .filter(|before| !before.ends_with(':'))
        else {
            continue;
        };
        let name: String = before
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let name: String = name.chars().rev().collect();
        if !name.is_empty() {
            names.push(name);
        }
    }
    names
}

fn found(under: &str, words: &[&str]) -> Vec<String> {
    let sources = rust(under).into_iter().filter(|source| !source.is_test());
    sources.flat_map(|source| source.lines_with(words)).collect()
}
