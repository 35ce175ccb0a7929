//! How fast a connection takes bytes, for those who keep as little waiting as its line needs.

use std::time::{Duration, Instant};

/// How often the rate is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts bytes that were taken.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    taken: u64,
}

impl Rate {
    /// Nothing is known.
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, taken: 0 }
    }

    /// Counts bytes; once in 100 ms it gives how many were taken in a second, at the rate since the last time.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) -> Option<u64> {
        self.taken += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < INTERVAL {
            return None;
        }
        let taken = u128::from(std::mem::take(&mut self.taken));
        self.since = now;
        let rate = taken * Duration::from_secs(1).as_micros() / elapsed.as_micros();
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_time_since_it_was_looked_at_last() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!(rate.count(1000, start + INTERVAL / 2), None);
        assert_eq!(rate.count(1000, start + INTERVAL), Some(20_000));
        assert_eq!(
            rate.count(0, start + 2 * INTERVAL),
            Some(0),
            "what came before is counted"
        );
        assert_eq!(
            rate.count(1000, start + 12 * INTERVAL),
            Some(1000),
            "over the pause too"
        );
    }
}
