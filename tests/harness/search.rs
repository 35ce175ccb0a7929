//! Looks for bytes where they should not be: in the files of a folder, and in the memory of a process.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Read at once.
const PIECE: usize = 1 << 20;

/// What is looked for, by what each is called.
#[derive(Debug, Default, Clone)]
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// Adds one.
    ///
    /// # Panics
    /// When it is so short that it is everywhere.
    pub fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        let (name, bytes) = (name.into(), bytes.into());
        assert!(bytes.len() >= 5, "{name} is too short to be looked for");
        self.0.push((name, bytes));
        self
    }

    /// What they are called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Those that are in `bytes`.
    #[must_use]
    pub fn in_bytes(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found = vec![false; self.0.len()];
        self.search(bytes, &mut found);
        self.named(&found)
    }

    /// Those that are in the paths or in the files below `folder`, which may change meanwhile: each with where it was first.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn in_files(&self, folder: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut open = vec![folder.to_path_buf()];
        while let Some(below) = open.pop() {
            let Some(entries) = there(fs::read_dir(&below)).with_context(|| below.display().to_string())? else {
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                let is_in = |name: &str| format!("{name} in {}", path.display());
                let name = path.strip_prefix(folder)?.as_os_str().as_bytes();
                found.extend(self.in_bytes(name).into_iter().map(is_in));
                let Some(data) = there(fs::symlink_metadata(&path))? else {
                    continue;
                };
                if data.is_dir() {
                    open.push(path);
                } else if data.is_file()
                    && let Some(file) = there(File::open(&path)).with_context(|| path.display().to_string())?
                {
                    let mut at = vec![false; self.0.len()];
                    self.search_file(&file, 0..data.len(), &mut at)?;
                    found.extend(self.named(&at).into_iter().map(is_in));
                }
            }
        }
        Ok(found)
    }

    /// Those that are in the memory of the process `pid`, whatever part of it can be read.
    ///
    /// # Errors
    /// When the kernel does not show it.
    pub fn in_memory(&self, pid: u32) -> Result<Vec<&str>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let (mut found, mut regions) = (vec![false; self.0.len()], 0);
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            let Some((start, end)) = range.split_once('-').filter(|_| rights.starts_with('r')) else {
                continue;
            };
            let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
            // Some regions are the kernel's own, and others are gone by now.
            regions += usize::from(self.search_file(&memory, start..end, &mut found).is_ok());
        }
        ensure!(regions > 0, "nothing of the memory of {pid} can be read");
        Ok(self.named(&found))
    }

    fn named(&self, found: &[bool]) -> Vec<&str> {
        let pairs = self.names().zip(found);
        pairs.filter_map(|(name, found)| found.then_some(name)).collect()
    }

    /// Each piece overlaps with the next, so that nothing is missed between them.
    fn search_file(&self, file: &File, range: std::ops::Range<u64>, found: &mut [bool]) -> Result<()> {
        let longest = self.0.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(0);
        let mut buffer = vec![0; PIECE + longest];
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let piece = left.min(buffer.len());
            let read = file.read_at(&mut buffer[..piece], at)?;
            if read == 0 {
                break;
            }
            self.search(&buffer[..read], found);
            at += if read == buffer.len() { PIECE } else { read } as u64;
        }
        Ok(())
    }

    fn search(&self, bytes: &[u8], found: &mut [bool]) {
        let mut by_first = vec![Vec::new(); 256];
        for (at, (_, needle)) in self.0.iter().enumerate() {
            by_first[usize::from(needle[0])].push(at);
        }
        for (from, first) in bytes.iter().enumerate() {
            for at in &by_first[usize::from(*first)] {
                found[*at] |= bytes[from..].starts_with(&self.0[*at].1);
            }
        }
    }
}

/// Nothing for what is gone.
fn there<T>(outcome: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match outcome {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_in_names_across_pieces_and_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("deep/secret name");
        fs::create_dir_all(&below).expect("it is made");
        let mut needles = Needles::default();
        needles
            .add("a name", *b"secret name")
            .add("bytes", *b"over the edge")
            .add("none", *b"not there");
        let mut data = vec![0; 3 * PIECE];
        data[PIECE - 4..][..13].copy_from_slice(b"over the edge");
        fs::write(below.join("file"), &data).expect("it is written");
        let found = needles.in_files(folder.path()).expect("it can be read").join("\n");
        assert!(found.contains("a name in") && found.contains("bytes in"), "{found}");
        assert!(!found.contains("none in"), "{found}");
        // All three are in this very process.
        let mut in_memory = needles.in_memory(std::process::id()).expect("it is ours");
        in_memory.sort_unstable();
        assert_eq!(in_memory, ["a name", "bytes", "none"]);
    }
}
