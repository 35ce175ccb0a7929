//! AI-1, AI-2 and AI-8: what `protocol` decides, it decides from values.

use crate::expect_none;
use crate::source::{Source, rust};

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

/// Types whose order or content differs between two runs.
const UNSTABLE: &[&str] = &["HashMap", "HashSet", "RandomState", "DefaultHasher", "usize::MAX as f"];

/// Files whose hash maps are only ever looked up by key, which no order can be seen through.
const LOOKED_UP_ONLY: &[&str] = &["protocol/src/manifest/layout.rs"];

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
    found.retain(|line| !LOOKED_UP_ONLY.iter().any(|file| line.starts_with(file)));
    expect_none("AI-8: same seed and inputs, same outputs", &found);
}

#[test]
fn the_purity_check_finds_a_clock() {
    let source = Source::new(
        "protocol/src/x.rs",
        "fn f() -> u64 { std::time::Instant::now().elapsed() }\n",
    );
    assert_eq!(source.lines_with(OUTSIDE).len(), 1);
    let source = Source::new("protocol/src/x.rs", "use std::collections::HashMap;\n");
    assert_eq!(source.lines_with(UNSTABLE).len(), 1);
}

fn found(under: &str, words: &[&str]) -> Vec<String> {
    let sources = rust(under).into_iter().filter(|source| !source.is_test());
    sources.flat_map(|source| source.lines_with(words)).collect()
}
