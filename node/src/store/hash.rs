//! Hashes a file into its root and outboard, copying it on the way if wanted: one read, one hash, at most one write.
//!
//! The file is cut into subtrees that threads take in turn. Holes are hashed as zeros and stay holes in the copy.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use samara_protocol::id::ArtifactId;
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::tree::geometry::{Geometry, Span};
use samara_protocol::tree::outboard::{Chaining, SubtreeHasher, merge};

use super::disk::{DiskFile, read_exact};
use super::shared::lock;
use super::write::is_all_zero;

/// A subtree has 2^8 groups, 16 MiB: what a thread takes at a time.
const SUBTREE_LOG: u8 = 8;
/// Bytes read at a time: large enough for few calls, small enough to stay in the core's cache until hashed.
const READ_BYTES: usize = 512 << 10;

/// What hashing is to do with a file.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) source: &'a dyn DiskFile,
    pub(super) geometry: Geometry,
    /// Gets the bytes; already as long as the source.
    pub(super) copy: Option<&'a dyn DiskFile>,
    /// Gets the outboard; already as long as it must be.
    pub(super) outboard: Option<&'a dyn DiskFile>,
}

impl Job<'_> {
    /// Does it on at most `threads` threads.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file became shorter; whatever the disk says.
    pub(super) fn run(self, threads: usize) -> io::Result<ArtifactId> {
        let spans: Vec<Span> = self.geometry.subtrees(SUBTREE_LOG).collect();
        let parts = Mutex::new(Vec::with_capacity(spans.len()));
        let failed = Mutex::new(None);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut buffer = vec![0; READ_BYTES];
            while let Some(span) = spans.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.subtree(*span, &mut buffer) {
                    Ok(chaining) => lock(&parts).push((*span, chaining)),
                    Err(error) => {
                        next.store(spans.len(), Ordering::Relaxed);
                        *lock(&failed) = Some(error);
                    }
                }
            }
        };
        if spans.len() < 2 || threads < 2 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..threads.min(spans.len()) {
                    scope.spawn(work);
                }
            });
        }
        if let Some(error) = failed.into_inner().unwrap_or_default() {
            return Err(error);
        }
        let mut parts = parts.into_inner().unwrap_or_default();
        parts.sort_unstable_by_key(|(span, _)| span.groups().start);
        let (root, pairs) = merge(self.geometry, parts).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        if let Some(outboard) = self.outboard {
            for (node, pair) in pairs {
                outboard.write_at(&pair, node.offset())?;
            }
        }
        Ok(root)
    }

    fn subtree(&self, span: Span, buffer: &mut [u8]) -> io::Result<Chaining> {
        let mut hasher = SubtreeHasher::new(self.geometry, span);
        let bytes = span.bytes(self.geometry);
        let mut at = bytes.start;
        while at < bytes.end {
            let len = usize::try_from(bytes.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let chunk = &mut buffer[..len];
            let end = at + len as u64;
            if self.source.next_data(at)?.is_none_or(|next| next >= end) {
                // The file may have been truncated, which looks like a hole.
                if self.source.stamp()?.len < end {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                chunk.fill(0);
            } else {
                read_exact(self.source, chunk, at)?;
                if let Some(copy) = self.copy {
                    write_sparse(copy, chunk, at)?;
                }
            }
            hasher.update(chunk);
            at = end;
        }
        let hashed = hasher.finish().map_err(|_| io::ErrorKind::UnexpectedEof)?;
        if let Some(outboard) = self.outboard.filter(|_| !hashed.outboard.is_empty()) {
            outboard.write_at(&hashed.outboard, span.outboard_offset())?;
        }
        Ok(hashed.chaining)
    }
}

/// Writes into a file that is all holes so far, leaving out groups of zeros.
pub(super) fn write_sparse(file: &dyn DiskFile, data: &[u8], offset: u64) -> io::Result<()> {
    let group = usize::try_from(GROUP_BYTES).expect("64 KiB");
    let mut start = 0;
    while start < data.len() {
        let rest = &data[start..];
        let zeros = rest
            .chunks(group)
            .take_while(|chunk| is_all_zero(chunk))
            .map(<[u8]>::len)
            .sum::<usize>();
        start += zeros;
        let rest = &data[start..];
        let full = rest
            .chunks(group)
            .take_while(|chunk| !is_all_zero(chunk))
            .map(<[u8]>::len)
            .sum::<usize>();
        if full > 0 {
            file.write_at(&rest[..full], offset + start as u64)?;
        }
        start += full;
    }
    Ok(())
}

/// Copies into a file that is all holes so far, leaving holes where there are holes or groups of zeros.
pub(super) fn copy_sparse(from: &dyn DiskFile, to: &dyn DiskFile, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < len {
        let Some(next) = from.next_data(at)?.filter(|next| *next < len) else {
            break;
        };
        // On a group's boundary, so that the next run of zeros is seen whole.
        at = at.max(next / GROUP_BYTES * GROUP_BYTES);
        let now = usize::try_from(len - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let chunk = &mut buffer[..now];
        read_exact(from, chunk, at)?;
        write_sparse(to, chunk, at)?;
        at += now as u64;
    }
    Ok(())
}
