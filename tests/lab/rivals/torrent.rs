//! A torrent file of one file, version 1: what rqbit and libtorrent read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha1::{Digest, Sha1};

/// The bencoded description of `path` in pieces of `piece_length` bytes.
pub(crate) fn of_file(path: &Path, piece_length: u64) -> Result<Vec<u8>> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .context("a plain file name")?;
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let length = file.metadata()?.len();
    let mut pieces = Vec::new();
    loop {
        let mut piece = Vec::new();
        Read::by_ref(&mut file).take(piece_length).read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        pieces.extend_from_slice(&Sha1::digest(&piece));
    }
    let mut out = Vec::new();
    out.extend_from_slice(format!("d4:infod6:lengthi{length}e4:name{}:{name}", name.len()).as_bytes());
    out.extend_from_slice(format!("12:piece lengthi{piece_length}e6:pieces{}:", pieces.len()).as_bytes());
    out.extend_from_slice(&pieces);
    out.extend_from_slice(b"ee");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_names_the_file_and_hashes_each_piece() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.bin");
        std::fs::write(&path, vec![0; 1_048_577]).expect("is ours");
        let torrent = of_file(&path, 1 << 20).expect("it is readable");
        let start = b"d4:infod6:lengthi1048577e4:name5:a.bin12:piece lengthi1048576e6:pieces40:";
        assert!(torrent.starts_with(start));
        assert_eq!(torrent.len(), start.len() + 40 + 2);
    }
}
