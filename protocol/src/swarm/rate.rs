//! Measured rates, and the window that follows from them.

use std::time::Duration;

use crate::time::Timestamp;

/// The shortest time that makes a sample.
const SAMPLE: Duration = Duration::from_millis(50);
/// Time over which old samples fade, at the least.
const MEMORY: Duration = Duration::from_millis(750);

/// Bytes a second while busy, fading.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    rate: Option<f64>,
    /// Bytes and busy time that have not made a sample yet.
    bytes: u64,
    busy: Duration,
    since: Option<Timestamp>,
    total: u64,
    /// Time over which the rate falls, where that is more than [`MEMORY`].
    memory: Duration,
}

impl Meter {
    /// The rate falls over this time, if it is more than that takes anyway: what comes over a long way comes in fits. It rises
    /// no slower for that.
    pub(super) const fn remember(&mut self, time: Duration) {
        self.memory = time;
    }

    /// Work begins: the time before it does not count.
    pub(super) fn start(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// Nothing is under way any more.
    pub(super) fn stop(&mut self, now: Timestamp) {
        self.add(now, 0);
        self.since = None;
    }

    /// Bytes arrived (0 lets time pass).
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn add(&mut self, now: Timestamp, bytes: u64) {
        self.total += bytes;
        self.bytes += bytes;
        let Some(since) = self.since else { return };
        self.busy += now.since(since);
        self.since = Some(since.max(now));
        if self.rate.is_none() && self.bytes == 0 {
            // The first round trip says nothing about the rate.
            self.busy = Duration::ZERO;
        }
        if self.busy < SAMPLE {
            return;
        }
        let sample = self.bytes as f64 / self.busy.as_secs_f64();
        let weight = |memory: Duration| (self.busy.as_secs_f64() / memory.as_secs_f64()).min(1.0);
        self.rate = Some(self.rate.map_or(sample, |rate| {
            let memory = if sample < rate { self.memory.max(MEMORY) } else { MEMORY };
            rate + weight(memory) * (sample - rate)
        }));
        self.bytes = 0;
        self.busy = Duration::ZERO;
    }

    /// Bytes a second, once there was a sample.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, saturates"
    )]
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate.map(|rate| rate as u64)
    }

    /// All bytes so far.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

/// How many bytes may be under way: doubles with every window delivered, up to what the rate justifies.
#[derive(Debug, Clone)]
pub(super) struct Window(u64);

impl Window {
    pub(super) const fn new(floor: u64) -> Self {
        Self(floor)
    }

    /// `bytes` were delivered; `cap` is what the rate justifies now.
    pub(super) fn delivered(&mut self, bytes: u64, floor: u64, cap: u64) {
        self.0 = self.0.saturating_add(bytes).min(cap).max(floor);
    }

    /// Starts again from the least.
    pub(super) const fn collapse(&mut self, floor: u64) {
        self.0 = floor;
    }

    pub(super) const fn size(&self) -> u64 {
        self.0
    }
}

/// Bytes that move in `time` at `rate`.
pub(super) fn bytes_in(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Time that `bytes` take at `rate`; an hour when it is not known to move at all.
pub(super) fn time_for(bytes: u64, rate: u64) -> Duration {
    let micros = (u128::from(bytes) * 1_000_000).checked_div(u128::from(rate));
    let micros = micros.and_then(|micros| u64::try_from(micros).ok());
    Duration::from_micros(micros.unwrap_or(u64::MAX).min(3_600_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_does_not_lower_the_rate() {
        let mut meter = Meter::default();
        for second in 0..3u64 {
            let start = Timestamp(second * 60_000_000);
            meter.start(start);
            for ms in 1..=10u64 {
                meter.add(Timestamp(start.0 + ms * 100_000), 100_000);
            }
            meter.stop(Timestamp(start.0 + 1_000_000));
        }
        assert_eq!(meter.rate(), Some(1_000_000));
    }

    #[test]
    fn a_pause_within_what_is_remembered_leaves_most_of_the_rate() {
        let rate_after = |memory: Duration| {
            let mut meter = Meter::default();
            meter.remember(memory);
            meter.start(Timestamp(0));
            for ms in 1..=100u64 {
                meter.add(Timestamp(ms * 100_000), 100_000);
            }
            // As the heartbeat sees it while a lost packet is sent again.
            for ms in 101..=106u64 {
                meter.add(Timestamp(ms * 100_000), 0);
            }
            meter.rate().expect("measured")
        };
        assert!(rate_after(Duration::ZERO) < 450_000);
        assert!(rate_after(Duration::from_millis(2_400)) > 750_000);
    }

    #[test]
    fn what_is_remembered_for_long_rises_no_slower() {
        let rate_after = |memory: Duration| {
            let mut meter = Meter::default();
            meter.remember(memory);
            meter.start(Timestamp(0));
            for ms in 1..=10u64 {
                meter.add(Timestamp(ms * 100_000), ms * 10_000);
            }
            meter.rate()
        };
        assert_eq!(rate_after(Duration::ZERO), rate_after(Duration::from_secs(4)));
    }

    #[test]
    fn a_window_doubles_with_each_window_delivered_and_follows_the_cap_down() {
        let mut window = Window::new(100);
        window.delivered(100, 100, 1000);
        assert_eq!(window.size(), 200);
        window.delivered(5000, 100, 1000);
        assert_eq!(window.size(), 1000);
        window.delivered(1, 100, 300);
        assert_eq!(window.size(), 300);
    }
}
