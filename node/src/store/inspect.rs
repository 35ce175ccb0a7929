//! A look at a body's files before they are read: whether they are there, and whether somebody else has touched them.

use std::io;
use std::sync::Arc;

use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Seen};
use super::disk::Stamp;
use super::files::Files;
use super::heal::Mending;
use super::recover::{CHECK_AFTER_SECONDS, has_outboard};
use super::shared::Shared;

/// How often somebody looks anew because something was lost and written again while he looked. After that nothing is known.
pub(super) const LOOKS_MAX: u32 = 8;

/// A body's files, and what was held before they were opened.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) files: Arc<Files>,
    pub(super) seen: Seen,
}

/// What a look found amiss; it was seen to.
pub(super) enum Amiss {
    /// Nothing can be read at this moment.
    Unreadable,
    /// Something was lost meanwhile: look again.
    Stale,
}

impl Shared {
    /// Looks whether somebody else touched the file, or a day has passed: then its groups are hashed before they are
    /// given to anyone. `None` when there is no file.
    pub(super) fn inspect(&self, body: &Arc<Body>) -> Option<Look> {
        for _ in 0..LOOKS_MAX {
            match self.look(body) {
                Ok(look) => return Some(look),
                Err(Amiss::Unreadable) => return None,
                Err(Amiss::Stale) => {}
            }
        }
        None
    }

    fn look(&self, body: &Arc<Body>) -> Result<Look, Amiss> {
        let mut seen = body.seen();
        let files = match self.files.get(body.key) {
            Ok(files) => Some(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Nothing is known of the groups then, so nothing is lost.
            Err(error) => {
                tracing::warn!(body = ?body.key, %error, "a file of the store cannot be opened");
                return Err(Amiss::Unreadable);
            }
        };
        let stamp = files.as_ref().map_or(Ok(Stamp::default()), |files| files.data.stamp());
        let stamp = stamp.map_err(|_| Amiss::Unreadable)?;
        let Some(files) = files else {
            return Err(self.all_lost(body, &mut seen, "the file was deleted"));
        };
        if stamp.links == 0 {
            self.lose_deleted(body, &mut seen)?;
            return Err(Amiss::Unreadable);
        }
        self.lose_beyond(body, stamp.len, &mut seen)?;
        let files = if has_outboard(body, &files) {
            files
        } else {
            self.files.forget(body.key);
            match self.mend(body) {
                Mending::Mended => self.files.get(body.key).map_err(|_| Amiss::Unreadable)?,
                Mending::UnderWay => return Err(Amiss::Unreadable),
                Mending::No => return Err(self.all_lost(body, &mut seen, "the outboard was truncated or deleted")),
            }
        };
        self.note_stamp(body, stamp);
        Ok(Look { files, seen })
    }

    fn all_lost(&self, body: &Arc<Body>, seen: &mut Seen, why: &str) -> Amiss {
        let all = RangeSet::from(0..body.group_count());
        if self.lose(body, &all, seen, why) {
            Amiss::Unreadable
        } else {
            Amiss::Stale
        }
    }

    /// An open file has no name any more: what it holds is lost, and so is what was written to it since it was looked at. Whoever
    /// writes to it at this moment sees that something was lost and writes anew.
    pub(super) fn lose_deleted(&self, body: &Arc<Body>, seen: &mut Seen) -> Result<(), Amiss> {
        self.files.forget(body.key);
        let now = body.seen();
        if !now.is_as_old_as(seen) {
            return Err(Amiss::Stale);
        }
        *seen = now;
        let all = RangeSet::from(0..body.group_count());
        if self.lose(body, &all, seen, "the file was deleted") {
            Ok(())
        } else {
            Err(Amiss::Stale)
        }
    }

    /// The groups that do not lie in a file of this length.
    pub(super) fn lose_beyond(&self, body: &Arc<Body>, len: u64, seen: &mut Seen) -> Result<(), Amiss> {
        let beyond = RangeSet::from(0..body.group_count()).difference(&body.groups_within(len));
        if beyond.is_empty() {
            return Ok(());
        }
        // Whoever writes to it next opens it anew and gives it its length back.
        self.files.forget(body.key);
        if self.lose(body, &beyond, seen, "the file was truncated") {
            Ok(())
        } else {
            Err(Amiss::Stale)
        }
    }

    /// What another has changed is unchecked, and what was checked more than a day ago.
    fn note_stamp(&self, body: &Body, known: Stamp) {
        let now = self.disk.now();
        let mut holding = body.holding();
        let changed = holding.stamp.is_some_and(|stamp| stamp != known);
        let old = holding.unchecked.is_empty() && now.saturating_sub(holding.checked_at).abs() >= CHECK_AFTER_SECONDS;
        if changed {
            holding.unchecked = holding.held();
            holding.stamp = Some(known);
        } else if old && holding.checked_at != 0 {
            holding.unchecked = holding.durable.clone();
        }
    }
}
