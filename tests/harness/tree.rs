//! Folders of files made from a seed, and the comparison of two of them.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::seed::Seed;

/// Makes files below one folder.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    seed: Seed,
}

impl Tree {
    /// Starts an empty folder at `root`, which is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: impl Into<PathBuf>, seed: u64) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        Ok(Self {
            root,
            seed: Seed::new(seed),
        })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of `size` random bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&mut self, path: &str, size: u64) -> Result<&mut Self> {
        let whole = self.place(path)?;
        random_file(&whole, size, self.seed.next())?;
        Ok(self)
    }

    /// A file with these bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<&mut Self> {
        let whole = self.place(path)?;
        fs::write(&whole, bytes).with_context(|| format!("writing {}", whole.display()))?;
        Ok(self)
    }

    /// A file of `size` bytes that may be run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn executable(&mut self, path: &str, size: u64) -> Result<&mut Self> {
        self.file(path, size)?;
        fs::set_permissions(self.root.join(path), Permissions::from_mode(0o755))?;
        Ok(self)
    }

    /// An empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&mut self, path: &str) -> Result<&mut Self> {
        fs::create_dir_all(self.root.join(path)).with_context(|| format!("making {path}"))?;
        Ok(self)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link(&mut self, path: &str, target: &str) -> Result<&mut Self> {
        let whole = self.place(path)?;
        symlink(target, &whole).with_context(|| format!("linking {}", whole.display()))?;
        Ok(self)
    }

    /// A file of `size` bytes that is a hole but for the random bytes at `islands`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sparse(&mut self, path: &str, size: u64, islands: &[(u64, usize)]) -> Result<&mut Self> {
        let whole = self.place(path)?;
        let file = File::create(&whole).with_context(|| format!("making {}", whole.display()))?;
        file.set_len(size)?;
        for (offset, length) in islands {
            let mut bytes = vec![0; *length];
            self.seed.fill(&mut bytes);
            file.write_all_at(&bytes, *offset)?;
        }
        Ok(self)
    }

    /// `count` files of `least..=most` bytes in 200 folders: the release of many small files.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn small_files(&mut self, count: u32, least: u64, most: u64) -> Result<&mut Self> {
        for index in 0..count {
            let size = least + self.seed.below(most - least + 1);
            self.file(&format!("d{:03}/f{index:05}.js", index % 200), size)?;
        }
        Ok(self)
    }

    /// One of each kind, with awkward names: what a release may hold.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn assortment(&mut self) -> Result<&mut Self> {
        for (name, size) in [
            ("empty", 0),
            ("one", 1),
            ("group-1", 65_535),
            ("group", 65_536),
            ("group+1", 65_537),
        ] {
            self.file(&format!("sizes/{name}"), size)?;
        }
        self.file("large.bin", 3 << 20)?;
        self.executable("bin/run", 9_000)?;
        self.folder("empty folder/inner")?;
        self.file("names/\u{65e5}\u{672c}\u{8a9e} \u{e9}\u{fc}.txt", 400)?;
        self.file("names/ leading and trailing.x", 10)?;
        self.file("names/a'b c$d.txt", 11)?;
        self.file("names/-rf", 12)?;
        self.link("links/to-large", "../large.bin")?;
        self.link("links/to-folder", "../sizes")?;
        self.sparse("holes.img", 4 << 20, &[(1 << 20, 5_000), ((4 << 20) - 7, 7)])
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let whole = self.root.join(path);
        let folder = whole.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(whole)
    }
}

/// Writes `size` random bytes from `seed` to `path` without holding them in memory.
///
/// # Errors
/// When it cannot be written.
pub fn random_file(path: &Path, size: u64, seed: u64) -> Result<()> {
    let mut seed = Seed::new(seed);
    let mut file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut buffer = vec![0; 256 << 10];
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        seed.fill(&mut buffer[..part]);
        file.write_all(&buffer[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// What lies at one path: enough to say that two trees are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A folder.
    Folder {
        /// Permission bits.
        mode: u32,
    },
    /// A link and where it leads.
    Link(PathBuf),
    /// A file: its bytes' number and hash, and whether it may be run.
    File {
        /// Bytes.
        size: u64,
        /// BLAKE3 of its bytes, as `b3sum` prints it.
        hash: String,
        /// Permission bits.
        mode: u32,
    },
}

impl Item {
    /// As a release has it: whatever the publisher's umask was, 0755 for folders and what may be run, else 0644.
    fn released(&self) -> Self {
        let mut item = self.clone();
        match &mut item {
            Self::Folder { mode } => *mode = 0o755,
            Self::File { mode, .. } => *mode = if *mode & 0o111 != 0 { 0o755 } else { 0o644 },
            Self::Link(_) => {}
        }
        item
    }
}

/// Everything below `root`, by its path from there; what lies under `.samara` is left out.
///
/// # Errors
/// When something cannot be read.
pub fn scan(root: &Path) -> Result<BTreeMap<PathBuf, Item>> {
    let mut items = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let whole = root.join(&folder);
        for entry in fs::read_dir(&whole).with_context(|| format!("reading {}", whole.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if path == Path::new(".samara") {
                continue;
            }
            let kind = entry.file_type()?;
            let item = if kind.is_dir() {
                open.push(path.clone());
                Item::Folder {
                    mode: entry.metadata()?.permissions().mode() & 0o7777,
                }
            } else if kind.is_symlink() {
                Item::Link(fs::read_link(entry.path())?)
            } else {
                let metadata = entry.metadata()?;
                Item::File {
                    size: metadata.len(),
                    hash: b3sum(&entry.path())?,
                    mode: metadata.permissions().mode() & 0o7777,
                }
            };
            items.insert(path, item);
        }
    }
    Ok(items)
}

/// BLAKE3 of a file, as `b3sum` prints it.
///
/// # Errors
/// When it cannot be read.
pub fn b3sum(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Fails with the first differences unless `actual` holds what a release of `expected` does, modes included.
///
/// # Errors
/// When they differ or cannot be read.
pub fn same(expected: &Path, actual: &Path) -> Result<()> {
    let (left, right) = (scan(expected)?, scan(actual)?);
    let mut differences: Vec<String> = Vec::new();
    for (path, item) in &left {
        match right.get(path) {
            None => differences.push(format!("missing: {}", path.display())),
            Some(other) if *other != item.released() => {
                differences.push(format!("{}: {item:?} became {other:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    let extra = right.keys().filter(|path| !left.contains_key(*path));
    differences.extend(extra.map(|path| format!("not asked for: {}", path.display())));
    differences.truncate(10);
    anyhow::ensure!(
        differences.is_empty(),
        "{} and {} differ:\n  {}",
        expected.display(),
        actual.display(),
        differences.join("\n  ")
    );
    Ok(())
}

/// Bytes that a file takes on disk, holes not counted.
///
/// # Errors
/// When it is not there.
pub fn disk_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.blocks() * 512)
}

/// Bytes of all files below `root`.
///
/// # Errors
/// When something cannot be read.
pub fn total_bytes(root: &Path) -> Result<u64> {
    let items = scan(root)?;
    let sizes = items
        .values()
        .map(|item| if let Item::File { size, .. } = item { *size } else { 0 });
    Ok(sizes.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives everything the mode that a release gives it, whatever this process's umask is.
    fn released(root: &Path) {
        for (path, item) in scan(root).expect("is ours") {
            if let Item::Folder { mode } | Item::File { mode, .. } = item.released() {
                fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("is ours");
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_tree_and_a_changed_byte_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for root in [&a, &b] {
            Tree::new(root, 7)
                .and_then(|mut tree| tree.assortment().map(drop))
                .expect("it is written");
        }
        fs::set_permissions(b.join("bin"), Permissions::from_mode(0o700)).expect("is ours");
        let error = same(&a, &b).expect_err("a mode has changed").to_string();
        assert!(error.contains("bin: Folder"), "{error}");
        released(&b);
        same(&a, &b).expect("the same seed");
        assert!(
            disk_bytes(&a.join("holes.img")).expect("is there") < 1 << 20,
            "a hole takes no room"
        );
        fs::write(b.join("sizes/one"), [1, 2]).expect("is ours");
        let error = same(&a, &b).expect_err("a file has changed").to_string();
        assert!(error.contains("sizes/one"), "{error}");
        fs::remove_file(a.join("sizes/one")).expect("is ours");
        assert!(
            same(&a, &b)
                .expect_err("one more")
                .to_string()
                .contains("not asked for")
        );
    }
}
