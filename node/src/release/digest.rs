//! Both hashes of a file in one read.
//!
//! BLAKE3 and SHA-256 of a large file run on two threads, on buffers that go round between them.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use samara_protocol::id::{ArtifactId, Sha256};
use samara_protocol::manifest::entry::Artifact;
use sha2::Digest;

/// Bytes read at a time.
const BUFFER: usize = 1 << 20;
/// Buffers of a large file in flight.
const BUFFERS: usize = 3;
/// From here on a second thread pays.
const LARGE: u64 = 4 << 20;

/// Hashes a file from its position to its end. The size is that of what was read.
pub(super) fn digest(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<Artifact> {
    let size = file.metadata()?.len();
    if size >= LARGE {
        digest_large(file)
    } else {
        digest_small(file, size, buffer)
    }
}

fn digest_small(file: &mut File, size: u64, buffer: &mut Vec<u8>) -> io::Result<Artifact> {
    buffer.clear();
    buffer.reserve(usize::try_from(size).unwrap_or(0) + 1);
    // More than a file that grows meanwhile can have without being noticed.
    file.take(LARGE * 2).read_to_end(buffer)?;
    Ok(digest_bytes(buffer))
}

/// BLAKE3 alone, of a file from its position to its end.
pub(super) fn root_of(file: &mut File) -> io::Result<ArtifactId> {
    let size = file.metadata()?.len();
    let mut buffer = vec![0; usize::try_from(size).map_or(BUFFER, |size| size.clamp(1, BUFFER))];
    let mut hasher = blake3::Hasher::new();
    loop {
        let len = read_full(file, &mut buffer)?;
        hasher.update(&buffer[..len]);
        if len < buffer.len() {
            return Ok(ArtifactId(*hasher.finalize().as_bytes()));
        }
    }
}

/// Both hashes of bytes in memory.
pub(super) fn digest_bytes(bytes: &[u8]) -> Artifact {
    Artifact {
        id: ArtifactId(*blake3::hash(bytes).as_bytes()),
        sha256: Sha256(sha2::Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

fn digest_large(file: &mut File) -> io::Result<Artifact> {
    std::thread::scope(|scope| {
        let (to_sha, at_sha) = sync_channel::<Arc<Vec<u8>>>(BUFFERS);
        let (to_reader, at_reader) = sync_channel::<Arc<Vec<u8>>>(BUFFERS);
        let sha = scope.spawn(move || {
            let mut hasher = sha2::Sha256::new();
            for bytes in at_sha {
                hasher.update(bytes.as_slice());
                // The reader may be gone after an error; the buffer goes with it.
                let _ = to_reader.send(bytes);
            }
            hasher.finalize()
        });
        let mut blake = blake3::Hasher::new();
        let mut size = 0;
        let mut made = 0;
        loop {
            let mut buffer = if made < BUFFERS { None } else { at_reader.recv().ok() }
                .and_then(|shared| Arc::try_unwrap(shared).ok())
                .unwrap_or_default();
            made += 1;
            buffer.resize(BUFFER, 0);
            let len = read_full(file, &mut buffer)?;
            if len == 0 {
                break;
            }
            buffer.truncate(len);
            size += len as u64;
            let shared = Arc::new(buffer);
            if to_sha.send(Arc::clone(&shared)).is_err() {
                break;
            }
            blake.update(&shared);
        }
        drop(to_sha);
        let sha256 = sha
            .join()
            .map_err(|_| io::Error::other("the SHA-256 thread panicked"))?;
        Ok(Artifact {
            id: ArtifactId(*blake.finalize().as_bytes()),
            sha256: Sha256(sha256.into()),
            size,
        })
    })
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn a_file_has_the_hashes_of_its_bytes_at_every_size_class() {
        let mut buffer = Vec::new();
        for size in [0usize, 1, 65_536, (4 << 20) - 1, 4 << 20, (9 << 20) + 7] {
            let bytes: Vec<u8> = (0u8..=250).cycle().take(size).collect();
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&bytes).expect("written");
            file.rewind().expect("rewound");
            assert_eq!(
                digest(&mut file, &mut buffer).expect("read"),
                digest_bytes(&bytes),
                "{size}"
            );
        }
    }
}
