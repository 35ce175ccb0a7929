//! When to make what was written durable: every two seconds (a host's fetch: five) or 2 GiB while something is written, and
//! when a layout is complete. One checkpoint at a time; the driver runs it on the worker pool, for all layouts together.

use std::time::Duration;

use samara_protocol::limits::{CHECKPOINT_BYTES, CHECKPOINT_INTERVAL, LEAF_CHECKPOINT_INTERVAL};
use samara_protocol::time::Timestamp;

/// How long after a failed checkpoint the next is tried.
const RETRY: Duration = Duration::from_secs(5);

/// What is written and not yet durable.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// The most time between two.
    interval: Duration,
    bytes: u64,
    /// When the first of these bytes was written, or the next try is due.
    since: Timestamp,
    running: bool,
    /// When the running one began.
    began: Timestamp,
    at_once: bool,
}

impl Checkpoints {
    /// `leaf`: of a host's fetch.
    pub(super) const fn new(leaf: bool) -> Self {
        Self {
            interval: if leaf {
                LEAF_CHECKPOINT_INTERVAL
            } else {
                CHECKPOINT_INTERVAL
            },
            bytes: 0,
            since: Timestamp::ZERO,
            running: false,
            began: Timestamp::ZERO,
            at_once: false,
        }
    }

    /// Bytes were written.
    pub(super) fn wrote(&mut self, now: Timestamp, bytes: u64) {
        if self.bytes == 0 {
            self.since = now;
        }
        self.bytes += bytes;
    }

    /// A layout is complete: do not wait for the interval.
    pub(super) const fn hurry(&mut self) {
        self.at_once = true;
    }

    /// Whether one is due; it counts as running until [`Checkpoints::ended`].
    pub(super) fn start_if_due(&mut self, now: Timestamp) -> bool {
        let due = self.next().is_some_and(|at| at <= now);
        if due {
            (self.running, self.bytes, self.at_once, self.began) = (true, 0, false, now);
        }
        due
    }

    /// The running one ended; after a failure it is tried again later.
    pub(super) fn ended(&mut self, now: Timestamp, succeeded: bool) -> Duration {
        self.running = false;
        if !succeeded {
            self.bytes = self.bytes.max(1);
            self.since = now.after(RETRY);
        }
        now.since(self.began)
    }

    /// When one will be due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        match self {
            Self { running: true, .. } => None,
            Self { at_once: true, .. } => Some(Timestamp::ZERO),
            Self { bytes: 0, .. } => None,
            Self { bytes, .. } if *bytes >= CHECKPOINT_BYTES => Some(Timestamp::ZERO),
            Self { since, interval, .. } => Some(since.after(*interval)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_after_the_interval_or_the_bytes_and_one_at_a_time() {
        let (mut all, start) = (Checkpoints::new(false), Timestamp(5));
        assert_eq!(all.next(), None);
        all.wrote(start, 10);
        assert!(!all.start_if_due(start));
        assert_eq!(all.next(), Some(start.after(CHECKPOINT_INTERVAL)));
        all.wrote(start, CHECKPOINT_BYTES);
        assert!(all.start_if_due(start));
        all.wrote(start, CHECKPOINT_BYTES);
        assert!(!all.start_if_due(start), "one at a time");
        all.ended(start, true);
        assert!(all.start_if_due(start), "what was written meanwhile");
    }

    #[test]
    fn a_leaf_takes_longer() {
        let (mut leaf, start) = (Checkpoints::new(true), Timestamp(5));
        leaf.wrote(start, 10);
        assert!(!leaf.start_if_due(start.after(CHECKPOINT_INTERVAL)));
        assert!(leaf.start_if_due(start.after(LEAF_CHECKPOINT_INTERVAL)));
    }

    #[test]
    fn the_end_hurries_and_a_failure_is_tried_again() {
        let (mut all, start) = (Checkpoints::new(false), Timestamp(5));
        all.wrote(start, 10);
        all.hurry();
        assert!(all.start_if_due(start));
        all.ended(start, false);
        assert!(!all.start_if_due(start));
        assert!(all.start_if_due(start.after(RETRY).after(CHECKPOINT_INTERVAL)));
        all.ended(start, true);
        assert_eq!(all.next(), None);
    }
}
