//! `--keep DIR`: the hosts' folders in `DIR/hosts`, left there when all went well and taken away when not.

use std::path::{Path, PathBuf};

use crate::cli::{CliError, ExitStatus};

/// `DIR/hosts`; removed when dropped before [`Keep::leave`].
#[derive(Debug)]
pub(super) struct Keep {
    hosts: PathBuf,
    /// The topmost folder that was made for it.
    made: Option<PathBuf>,
}

impl Keep {
    /// Makes `hosts` in `dir`, which must hold nothing.
    pub(super) fn in_dir(dir: &Path) -> Result<Self, CliError> {
        let hosts = std::path::absolute(dir)
            .map_err(|error| CliError::io(dir, &error))?
            .join("hosts");
        let failed = |error| CliError::io(&hosts, &error);
        let made = hosts
            .ancestors()
            .take_while(|path| !path.exists())
            .last()
            .map(Path::to_owned);
        std::fs::create_dir_all(&hosts).map_err(failed)?;
        if std::fs::read_dir(&hosts).map_err(failed)?.next().is_some() {
            let error = CliError::new(ExitStatus::Conflict, hosts.display(), "is not empty");
            return Err(error.way_out("name another folder with --keep, or empty this one"));
        }
        Ok(Self { hosts, made })
    }

    /// Its path, absolute.
    pub(super) fn hosts(&self) -> &Path {
        &self.hosts
    }

    /// Lets it stay, and says where it is.
    pub(super) fn leave(mut self) -> PathBuf {
        self.made = None;
        std::mem::take(&mut self.hosts)
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if self.hosts.as_os_str().is_empty() {
            return;
        }
        // It was empty at the start, so all in it is the demo's; above it, only what is empty. What cannot be removed is
        // seen by whoever looks there.
        let _ = std::fs::remove_dir_all(&self.hosts);
        if let Some(made) = &self.made {
            let above = self.hosts.ancestors().skip(1).take_while(|path| path.starts_with(made));
            for path in above {
                let _ = std::fs::remove_dir(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_unless_it_is_left() {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = dir.path().join("a/b");
        drop(Keep::in_dir(&keep).expect("empty"));
        assert!(!dir.path().join("a").exists());
        let hosts = Keep::in_dir(&keep).expect("empty").leave();
        assert!(hosts.is_dir());
        std::fs::write(hosts.join("mine"), b"").expect("a file");
        let refused = Keep::in_dir(&keep).expect_err("not empty");
        assert_eq!(refused.status(), ExitStatus::Conflict);
        assert!(hosts.join("mine").exists());
    }
}
