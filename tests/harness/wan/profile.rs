//! Links as people have them, from good to absurd.
//!
//! The figures are those of the degradation ladder of iroh's network tests. A profile is that of one place, the network beyond it
//! being without fault: half the round trip is on the way up and half on the way down, and the jitter likewise; rate and loss are
//! those of each direction. So between such a place and one without a profile the round trip is the one in the table, and
//! between two of them it is twice that, and each packet runs the risk of being lost twice.
//!
//! In one thing this is not what the source's emulator does: while nobody sends, a burst of losses passes by in the time that the
//! same number of full packets would have taken. There it waits for the next packets, however late they come; a stream that backs
//! off then meets one burst for minutes, which no link does.

use std::time::Duration;

use super::shape::{Link, Loss, Shape, bytes_in};

/// Bytes of a packet of which bursts are counted.
const FULL_PACKET: u32 = 1500;

/// One rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// Mbit/s in each direction.
    pub mbit: f64,
    /// Milliseconds to the network and back.
    pub rtt_ms: f64,
    /// By how many milliseconds the round trip wanders to both sides.
    pub jitter_ms: f64,
    /// The share of packets lost in each direction.
    pub loss: f64,
    /// How many are lost in a row on average; `None`: each for itself.
    pub burst: Option<f64>,
}

/// All rungs, the best first.
pub const LADDER: [Profile; 9] = [
    rung("good-wifi", 100.0, 16.0, 0.0, 0.001, None),
    rung("congested-wifi", 25.0, 40.0, 12.0, 0.01, Some(6.0)),
    rung("weak-4g", 8.0, 90.0, 15.0, 0.02, Some(8.0)),
    rung("slow-3g", 3.0, 200.0, 30.0, 0.03, Some(10.0)),
    rung("congested-cellular", 1.5, 300.0, 40.0, 0.05, Some(12.0)),
    rung("very-bad-cellular", 0.8, 450.0, 60.0, 0.08, Some(20.0)),
    rung("satellite", 25.0, 600.0, 40.0, 0.015, Some(6.0)),
    rung("barely-usable", 0.5, 450.0, 80.0, 0.12, Some(25.0)),
    rung("absurd", 0.256, 800.0, 150.0, 0.25, Some(40.0)),
];

/// The rung with this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn profile(name: &str) -> Profile {
    let found = LADDER.into_iter().find(|profile| profile.name == name);
    found.unwrap_or_else(|| panic!("no profile {name}"))
}

impl Profile {
    /// The link of a place that has it. Its queue holds what is sent in one round trip where that is more than the default: so
    /// much a single stream needs to fill the link.
    #[must_use]
    pub fn link(&self) -> Link {
        let rtt = Duration::from_secs_f64(self.rtt_ms / 1e3);
        let mut shape = Shape {
            mbit: Some(self.mbit),
            delay: rtt / 2,
            jitter: Duration::from_secs_f64(self.jitter_ms / 2e3),
            loss: Loss {
                mean: self.loss,
                burst: self.burst,
                idle: None,
            },
            ..Shape::default()
        };
        shape.loss.idle = Some(shape.time_of(FULL_PACKET));
        shape.queue = Some(shape.queue_bytes().max(bytes_in(self.mbit, rtt)));
        Link::both(shape)
    }
}

const fn rung(name: &'static str, mbit: f64, rtt_ms: f64, jitter_ms: f64, loss: f64, burst: Option<f64>) -> Profile {
    Profile {
        name,
        mbit,
        rtt_ms,
        jitter_ms,
        loss,
        burst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_is_a_link_that_can_be() {
        for profile in LADDER {
            profile.link().check().expect(profile.name);
        }
        let link = profile("weak-4g").link();
        assert_eq!(link.up.delay + link.down.delay, Duration::from_millis(90));
        assert_eq!(link.up.queue, Some(100_000), "100 ms of 8 Mbit/s");
        assert_eq!(profile("satellite").link().up.queue, Some(1_875_000), "one round trip");
        assert_eq!(profile("absurd").link().up.queue, Some(64 << 10), "the least");
    }
}
