//! Large pages for large worlds.
//!
//! A step of one of 10,000 nodes is mostly waiting for memory, and with pages of 4 KiB also for the tables that say where it lies: with pages of 2 MiB
//! the same run took half the time (docs/scheduler.md). The C library's allocator asks for them when its environment says so as
//! a program starts, and has no call for it later: so the program starts itself once more.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "GLIBC_TUNABLES";
const VALUE: &str = "glibc.malloc.hugetlb=1";

/// Starts this program again in its own place with large pages asked for, unless somebody has said what the allocator is to do.
/// Where that fails it goes on as it is.
pub(crate) fn ask_for() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    // Returns only when it did not succeed.
    let _ = Command::new(program)
        .args(env::args_os().skip(1))
        .env(VARIABLE, VALUE)
        .exec();
}
