//! What moved when: bytes out of all nodes and out of the origins, and how many nodes had finished.

use samara_protocol::time::Timestamp;

/// Samples of a run at equal distances.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Between two samples.
    pub interval_us: u64,
    /// Payload bytes that left any node in each interval, parts of one included.
    pub sent: Vec<f64>,
    /// Of these, those that left an origin.
    pub from_origins: Vec<f64>,
    /// Times at which a node had all of a release, ascending.
    pub finished: Vec<Timestamp>,
}

/// Between two samples, in microseconds, while a run has no more of them than [`SAMPLES_MAX`].
const INTERVAL: u64 = 50_000;
/// Samples of a run at the most: those of fourteen hours.
const SAMPLES_MAX: u64 = 1_000_000;

impl Timeline {
    /// An empty one of a run that is over at `end` at the latest.
    #[must_use]
    pub fn until(end: Timestamp) -> Self {
        Self {
            interval_us: INTERVAL.max(end.0.div_ceil(SAMPLES_MAX)),
            sent: Vec::new(),
            from_origins: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Bytes have left a node between two moments, evenly: each interval gets its part of them.
    #[expect(clippy::cast_precision_loss, reason = "microseconds below 2^53")]
    pub(crate) fn sent(&mut self, (since, until): (Timestamp, Timestamp), bytes: f64, by_origin: bool) {
        let span = until.0.saturating_sub(since.0).max(1);
        let end = since.0 + span;
        for at in since.0 / self.interval_us..=(end - 1) / self.interval_us {
            let from = since.0.max(at * self.interval_us);
            let to = end.min((at + 1) * self.interval_us);
            self.add(at, bytes * (to - from) as f64 / span as f64, by_origin);
        }
    }

    fn add(&mut self, interval: u64, bytes: f64, by_origin: bool) {
        let at = usize::try_from(interval).unwrap_or(usize::MAX);
        if self.sent.len() <= at {
            self.sent.resize(at + 1, 0.0);
            self.from_origins.resize(at + 1, 0.0);
        }
        self.sent[at] += bytes;
        if by_origin {
            self.from_origins[at] += bytes;
        }
    }

    /// What was sent from `start` to the last finish, in so many parts, over what could have been sent with these rates.
    #[expect(clippy::cast_precision_loss, reason = "a run's microseconds below 2^53")]
    pub(crate) fn busy(&self, start: Timestamp, parts: usize, rates: (f64, f64)) -> (Vec<f64>, Vec<f64>) {
        let index = |at: Timestamp| {
            usize::try_from(at.0 / self.interval_us)
                .unwrap_or(usize::MAX)
                .min(self.sent.len())
        };
        let (from, to) = (index(start), index(self.finished.last().copied().unwrap_or(start)));
        let part = |samples: &[f64], rate: f64, at: usize| {
            let (first, last) = (from + (to - from) * at / parts, from + (to - from) * (at + 1) / parts);
            let time = (last - first).max(1) as f64 * self.interval_us as f64 / 1e6;
            samples[first..last].iter().sum::<f64>() / time / rate.max(1.0)
        };
        let all = (0..parts).map(|at| part(&self.sent, rates.0, at)).collect();
        let origins = (0..parts).map(|at| part(&self.from_origins, rates.1, at)).collect();
        (all, origins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_years_has_no_more_samples_than_one_of_hours() {
        let hour = 3_600_000_000;
        for (end, interval) in [(hour, INTERVAL), (10_000 * hour, 10_000 * hour / SAMPLES_MAX)] {
            let mut line = Timeline::until(Timestamp(end));
            assert_eq!(line.interval_us, interval);
            line.sent((Timestamp(end - 1), Timestamp(end)), 5.0, true);
            assert!(line.sent.len() as u64 <= SAMPLES_MAX + 1, "{}", line.sent.len());
        }
    }

    #[test]
    fn what_leaves_slowly_is_counted_where_it_left() {
        let mut line = Timeline::until(Timestamp::ZERO);
        line.sent((Timestamp(25_000), Timestamp(175_000)), 150.0, false);
        assert_eq!(line.sent, [25.0, 50.0, 50.0, 25.0]);
        line.sent((Timestamp(60_000), Timestamp(60_000)), 7.0, true);
        assert_eq!((line.sent[1], line.from_origins[1]), (57.0, 7.0));
    }
}
