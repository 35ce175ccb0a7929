//! docs/scenarios.md against the parser: every field and every word that it knows, and no other, stands in its table.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::check::bounds;
use super::{Fault, Nodes, Release, Scenario};

const PAGE: &str = include_str!("../../../docs/scenarios.md");
/// A name that no field and no word has.
const NOBODYS: &str = "nobodys";

#[test]
fn every_field_that_the_parser_knows_is_documented_and_no_other_is() {
    for (section, known) in [
        ("## Top level", fields::<Scenario>()),
        ("## `[[release]]`", fields::<Release>()),
        ("## `[[nodes]]`", fields::<Nodes>()),
        ("## `[[fault]]`", fields::<Fault>()),
    ] {
        assert!(known.len() > 3, "{section}: {known:?}");
        let table = table(section, "| field |");
        let named = table.iter().filter_map(|row| row.split('`').nth(1));
        assert_eq!(
            named.collect::<BTreeSet<_>>(),
            known.iter().map(String::as_str).collect(),
            "{section}"
        );
        assert_eq!(table.len(), known.len(), "{section}: one row for each");
        for row in table {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "five columns: {row}");
        }
    }
}

#[test]
fn every_word_that_the_parser_knows_is_documented_and_no_other_is() {
    let nodes = |field: &str| {
        words::<Nodes>(&format!(
            "{field} = \"{NOBODYS}\"\n{}",
            "count = 1\nup = \"1mbit\"\ndown = \"1mbit\"\n"
        ))
    };
    let known = ["role", "reach", "reseed", "behaviour"].map(nodes).concat();
    assert_eq!(words_of("## `[[nodes]]`"), known);
    let kinds = words::<Fault>(&format!("kind = \"{NOBODYS}\"\nat_s = 1.0\n"));
    assert_eq!(words_of("## `[[fault]]`"), kinds);
}

#[test]
fn the_bounds_are_those_of_the_code() {
    let thousands = |number: f64| match number {
        number if number >= 1e6 => "1,000,000".to_owned(),
        number if number >= 1e5 => "100,000".to_owned(),
        number => number.to_string(),
    };
    for bound in [
        format!("0 to {}", thousands(bounds::TIME_MAX)),
        format!("{} to {}", bounds::LASTS_MIN, thousands(bounds::TIME_MAX)),
        format!(
            "1 to {} nodes in all",
            thousands(f64::from(u32::try_from(bounds::NODES_MAX).expect("few")))
        ),
        format!("1 to {}", bounds::RELEASES_MAX),
        format!("at most {} TiB", bounds::SIZE_MAX >> 40),
        format!(
            "{}kbit to {}gbit",
            bounds::RATE_MIN * 8.0 / 1e3,
            bounds::RATE_MAX * 8.0 / 1e9
        ),
        format!("at least {}kbit", bounds::RATE_MIN * 8.0 / 1e3),
        format!("0 to {}", bounds::LOSS_MAX),
        format!("0 to {}", bounds::BROKEN_MAX),
    ] {
        assert!(
            PAGE.contains(&format!("| {bound} |")) || PAGE.contains(&format!(", {bound} |")),
            "{bound}"
        );
    }
    let moved = format!("{},000,000 groups of 64 KiB", bounds::GROUPS_MOVED_MAX / 1_000_000);
    assert!(PAGE.contains(&moved), "{moved}");
}

#[test]
fn the_example_is_a_scenario_that_runs() {
    let (_, rest) = PAGE.split_once("```toml\n").expect("an example");
    let (text, _) = rest.split_once("```").expect("its end");
    let plan = Scenario::parse("the example", text).expect("a scenario");
    let report = crate::run(&plan).expect("runs well");
    assert!(report.last_over_bound.is_finite() && report.nodes == 7, "{report:?}");
}

/// What serde says that it expected in place of a field that is none.
fn fields<T: DeserializeOwned>() -> Vec<String> {
    expected::<T>(&format!("{NOBODYS} = 1\n"))
}

fn words<T: DeserializeOwned>(text: &str) -> Vec<String> {
    expected::<T>(text)
}

fn expected<T: DeserializeOwned>(text: &str) -> Vec<String> {
    let refused = toml::from_str::<T>(text).err().expect("no such name").to_string();
    let (_, names) = refused
        .split_once("expected one of ")
        .or_else(|| refused.split_once("expected "))
        .expect(&refused);
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the first table below `section` whose head begins so.
fn table(section: &str, head: &str) -> Vec<&'static str> {
    let below = PAGE.lines().skip_while(|line| *line != section).skip(1);
    let here = below.take_while(|line| !line.starts_with("## "));
    let rows = here.skip_while(|line| !line.starts_with(head)).skip(2);
    rows.take_while(|line| line.starts_with('|')).collect()
}

/// The words of a section's table of words, which stand in its second column.
fn words_of(section: &str) -> Vec<&'static str> {
    let rows = table(section, "| word of |").into_iter();
    rows.filter_map(|row| row.split('|').nth(2)?.split('`').nth(1))
        .collect()
}
