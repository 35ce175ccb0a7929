//! How a domain that has seen every block gets on by itself, and whether the origin should help.

use std::time::Duration;

use crate::swarm::config::TICK;
use crate::time::Timestamp;

/// Time in which a domain that has seen everything must make progress by itself before the origin helps.
const GRACE: Duration = Duration::from_secs(2);
/// The same for a domain in which nobody has got anything yet: whoever says that it has all of it has not, or is very slow.
const FIRST_GRACE: Duration = Duration::from_millis(500);
/// Help that does not raise the domain's pace in this time earns nothing: its downlinks are full.
const TRIAL: Duration = Duration::from_secs(1);
/// A domain that gets nothing for so long is not near its end, whatever its pace was; its members may be busy with other releases
/// for less.
const STANDS: Duration = Duration::from_secs(8);
/// The origin helps while the domain would need more than this part of the time it took so far.
const HELP_SHARE: u32 = 8;

/// How the domain gets on by itself.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When somebody first wanted something.
    since: Option<Timestamp>,
    /// Blocks that are needed, at the last look, and how many were gained and sent by the origin since it began.
    needs: u64,
    gained: u64,
    own: f64,
    /// When something was gained last, or needed first.
    moved: Timestamp,
    /// When something was gained last, or more was needed: who has just come cannot have got anything yet.
    changed: Timestamp,
    phase: Phase,
    /// What the domain gained a second when it was on its own.
    baseline: f64,
    /// Help earned nothing: none is given before this, and the next pause is longer.
    rests_until: Timestamp,
    pauses: u32,
}

/// What the origin does for a domain.
#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    /// There are blocks that it has not seen.
    #[default]
    Sending,
    /// It has seen everything and is on its own; since when, with what it had gained and been sent then.
    Watching(Timestamp, u64, f64),
    /// It is helped, to see whether that helps; since when, from where.
    Trying(Timestamp, u64, f64),
    /// It is helped.
    Helping,
}

impl Progress {
    /// Whether blocks may be shown again.
    pub(super) const fn help(&self) -> bool {
        matches!(self.phase, Phase::Trying(..) | Phase::Helping)
    }

    /// Whether the very same number of blocks has been needed for so long: nobody got anything, and nobody came.
    pub(super) fn is_still(&self, now: Timestamp, needs: u64, time: Duration) -> bool {
        self.since.is_some() && needs == self.needs && now.since(self.changed) >= time
    }

    /// Takes in where the domain stands and decides whether to help. `own` is what the origin has sent into it, in blocks.
    pub(super) fn look(&mut self, now: Timestamp, needs: u64, own: f64, unsent: bool) {
        if needs == 0 {
            *self = Self::default();
            return;
        }
        if self.since.is_none() || needs < self.needs {
            self.moved = now;
        }
        if self.since.is_none() || needs != self.needs {
            self.changed = now;
        }
        let since = *self.since.get_or_insert(now);
        // Needs rise when a node joins or loses something: no loss of pace.
        self.gained += self.needs.saturating_sub(needs);
        (self.needs, self.own) = (needs, own);
        // Where nothing moves at all, somebody does not have what it said: whatever help earned before, it is all there is.
        let is_stuck = now.since(self.moved) >= GRACE;
        let patience = (now.since(since) / HELP_SHARE).max(GRACE).as_secs_f64();
        match self.phase {
            _ if unsent => self.phase = Phase::Sending,
            Phase::Sending => self.watch(now),
            Phase::Watching(at, ..) if self.is_time(now.since(at), is_stuck || now >= self.rests_until) => {
                self.baseline = self.pace(now).0;
                // Near its end by a pace that it has no longer.
                if now.since(self.moved) >= STANDS || !self.is_near_the_end(patience) {
                    self.phase = Phase::Trying(now, self.gained, self.own);
                }
            }
            Phase::Trying(at, ..) if now.since(at) >= TRIAL => {
                let (alone, own) = self.pace(now);
                if alone + own >= self.baseline + 0.4 * own {
                    self.phase = Phase::Helping;
                } else {
                    self.pauses += 1;
                    self.rests_until = now.after(4 * GRACE * (1 << self.pauses.min(5)));
                    self.watch(now);
                }
            }
            Phase::Helping if self.is_near_the_end(patience) => self.watch(now),
            Phase::Watching(..) | Phase::Trying(..) | Phase::Helping => {}
        }
    }

    /// Whether it was watched for long enough, and may be helped.
    fn is_time(&self, watched: Duration, may_help: bool) -> bool {
        (watched >= GRACE && may_help) || (watched >= FIRST_GRACE && self.gained == 0)
    }

    fn watch(&mut self, now: Timestamp) {
        self.phase = Phase::Watching(now, self.gained, self.own);
    }

    /// Blocks a second since the phase began: gained from each other, and sent by the origin.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn pace(&self, now: Timestamp) -> (f64, f64) {
        let (Phase::Watching(at, gained, own) | Phase::Trying(at, gained, own)) = self.phase else {
            return (self.baseline, 0.0);
        };
        let time = now.since(at).max(TICK).as_secs_f64();
        let own = (self.own - own).max(0.0) / time;
        (((self.gained - gained) as f64 / time - own).max(0.0), own)
    }

    /// Whether the domain by itself is done soon.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn is_near_the_end(&self, patience: f64) -> bool {
        self.needs as f64 <= self.baseline * patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every tick for `time`; `needs` is what the domain needs then.
    fn pass(progress: &mut Progress, now: &mut Timestamp, time: Duration, mut needs: impl FnMut() -> u64) {
        let end = now.after(time);
        while *now < end {
            *now = now.after(TICK);
            progress.look(*now, needs(), 0.0, false);
        }
    }

    #[test]
    fn a_domain_in_which_nothing_moves_is_helped_though_help_has_earned_nothing_before() {
        let (mut progress, mut now) = (Progress::default(), Timestamp::ZERO);
        let mut left = 1_000_000;
        let mut moving = || {
            left -= 1;
            left
        };
        // It needs long, and what the origin adds (nothing, here) does not raise its pace: the pauses grow.
        pass(&mut progress, &mut now, Duration::from_secs(20), &mut moving);
        progress.rests_until = now.after(Duration::from_secs(60));
        progress.watch(now);
        pass(&mut progress, &mut now, Duration::from_secs(10), &mut moving);
        assert!(!progress.help(), "it rests while the domain gets on");
        let stuck = moving();
        pass(&mut progress, &mut now, Duration::from_secs(3), || stuck);
        assert!(progress.help());
    }

    #[test]
    fn a_domain_that_stands_still_just_before_its_end_is_helped() {
        let (mut progress, mut now) = (Progress::default(), Timestamp::ZERO);
        let mut left = 16;
        pass(&mut progress, &mut now, Duration::from_millis(1500), || {
            left -= 1;
            left
        });
        assert_eq!(left, 1);
        pass(&mut progress, &mut now, Duration::from_secs(30), || 1);
        assert!(progress.help(), "one block is missing, and nobody else brings it");
    }
}
