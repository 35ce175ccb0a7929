//! Runs of scenarios as a table of `docs/performance.md`.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

const HEAD: &str = "| scenario | links, late by ms | bound, s | last / bound: lab | simulator | lab / simulator | mean: lab | simulator \
    | copies out of the origin: lab, interface | lab, payload | simulator | duplicates: lab | simulator | besides |\n\
    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// Appends one or more runs to the page.
pub(crate) fn table(page: &mut String, values: &[Value]) -> Result<()> {
    write!(page, "\n### Scenarios, on processes and in the simulator\n\n{HEAD}")?;
    for value in values {
        let (lab, simulation) = (&value["lab"], &value["simulation"]);
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            value["scenario"].as_str().unwrap_or("-"),
            links(&lab["links"]),
            number(&value["bound_s"], 1.0, 2),
            number(&lab["last_over_bound"], 1.0, 2),
            number(&simulation["last_over_bound"], 1.0, 2),
            number(&value["last_ratio"], 1.0, 2),
            number(&lab["mean_over_bound"], 1.0, 2),
            number(&simulation["mean_over_bound"], 1.0, 2),
            number(&lab["origin_interface_copies"], 1.0, 2),
            number(&lab["origin_copies"], 1.0, 2),
            number(&simulation["origin_copies"], 1.0, 2),
            percent(&lab["duplicates"]),
            percent(&simulation["duplicates"]),
            besides(value),
        )?;
    }
    Ok(())
}

/// What joined the places; with an emulator that was late by more than a round trip nothing was measured.
fn links(value: &Value) -> String {
    match (value["kind"].as_str(), value["late_ms"].as_f64()) {
        (Some("wan"), Some(late)) => format!("wan, {late:.0}"),
        (kind, _) => kind.unwrap_or("-").to_owned(),
    }
}

/// What only some scenarios have.
fn besides(value: &Value) -> String {
    let lab = &value["lab"];
    let mut said = Vec::new();
    if let Some(fed) = lab["outbound_copies"].as_f64().filter(|fed| *fed > 0.0) {
        let simulated = number(&value["simulation"]["outbound_copies"], 1.0, 2);
        said.push(format!(
            "nodes that cannot be dialled sent {fed:.2} copies ({simulated})"
        ));
    }
    if let Some(died) = lab["origin_died_s"].as_f64() {
        said.push(format!("the origin died at {died:.1} s"));
    }
    for gap in lab["half_open"].as_array().into_iter().flatten() {
        let limit = number(&gap["limit_s"], 1.0, 2);
        said.push(match gap["gap_s"].as_f64() {
            Some(seconds) => format!("bytes from others {seconds:.2} s after the cut (within {limit})"),
            None if gap["missed_nothing"] == true => "nothing was missing at the cut".to_owned(),
            None => format!("NOTHING CAME FROM OTHERS after the cut (within {limit})"),
        });
    }
    if lab["all_verified"] == false {
        said.push("NOT VERIFIED".to_owned());
    }
    said.join("; ")
}

fn percent(value: &Value) -> String {
    match value.as_f64() {
        Some(_) => number(value, 100.0, 2) + " %",
        None => "-".to_owned(),
    }
}

fn number(value: &Value, factor: f64, decimals: usize) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |value| format!("{:.decimals$}", value * factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scenario_is_a_row_and_says_what_only_it_has() {
        let value = json!({
            "scenario": "half-open", "bound_s": 20.0, "last_ratio": 1.1,
            "lab": {"links": {"kind": "wan", "late_ms": 4.2}, "last_over_bound": 1.21, "mean_over_bound": 0.5, "origin_interface_copies": 0.1,
                "origin_copies": 0.09, "duplicates": 0.0123, "outbound_copies": 1.5, "origin_died_s": 12.5, "all_verified": true,
                "half_open": [{"gap_s": 2.5, "limit_s": 3.04}, {"gap_s": null, "missed_nothing": true, "limit_s": 3.04}, {"gap_s": null, "missed_nothing": false, "limit_s": 3.04}]},
            "simulation": {"last_over_bound": 1.1, "mean_over_bound": 0.4, "origin_copies": 0.08, "duplicates": 0.001, "outbound_copies": 1.4},
        });
        let mut page = String::new();
        table(&mut page, &[value, json!({"scenario": "bare"})]).expect("a string takes it");
        let row = "| half-open | wan, 4 | 20.00 | 1.21 | 1.10 | 1.10 | 0.50 | 0.40 | 0.10 | 0.09 | 0.08 | 1.23 % | 0.10 % | \
            nodes that cannot be dialled sent 1.50 copies (1.40); the origin died at 12.5 s; \
            bytes from others 2.50 s after the cut (within 3.04); nothing was missing at the cut; \
            NOTHING CAME FROM OTHERS after the cut (within 3.04) |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("| bare | - | - |"), "{page}");
    }
}
