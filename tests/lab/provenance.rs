//! Where a figure comes from: the commit that was built and the machine that it ran on. Stamped on at the time of measuring,
//! not when tables are made of it: the checkout may have gone on by then. The harness builds the program before it is measured,
//! so the checkout's commit is the program's; where `SAMARA_BINARY` names another program, whoever measures answers for that.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// Puts `commit` and `machine` into an object, or into every object of an array.
pub(crate) fn stamp(measured: &mut Value) {
    match measured {
        Value::Object(row) => {
            row.insert("commit".to_owned(), json!(commit()));
            row.insert("machine".to_owned(), json!(machine()));
        }
        Value::Array(rows) => rows.iter_mut().for_each(stamp),
        _ => {}
    }
}

/// In words what [`stamp`] left, for below a table.
pub(crate) fn of(measured: &Value) -> String {
    let row = measured.get(0).unwrap_or(measured);
    let field = |name: &str| row[name].as_str().unwrap_or("unknown").to_owned();
    format!("Commit {}, {}.", field("commit"), field("machine"))
}

fn commit() -> String {
    let asked = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(samara_tests::binary::repository())
        .output();
    asked.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Cores, model, memory and kernel, from the kernel.
fn machine() -> String {
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} x {}, {}, Linux {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_from_objects_and_arrays() {
        for mut measured in [json!({"size": 1}), json!([{"size": 1}, {"size": 2}])] {
            stamp(&mut measured);
            let said = of(&measured);
            assert!(!said.contains("unknown") && said.contains(&commit()), "{said}");
        }
        assert_eq!(of(&json!({})), "Commit unknown, unknown.");
    }
}
