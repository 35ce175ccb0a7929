//! How a domain that has seen every block gets on by itself, and whether the origin should help.

use std::time::Duration;

use crate::swarm::config::TICK;
use crate::swarm::event::Help;
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
/// The origin helps a domain that would need more than this part of the time it took so far.
const HELP_SHARE: u32 = 8;
/// And at once, without looking on first, one that would need so many times as long as that.
const FAR: f64 = 4.0;

/// Blocks a second that nodes of a domain got, from whomever, and that the origin sent them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    gained: f64,
    pub(super) sent: f64,
}

impl Pace {
    /// What they got of each other.
    pub(super) fn alone(self) -> f64 {
        (self.gained - self.sent).max(0.0)
    }
}

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
    /// It is helped, to its end.
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
    /// Tells what changed, with the pace until then.
    pub(super) fn look(&mut self, now: Timestamp, needs: u64, own: f64, unsent: bool) -> Option<(Help, Pace)> {
        if needs == 0 {
            *self = Self::default();
            return None;
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
        let pace = self.pace(now);
        let help = match self.phase {
            _ if unsent => {
                self.phase = Phase::Sending;
                return None;
            }
            Phase::Sending => {
                self.baseline = self.pace_so_far(now);
                self.watch(now);
                // It has shown by now how fast it is by itself: where that is far too slow, there is nothing to wait for.
                if self.gained == 0 || now < self.rests_until || self.is_near_the_end(FAR * patience) {
                    return None;
                }
                self.phase = Phase::Trying(now, self.gained, self.own);
                Help::Tried
            }
            Phase::Watching(at, ..) if self.is_time(now.since(at), is_stuck || now >= self.rests_until) => {
                self.baseline = pace.alone();
                // Near its end by a pace that it has no longer.
                if now.since(self.moved) < STANDS && self.is_near_the_end(patience) {
                    return None;
                }
                self.phase = Phase::Trying(now, self.gained, self.own);
                Help::Tried
            }
            Phase::Trying(at, ..) if now.since(at) >= TRIAL => {
                if pace.gained >= self.baseline + 0.4 * pace.sent {
                    self.phase = Phase::Helping;
                    Help::Earns
                } else {
                    self.pauses += 1;
                    self.rests_until = now.after(4 * GRACE * (1 << self.pauses.min(5)));
                    self.watch(now);
                    Help::EarnsNothing
                }
            }
            Phase::Watching(..) | Phase::Trying(..) | Phase::Helping => return None,
        };
        Some((help, pace))
    }

    /// Whether it was watched for long enough, and may be helped.
    fn is_time(&self, watched: Duration, may_help: bool) -> bool {
        (watched >= GRACE && may_help) || (watched >= FIRST_GRACE && self.gained == 0)
    }

    fn watch(&mut self, now: Timestamp) {
        self.phase = Phase::Watching(now, self.gained, self.own);
    }

    /// Blocks a second that it got by itself while there were some that it had not seen.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn pace_so_far(&self, now: Timestamp) -> f64 {
        let time = self.since.map_or(TICK, |since| now.since(since).max(TICK));
        (self.gained as f64 - self.own).max(0.0) / time.as_secs_f64()
    }

    /// How fast it has been since the phase began.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn pace(&self, now: Timestamp) -> Pace {
        let (Phase::Watching(at, gained, own) | Phase::Trying(at, gained, own)) = self.phase else {
            let (gained, sent) = (self.baseline, 0.0);
            return Pace { gained, sent };
        };
        let time = now.since(at).max(TICK).as_secs_f64();
        let sent = (self.own - own).max(0.0) / time;
        let gained = (self.gained - gained) as f64 / time;
        Pace { gained, sent }
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

    /// A domain of a million blocks that gets ten a second by itself, and `of_sent` of each that it is sent again at 20 a second.
    fn helped(of_sent: f64) -> Vec<Help> {
        let (mut progress, mut now) = (Progress::default(), Timestamp::ZERO);
        let (mut needs, mut own, mut told) = (1e6, 0.0, Vec::new());
        while now < Timestamp::ZERO.after(Duration::from_secs(8)) {
            now = now.after(TICK);
            let sent = if progress.help() {
                20.0 * TICK.as_secs_f64()
            } else {
                0.0
            };
            own += sent;
            needs -= 10.0 * TICK.as_secs_f64() + sent * of_sent;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a million")]
            let changed = progress.look(now, needs as u64, own, false);
            told.extend(changed.map(|(help, _)| help));
        }
        told
    }

    #[test]
    fn help_goes_on_where_it_makes_a_domain_faster_and_rests_where_it_does_not() {
        assert_eq!(helped(1.0), [Help::Tried, Help::Earns]);
        assert_eq!(helped(0.0), [Help::Tried, Help::EarnsNothing]);
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
