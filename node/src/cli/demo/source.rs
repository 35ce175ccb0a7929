//! What the demo publishes when no PATH is given: real files of this machine, at least 200 MB of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The least that is worth watching.
const BYTES_MIN: u64 = 200_000_000;
/// More than this only makes the demo slow.
pub(super) const BYTES_MAX: u64 = 260_000_000;
/// Files smaller than this are left to the end: a release of shared libraries looks like a release.
const FOLDERS_MAX: usize = 4096;

/// Nothing on this machine adds up to enough.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// Not enough readable files in the places looked at.
    #[error("only {found} bytes of files were found under {places}; give a PATH to publish instead")]
    TooLittle {
        /// Bytes found.
        found: u64,
        /// Where was looked.
        places: String,
    },
    /// A folder of the demo's could not be filled.
    #[error("{path}: {source}")]
    Copy {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Gathers copies of this binary and of the toolchain's or the system's libraries in `into`, and names where they came from.
///
/// # Errors
/// When there is too little to gather or a copy fails.
pub(super) fn gather(into: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let places = places();
    let (mut bytes, mut used, mut taken) = (0, BTreeSet::new(), BTreeSet::new());
    for place in &places {
        for file in files(place) {
            let Ok(size) = fs::metadata(&file).map(|data| data.len()) else {
                continue;
            };
            if bytes >= BYTES_MIN || size == 0 || bytes + size > BYTES_MAX || !readable(&file) {
                continue;
            }
            let name = relative(place, &file);
            if !name.to_str().is_some_and(|name| name.is_ascii() && !name.contains(':'))
                || !taken.insert(name.to_string_lossy().to_lowercase())
            {
                continue;
            }
            copy(&file, &into.join(&name))?;
            bytes += size;
            used.insert(place.clone());
        }
    }
    if bytes < BYTES_MIN {
        let places = places
            .iter()
            .map(|place| place.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(SourceError::TooLittle { found: bytes, places });
    }
    Ok(used.into_iter().collect())
}

/// This binary, the Rust toolchain's libraries, the system's.
fn places() -> Vec<PathBuf> {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()
        .filter(|output| output.status.success());
    let sysroot = sysroot
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| PathBuf::from(text.trim()).join("lib"));
    let system = ["/usr/lib", "/usr/lib64", "/usr/bin", "/usr/share"].map(PathBuf::from);
    std::env::current_exe()
        .into_iter()
        .chain(sysroot)
        .chain(system)
        .filter(|place| place.exists())
        .collect()
}

/// Regular files under `place`, in a fixed order; symbolic links are not followed.
fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let (mut found, mut folders, mut seen) = (Vec::new(), vec![place.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        seen += 1;
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && seen < FOLDERS_MAX => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn relative(place: &Path, file: &Path) -> PathBuf {
    let inside = file
        .strip_prefix(place)
        .ok()
        .filter(|inside| !inside.as_os_str().is_empty());
    let name = inside.map_or_else(
        || PathBuf::from(file.file_name().unwrap_or(place.as_os_str())),
        Path::to_owned,
    );
    if place.is_file() {
        Path::new("bin").join(name)
    } else {
        Path::new(place.file_name().unwrap_or_default()).join(name)
    }
}

fn readable(file: &Path) -> bool {
    fs::File::open(file).is_ok()
}

fn copy(from: &Path, to: &Path) -> Result<(), SourceError> {
    let error = |path: &Path, source| SourceError::Copy {
        path: path.to_owned(),
        source,
    };
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(|source| error(folder, source))?;
    fs::copy(from, to).map_err(|source| error(from, source))?;
    Ok(())
}
