//! Reads and hashes groups without giving them to anyone: because a peer refused them, or because something beside them was
//! found damaged. So whoever waits for what is damaged waits for one look at everything, not for one group at a time.

use std::sync::Arc;

use samara_protocol::id::LayoutId;
use samara_protocol::tree::ranges::RangeSet;

use super::StoreError;
use super::body::Body;
use super::frames::Frames;
use super::heal::Mending;
use super::inspect::{LOOKS_MAX, Look};
use super::layouts::Part;
use super::shared::{Shared, lock};

impl Shared {
    /// Reads and hashes groups now; those of `groups` that are lost.
    pub(super) fn recheck(&self, id: LayoutId, groups: &RangeSet) -> Result<RangeSet, StoreError> {
        let open = self.layout(id)?;
        let mut lost = RangeSet::new();
        for part in open.parts() {
            let asked = groups.intersection(&RangeSet::from(part.groups.clone()));
            let asked = part.to_body(&asked.difference(&open.shared()));
            if !asked.is_empty() {
                lost.union_with(&part.to_layout(&self.check(&part.body, &asked)));
            }
        }
        for group in groups.intersection(&open.shared()).iter() {
            if self
                .frame_of_shared(&open, group, &mut Frames::default(), &mut |_, _| ())
                .is_none()
            {
                lost.insert(group..group + 1);
            }
        }
        Ok(lost)
    }

    /// Hashes what of a layout is unchecked; what of it is lost. While it runs, a second call for the same layout has
    /// nothing to do.
    pub(super) fn scrub(&self, id: LayoutId) -> Result<RangeSet, StoreError> {
        let open = self.layout(id)?;
        if !lock(&self.scrubbing).insert(id) {
            return Ok(RangeSet::new());
        }
        let mut lost = RangeSet::new();
        for part in open.parts() {
            let before = part.to_layout(&part.body.holding().held());
            self.inspect(&part.body);
            let unchecked = part.to_body(&part.to_layout(&part.body.holding().unchecked));
            if !unchecked.is_empty() {
                self.check(&part.body, &unchecked);
            }
            lost.union_with(&before.difference(&part.to_layout(&part.body.holding().held())));
        }
        lock(&self.scrubbing).remove(&id);
        Ok(lost)
    }

    /// Hashes groups of a body, on all threads; those that are not held (any more). They stay unchecked while another makes the
    /// outboard again.
    pub(super) fn check(&self, body: &Arc<Body>, groups: &RangeSet) -> RangeSet {
        let mut is_mended = false;
        for _ in 0..LOOKS_MAX {
            // Nothing is known of what cannot be opened at this moment.
            let Some(Look { files, mut seen }) = self.inspect(body) else {
                break;
            };
            let there = groups.intersection(&body.holding().held());
            let good = self.hash_groups(body, &files, &there);
            self.mark_checked(body, &good);
            let bad = there.difference(&good);
            if bad.is_empty() {
                break;
            }
            match if is_mended { Mending::No } else { self.mend(body) } {
                Mending::Mended => is_mended = true,
                // By one who found it before, and does not need what this one would lose.
                Mending::UnderWay => break,
                Mending::No if self.lose(body, &bad, &mut seen, "it is not what it must be") => break,
                Mending::No => {}
            }
        }
        groups.difference(&body.holding().held())
    }
}

impl Part {
    /// The groups of the body that some groups of the layout are.
    fn to_body(&self, groups: &RangeSet) -> RangeSet {
        let own = groups.intersection(&RangeSet::from(self.groups.clone()));
        let shift = |range: &std::ops::Range<u32>| {
            let start = self.first + (range.start - self.groups.start);
            start..start + (range.end - range.start)
        };
        own.ranges().iter().map(shift).collect()
    }
}
