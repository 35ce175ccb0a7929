//! Where the demo works: one folder under the temporary directory (or another with room), removed in the end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use samara_protocol::units::show_bytes;

use crate::cli::{CliError, ExitStatus};

/// For keys, logs and metadata, beside the copies of the release.
const BESIDES: u64 = 64 << 20;

/// The folder; gone when dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes the folder where `bytes` fit.
    pub(super) fn with_room_for(bytes: u64) -> Result<Self, CliError> {
        let need = bytes.saturating_add(bytes / 20).saturating_add(BESIDES);
        let mut places = vec![std::env::temp_dir(), PathBuf::from("/var/tmp")];
        places.extend(std::env::current_dir());
        let Some(place) = places.iter().find(|place| free(place).is_some_and(|free| free >= need)) else {
            let culprit = places[0].display();
            let what = format!("too little space: the demo needs {}", show_bytes(need));
            return Err(CliError::new(ExitStatus::DiskFull, culprit, what)
                .way_out("set TMPDIR to a folder with more, publish something smaller, or ask for fewer sites"));
        };
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.subsec_nanos());
        let dir = place.join(format!("samara-demo-{}-{nanos}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(|error| CliError::io(&dir, &error))?;
        Ok(Self { dir })
    }

    /// Its path, absolute.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "the demo's folder could not be removed; remove it by hand");
        }
    }
}

/// What may still be written at `path`, or at the nearest folder above it that is there.
pub(super) fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
