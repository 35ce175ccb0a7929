//! How fast a node got what it lacked, lately: tells who is slow from who stands still.

use std::fmt;
use std::time::Duration;

use samara_protocol::time::Timestamp;
use samara_protocol::units::ByteRate;

/// Who has got nothing new for a whole one of these stands still.
const WINDOW: Duration = Duration::from_secs(30);

/// What a node got that it had not, in this window of time and the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    window: u64,
    this: u64,
    before: u64,
    last: Option<Timestamp>,
}

impl Pace {
    /// The node got so many bytes that it had not.
    pub(crate) fn gain(&mut self, now: Timestamp, bytes: u64) {
        if bytes > 0 {
            *self = self.at(now);
            self.this += bytes;
            self.last = Some(now);
        }
    }

    /// Bytes a second over this window and the one before.
    #[must_use]
    pub fn rate(&self, now: Timestamp) -> f64 {
        let pace = self.at(now);
        let start = Timestamp(pace.window.saturating_sub(1) * micros());
        #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
        let bytes = (pace.this + pace.before) as f64;
        bytes / now.since(start).as_secs_f64().max(1e-6)
    }

    /// Whether it goes on, and what that means for so many bytes that are lacking.
    pub(crate) fn progress(&self, now: Timestamp, lacking: f64) -> Progress {
        let rate = self.rate(now);
        if rate > 0.0 {
            return Progress::Moving {
                rate,
                eta_s: lacking / rate,
            };
        }
        let since_s = self.last.map(|last| last.since(Timestamp::ZERO).as_secs_f64());
        Progress::Still { since_s }
    }

    /// The same with the windows of this moment.
    fn at(mut self, now: Timestamp) -> Self {
        let window = now.0 / micros();
        if window > self.window {
            self.before = if window == self.window + 1 { self.this } else { 0 };
            (self.window, self.this) = (window, 0);
        }
        self
    }
}

fn micros() -> u64 {
    u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a node that has not finished goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// It does.
    Moving {
        /// Bytes a second.
        rate: f64,
        /// Seconds that it still needs with it.
        eta_s: f64,
    },
    /// It got nothing new for half a minute and more.
    Still {
        /// When it last got something, in seconds.
        since_s: Option<f64>,
    },
}

impl Progress {
    /// The longer it takes the more: who stands still takes for ever.
    pub(crate) const fn eta_s(&self) -> f64 {
        match self {
            Self::Moving { eta_s, .. } => *eta_s,
            Self::Still { .. } => f64::INFINITY,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate that is not negative"
            )]
            Self::Moving { rate, eta_s } => {
                write!(f, "still moving at {}, ETA {eta_s:.0} s", ByteRate(*rate as u64))
            }
            Self::Still { since_s: Some(at) } => write!(f, "stands still since {at:.1} s"),
            Self::Still { since_s: None } => f.write_str("stands still and never got anything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn who_got_something_in_the_last_half_minute_moves_and_who_did_not_stands_still() {
        let mut pace = Pace::default();
        assert_eq!(pace.progress(at(40), 1.0), Progress::Still { since_s: None });
        pace.gain(at(40), 4000);
        pace.gain(at(65), 1000);
        pace.gain(at(70), 0);
        // 5,000 bytes in the 40 s from 30 s on.
        assert_eq!(
            pace.progress(at(70), 500.0),
            Progress::Moving {
                rate: 125.0,
                eta_s: 4.0
            }
        );
        assert!(pace.rate(at(119)) > 0.0);
        let still = pace.progress(at(120), 500.0);
        assert_eq!(still, Progress::Still { since_s: Some(65.0) });
        assert_eq!(still.to_string(), "stands still since 65.0 s");
    }
}
