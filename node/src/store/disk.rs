//! The seam between the store and the file system: all that the store asks of a disk.
//!
//! [`RealDisk`] is the system's. The tests have one in memory that fails, fills up, and loses power at any operation.
//! The rules of POSIX that the store may rely on, and no more: a write is durable after the file's sync; a name is
//! durable after its folder's sync; a rename is atomic.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod real;

#[cfg(test)]
pub(crate) mod fake;

pub use real::RealDisk;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Only to read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; made when it does not exist.
    Create,
}

/// What tells that a file is still the one that was looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub modified: i64,
    /// Last change of content or metadata, nanoseconds since 1970.
    pub changed: i64,
    /// The file's number in its file system.
    pub inode: u64,
    /// Names that it has; 0 once deleted.
    pub links: u64,
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this process may still write.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// A file's name and what it takes on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// Allocated bytes (holes are not counted).
    pub allocated: u64,
}

/// A lock that is released when dropped.
pub trait Lock: Send + Sync + Debug {
    /// Makes everything on the file system of the lock durable: one call instead of one a file. The lock lives as long as the
    /// store does, so that a failure since it was taken is told here even when somebody else was told of it, too.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn sync_all(&self) -> io::Result<()>;
}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says, as everywhere in this trait.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what has that name.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file of this system that is not the store's a second name in the store.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it, unless they are there.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The files (not folders) of a folder; none when it does not exist.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Room on the file system of `dir`.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Takes the lock file for this process, writing its id into it; the other's id when it is taken.
    ///
    /// # Errors
    /// See [`Disk::open`]; `NotFound` where the one that had it is removing its folder.
    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>>;
    /// Seconds since 1970; only compared with what was recorded earlier.
    fn now(&self) -> i64;
}

/// An open file. All methods may be called at once from many threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes; fewer only at the end.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data`.
    ///
    /// # Errors
    /// See [`Disk::open`]; part of it may have been written.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes a range a hole that reads as zeros; the length stays.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Sets the length; new bytes are a hole.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// See [`Disk::open`]; what was written since the last success may be lost then, whatever a read says.
    fn sync(&self) -> io::Result<()>;
    /// What tells a changed file.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn stamp(&self) -> io::Result<Stamp>;
    /// The first byte at or after `offset` that may not be in a hole; `None` when the rest is one.
    ///
    /// # Errors
    /// See [`Disk::open`].
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;
    /// The system's file, for reflinks and for handing out; `None` on a disk that is not the system's.
    fn as_file(&self) -> Option<&File>;
}

/// Reads exactly `buf.len()` bytes.
pub(super) fn read_exact(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    if read_up_to(file, buf, offset)? < buf.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads `buf.len()` bytes, fewer at the end of the file: how many.
pub(super) fn read_up_to(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads a whole small file; `None` when it does not exist.
pub(super) fn read_file(disk: &dyn Disk, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.stamp()?.len;
    if len > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    read_exact(&*file, &mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Writes a small file so that a crash leaves the old one or the new one, durable on return.
pub(super) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let fresh = sibling(path, "tmp");
    let file = disk.open(&fresh, Open::Create)?;
    file.set_len(0)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&fresh, path)?;
    disk.sync_dir(dir)
}

fn sibling(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Removes a file that may not exist.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
