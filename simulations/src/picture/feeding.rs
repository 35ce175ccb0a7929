//! Who got how much from whom, as a matrix with a name at each row and column.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use samara_protocol::swarm::config::Role;

use super::{exact, exact_u64, head, label};
use crate::world::World;

/// Cells in each direction at the most.
const CELLS_MAX: usize = 64;
/// Size of the matrix.
const SIZE: f64 = 560.0;
/// Room beside the names, and for the two lines above them.
const MARGIN: f64 = 16.0;
/// See [`MARGIN`].
const LINES: f64 = 56.0;
/// The largest letters.
const LETTERS: f64 = 12.0;
/// How wide a letter is, as a part of its height.
const SLIM: f64 = 0.62;

/// Who got how much from whom: a row for each source, a column for each receiver, many nodes to a cell when there are many.
#[must_use]
pub fn feeding(world: &World) -> String {
    let count = world.nodes.len();
    let per_cell = count.div_ceil(CELLS_MAX).max(1);
    let names: Vec<String> = names(world).chunks(per_cell).map(span).collect();
    let cells = names.len();
    let bytes = bytes(world, per_cell, cells);
    let most = bytes.iter().copied().max().unwrap_or(0).max(1);
    let size = SIZE / exact(cells.max(1));
    let letters = LETTERS.min(size);
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = exact(longest) * letters * SLIM + MARGIN;
    let (left, top) = (room, LINES + room);
    let mut out = head(left + SIZE + MARGIN, top + SIZE + MARGIN, "who fed whom");
    for (at, amount) in bytes.iter().enumerate().filter(|(_, amount)| **amount > 0) {
        let (row, column) = (at / cells, at % cells);
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{size:.2}\" height=\"{size:.2}\" fill=\"#1f6feb\" fill-opacity=\"{:.3}\"/>",
            left + exact(column) * size,
            top + exact(row) * size,
            0.08 + 0.92 * exact_u64(*amount) / exact_u64(most),
        );
    }
    for (at, text) in names.iter().enumerate() {
        let middle = (exact(at) + 0.5) * size + letters * 0.35;
        name(&mut out, (left - 6.0, top + middle), letters, false, text);
        name(&mut out, (left + middle, top - 6.0), letters, true, text);
    }
    label(
        &mut out,
        MARGIN,
        24.0,
        "from: each row a source; to: each column a receiver",
    );
    label(
        &mut out,
        MARGIN,
        42.0,
        "the darker, the more; numbers count the nodes of a group",
    );
    out.push_str("</svg>\n");
    out
}

/// What each cell's receivers got from its sources.
fn bytes(world: &World, per_cell: usize, cells: usize) -> Vec<u64> {
    let mut bytes = vec![0_u64; cells * cells];
    for (to, node) in world.nodes.iter().enumerate() {
        for (source, amount) in node.sources.values().flat_map(|sources| &sources.by_peer) {
            if let Some(from) = world.number_of(source) {
                bytes[from / per_cell * cells + to / per_cell] += amount;
            }
        }
    }
    bytes
}

/// The name of each node's group, or what its nodes are, and its number where several are called so.
fn names(world: &World) -> Vec<String> {
    let called = |node: &crate::node::Node| {
        let role = match node.nature.role {
            Role::Origin => "origin",
            Role::Site => "site",
            Role::Host => "host",
        };
        let group = &world.scenario.nodes[node.nature.group];
        group.name.clone().unwrap_or_else(|| role.to_owned())
    };
    let all: Vec<String> = world.nodes.iter().map(called).collect();
    let mut seen = BTreeSet::new();
    let several: BTreeSet<&String> = all.iter().filter(|name| !seen.insert(*name)).collect();
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    let numbered = |name| {
        let count = counts.entry(name).or_default();
        *count += 1;
        if several.contains(name) {
            format!("{name} {count}")
        } else {
            name.clone()
        }
    };
    all.iter().map(numbered).collect()
}

/// The name of a cell: that of its one node, or of its first and its last.
fn span(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

/// A name that ends at a place, from the left or, `upright`, from above.
fn name(out: &mut String, (x, y): (f64, f64), letters: f64, upright: bool, text: &str) {
    let (anchor, turn) = if upright {
        ("start", format!(" transform=\"rotate(-90 {x:.1} {y:.1})\""))
    } else {
        ("end", String::new())
    };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#555\" font-family=\"sans-serif\" font-size=\"{letters:.1}\"{turn}>{text}</text>"
    );
}
