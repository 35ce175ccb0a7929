//! The style that is enforced: what `docs/architecture.md` promises about the source, checked against the source.
//!
//! Each check is a function over text that returns what it found, so that a second test can show that it is able to find
//! something. Non-goals: behaviour (that is `e2e` and the crates' own tests) and formatting (`cargo fmt`).

#![expect(clippy::print_stdout, reason = "a test says what it measured")]

mod boundaries;
mod dependencies;
mod docs;
mod files;
mod layers;
mod licences;
mod purity;
mod source;

/// Fails with one line for each finding.
#[track_caller]
fn expect_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}
