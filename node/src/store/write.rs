//! Verified groups go to their places: data first, then the pairs that came with it. All-zero groups become holes.
//!
//! Nothing is synced here; a group is volatile until the next checkpoint. Called from many threads for different groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use samara_protocol::id::LayoutId;
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::tree::geometry::{Node, Pair};
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, offset_of};
use super::disk::DiskFile;
use super::error::Context;
use super::files::{Files, Key, Made};
use super::paths::ArtifactFile;
use super::shared::{Shared, lock};
use super::{GroupWrite, StoreError};

/// How many neighbouring pairs are written at once at the most: those on a path from the root.
const PAIRS_AT_ONCE: usize = 32;

impl Shared {
    pub(super) fn write(&self, id: LayoutId, groups: &[GroupWrite<'_>]) -> Result<(), StoreError> {
        let open = self.layout(id)?;
        for write in groups {
            let no_such = || StoreError::NoSuchGroup {
                layout: id,
                group: write.group,
            };
            let (body, index) = open.locate(write.group).ok_or_else(no_such)?;
            if write.data.len() != body.group_len(index) {
                return Err(no_such());
            }
            let bytes = self.write_group(body, index, write.data, write.pairs)?;
            open.spend(bytes);
            if body.key == Key::Pack(id) {
                open.own(write.group);
            }
        }
        Ok(())
    }

    /// Writes one verified group and its pairs; the bytes of it that were not held before.
    pub(super) fn write_group(
        &self,
        body: &Arc<Body>,
        index: u32,
        data: &[u8],
        pairs: &[(Node, Pair)],
    ) -> Result<u64, StoreError> {
        let (mut held, mut losses, mut new) = {
            let mut holding = body.holding();
            let held = holding.contains(index) && !holding.unchecked.contains(index);
            let new = holding.unwritten(pairs);
            if !held || !new.is_empty() {
                // What is written now would look like another's change to whoever compares stamps.
                holding.stamp = None;
                holding.writers += 1;
            }
            (held, holding.losses, new)
        };
        if held && new.is_empty() {
            return Ok(0);
        }
        let mut holding = loop {
            let outcome = self.write_files(body, index, (!held).then_some(data), &mut new, pairs);
            let mut holding = body.holding();
            if outcome.is_err() || holding.losses == losses {
                holding.writers -= 1;
                outcome?;
                break holding;
            }
            // A sync failed meanwhile, or the file was deleted: what was just written may be gone with the rest.
            (held, losses, new) = (false, holding.losses, pairs.iter().collect());
        };
        holding.wrote(&new);
        let fresh = !holding.contains(index);
        let bytes = if fresh { data.len() as u64 } else { 0 };
        if fresh {
            holding.volatile.insert(index..index + 1);
            self.volatile_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        drop(holding);
        self.mark_dirty(body);
        Ok(bytes)
    }

    /// Writes data and `new` pairs; where files had to be made, `all` pairs, which are the new ones then.
    fn write_files<'a>(
        &self,
        body: &Arc<Body>,
        index: u32,
        data: Option<&[u8]>,
        new: &mut Vec<&'a (Node, Pair)>,
        all: &'a [(Node, Pair)],
    ) -> Result<(), StoreError> {
        let files = match self.files.writable(body.key, body.outboard_len()) {
            Some(files) => files,
            None => {
                let files = self.made(body)?;
                *new = all.iter().collect();
                files
            }
        };
        if let Some(data) = data {
            write_data(&*files.data, data, offset_of(index)).on("write to", &files.data_path)?;
        }
        write_pairs(&files, new).on("write to", &files.outboard_path)
    }

    /// The files of a body after those that were missing were made. A new name has to be durable before anything in the file
    /// is; and where a new data file had to be made, the one that groups were held of was deleted.
    fn made(&self, body: &Arc<Body>) -> Result<Arc<Files>, StoreError> {
        let (mut seen, mut made) = (body.seen(), Made::default());
        let files = self
            .files
            .get_or_make(body.key, body.len(), body.outboard_len(), &mut made);
        body.holding().forget_pairs();
        if made.name {
            let dir = self.path_of(body.key).parent().map(std::path::Path::to_owned);
            lock(&self.pending).dirs.extend(dir);
        }
        let before = seen.held().clone();
        while made.data && !self.lose(body, &before, &mut seen, "the file was deleted") {
            seen = body.seen();
        }
        files.on("make", &self.path_of(body.key))
    }

    /// A body's data file, for messages.
    pub(super) fn path_of(&self, key: Key) -> std::path::PathBuf {
        match key {
            Key::Artifact(id) => self.paths.artifact(id, ArtifactFile::Part),
            Key::Pack(id) => self.paths.pack(id),
        }
    }

    /// Groups were hashed and are what they must be.
    pub(super) fn mark_checked(&self, body: &Arc<Body>, groups: &RangeSet) {
        let mut holding = body.holding();
        if groups.is_empty() || holding.unchecked.is_empty() {
            return;
        }
        holding.unchecked.subtract(groups);
        if holding.unchecked.is_empty() {
            holding.checked_at = self.disk.now();
            drop(holding);
            self.mark_dirty(body);
        }
    }
}

/// Writes a group, or leaves a hole for one of zeros.
pub(super) fn write_data(file: &dyn DiskFile, data: &[u8], offset: u64) -> std::io::Result<()> {
    if !is_all_zero(data) {
        return file.write_at(data, offset);
    }
    let end = offset + data.len() as u64;
    match file.next_data(offset)? {
        Some(next) if next < end => file.punch(offset, data.len() as u64),
        _ => Ok(()),
    }
}

/// A group of zeros.
pub(super) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

const _: () = assert!(GROUP_BYTES == 64 << 10, "the zeros are as long as a group");

/// Whether there is nothing but zeros; a comparison with zeros, which the compiler makes wide.
pub(super) fn is_all_zero(data: &[u8]) -> bool {
    data.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Writes pairs, neighbours together: on a way that turns left they follow each other.
fn write_pairs(files: &Files, pairs: &[&(Node, Pair)]) -> std::io::Result<()> {
    let Some((first, _)) = pairs.first() else {
        return Ok(());
    };
    let outboard = files.outboard.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
    let mut run = Vec::with_capacity(PAIRS_AT_ONCE * 64);
    let mut start = first.offset();
    for (node, pair) in pairs {
        if node.offset() != start + run.len() as u64 {
            outboard.write_at(&run, start)?;
            run.clear();
            start = node.offset();
        }
        run.extend_from_slice(pair);
    }
    outboard.write_at(&run, start)
}
