//! The files that are imported: opened, measured, shared with the store where the file system can.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use samara_protocol::tree::geometry::Geometry;

use crate::store::disk::{Disk, DiskFile, Open, RealDisk};
use crate::store::error::Context;
use crate::store::{Source, StoreError};

pub(super) fn size_of(source: &Source) -> Result<u64, StoreError> {
    let metadata = match &source.file {
        Some(file) => file.metadata(),
        None => std::fs::metadata(&source.path),
    };
    Ok(metadata.on("look at", &source.path)?.len())
}

pub(super) fn open_source(source: &Source) -> Result<Arc<dyn DiskFile>, StoreError> {
    match &source.file {
        Some(file) => Ok(RealDisk::file(Arc::clone(file))),
        None => RealDisk.open(&source.path, Open::Read).on("open", &source.path),
    }
}

pub(super) fn geometry(path: &Path, size: u64) -> Result<Geometry, StoreError> {
    Geometry::new(size).map_err(|source| StoreError::TooLarge {
        path: path.to_owned(),
        source,
    })
}

/// A file that became shorter while it was read changed.
pub(super) fn changed<T>(outcome: io::Result<T>, path: &Path) -> Result<T, StoreError> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StoreError::Changed { path: path.to_owned() })
        }
        other => other.on("read", path),
    }
}

/// Whether `to` now shares all blocks of `from`.
pub(in crate::store) fn reflink(from: Option<&File>, to: Option<&File>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => rustix::fs::ioctl_ficlone(to, from).is_ok(),
        _ => false,
    }
}
