//! The scheduler's four deadlines.

use crate::time::Timestamp;

/// What a deadline is for; for traces, the scheduler itself looks at the time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// Control messages have been gathered for long enough.
    Announce,
    /// The heartbeat while something is under way: stalls, slots, backoff, progress.
    Tick,
    /// The upload bucket has tokens again.
    Up,
    /// The download bucket has tokens again.
    Down,
}

/// When each is due.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timers {
    pub(super) announce: Option<Timestamp>,
    pub(super) tick: Option<Timestamp>,
    pub(super) up: Option<Timestamp>,
    pub(super) down: Option<Timestamp>,
}

impl Timers {
    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Timestamp, TimerKind)> {
        let all = [
            (self.announce, TimerKind::Announce),
            (self.tick, TimerKind::Tick),
            (self.up, TimerKind::Up),
            (self.down, TimerKind::Down),
        ];
        all.into_iter().filter_map(|(at, kind)| Some((at?, kind))).min()
    }

    /// Takes a deadline when it has come.
    pub(super) fn take(slot: &mut Option<Timestamp>, now: Timestamp) -> bool {
        let due = slot.is_some_and(|at| at <= now);
        if due {
            *slot = None;
        }
        due
    }

    /// Makes sure that a deadline is not later than `at`.
    pub(super) fn arm(slot: &mut Option<Timestamp>, at: Timestamp) {
        if slot.is_none_or(|old| at < old) {
            *slot = Some(at);
        }
    }
}
