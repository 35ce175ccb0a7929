//! Licences, sources and banned crates of everything that is linked, with `deny.toml` (cargo-deny's own format) as the data:
//! `cargo deny check` judges the same file where it is installed, this needs nothing but cargo.

use std::collections::BTreeSet;

use crate::dependencies::{Linked, linked};
use crate::expect_none;
use crate::source::read;

#[test]
fn every_dependency_has_an_accepted_licence() {
    let deny = deny();
    let allowed = strings(&deny["licenses"]["allow"]);
    let found: BTreeSet<_> = outside()
        .into_iter()
        .filter(|linked| !accepts(&linked.licence, &allowed))
        .map(|linked| format!("{}: `{}`", linked.name, linked.licence))
        .collect();
    expect_none("a licence that deny.toml does not accept", &Vec::from_iter(found));
}

#[test]
fn no_banned_crate_is_linked() {
    let deny = deny();
    let mut found = BTreeSet::new();
    for ban in deny["bans"]["deny"].as_array().expect("bans.deny") {
        let name = ban["crate"].as_str().expect("each ban names its crate");
        let wrappers = ban.get("wrappers").map(strings).unwrap_or_default();
        let users = outside()
            .into_iter()
            .filter(|linked| linked.name == name && !wrappers.contains(&linked.user));
        found.extend(users.map(|linked| format!("{} uses {name}", linked.user)));
    }
    expect_none("banned by deny.toml", &Vec::from_iter(found));
}

#[test]
fn dependencies_come_from_the_registry_alone() {
    let lock: toml::Table = read("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let sources = packages
        .iter()
        .filter_map(|package| Some((&package["name"], package.get("source")?.as_str()?)));
    let strange = sources.filter(|(_, source)| *source != "registry+https://github.com/rust-lang/crates.io-index");
    let found: Vec<_> = strange.map(|(name, source)| format!("{name}: {source}")).collect();
    expect_none("not from crates.io", &found);
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<_> = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-2.0-only", false),
        ("MIT OR GPL-2.0-only", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-2.0-only", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("GPL-3.0 OR MIT AND ISC", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(accepts(expression, &allowed), expected, "{expression}");
    }
}

fn deny() -> toml::Table {
    read("deny.toml").parse().expect("deny.toml is TOML")
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Everything that is linked into or built for one of our crates and is not of this workspace.
fn outside() -> BTreeSet<Linked> {
    let ours = ["samara-protocol", "samara-node", "samara-simulations", "samara-tests"];
    let linked = ours.into_iter().flat_map(linked);
    linked.filter(|linked| !ours.contains(&linked.name.as_str())).collect()
}

/// `AND` binds tighter than `OR`; `/` is the old way to write `OR`; `X WITH Y` is one licence.
fn accepts(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at, allowed) && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut accepted = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        accepted |= all(words, at, allowed);
    }
    accepted
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut accepted = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        accepted &= one(words, at, allowed);
    }
    accepted
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let accepted = any(words, at, allowed);
        *at += 1;
        return accepted;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return allowed.contains(&whole);
    }
    allowed.contains(*word)
}
