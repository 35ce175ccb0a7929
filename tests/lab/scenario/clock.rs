//! The time since the barrier, which everybody who acts at a planned time waits on, and the end of the run, which ends all waits.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::fleet::lock;

/// Runs from the barrier on.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Clock {
    /// Starts it.
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            is_over: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// The time since the barrier.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for a moment. False: the run was over before.
    pub(super) fn until(&self, at: Duration) -> bool {
        let mut is_over = lock(&self.is_over);
        loop {
            let left = at.saturating_sub(self.now());
            if *is_over || left.is_zero() {
                return !*is_over;
            }
            is_over = match self.changed.wait_timeout(is_over, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends the run.
    pub(super) fn end(&self) {
        *lock(&self.is_over) = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_when_it_is_time_or_that_it_is_over() {
        let clock = Clock::start();
        let at = Duration::from_millis(20);
        assert!(clock.until(at) && clock.now() >= at);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| clock.until(Duration::from_secs(3600)));
            clock.end();
            assert!(!waiting.join().expect("it returns"));
        });
        assert!(!clock.until(Duration::ZERO), "and after the end nothing is done");
    }
}
