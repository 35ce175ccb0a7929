//! What befalls a packet by chance. All of it comes from seeds: the n-th packet's fate is the same in every run.

use std::time::Duration;

use crate::seed::Seed;

use super::shape::Loss;

/// How many times its width the jitter takes from one drawn value to the next. By that the delay changes by at most half of the
/// time that passes meanwhile: packets come closer together and never overtake each other.
const STRETCH: u32 = 4;

/// Gilbert's chain of two states: a packet is lost while it is in the bad one.
#[derive(Debug)]
pub(super) struct Chain {
    is_bad: bool,
    seed: Seed,
}

impl Chain {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            is_bad: false,
            seed: Seed::new(seed),
        }
    }

    /// Whether the next packet is lost, which comes after so long a silence. Draws once, whatever is asked for, so that a change
    /// of the loss moves no later draw.
    pub(super) fn loses(&mut self, loss: &Loss, silence: Duration) -> bool {
        self.is_bad = self.seed.unit() < loss.chance(self.is_bad, silence);
        self.is_bad
    }
}

/// How far the delay is from what it is on average: a line through values drawn for moments a fixed time apart.
#[derive(Debug)]
pub(super) struct Wander {
    seed: u64,
}

impl Wander {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The delay of a packet that is sent at `at`; by at most `jitter` away from `delay`, and not below nothing.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some hours lie below 2^53")]
    pub(super) fn delay(&self, at: Duration, delay: Duration, jitter: Duration) -> Duration {
        let step = (jitter * STRETCH).as_nanos();
        if step == 0 {
            return delay;
        }
        let (number, into) = (at.as_nanos() / step, at.as_nanos() % step);
        let part = into as f64 / step as f64;
        let value = self.drawn(number) * (1.0 - part) + self.drawn(number + 1) * part;
        let moved = jitter.mul_f64(value.abs());
        if value < 0.0 {
            delay.saturating_sub(moved)
        } else {
            delay + moved
        }
    }

    /// Between -1 and 1, for the moment with this number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "moments are told apart by their low bits"
    )]
    fn drawn(&self, number: u128) -> f64 {
        let mixed = Seed::new(number as u64).next() ^ self.seed;
        Seed::new(mixed).unit() * 2.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the runs of lost packets, and the share of them.
    fn bursts(loss: Loss, packets: u32, silence: Duration) -> (f64, f64) {
        let mut chain = Chain::new(7);
        let (mut lost, mut runs, mut before) = (0u32, 0u32, false);
        for _ in 0..packets {
            let now = chain.loses(&loss, silence);
            lost += u32::from(now);
            runs += u32::from(now && !before);
            before = now;
        }
        (f64::from(lost) / f64::from(packets), f64::from(lost) / f64::from(runs))
    }

    #[test]
    fn loss_and_burst_are_those_asked_for() {
        for (mean, burst) in [(0.01, 6.0), (0.02, 8.0), (0.12, 25.0), (0.25, 40.0), (0.5, 1.0)] {
            let (share, length) = bursts(Loss::bursty(mean, burst), 2_000_000, Duration::from_secs(9));
            assert!((share / mean - 1.0).abs() < 0.08, "{share} for {mean} in {burst}");
            assert!((length / burst - 1.0).abs() < 0.08, "{length} for {burst} at {mean}");
        }
        // Each for itself: a second one follows a lost one as often as any other.
        let (share, length) = bursts(Loss::random(0.2), 1_000_000, Duration::ZERO);
        assert!(
            (share - 0.2).abs() < 0.002 && (length - 1.25).abs() < 0.01,
            "{share} {length}"
        );
        assert_eq!(
            bursts(Loss::default(), 10_000, Duration::ZERO).0,
            0.0,
            "none was asked for"
        );
    }

    #[test]
    fn a_burst_passes_in_silence_too_where_that_counts() {
        let idle = Duration::from_millis(10);
        let loss = Loss {
            idle: Some(idle),
            ..Loss::bursty(0.25, 40.0)
        };
        let (share, length) = bursts(loss, 2_000_000, idle - Duration::from_nanos(1));
        assert!(
            (share - 0.25).abs() < 0.02 && (length - 40.0).abs() < 3.0,
            "busy: {share} {length}"
        );
        // Every tenth packet is seen, so the bursts have four.
        let (share, length) = bursts(loss, 2_000_000, idle * 9);
        assert!(
            (share - 0.25).abs() < 0.01 && (length - 4.7).abs() < 0.5,
            "sparse: {share} {length}"
        );
        let (share, length) = bursts(loss, 1_000_000, Duration::from_secs(600));
        assert!(
            (share - 0.25).abs() < 0.01 && (length - 1.33).abs() < 0.02,
            "as good as random: {share} {length}"
        );
    }

    #[test]
    fn the_delay_wanders_all_over_its_range_and_never_faster_than_half_the_time() {
        let (delay, jitter) = (Duration::from_millis(45), Duration::from_millis(15));
        let wander = Wander::new(3);
        let mut all = Vec::new();
        for millis in 0..100_000 {
            all.push(wander.delay(Duration::from_millis(millis), delay, jitter));
        }
        let (least, most) = (all.iter().min().expect("many"), all.iter().max().expect("many"));
        let mean = all.iter().sum::<Duration>() / 100_000;
        assert!(
            *least >= delay - jitter && *least < delay - jitter * 9 / 10,
            "{least:?}"
        );
        assert!(*most <= delay + jitter && *most > delay + jitter * 9 / 10, "{most:?}");
        assert!(mean.abs_diff(delay) < Duration::from_millis(1), "{mean:?}");
        let steepest = all.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        assert!(steepest <= Some(Duration::from_micros(501)), "{steepest:?} in 1 ms");
    }
}
