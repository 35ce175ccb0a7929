//! Small files into the packs of a layout, a group at a time.

use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::Layout;
use samara_protocol::tree::verify::verify_packed;

use super::source::{changed, open_source};
use crate::store::body::Body;
use crate::store::disk::read_exact;
use crate::store::error::Context;
use crate::store::files::Key;
use crate::store::shared::Shared;
use crate::store::{Held, Source, StoreError};

impl Shared {
    pub(in crate::store) fn import_packed(
        &self,
        id: LayoutId,
        layout: Arc<Layout>,
        source: &(dyn Fn(ArtifactId) -> Option<Source> + Sync),
    ) -> Result<Held, StoreError> {
        self.open_layout(id, layout)?;
        let open = self.layout(id)?;
        let mut missing = Vec::new();
        for part in open.parts().iter().filter(|part| part.body.key == Key::Pack(id)) {
            let held = open.held();
            let groups = part.groups.clone();
            missing.extend(groups.filter(|group| !held.durable.contains(*group) && !held.volatile.contains(*group)));
        }
        self.require(missing.len() as u64 * GROUP_BYTES)?;
        self.in_parallel(missing.len(), |at| {
            let Some((body, index)) = open.locate(missing[at]) else {
                return Ok(());
            };
            let data = gather(body, index, source)?;
            self.write_group(body, index, &data, &[])?;
            open.own(missing[at]);
            Ok(())
        })?;
        if let Some(fault) = self.checkpoint_for(id) {
            return Err(fault);
        }
        Ok(open.held())
    }
}

/// A packed group from its artifacts' files.
fn gather(
    body: &Body,
    index: u32,
    source: &(dyn Fn(ArtifactId) -> Option<Source> + Sync),
) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::with_capacity(body.group_len(index));
    for placed in body.packed(index) {
        let expected = placed.artifact;
        let source = source(expected.id).ok_or(StoreError::Absent(expected.id))?;
        let path = &source.path;
        let start = data.len();
        if let Some(bytes) = &source.bytes {
            data.extend_from_slice(bytes);
            if verify_packed([expected], bytes).is_err() {
                return Err(StoreError::Changed { path: path.clone() });
            }
            continue;
        }
        let file = open_source(&source)?;
        data.resize(
            body.group_len(index)
                .min(start + usize::try_from(expected.size).expect("smaller than a group")),
            0,
        );
        let read = read_exact(&*file, &mut data[start..], 0);
        changed(read, path)?;
        let grown = file.stamp().on("look at", path)?.len != expected.size;
        if grown || verify_packed([expected], &data[start..]).is_err() {
            return Err(StoreError::Changed { path: path.clone() });
        }
    }
    Ok(data)
}
