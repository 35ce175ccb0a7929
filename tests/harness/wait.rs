//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long one look and the next lie apart.
const LOOK: Duration = Duration::from_millis(20);

/// Asks `look` until it answers, at most `limit`.
///
/// # Errors
/// What was waited for, after `limit`; what `look` fails with, at once.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(LOOK);
    }
}
