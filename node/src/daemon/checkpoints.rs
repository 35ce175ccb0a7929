//! When to make what was written durable: every two seconds or 256 MiB of a layout that makes progress, and at its end.
//! One checkpoint of a layout at a time; the driver runs them on the worker pool.

use std::collections::BTreeMap;
use std::time::Duration;

use samara_protocol::id::LayoutId;
use samara_protocol::limits::{CHECKPOINT_BYTES, CHECKPOINT_INTERVAL};
use samara_protocol::time::Timestamp;

/// What is written and not yet durable, per layout.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    dirty: BTreeMap<LayoutId, Dirty>,
}

#[derive(Debug)]
struct Dirty {
    bytes: u64,
    since: Timestamp,
    running: bool,
    at_once: bool,
}

/// How long after a failed checkpoint the next is tried.
const RETRY: Duration = Duration::from_secs(5);

impl Checkpoints {
    /// Bytes of `layout` were written.
    pub(super) fn wrote(&mut self, now: Timestamp, layout: LayoutId, bytes: u64) {
        let dirty = self.dirty.entry(layout).or_insert_with(|| Dirty::new(now));
        if dirty.bytes == 0 && !dirty.running {
            dirty.since = now;
        }
        dirty.bytes += bytes;
    }

    /// All of `layout` is here: do not wait for the interval.
    pub(super) fn hurry(&mut self, now: Timestamp, layout: LayoutId) {
        self.dirty.entry(layout).or_insert_with(|| Dirty::new(now)).at_once = true;
    }

    /// A layout whose checkpoint is due; it counts as running until [`Checkpoints::ended`].
    pub(super) fn due(&mut self, now: Timestamp) -> Option<LayoutId> {
        let (layout, dirty) = self.dirty.iter_mut().find(|(_, dirty)| dirty.due_at() <= now)?;
        (dirty.running, dirty.bytes, dirty.at_once) = (true, 0, false);
        Some(*layout)
    }

    /// The checkpoint of `layout` ended; after a failure it is tried again later.
    pub(super) fn ended(&mut self, now: Timestamp, layout: LayoutId, succeeded: bool) {
        let Some(dirty) = self.dirty.get_mut(&layout) else { return };
        dirty.running = false;
        dirty.since = now;
        if !succeeded {
            dirty.bytes = dirty.bytes.max(1);
            dirty.since = now.after(RETRY);
        } else if dirty.bytes == 0 && !dirty.at_once {
            self.dirty.remove(&layout);
        }
    }

    /// When [`Checkpoints::due`] will have something.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.dirty.values().map(Dirty::due_at).min().filter(|at| at.0 != u64::MAX)
    }

    /// The layouts with something to lose.
    pub(super) fn layouts(&self) -> Vec<LayoutId> {
        self.dirty.keys().copied().collect()
    }
}

impl Dirty {
    fn new(now: Timestamp) -> Self {
        Self { bytes: 0, since: now, running: false, at_once: false }
    }

    fn due_at(&self) -> Timestamp {
        match self {
            Self { running: true, .. } => Timestamp(u64::MAX),
            Self { at_once: true, .. } => Timestamp::ZERO,
            Self { bytes: 0, .. } => Timestamp(u64::MAX),
            Self { bytes, .. } if *bytes >= CHECKPOINT_BYTES => Timestamp::ZERO,
            Self { since, .. } => since.after(CHECKPOINT_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_protocol::id::{ManifestId, Part};

    fn layout(n: u8) -> LayoutId {
        LayoutId { manifest: ManifestId([n; 32]), part: Part::Payload }
    }

    #[test]
    fn due_after_the_interval_or_the_bytes_and_one_at_a_time() {
        let (mut all, start) = (Checkpoints::default(), Timestamp(5));
        all.wrote(start, layout(1), 10);
        assert_eq!(all.due(start), None);
        assert_eq!(all.next(), Some(start.after(CHECKPOINT_INTERVAL)));
        all.wrote(start, layout(2), CHECKPOINT_BYTES);
        assert_eq!(all.due(start), Some(layout(2)));
        all.wrote(start, layout(2), CHECKPOINT_BYTES);
        assert_eq!(all.due(start), None, "one checkpoint of a layout at a time");
        all.ended(start, layout(2), true);
        assert_eq!(all.due(start), Some(layout(2)), "what was written meanwhile");
        assert_eq!(all.due(start.after(CHECKPOINT_INTERVAL)), Some(layout(1)));
    }

    #[test]
    fn the_end_hurries_and_a_failure_is_tried_again() {
        let (mut all, start) = (Checkpoints::default(), Timestamp(5));
        all.wrote(start, layout(1), 10);
        all.hurry(start, layout(1));
        assert_eq!(all.due(start), Some(layout(1)));
        all.ended(start, layout(1), false);
        assert_eq!(all.due(start), None);
        assert!(all.next().is_some_and(|at| at > start));
        assert_eq!(all.due(start.after(RETRY).after(CHECKPOINT_INTERVAL)), Some(layout(1)));
        all.ended(start, layout(1), true);
        assert_eq!(all.next(), None);
    }
}
