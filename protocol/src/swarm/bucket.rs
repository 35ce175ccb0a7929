//! A token bucket that may go into debt: the last taker may take more than is there, the next one waits.

use std::time::Duration;

use crate::time::Timestamp;
use crate::units::ByteRate;

/// Time's worth of tokens that an idle bucket saves up.
const BURST: Duration = Duration::from_millis(50);

/// Bytes that may move, refilled by time; without a rate there is no limit.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Option<ByteRate>,
    /// Byte-microseconds over a million; signed for debt.
    tokens: i128,
    at: Timestamp,
}

const SCALE: i128 = 1_000_000;

impl Bucket {
    pub(super) const fn new(rate: Option<ByteRate>, now: Timestamp) -> Self {
        Self {
            rate,
            tokens: 0,
            at: now,
        }
    }

    /// The limit, if there is one.
    pub(super) const fn rate(&self) -> Option<ByteRate> {
        self.rate
    }

    /// Changes the limit; debt is forgiven when it is lifted.
    pub(super) fn set_rate(&mut self, now: Timestamp, rate: Option<ByteRate>) {
        self.refill(now);
        self.rate = rate;
        if rate.is_none() {
            self.tokens = 0;
        }
    }

    /// Whether something may move now.
    pub(super) fn is_open(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.rate.is_none_or(|rate| rate.0 > 0 && self.tokens >= 0)
    }

    /// When something may move again; `None` when it may now, or never (rate 0).
    pub(super) fn opens_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.refill(now);
        let rate = i128::from(self.rate?.0);
        if rate == 0 || self.tokens >= 0 {
            return None;
        }
        let micros = (-self.tokens).div_euclid(rate) + 1;
        Some(now.after(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))))
    }

    /// Takes tokens for `bytes`, into debt if need be.
    pub(super) fn take(&mut self, now: Timestamp, bytes: u64) {
        self.refill(now);
        if self.rate.is_some() {
            self.tokens -= i128::from(bytes) * SCALE;
        }
    }

    /// Gives back what was taken for bytes that did not move.
    pub(super) fn give_back(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.tokens = (self.tokens + i128::from(bytes) * SCALE).min(self.burst());
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_micros();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate {
            let added = i128::from(rate.0).saturating_mul(i128::try_from(passed).unwrap_or(i128::MAX));
            self.tokens = self.tokens.saturating_add(added).min(self.burst());
        }
    }

    fn burst(&self) -> i128 {
        let rate = i128::from(self.rate.map_or(0, |rate| rate.0));
        rate * i128::try_from(BURST.as_micros()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_no_more_passes_than_the_rate_and_little_less() {
        let (mut bucket, mut moved) = (Bucket::new(Some(ByteRate(1_000_000)), Timestamp::ZERO), 0u64);
        let mut now = Timestamp::ZERO;
        while now < Timestamp(10_000_000) {
            if bucket.is_open(now) {
                bucket.take(now, 300_000);
                moved += 300_000;
            }
            now = bucket.opens_at(now).unwrap_or(now.after(Duration::from_millis(1)));
        }
        assert!((9_900_000..=10_350_000).contains(&moved), "{moved}");
    }

    #[test]
    fn no_rate_is_always_open_and_rate_zero_never() {
        let mut bucket = Bucket::new(None, Timestamp::ZERO);
        bucket.take(Timestamp::ZERO, u64::MAX);
        assert!(bucket.is_open(Timestamp::ZERO));
        bucket.set_rate(Timestamp::ZERO, Some(ByteRate(0)));
        assert!(!bucket.is_open(Timestamp(u64::MAX)));
        assert_eq!(bucket.opens_at(Timestamp(u64::MAX)), None);
    }
}
