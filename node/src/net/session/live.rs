//! Whether the path to a peer is alive: bytes that came, or payload that the socket took.
//!
//! A half-open path swallows a few pings but not payload without end, and sends nothing. On a slow path full of payload
//! a pong may be many seconds behind, but then payload moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of the last sign.
#[derive(Debug)]
pub(super) struct Liveness {
    began: Instant,
    last_millis: AtomicU64,
}

impl Liveness {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last_millis: AtomicU64::new(0),
        }
    }

    /// A sign of life, now.
    pub(super) fn touch(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    /// How long there was none.
    pub(super) fn silence(&self) -> Duration {
        self.began
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_millis.load(Ordering::Relaxed)))
    }
}
