//! One measured transfer, several of them, and their median.

use std::time::Duration;

use samara_tests::usage::Usage;
use serde_json::{Value, json};

/// Bytes of a GiB.
const GIB: f64 = (1u64 << 30) as f64;
/// Bytes of a MiB.
pub(crate) const MIB: f64 = (1u64 << 20) as f64;

/// One transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// From the receiver's start to its end.
    pub(crate) elapsed: Duration,
    /// The same where the receiver also waits until its bytes are on the disk.
    pub(crate) durable: Option<Duration>,
    /// What the receiver cost.
    pub(crate) receiver: Usage,
    /// What the sender cost meanwhile; its peak is that of its whole life.
    pub(crate) sender: Usage,
}

/// The median of an odd or even number of values; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Rounded for printing: three decimals are more than any of it repeats to.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What `lab pair` prints for one program.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
pub(crate) fn pair_row(size: u64, runs: &[Transfer]) -> Value {
    let over = |value: fn(&Transfer) -> f64| median(runs.iter().map(value));
    let gib = size as f64 / GIB;
    let durable: Vec<f64> = runs.iter().filter_map(|run| Some(run.durable?.as_secs_f64())).collect();
    json!({
        "mb_s": round(size as f64 / 1e6 / over(|run| run.elapsed.as_secs_f64())),
        "durable_s": if durable.is_empty() { Value::Null } else { json!(round(median(durable))) },
        "cpu_s_per_gib": {
            "receiver": round(over(|run| run.receiver.cpu.as_secs_f64()) / gib),
            "sender": round(over(|run| run.sender.cpu.as_secs_f64()) / gib),
        },
        "rss_mib": {
            "receiver": round(over(|run| run.receiver.peak_rss as f64) / MIB),
            "sender": round(over(|run| run.sender.peak_rss as f64) / MIB),
        },
        "seconds": runs.iter().map(|run| round(run.elapsed.as_secs_f64())).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).abs() < 1e-9);
    }

    #[test]
    fn a_row_is_in_the_units_it_says() {
        let usage = |cpu, rss: u64| Usage {
            cpu: Duration::from_millis(cpu),
            peak_rss: rss << 20,
        };
        let run = |ms| Transfer {
            elapsed: Duration::from_millis(ms),
            durable: None,
            receiver: usage(700, 20),
            sender: usage(300, 10),
        };
        let row = pair_row(1 << 29, &[run(500), run(1000), run(400)]);
        assert_eq!(row["mb_s"], 1073.742);
        assert_eq!(row["cpu_s_per_gib"]["receiver"], 1.4);
        assert_eq!(row["rss_mib"]["sender"], 10.0);
        assert!(row["durable_s"].is_null());
    }
}
