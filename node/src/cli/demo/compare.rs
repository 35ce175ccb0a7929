//! The source and a host's folder, compared by this process itself: the same paths, kinds, links and executable bits,
//! and the same BLAKE3 of every file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use samara_protocol::manifest::path::OWN_FOLDER;

use crate::cli::CliError;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// A file.
    File { hash: blake3::Hash, executable: bool },
    /// A symbolic link.
    Link(PathBuf),
    /// A folder.
    Folder,
}

/// Everything under a folder, or the one file, by relative path.
pub(super) type Tree = BTreeMap<PathBuf, Leaf>;

/// Bytes of all files under `path`, not looking into them.
pub(super) fn size(path: &Path) -> Result<u64, CliError> {
    let mut bytes = 0;
    walk(path, &mut |_, path, data| {
        if data.is_file() {
            bytes += data.len();
        }
        let _ = path;
        Ok(())
    })?;
    Ok(bytes)
}

/// Reads and hashes all of `path`; Samara's own folder in it is left out.
pub(super) fn read(path: &Path) -> Result<Tree, CliError> {
    let mut tree = Tree::new();
    walk(path, &mut |relative, path, data| {
        tree.insert(relative.to_owned(), leaf(path, data)?);
        Ok(())
    })?;
    Ok(tree)
}

/// The first few differences, in words.
pub(super) fn differences(source: &Tree, host: &Tree) -> Vec<String> {
    let missing = source.keys().filter(|path| !host.contains_key(*path));
    let missing = missing.map(|path| format!("{} is missing", path.display()));
    let more = host.keys().filter(|path| !source.contains_key(*path));
    let more = more.map(|path| format!("{} is not in the source", path.display()));
    let other = source
        .iter()
        .filter(|(path, leaf)| host.get(*path).is_some_and(|there| there != *leaf));
    let other = other.map(|(path, _)| format!("{} differs", path.display()));
    missing.chain(more).chain(other).take(5).collect()
}

type Visit<'a> = dyn FnMut(&Path, &Path, &fs::Metadata) -> Result<(), CliError> + 'a;

fn walk(root: &Path, visit: &mut Visit<'_>) -> Result<(), CliError> {
    let data = fs::metadata(root).map_err(|error| CliError::io(root, &error))?;
    if !data.is_dir() {
        let name = root.file_name().unwrap_or(root.as_os_str());
        return visit(Path::new(name), root, &data);
    }
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = fs::read_dir(&path).map_err(|error| CliError::io(&path, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| CliError::io(&path, &error))?;
            let (relative, path) = (folder.join(entry.file_name()), entry.path());
            if relative == Path::new(OWN_FOLDER) {
                continue;
            }
            let data = entry.metadata().map_err(|error| CliError::io(&path, &error))?;
            visit(&relative, &path, &data)?;
            if data.is_dir() {
                folders.push(relative);
            }
        }
    }
    Ok(())
}

fn leaf(path: &Path, data: &fs::Metadata) -> Result<Leaf, CliError> {
    let failed = |error| CliError::io(path, &error);
    if data.is_dir() {
        return Ok(Leaf::Folder);
    }
    if data.is_symlink() {
        return fs::read_link(path).map(Leaf::Link).map_err(failed);
    }
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(File::open(path).map_err(failed)?)
        .map_err(failed)?;
    Ok(Leaf::File {
        hash: hasher.finalize(),
        executable: data.permissions().mode() & 0o100 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_a_lost_link_and_a_new_file_are_each_named() {
        let (a, b) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
        for dir in [&a, &b] {
            fs::create_dir(dir.path().join("sub")).expect("folder");
            fs::write(dir.path().join("sub/x"), b"same").expect("file");
            std::os::unix::fs::symlink("sub/x", dir.path().join("link")).expect("link");
        }
        let trees = || (read(a.path()).expect("a"), read(b.path()).expect("b"));
        let (source, host) = trees();
        assert_eq!((source.len(), differences(&source, &host)), (3, Vec::new()));
        fs::write(b.path().join("sub/x"), b"sane").expect("file");
        fs::write(b.path().join("new"), b"").expect("file");
        fs::remove_file(b.path().join("link")).expect("link");
        let (source, host) = trees();
        let expected = ["link is missing", "new is not in the source", "sub/x differs"];
        assert_eq!(differences(&source, &host), expected);
    }
}
