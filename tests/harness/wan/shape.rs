//! What a link does to the packets that cross it, as a test asks for it.

use std::time::Duration;

use anyhow::{Result, ensure};

/// The least that a link's own queue holds, and how long it may take to send what it holds, unless a shape says otherwise.
const QUEUE_MIN: u64 = 64 << 10;
const QUEUE_TIME: Duration = Duration::from_millis(100);

/// The link of one place to the network that joins all places. A packet from one place to another crosses the `up` of the
/// first and then the `down` of the second; so a path has the delays of both, and its round trip those of all four.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Link {
    /// What the place sends.
    pub up: Shape,
    /// What it receives.
    pub down: Shape,
}

/// What one direction of a link does. The default does nothing: no limit, no delay, no loss.
///
/// A packet that is larger than the MTU, or comes while there is an outage, is gone at once. Others wait in the queue (one that
/// finds it full is dropped) and are sent one after the other at the rate. Loss strikes what has been sent, as it does in the
/// air: a lost packet has used its share of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shape {
    /// Mbit/s of IP packets, headers included; `None` is unlimited.
    pub mbit: Option<f64>,
    /// Bytes that may wait to be sent; by default 64 KiB or what is sent in 100 ms, whichever is more.
    pub queue: Option<u64>,
    /// From the end of sending to arrival.
    pub delay: Duration,
    /// The delay wanders by up to this to both sides of what it is. Never so fast that packets overtake each other.
    pub jitter: Duration,
    /// What is lost on the way.
    pub loss: Loss,
    /// What arrives out of order.
    pub reorder: Reorder,
    /// The share of packets that arrive twice.
    pub duplicate: f64,
    /// Larger packets vanish, and nobody is told: an MTU black hole.
    pub mtu: Option<u32>,
    /// When nothing passes.
    pub outage: Outage,
}

/// Which packets are lost: each for itself, or in bursts as in Gilbert's model.
///
/// That model knows packets and no time: who sends less because much was lost, one packet after ever longer pauses, sees a burst of
/// forty last for minutes. On a real link a fade passes whether or not somebody sends; `idle` brings that in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Loss {
    /// The share of packets that are lost in the long run.
    pub mean: f64,
    /// How many packets in a row are lost at a time, on average; `None`: each packet is lost or not whatever became of the last.
    pub burst: Option<f64>,
    /// A silence of this length counts for one packet that nobody sees; `None`: silence changes nothing, and which packets are
    /// lost depends on their number alone. Where the link is busy the two are the same.
    pub idle: Option<Duration>,
}

/// Packets that are held back, so that later ones overtake them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reorder {
    /// The share of packets that this befalls.
    pub share: f64,
    /// How much later they arrive.
    pub by: Duration,
}

/// When nothing passes. What is under way on the link at that time is lost too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outage {
    /// Never.
    #[default]
    Never,
    /// Until this is changed.
    Now,
    /// Again and again, counted from when this was set.
    Flapping {
        /// First everything passes for so long,
        up: Duration,
        /// then nothing for so long.
        down: Duration,
    },
}

impl Link {
    /// The same in both directions.
    #[must_use]
    pub const fn both(shape: Shape) -> Self {
        Self { up: shape, down: shape }
    }

    /// A link with these rates in Mbit/s and nothing else, as a `Star` has them.
    #[must_use]
    pub fn rates(up: Option<f64>, down: Option<f64>) -> Self {
        let shape = |mbit| Shape {
            mbit,
            ..Shape::default()
        };
        Self {
            up: shape(up),
            down: shape(down),
        }
    }

    /// Says what makes no sense in it.
    ///
    /// # Errors
    /// Which figure it is.
    pub fn check(&self) -> Result<()> {
        self.up.check()?;
        self.down.check()
    }
}

impl Shape {
    /// Bytes that may wait to be sent; without a rate nothing waits.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        let in_time = self.mbit.map_or(0, |mbit| bytes_in(mbit, QUEUE_TIME));
        self.queue.unwrap_or(in_time.max(QUEUE_MIN))
    }

    /// How long it takes to send so many bytes.
    #[must_use]
    pub fn time_of(&self, bytes: u32) -> Duration {
        self.mbit.map_or(Duration::ZERO, |mbit| {
            Duration::from_secs_f64(f64::from(bytes) * 8.0 / (mbit * 1e6))
        })
    }

    fn check(&self) -> Result<()> {
        let rate = self.mbit.unwrap_or(1.0);
        ensure!(rate.is_finite() && rate >= 0.001, "a rate of {rate} Mbit/s");
        let shares = [self.loss.mean, self.reorder.share, self.duplicate];
        for share in shares {
            ensure!((0.0..=1.0).contains(&share), "a share of {share} of the packets");
        }
        if let Outage::Flapping { up, down } = self.outage {
            ensure!(!(up + down).is_zero(), "a link that flaps in no time");
        }
        self.loss.check()
    }
}

impl Loss {
    /// Each packet for itself.
    #[must_use]
    pub const fn random(mean: f64) -> Self {
        Self {
            mean,
            burst: None,
            idle: None,
        }
    }

    /// In bursts of so many packets on average, however long they take.
    #[must_use]
    pub const fn bursty(mean: f64, burst: f64) -> Self {
        Self {
            mean,
            burst: Some(burst),
            idle: None,
        }
    }

    /// The chance that a packet is lost, which follows one that was or was not, after so long a silence.
    #[must_use]
    pub fn chance(&self, after_lost: bool, silence: Duration) -> f64 {
        let unseen = self.idle.map_or(0, |idle| silence.as_nanos() / idle.as_nanos().max(1));
        // How much of what is known of the last packet still holds for the next one; nothing where each is lost for itself.
        let memory = self.burst.map_or(0.0, |burst| 1.0 - 1.0 / (burst * (1.0 - self.mean)));
        let memory = memory.powi(i32::try_from(unseen).unwrap_or(i32::MAX).saturating_add(1));
        if after_lost {
            self.mean + (1.0 - self.mean) * memory
        } else {
            self.mean - self.mean * memory
        }
    }

    fn check(&self) -> Result<()> {
        let Some(burst) = self.burst else { return Ok(()) };
        ensure!(
            self.idle != Some(Duration::ZERO),
            "silence of no length counts as packets"
        );
        ensure!(burst.is_finite() && burst >= 1.0, "bursts of {burst} packets");
        // Between two bursts at least one packet gets through.
        let possible = burst / (burst + 1.0);
        let mean = self.mean;
        ensure!(
            mean <= possible,
            "{mean} of the packets cannot be lost in bursts of {burst}"
        );
        Ok(())
    }
}

impl Outage {
    /// Whether nothing passes, so long after it was set.
    #[must_use]
    pub fn is_down(&self, after: Duration) -> bool {
        match *self {
            Self::Never => false,
            Self::Now => true,
            Self::Flapping { up, down } => {
                let period = (up + down).as_nanos();
                period > 0 && after.as_nanos() % period >= up.as_nanos()
            }
        }
    }
}

/// What is sent in a time at a rate.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float is cut off at the ends of the range"
)]
#[expect(clippy::cast_sign_loss, reason = "rates and times are not negative")]
pub(super) fn bytes_in(mbit: f64, time: Duration) -> u64 {
    (mbit * 1e6 / 8.0 * time.as_secs_f64()) as u64
}
