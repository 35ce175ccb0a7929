//! What a process has cost, from the kernel: CPU time and peak resident memory.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// CPU time and peak memory of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Peak resident bytes.
    pub peak_rss: u64,
}

/// Blocks until the child `pid` has ended, without collecting it: its number stays taken.
///
/// # Errors
/// When it is not a child of this process.
pub fn wait_end(pid: u32) -> io::Result<()> {
    loop {
        // SAFETY: zeroed is a valid siginfo_t, and waitid writes only into it.
        #[expect(unsafe_code, reason = "std cannot wait without collecting")]
        let outcome = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if outcome == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Collects the child `pid`: how it ended and what it had cost.
///
/// # Errors
/// When it is not a child of this process.
pub fn collect(pid: u32) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    let number = i32::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: zeroed is a valid rusage; wait4 writes only into the two places given.
    #[expect(unsafe_code, reason = "std gives no resource usage")]
    let (outcome, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(number, &raw mut status, 0, &raw mut usage), usage)
    };
    if outcome != number {
        return Err(io::Error::last_os_error());
    }
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    let peak_rss = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok((ExitStatus::from_raw(status), Usage { cpu, peak_rss }))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Sends `signal` to the process `pid`.
///
/// # Errors
/// When there is no such process or it is not ours.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes two numbers and touches no memory.
    #[expect(unsafe_code, reason = "std sends no signals but SIGKILL")]
    let outcome = unsafe { libc::kill(pid, signal) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid only returns a number.
    #[expect(unsafe_code, reason = "std does not say who runs it")]
    let user = unsafe { libc::geteuid() };
    user == 0
}

/// What the running process `pid` and everything below it has cost so far.
#[must_use]
pub fn of_tree(pid: u32) -> Usage {
    let mut total = of_one(pid).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let below = of_tree(child);
            total.cpu += below.cpu;
            total.peak_rss += below.peak_rss;
        }
    }
    total
}

fn of_one(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; the fields come after its closing bracket.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    // Linux counts in hundredths of a second for user space, whatever the kernel's own clock.
    Some(Usage {
        cpu: Duration::from_millis(ticks * 10),
        peak_rss: peak.unwrap_or(0) * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[expect(clippy::zombie_processes, reason = "collected by what is tested")]
    #[test]
    fn a_child_that_burns_cpu_is_charged_for_it() {
        let child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3"])
            .spawn()
            .expect("sh runs");
        wait_end(child.id()).expect("it is our child");
        let (status, usage) = collect(child.id()).expect("it is our child");
        assert_eq!(status.code(), Some(3));
        assert!(usage.cpu > Duration::from_millis(10), "{usage:?}");
        assert!(usage.peak_rss > 256 << 10, "{usage:?}");
    }

    #[test]
    fn this_process_has_a_peak() {
        assert!(of_tree(std::process::id()).peak_rss > 1 << 20);
    }
}
