//! Memory that the machine has already, kept for the files of a run.
//!
//! In a virtual machine a page that was never used, or was free for a while and has been given back, costs a way through the
//! hypervisor when it is used next: 2 GiB of new files took 4 CPU s instead of 0.5. On two cores that all sites share this was a fifth of
//! what a swarm of 32 costs, and no network has a part in it. So a run's memory is used once beforehand, and let go bit by bit, just
//! ahead of what files and processes take: the kernel hands out what it got back last. It is the same for every program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// A part that is let go at once. Allocators take parts of this size from the kernel and give them back as they are freed.
const PART: usize = 40 << 20;
/// How far ahead memory is let go: what is taken between two looks, many times.
const AHEAD: u64 = 200 << 20;
/// Between two looks at how much the files have taken.
const INTERVAL: Duration = Duration::from_millis(50);

/// What a site's processes may take beside its files.
const PROCESSES: u64 = 96 << 20;

/// Lets memory go as others take it, until it is dropped.
pub(crate) struct WarmMemory {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WarmMemory {
    /// Uses memory for so many sites with so many bytes of files each, or half of what is available where that is less.
    pub(crate) fn new(sites: usize, bytes: u64) -> Result<Self> {
        let available = meminfo("MemAvailable:")?;
        let all = sites as u64 * (bytes + PROCESSES) + AHEAD;
        let parts = all.min(available / 2) / PART as u64;
        // A one, since zeroed memory is not there until it is written to.
        let parts: Vec<Vec<u8>> = (0..parts).map(|_| vec![1; PART]).collect();
        let before = in_use()?;
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || let_go(parts, before, &ends));
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for WarmMemory {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It holds nothing but memory.
            let _ = thread.join();
        }
    }
}

fn let_go(mut parts: Vec<Vec<u8>>, before: u64, over: &AtomicBool) {
    let all = parts.len() as u64 * PART as u64;
    while !parts.is_empty() && !over.load(Ordering::Relaxed) {
        let let_go = all - parts.len() as u64 * PART as u64;
        let taken = (in_use().unwrap_or(before) + let_go).saturating_sub(before);
        parts.truncate(parts_left(all, taken));
        std::thread::sleep(INTERVAL);
    }
}

/// What files and processes hold, this one among them.
fn in_use() -> Result<u64> {
    Ok(meminfo("Cached:")? + meminfo("AnonPages:")?)
}

/// How many parts of `all` bytes to keep when others have taken so many.
fn parts_left(all: u64, taken: u64) -> usize {
    let left = all.saturating_sub(taken + AHEAD).div_ceil(PART as u64);
    usize::try_from(left).expect("fewer parts than bytes")
}

/// A figure of /proc/meminfo, in bytes.
fn meminfo(name: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .and_then(|kib| kib.trim().parse().ok())
        .with_context(|| format!("/proc/meminfo has no {name}"))?;
    Ok(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_let_go_ahead_of_who_takes_it_and_never_taken_back() {
        let part = PART as u64;
        let all = 20 * part;
        assert_eq!(parts_left(all, 0), 15, "200 MiB ahead");
        assert_eq!(parts_left(all, part), 14);
        assert_eq!(parts_left(all, part + 1), 14, "a part goes when all of it may");
        assert_eq!(parts_left(all, all), 0);
    }

    #[test]
    fn the_machine_says_how_much_memory_it_has() {
        let available = meminfo("MemAvailable:").expect("says");
        assert!(available > 1 << 20, "{available}");
        assert!(in_use().expect("says") > 0);
        assert!(meminfo("Nothing:").is_err());
    }
}
