//! The start that all sites have in common, and the turn of each after it.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Runs from the barrier on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    stagger: Duration,
}

impl Clock {
    /// Starts it; a site's turn is `stagger` after that of the site before it.
    pub(crate) fn start(stagger: Duration) -> Self {
        Self {
            started: Instant::now(),
            stagger,
        }
    }

    /// The same for a program that suffers when all begin at once: turns are `least` apart, or more.
    pub(crate) fn at_least_apart(mut self, least: Duration) -> Self {
        self.stagger = self.stagger.max(least);
        self
    }

    /// Has each of `sites` fetch, when it is its turn, and returns how long each has taken since then. `fetch` tells one site
    /// and returns the moment when that site was done. All are waited for at once, so that none is noted at a slower one's time.
    pub(crate) fn each<T: Sync>(
        self,
        sites: &[T],
        fetch: impl Fn(&T) -> Result<Instant> + Sync,
    ) -> Result<Vec<Duration>> {
        thread::scope(|scope| {
            let (fetch, mut turn) = (&fetch, self.started);
            let mut running = Vec::new();
            for site in sites {
                running.push(scope.spawn(move || {
                    thread::sleep(turn.saturating_duration_since(Instant::now()));
                    fetch(site).map(|done| done.saturating_duration_since(turn))
                }));
                turn += self.stagger;
            }
            let finished = running.into_iter().map(thread::ScopedJoinHandle::join);
            finished
                .map(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of their end are made up, so that a slow machine cannot fail it.
    #[test]
    fn each_sites_time_counts_from_its_own_turn_and_none_is_told_before() {
        let step = Duration::from_millis(20);
        let clock = Clock::start(step);
        let taken = clock.each(&[0, 1, 2], |site| {
            let told = clock.started.elapsed();
            anyhow::ensure!(told >= step * *site, "site {site} was told after {told:?}");
            Ok(clock.started + step * 100)
        });
        assert_eq!(taken.expect("nobody is early"), [step * 100, step * 99, step * 98]);
    }

    #[test]
    fn turns_are_set_apart_and_never_brought_closer() {
        let seconds = Duration::from_secs;
        let apart = |stagger| Clock::start(seconds(stagger)).at_least_apart(seconds(2)).stagger;
        assert_eq!([apart(0), apart(5)], [seconds(2), seconds(5)]);
    }

    #[test]
    fn one_site_that_fails_fails_the_run() {
        let outcome = Clock::start(Duration::ZERO).each(&[1, 2], |site| {
            anyhow::ensure!(*site == 1, "no file");
            Ok(Instant::now())
        });
        assert_eq!(outcome.expect_err("the second failed").to_string(), "no file");
    }
}
