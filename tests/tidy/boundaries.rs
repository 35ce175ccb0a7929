//! AI-4, AI-6, AI-7 and AI-10: what may be written where.

use crate::expect_none;
use crate::source::{Source, rust};

/// Ways to make a queue without a bound.
const UNBOUNDED: &[&str] = &[
    "unbounded",
    "unbounded_channel",
    "UnboundedSender",
    "UnboundedReceiver",
    "mpsc::channel()",
];
/// The metrics library; only `observe` may name it.
const METRICS: &[&str] = &["prometheus_client"];
/// What makes a type a table type.
const TABLE: &[&str] = &["TableDefinition", "MultimapTableDefinition", "redb::Value", "redb::Key"];

#[test]
fn every_queue_has_a_bound() {
    let sources = rust("node/src/").into_iter().chain(rust("protocol/src/"));
    let found: Vec<_> = sources.flat_map(|source| source.lines_with(UNBOUNDED)).collect();
    expect_none("AI-7: queues take their length from protocol/src/limits.rs", &found);
}

#[test]
fn only_observe_counts() {
    let mut found = Vec::new();
    for source in rust("node/src/") {
        if source.path != "node/src/observe.rs" && !source.path.starts_with("node/src/observe/") {
            found.extend(source.lines_with(METRICS));
        }
    }
    expect_none(
        "AI-10: events feed metrics; no metric call is sprinkled by hand",
        &found,
    );
}

#[test]
fn a_verified_manifest_is_made_in_one_place() {
    let found = constructions("VerifiedManifest", &rust("protocol/src/"), &rust("node/src/"));
    assert_eq!(
        found.len(),
        1,
        "AI-6: one constructor, behind trust:\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn only_wire_types_cross_the_network_and_only_table_types_reach_the_disk() {
    let mut found = Vec::new();
    for source in rust("protocol/src/wire") {
        found.extend(source.lines_with(&["Serialize", "Deserialize"]));
    }
    for source in rust("protocol/src/swarm") {
        found.extend(source.lines_with(&["Serialize", "Deserialize"]));
    }
    for source in rust("node/src/") {
        if !source.path.starts_with("node/src/store") {
            found.extend(source.lines_with(TABLE));
        }
    }
    expect_none(
        "AI-4: wire types have documented bytes of their own, table types live in the store",
        &found,
    );
}

#[test]
fn the_boundary_checks_find_what_they_look_for() {
    let bad = Source::new(
        "node/src/x.rs",
        "fn f() { let v = VerifiedManifest { head }; mpsc::unbounded_channel(); }\n",
    );
    assert_eq!(bad.lines_with(UNBOUNDED).len(), 1);
    let other = Source::new(
        "protocol/src/y.rs",
        "pub struct VerifiedManifest { a: u8 }\nimpl VerifiedManifest { fn n() -> Self { Self { a: 1 } } }\nimpl fmt::Debug for VerifiedManifest {\nfn g() -> Result<VerifiedManifest, E> {\nfn h() -> VerifiedManifest {\n",
    );
    assert_eq!(constructions("VerifiedManifest", &[other], &[bad]).len(), 1);
}

/// Struct literals of `name` outside its own `impl` (inside it, they are `Self { .. }`).
fn constructions(name: &str, protocol: &[Source], node: &[Source]) -> Vec<String> {
    let literal = format!("{name} {{");
    let mut found = Vec::new();
    for source in protocol.iter().chain(node) {
        let mut inside = false;
        for (index, line) in source.code.lines().enumerate() {
            inside = match line {
                "}" => false,
                _ if line.starts_with("impl") => line.ends_with(&literal),
                _ => inside,
            };
            let named = line.find(&literal);
            let Some(at) = named.or_else(|| line.find("Self {").filter(|_| inside)) else {
                continue;
            };
            let before = line[..at].trim_end();
            let declares = ["struct", "impl", "for", "->", "<"]
                .iter()
                .any(|word| before.ends_with(word));
            if !declares {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    found
}
