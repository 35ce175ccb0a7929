//! The ladder as a table of `docs/performance.md`.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

/// Appends it to the page.
pub(crate) fn table(page: &mut String, value: &Value) -> Result<()> {
    let control = value["tcp_congestion_control"].as_str().unwrap_or("unknown");
    writeln!(page, "\n### Bad links; TCP is one stream with {control}\n")?;
    writeln!(
        page,
        "| link | Mbit/s | round trip, ms | lost | MiB | samara, s | TCP, s | ratio | copies on the wire, samara and TCP | finished |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|---|")?;
    for rung in value["rungs"].as_array().into_iter().flatten() {
        let copies = &rung["interface_copies"];
        writeln!(
            page,
            "| `{}` | {} | {} | {} % | {} | {} | {} | {} | {}, {} | {} |",
            rung["profile"].as_str().unwrap_or_default(),
            rung["mbit"],
            number(&rung["rtt_ms"], 1.0, 0),
            number(&rung["loss"], 100.0, 1),
            number(&rung["size"], 1.0 / f64::from(1 << 20), 1),
            number(&rung["samara_s"], 1.0, 1),
            number(&rung["tcp_s"], 1.0, 1),
            number(&rung["ratio"], 1.0, 2),
            number(&copies["samara"], 1.0, 2),
            number(&copies["tcp"], 1.0, 2),
            rung["finished"]
        )?;
    }
    Ok(())
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
    fn a_rung_is_a_row_and_what_is_unknown_is_a_dash() {
        let mut page = String::new();
        let rung = json!({"profile": "satellite", "mbit": 25.0, "rtt_ms": 600.0, "loss": 0.015, "size": 1 << 20, "samara_s": 12.34,
            "tcp_s": null, "ratio": null, "interface_copies": {"samara": 1.1, "tcp": null}, "finished": true});
        table(&mut page, &json!({"rungs": [rung], "tcp_congestion_control": "bbr"})).expect("a string takes it");
        assert!(page.contains("one stream with bbr"), "{page}");
        let row = "| `satellite` | 25.0 | 600 | 1.5 % | 1.0 | 12.3 | - | - | 1.10, - | true |";
        assert!(page.contains(row), "{page}");
    }
}
