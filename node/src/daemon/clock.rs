//! The only place that reads a clock for the scheduler, and the only one that reads the wall clock for trust.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use samara_protocol::time::{Timestamp, WallTime};

/// Monotonic time since the process's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at one second, so that zero is never a moment of this process.
    #[must_use]
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now, for the scheduler.
    #[must_use]
    pub(super) fn now(&self) -> Timestamp {
        let micros = u64::try_from(self.start.elapsed().as_micros()).expect("a process lives less than 584,000 years");
        Timestamp(1_000_000 + micros)
    }

    /// When the scheduler's `at` comes, for a timer.
    #[must_use]
    pub(super) fn instant(&self, at: Timestamp) -> Instant {
        self.start + std::time::Duration::from_micros(at.0.saturating_sub(1_000_000))
    }
}

/// The wall clock, for trust alone. It may be wrong; trust clamps it.
#[must_use]
pub(super) fn wall_time() -> WallTime {
    let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    WallTime(seconds)
}
