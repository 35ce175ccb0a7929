//! Bytes as open files: how a verb hands over what is longer than a line, and how the node takes it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};

/// An open file in memory that holds `bytes`.
///
/// # Errors
/// When the system has no memory or file for it.
pub fn in_memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// All bytes of a file that somebody passed: a regular one, of at most `max` bytes. Blocks for the disk at most.
///
/// # Errors
/// When it is a pipe or device (which could block for ever), too large, or cannot be read.
pub fn read(file: &OwnedFd, max: u64) -> io::Result<Vec<u8>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let status = fstat(file.as_fd())?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(invalid("is no regular file".to_owned()));
    }
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if size > max {
        return Err(invalid(format!("has {size} bytes, at most {max} are allowed")));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| invalid("does not fit memory".to_owned()))?];
    // By position: the sender shares the file's cursor.
    File::from(file.try_clone()?).read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_memory_is_read_again_up_to_the_bound() {
        let file = in_memory("head", b"seven b").expect("a file");
        assert_eq!(read(&file, 7).expect("fits"), b"seven b");
        assert_eq!(read(&file, 7).expect("the cursor does not matter"), b"seven b");
        assert!(read(&file, 6).expect_err("too large").to_string().contains("at most 6"));
    }

    #[test]
    fn a_pipe_is_refused_instead_of_waited_for() {
        let (end, _other) = io::pipe().expect("a pipe");
        assert_eq!(
            read(&end.into(), 10).expect_err("no file").kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
