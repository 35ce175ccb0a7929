//! Where a table comes from: the commit of the checkout in which it is printed, and the machine. Whoever runs a program that was
//! built of another commit answers for that.

use std::fs;
use std::process::Command;

/// One sentence to stand below a table.
pub(super) fn sentence() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Commit {}, {cores} x {model}, Linux {}.", commit(), kernel.trim())
}

fn commit() -> String {
    let describe = ["describe", "--always", "--dirty", "--abbrev=12"];
    let asked = Command::new("git").args(describe).output();
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok()
        .filter(|said| !said.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn field(file: &str, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown processor".to_owned(), |(_, value)| value.trim().to_owned())
}
