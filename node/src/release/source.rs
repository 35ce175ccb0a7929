//! Where the bytes of a release come from when it is placed, and how they get into a file.
//!
//! What a source gives has been verified; only a copy of what others may write to is hashed again. Large artifacts come as files and are renamed, else
//! shared (reflink), else copied with their holes; small ones come as bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use rustix::fs::SeekFrom as Hole;
use rustix::io::Errno;
use samara_protocol::manifest::entry::{Artifact, Entry};

use super::dir::step;

/// Bytes of one `copy_file_range`, or of a buffer where there is none.
const COPY_STEP: u64 = 64 << 20;
const BUFFER: usize = 1 << 20;

/// The bytes of one artifact, verified.
#[derive(Debug)]
pub enum ArtifactBytes {
    /// In memory.
    Memory(Vec<u8>),
    /// A file to be shared or copied; it must not change meanwhile.
    Copy(File),
    /// A file that was verified and that somebody else may write to at any time: its copy is hashed.
    Exposed(File),
    /// A file that may be renamed away if it is on the same file system; it is gone from the source then.
    Move(PathBuf),
}

/// Gives the bytes of artifacts. Called from several threads at once.
pub trait ArtifactSource: Sync {
    /// The bytes of an artifact of the release, each byte of them verified. `Move` only if `last`: nothing else of this
    /// release needs the artifact then.
    ///
    /// # Errors
    /// When it is not there.
    fn bytes(&self, artifact: &Artifact, last: bool) -> io::Result<ArtifactBytes>;
}

impl<F: Fn(&Artifact, bool) -> io::Result<ArtifactBytes> + Sync> ArtifactSource for F {
    fn bytes(&self, artifact: &Artifact, last: bool) -> io::Result<ArtifactBytes> {
        self(artifact, last)
    }
}

/// Writes one entry's bytes to a stream, standard output for one.
///
/// # Errors
/// When the entry is no file, or something cannot be read or written.
pub fn write_entry(entry: &Entry, source: &dyn ArtifactSource, out: &mut dyn Write) -> io::Result<()> {
    let Some(artifact) = entry.artifact() else {
        let text = format!("`{}` is no file; only a file can be written to a stream", entry.path);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    match source.bytes(artifact, false)? {
        ArtifactBytes::Memory(bytes) => out.write_all(&bytes)?,
        ArtifactBytes::Copy(mut file) => copy_out(&mut file, artifact, out)?,
        ArtifactBytes::Exposed(_) => {
            // What has been written to a stream cannot be taken back when its hash turns out wrong.
            return Err(io::Error::other(
                "a file that may change meanwhile is not written to a stream",
            ));
        }
        ArtifactBytes::Move(path) => copy_out(&mut File::open(path)?, artifact, out)?,
    }
    out.flush()
}

fn copy_out(file: &mut File, artifact: &Artifact, out: &mut dyn Write) -> io::Result<()> {
    let mut left = artifact.size;
    let mut buffer = vec![0; BUFFER.min(usize::try_from(left).unwrap_or(BUFFER)).max(1)];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(buffer.len()));
        let len = file.read(&mut buffer[..most])?;
        if len == 0 {
            return Err(short(artifact));
        }
        out.write_all(&buffer[..len])?;
        left -= len as u64;
    }
    Ok(())
}

/// Fills the empty file `to` from `from`: shares its blocks where the file system can, else copies and keeps holes.
pub(super) fn fill(from: &mut File, to: &mut File, artifact: &Artifact) -> io::Result<()> {
    if from.metadata()?.len() != artifact.size {
        return Err(short(artifact));
    }
    step()?;
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(());
    }
    to.set_len(artifact.size)?;
    let mut at = 0;
    while at < artifact.size {
        let start = match rustix::fs::seek(&*from, Hole::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(&*from, Hole::Hole(start))
            .unwrap_or(artifact.size)
            .min(artifact.size);
        copy_range(from, to, start, end)?;
        at = end.max(start + 1);
    }
    Ok(())
}

fn copy_range(from: &mut File, to: &mut File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        step()?;
        let len = usize::try_from((end - read_at).min(COPY_STEP)).unwrap_or(BUFFER);
        match rustix::fs::copy_file_range(&*from, Some(&mut read_at), &*to, Some(&mut write_at), len) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::PERM) => {
                return copy_by_hand(from, to, read_at, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &mut File, to: &mut File, start: u64, end: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    to.seek(SeekFrom::Start(start))?;
    let copied = io::copy(&mut from.take(end - start), to)?;
    if copied == end - start {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn short(artifact: &Artifact) -> io::Error {
    io::Error::other(format!(
        "the file of artifact {} does not have its {} bytes",
        artifact.id, artifact.size
    ))
}
