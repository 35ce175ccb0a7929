//! How the C library's allocator is told to behave: for a program that moves gigabytes through buffers of 64 KiB and more.
//!
//! By default glibc gives freed memory at the top of each thread's heap back to the system at once and asks for it again
//! a moment later: at full speed every payload byte then costs a page fault (measured: 388,000 faults for 2 GiB, a
//! third of the receiver's CPU). Called once by `main` before any thread is started.

/// Free memory kept at the top of a heap, in bytes; far above what the queues of `limits` hold.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 16 << 20;
/// What is larger comes from the system and goes back to it: tables, not payload. Less than the 2.9 MiB in which quinn receives
/// datagrams, an endpoint of its own for each QUIC address that is dialled: in the heap they were cleared, so that every page was
/// there, and left holes (a site that had met 32 neighbours: 34 to 38 MiB; from the system, which clears only what is touched: 23).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: libc::c_int = 2 << 20;
/// Heaps. Buffers are freed by other threads than those that asked for them, so that each heap grows to what was in it at its
/// worst moment and keeps that: the more heaps, the more idle memory (a site with 32 neighbours, medians: 32.0 MiB at the end
/// of 1 GiB and 34.9 of 8 GiB with two heaps, 31.0 and 33.9 with one). The threads' own caches take the small allocations, and of the
/// large ones there are some ten thousand a second: nothing was seen to wait for the one lock.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: libc::c_int = 1;
/// Free memory that [`trim`] leaves at the top.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TOP_BYTES: libc::size_t = 1 << 20;

/// Sets the allocator up. Does nothing where the C library is another.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe form")]
pub fn tune() {
    let settings = [
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES),
        (libc::M_ARENA_MAX, HEAPS),
    ];
    for (parameter, value) in settings {
        // SAFETY: mallopt takes two integers, touches the allocator's own state under its lock and, given a known
        // parameter, cannot fail in a way that matters: a refused value leaves the default.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Sets the allocator up. Does nothing where the C library is another.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn tune() {}

/// Gives pages that hold nothing back to the system, wherever in the heap they are; some milliseconds, so on a worker and
/// now and then. A heap would keep what it held at its worst moment, and grow with every worse one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim has no safe form")]
pub fn trim() {
    // SAFETY: it takes a number and touches, under the allocator's own lock, only memory that is free.
    unsafe { libc::malloc_trim(TOP_BYTES) };
}

/// Does nothing where the C library is another.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn trim() {}
