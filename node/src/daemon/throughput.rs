//! Payload that has moved, and how fast lately: what `status` shows of the whole node, and what the limits are compared
//! with. The scheduler's own rates leave idle time out, since it asks how fast a neighbour can be.

use std::time::Duration;

use samara_protocol::time::Timestamp;

/// Seconds that "lately" means.
const WINDOW: usize = 5;

/// One direction's bytes.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    total: u64,
    /// Bytes by second, each second in its place modulo the length; with the second that they are of.
    seconds: [(u64, u64); WINDOW + 1],
}

impl Throughput {
    /// Bytes moved.
    pub(super) fn add(&mut self, now: Timestamp, bytes: u64) {
        self.total += bytes;
        let second = now.0 / 1_000_000;
        let slot = &mut self.seconds[place_of(second)];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += bytes;
    }

    /// All of them.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes a second over the last seconds, the one under way included.
    pub(super) fn rate(&self, now: Timestamp) -> u64 {
        let second = now.0 / 1_000_000;
        let first = second.saturating_sub(WINDOW as u64 - 1);
        let lately = self.seconds.iter().filter(|(of, _)| (first..=second).contains(of));
        let bytes: u64 = lately.map(|(_, bytes)| bytes).sum();
        let time = now.since(Timestamp(first * 1_000_000)).max(Duration::from_secs(1));
        u64::try_from(u128::from(bytes) * 1_000_000 / time.as_micros()).unwrap_or(u64::MAX)
    }
}

fn place_of(second: u64) -> usize {
    usize::try_from(second % (WINDOW as u64 + 1)).expect("less than the window")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    #[test]
    fn bursts_and_pauses_are_levelled_and_what_is_long_past_is_forgotten() {
        let mut sent = Throughput::default();
        for ms in (10_000..20_000).step_by(200) {
            // 1,000 bytes at once and four times nothing: 1,000 a second.
            sent.add(at(ms), if ms % 1000 == 0 { 1000 } else { 0 });
        }
        assert_eq!(sent.rate(at(20_000)), 1000);
        assert_eq!(sent.rate(at(23_000)), 250);
        assert_eq!(sent.rate(at(40_000)), 0);
        assert_eq!(sent.total(), 10_000);
    }

    #[test]
    fn the_first_second_is_not_blown_up() {
        let mut sent = Throughput::default();
        sent.add(at(10), 500);
        assert_eq!(sent.rate(at(20)), 500);
    }
}
