//! The documents: one title a page, paths that exist, and an existing test for each invariant.

use std::collections::BTreeSet;

use crate::expect_none;
use crate::source::{read, root, rust, tracked};

/// Invariants whose behaviour has no test of its own yet. May only become shorter.
const PENDING: &[&str] = &[];
/// Folders of the repository: a quoted path that starts so must exist.
const FOLDERS: &[&str] = &["node/", "protocol/", "tests/", "simulations/", "docs/", ".ci/"];

#[test]
fn every_invariant_names_a_test_that_exists() {
    let page = read("docs/architecture.md");
    let known = test_names();
    let invariants = invariants(&page);
    let ids: Vec<_> = invariants.iter().map(|(id, _)| id.clone()).collect();
    let expected: Vec<_> = (1..=ids.len()).map(|n| format!("AI-{n}")).collect();
    assert_eq!(ids, expected, "invariants are numbered without gaps");
    assert!(ids.len() >= 10, "docs/architecture.md lists the invariants");
    expect_none("an invariant and its tests", &untested(&invariants, &known, PENDING));
}

#[test]
fn quoted_paths_exist() {
    let mut found = Vec::new();
    for page in pages() {
        for path in quoted_paths(&read(&page)) {
            if !root().join(&path).exists() {
                found.push(format!("{page}: `{path}`"));
            }
        }
    }
    expect_none("quoted, but not there", &found);
}

#[test]
fn every_variable_that_tests_and_lab_read_has_its_row() {
    let page = read("docs/performance.md");
    let read_by_tests = rust("tests/")
        .iter()
        .flat_map(|source| variables(&source.text))
        .collect::<BTreeSet<_>>();
    assert!(read_by_tests.len() > 3, "{read_by_tests:?}");
    let found: Vec<_> = read_by_tests
        .into_iter()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .collect();
    expect_none("read, and not in the table of docs/performance.md", &found);
}

#[test]
fn every_page_has_one_title() {
    let pages = pages();
    assert!(pages.contains(&"README.md".to_owned()), "{pages:?}");
    let found: Vec<_> = pages.into_iter().filter(|page| titles(&read(page)) != 1).collect();
    expect_none("one `# title` a page", &found);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut found = Vec::new();
    for page in pages() {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(&read(&page)) {
            let outside = target.contains("://") || target.starts_with('#') || target.starts_with("mailto:");
            let file = target.split('#').next().unwrap_or_default();
            if !outside && !root().join(folder).join(file).exists() {
                found.push(format!("{page}: {target}"));
            }
        }
    }
    expect_none("broken links", &found);
}

#[test]
fn the_document_checks_find_what_they_look_for() {
    let page = "# T\n* **AI-1** one. Tests: `it_holds`.\n* **AI-2** two\n  goes on. Tests: `gone`.\n\n`node/none.rs` [x](y.md)\n```\n# no title\n```\n";
    let invariants = invariants(page);
    assert_eq!(invariants.len(), 2);
    let known: BTreeSet<_> = ["it_holds".to_owned()].into();
    assert_eq!(untested(&invariants, &known, &[]).len(), 1);
    assert!(untested(&invariants, &known, &["AI-2"]).is_empty());
    assert_eq!(
        untested(&invariants, &known, &["AI-1", "AI-2"]).len(),
        1,
        "a tested one may not stay pending"
    );
    assert_eq!(quoted_paths(page), ["node/none.rs"]);
    assert_eq!(
        variables("std::env::var_os(\"SAMARA_X\") env::var(\"HOME\")"),
        ["SAMARA_X"]
    );
    assert_eq!(links(page), ["y.md"]);
    assert_eq!(titles(page), 1);
}

fn pages() -> Vec<String> {
    let mut pages = tracked();
    pages.retain(|path| path.ends_with(".md"));
    pages
}

/// Names of the variables of Samara's own that a source reads.
fn variables(text: &str) -> Vec<String> {
    let reads = ["var_os(\"SAMARA", "var(\"SAMARA"]
        .iter()
        .flat_map(|call| text.split(call).skip(1));
    reads
        .filter_map(|rest| Some(format!("SAMARA{}", rest.split_once('"')?.0)))
        .filter(|name| name.len() > "SAMARA_".len())
        .collect()
}

/// Each `* **AI-n**` item with its whole text.
fn invariants(page: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("* **AI-") {
            let number = rest.split("**").next().unwrap_or_default();
            items.push((format!("AI-{number}"), line.to_owned()));
            open = true;
        } else if open && line.starts_with("  ") {
            let (_, text) = items.last_mut().expect("an item is open");
            text.push_str(line);
        } else {
            open = false;
        }
    }
    items
}

fn untested(invariants: &[(String, String)], known: &BTreeSet<String>, pending: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (id, text) in invariants {
        let tests = text.split_once("Tests:").map_or("", |(_, tests)| tests);
        let named: Vec<_> = quoted(tests)
            .into_iter()
            .map(|name| name.rsplit("::").next().unwrap_or_default().to_owned())
            .collect();
        let missing: Vec<_> = named.iter().filter(|name| !known.contains(*name)).collect();
        if !missing.is_empty() && !pending.contains(&id.as_str()) {
            found.push(format!("{id}: no such test: {missing:?}"));
        }
        match (named.len() > missing.len(), pending.contains(&id.as_str())) {
            (false, false) if missing.is_empty() => found.push(format!("{id}: names no test")),
            (true, true) => found.push(format!(
                "{id}: has a test now; take it out of PENDING in tests/tidy/docs.rs"
            )),
            _ => {}
        }
    }
    found
}

/// Names of all functions marked as tests, and of property tests.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in rust("") {
        let mut marked = false;
        for line in source.text.lines().map(str::trim) {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let Some(name) = function
                .and_then(|rest| rest.split(['(', '<']).next())
                .filter(|_| marked)
            {
                names.insert(name.to_owned());
                marked = false;
            }
        }
    }
    names
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Paths of this repository in backquotes; patterns with a `*` or a placeholder are not paths.
fn quoted_paths(page: &str) -> Vec<String> {
    let inline = prose(page);
    let quoted = quoted(&inline).into_iter();
    quoted
        .filter(|word| {
            FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '<', '{', ' ', '…'])
        })
        .map(|word| word.trim_end_matches('/').to_owned())
        .collect()
}

fn links(page: &str) -> Vec<String> {
    let inline = prose(page);
    let parts = inline.split("](").skip(1);
    parts
        .filter_map(|part| Some(part.split_once(')')?.0.to_owned()))
        .collect()
}

fn titles(page: &str) -> usize {
    prose(page).lines().filter(|line| line.starts_with("# ")).count()
}

/// The page without its fenced blocks.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
