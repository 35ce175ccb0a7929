//! What the hostile ones changed, as tables of `docs/performance.md`.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

/// Appends them to the page.
pub(crate) fn table(page: &mut String, value: &Value) -> Result<()> {
    let hostile = value["hostile"].as_array().map_or(0, Vec::len);
    let size = value["size"]
        .as_u64()
        .map_or_else(String::new, samara_protocol::units::show_bytes);
    writeln!(
        page,
        "\n### {} honest sites beside {hostile} hostile ones, {size}; bound {} s\n",
        value["honest"],
        number(&value["bound_s"], 1.0, 2)
    )?;
    writeln!(
        page,
        "| | last / bound | of the runs | mean / bound | interface copies out of the origin | into a site | waste | peak MiB of a site, of the origin | cores busy | honest ones kept out | verified |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for (name, row) in [("alone", &value["alone"]), ("beside them", &value["beside"])] {
        writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} | {} % | {}, {} | {} % | {} | {} |",
            number(&row["last_over_bound"], 1.0, 2),
            spread(&row["runs"], 2),
            number(&row["mean_over_bound"], 1.0, 2),
            number(&row["origin_interface_copies"], 1.0, 2),
            number(&row["received_interface_copies"], 1.0, 2),
            number(&row["waste"], 100.0, 1),
            number(&row["site_peak_mib"], 1.0, 1),
            number(&row["origin_peak_mib"], 1.0, 1),
            number(&row["machine_busy"], 100.0, 0),
            row["honest_quarantined"],
            row["all_verified"]
        )?;
    }
    writeln!(
        page,
        "\nThe last one took {} times as long beside them.\n",
        number(&value["ratio"], 1.0, 2)
    )?;
    let nodes = value["honest"].as_u64().unwrap_or(0) + 1;
    writeln!(
        page,
        "| conduct | kept out by, of {nodes} nodes | the logs say |\n|---|---|---|"
    )?;
    for peer in value["peers"].as_array().into_iter().flatten() {
        let texts = |field: &str| {
            let listed = peer[field].as_array().into_iter().flatten();
            listed
                .filter_map(Value::as_str)
                .map(|text| format!("`{text}`"))
                .collect::<Vec<_>>()
        };
        writeln!(
            page,
            "| `{}` | {} | {} |",
            peer["conduct"].as_str().unwrap_or_default(),
            spread(&peer["quarantined_by"], 0),
            texts("named").join(", ")
        )?;
    }
    Ok(())
}

/// The least and the most of some runs, or what all of them have in common.
fn spread(runs: &Value, decimals: usize) -> String {
    let mut shown: Vec<_> = runs
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    shown.sort_by(f64::total_cmp);
    let mut shown: Vec<_> = shown.iter().map(|run| format!("{run:.decimals$}")).collect();
    shown.dedup();
    match &shown[..] {
        [] => "-".to_owned(),
        [all] => all.clone(),
        [least, .., most] => format!("{least} to {most}"),
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
    fn both_halves_are_rows_and_each_hostile_one_is_another() {
        let row = json!({"last_over_bound": 1.2, "mean_over_bound": 1.1, "origin_interface_copies": 1.05, "received_interface_copies": 1.04,
            "waste": 0.021, "site_peak_mib": 30.5, "origin_peak_mib": 40.0, "machine_busy": 0.704, "honest_quarantined": 0, "all_verified": true,
            "runs": [1.3, 1.1, 1.2]});
        let peers = [
            json!({"conduct": "lie", "quarantined_by": [10, 11], "named": ["have_was_false", "peer_quarantined: lied_about_haves"]}),
            json!({"conduct": "hoard-connections", "quarantined_by": [0, 0], "named": []}),
        ];
        let mut page = String::new();
        let value = json!({"honest": 10, "hostile": ["lie", "hoard-connections"], "size": 64 << 20, "bound_s": 10.74, "alone": row, "beside": row,
            "ratio": 1.234, "peers": peers});
        table(&mut page, &value).expect("a string takes it");
        assert!(
            page.contains("10 honest sites beside 2 hostile ones, 64.0 MiB; bound 10.74 s"),
            "{page}"
        );
        let expected =
            "| beside them | 1.20 | 1.10 to 1.30 | 1.10 | 1.05 | 1.04 | 2.1 % | 30.5, 40.0 | 70 % | 0 | true |";
        assert!(page.contains(expected), "{page}");
        assert!(page.contains("took 1.23 times as long"), "{page}");
        assert!(
            page.contains("| `lie` | 10 to 11 | `have_was_false`, `peer_quarantined: lied_about_haves` |"),
            "{page}"
        );
        assert!(page.contains("| `hoard-connections` | 0 |  |"), "{page}");
    }
}
