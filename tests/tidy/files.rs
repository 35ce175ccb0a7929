//! What a file may be: how long, what it is called, that it says what it is, that nothing unfinished stays in it.

use std::path::Path;

use crate::expect_none;
use crate::source::{Source, rust, tracked};

/// Lines of a file outside its test module.
const LINES_MAX: usize = 500;
/// Files that are longer and still to be divided, with the length that they may not exceed meanwhile.
const TOO_LONG: &[(&str, usize)] = &[];
const BANNED_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc", "mod"];
const TOP_LEVEL_FOLDERS: &[&str] = &[
    "node",
    "protocol",
    "tests",
    "simulations",
    "docs",
    ".ci",
    ".cargo",
    ".github",
];

#[test]
fn files_stay_short() {
    let mut lengths: Vec<_> = rust("").iter().filter(|source| !source.is_test()).map(length).collect();
    lengths.sort();
    let found: Vec<_> = lengths
        .iter()
        .filter(|(lines, path)| *lines > limit(path))
        .map(|(n, path)| format!("{path}: {n}"))
        .collect();
    for (path, _) in TOO_LONG {
        let still = lengths.iter().any(|(lines, other)| other == path && *lines > LINES_MAX);
        assert!(still, "{path} is short enough now: take it out of TOO_LONG");
    }
    if let Some((lines, path)) = lengths.last() {
        println!(
            "longest file: {path}, {lines} lines outside its tests; median {}",
            lengths[lengths.len() / 2].0
        );
    }
    expect_none(
        &format!("a file has at most {LINES_MAX} lines; look for the sub-machine in it"),
        &found,
    );
}

#[test]
fn files_are_named_for_what_they_hold() {
    let found: Vec<_> = rust("")
        .iter()
        .map(|source| source.path.clone())
        .filter(|path| is_banned(path))
        .collect();
    expect_none("name the thing, not the drawer", &found);
}

#[test]
fn the_top_level_holds_the_crates_the_docs_and_what_tools_demand() {
    let folders = tracked()
        .into_iter()
        .filter_map(|path| Some(path.split_once('/')?.0.to_owned()));
    let mut found: Vec<_> = folders
        .filter(|folder| !TOP_LEVEL_FOLDERS.contains(&folder.as_str()))
        .collect();
    found.dedup();
    expect_none("no other top-level folders", &found);
}

#[test]
fn nothing_unfinished_is_left() {
    // Put together here so that this file does not find itself.
    let words = ["todo!", "unimplemented!", "dbg!"];
    let marks = [["FIX", "ME"].concat(), ["#[ign", "ore"].concat(), ["XX", "X"].concat()];
    let mut found = Vec::new();
    for source in rust("") {
        found.extend(source.lines_with(&words));
        for (index, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    expect_none("finish it or file it", &found);
}

#[test]
fn every_module_says_what_it_is() {
    let sources = rust("").into_iter().filter(|source| !source.is_test());
    let found: Vec<_> = sources
        .filter(|source| !says_what_it_is(&source.text))
        .map(|source| source.path)
        .collect();
    expect_none("a module starts with `//!`", &found);
}

/// No crate has its doc tests run: that costs a compiler run each, for none.
#[test]
fn nothing_in_the_docs_is_an_example_that_nobody_runs() {
    let found: Vec<_> = rust("").iter().flat_map(examples).collect();
    expect_none("mark it as `text`, and make a test of what is to be compiled", &found);
}

fn examples(source: &Source) -> Vec<String> {
    let (mut found, mut is_open) = (Vec::new(), false);
    for (index, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        let doc = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"));
        let Some(language) = doc.and_then(|doc| doc.trim_start().strip_prefix("```")) else {
            continue;
        };
        let is_code = language.is_empty() || language.starts_with("rust") || language.contains("no_run");
        if !is_open && is_code {
            found.push(format!("{}:{}", source.path, index + 1));
        }
        is_open = !is_open;
    }
    found
}

#[test]
fn source_is_plain_text() {
    let mut found = Vec::new();
    for source in rust("") {
        for (index, line) in source.code.lines().enumerate() {
            if line.contains('\t') {
                found.push(format!("{}:{}: a tab", source.path, index + 1));
            }
        }
        if source.text.chars().any(|c| ('\u{1F000}'..='\u{1FAFF}').contains(&c)) {
            found.push(format!("{}: a pictogram", source.path));
        }
    }
    expect_none("plain punctuation, no tabs, no pictograms", &found);
}

#[test]
fn the_file_checks_find_what_they_look_for() {
    let long = Source::new("a/src/b.rs", &"fn f() {}\n".repeat(LINES_MAX + 1));
    assert!(length(&long).0 > LINES_MAX);
    let tested = Source::new(
        "a/src/b.rs",
        &format!(
            "fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn t() {}\n".repeat(600)
        ),
    );
    assert!(length(&tested).0 <= 3, "{:?}", length(&tested));
    assert!(is_banned("node/src/net/utils.rs") && is_banned("node/src/manager/x.rs") && !is_banned("node/src/net.rs"));
    assert!(!says_what_it_is("use std::fs;\n") && says_what_it_is("//! Files.\n"));
    let example = "//! A.\n//! ```\n//! a\n//! ```\n//! ```text\n//! b\n//! ```\n";
    assert_eq!(examples(&Source::new("x.rs", example)), ["x.rs:2"]);
}

fn limit(path: &str) -> usize {
    TOO_LONG
        .iter()
        .find(|(long, _)| *long == path)
        .map_or(LINES_MAX, |(_, limit)| *limit)
}

/// Lines up to the last one that is neither empty nor test code.
fn length(source: &Source) -> (usize, String) {
    let tests = source.text.lines().position(|line| line.trim() == "#[cfg(test)]");
    let blank_after = |at: usize| source.code.lines().skip(at).all(|line| line.trim().is_empty());
    let lines = source.text.lines().count();
    let lines = tests.filter(|at| blank_after(*at)).unwrap_or(lines);
    (lines, source.path.clone())
}

fn is_banned(path: &str) -> bool {
    let parts = Path::new(path).with_extension("");
    parts.iter().any(|part| BANNED_NAMES.iter().any(|name| part == *name))
}

fn says_what_it_is(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("//! "))
}
