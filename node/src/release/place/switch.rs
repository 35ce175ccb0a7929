//! Carries out a journal: renames what was prepared into place, removes what is no longer of the release.
//!
//! Every step can be done again after a crash: what has been renamed is no longer under `stage/`, what has been removed is
//! not there, and the old record stays until all is done.

use std::io;

use rustix::fs::FileType;

use super::{Failed, PlaceReport, walker};
use crate::release::dir::{Dir, Walker, kind};
use crate::release::record::{
    ENTRIES, JOURNAL, Journal, KEPT, MANIFEST, NEW, Own, Placed, RECORD, Record, SALVAGE, STAGE,
};

/// Finishes the switch whose journal is there; false when there is none.
pub(super) fn finish(own: &Own, sync: bool, report: &mut PlaceReport) -> Result<bool, Failed> {
    let io = |what| Failed::at(".samara", what);
    let Some(journal) = own.journal().map_err(io("read"))? else {
        return Ok(false);
    };
    let old = own.record().map_err(io("read"))?;
    let mut switch = Switch {
        own,
        old: old.as_ref(),
        journal: &journal,
        report,
    };
    let stage = own.own.open(STAGE).map_err(io("read"))?;
    if let Some(new) = stage
        .as_ref()
        .map_or(Ok(None), |stage| stage.open(NEW))
        .map_err(io("read"))?
    {
        switch.merge(&new, &own.root, "")?;
    }
    switch.remove_old()?;
    switch.set_modes()?;
    let end = || -> io::Result<()> {
        if let Some(stage) = &stage {
            for name in [MANIFEST, ENTRIES] {
                if stage.stat(name)?.is_some() {
                    stage.rename(name, &own.own, name)?;
                }
            }
        }
        own.own.replace(RECORD, &serde_json::to_vec(&journal.record)?, sync)?;
        if sync {
            own.own.sync_all()?;
        }
        own.own.unlink(JOURNAL)?;
        own.own.remove_all(STAGE)?;
        own.own.remove_all(SALVAGE)?;
        if sync { own.own.sync_all() } else { Ok(()) }
    };
    end().map_err(io("written"))?;
    Ok(true)
}

struct Switch<'a> {
    own: &'a Own,
    old: Option<&'a Record>,
    journal: &'a Journal,
    report: &'a mut PlaceReport,
}

impl Switch<'_> {
    /// Moves all that is in `from` into `to`, whole folders at a time where there is none yet.
    fn merge(&mut self, from: &Dir, to: &Dir, prefix: &str) -> Result<(), Failed> {
        for name in from.names().map_err(Failed::at(prefix, "read"))? {
            let path = format!("{prefix}{name}");
            self.merge_one(from, to, &name, &path)?;
        }
        Ok(())
    }

    fn merge_one(&mut self, from: &Dir, to: &Dir, name: &str, path: &str) -> Result<(), Failed> {
        let io = |what| Failed::at(path, what);
        let is_folder = from.is_folder(name).map_err(io("read"))?;
        let there = to.stat(name).map_err(io("read"))?.map(|stat| kind(&stat));
        match there {
            Some(FileType::Directory) if is_folder => {
                let (Some(from_inner), Some(to_inner)) =
                    (from.open(name).map_err(io("read"))?, to.open(name).map_err(io("read"))?)
                else {
                    return Err(io("written")(io::Error::other("the folder went away meanwhile")));
                };
                self.merge(&from_inner, &to_inner, &format!("{path}/"))?;
                return from.remove_empty(name).map(|_| ()).map_err(io("prepared"));
            }
            Some(FileType::Directory) => self.clear_folder(to, name, path)?,
            Some(_) => self.clear_leaf(to, name, path, is_folder)?,
            None => {}
        }
        from.rename(name, to, name).map_err(io("written"))
    }

    /// A file or link stands where something new goes. One of ours is replaced by the rename itself unless a folder
    /// comes; any other is kept.
    fn clear_leaf(&mut self, dir: &Dir, name: &str, path: &str, for_folder: bool) -> Result<(), Failed> {
        let ours = self.is_unaltered(dir, name, path)?;
        match (ours, for_folder) {
            (true, false) => Ok(()),
            (true, true) => dir.unlink(name).map_err(Failed::at(path, "removed")),
            (false, _) => self.keep(dir, name, path),
        }
    }

    /// A folder stands where a file or link goes: what is ours in it goes, what is left is kept.
    fn clear_folder(&mut self, dir: &Dir, name: &str, path: &str) -> Result<(), Failed> {
        let inside = format!("{path}/");
        let mut walker = walker(&self.own.root)?;
        let ours: Vec<&String> = self.old.iter().flat_map(|old| old.paths.keys()).collect();
        for old in ours
            .into_iter()
            .rev()
            .filter(|old| old.starts_with(&inside) || *old == path)
        {
            self.remove(&mut walker, old)?;
        }
        for folder in self
            .old
            .iter()
            .flat_map(|old| old.folders.iter().rev())
            .filter(|old| old.starts_with(&inside))
        {
            remove_folder(&mut walker, folder)?;
        }
        drop(walker);
        match dir.remove_empty(name).map_err(Failed::at(path, "removed"))? {
            true => Ok(()),
            false => {
                self.keep(dir, name, path)?;
                self.moved_with(path, &inside);
                Ok(())
            }
        }
    }

    /// What was left in a folder went with it.
    fn moved_with(&mut self, folder: &str, inside: &str) {
        let place = format!(".samara/{KEPT}/{}/{folder}/", self.journal.kept);
        for path in std::mem::take(&mut self.report.left) {
            match path.strip_prefix(inside) {
                Some(rest) => self.report.kept.push((path.clone(), format!("{place}{rest}"))),
                None => self.report.left.push(path),
            }
        }
    }

    /// Moves what is not ours out of the way.
    fn keep(&mut self, dir: &Dir, name: &str, path: &str) -> Result<(), Failed> {
        let io = |what| Failed::at(path, what);
        let kept = self
            .own
            .own
            .make(KEPT, 0o755)
            .and_then(|kept| kept.make(&self.journal.kept, 0o755));
        let mut walker = Walker::new(kept.map_err(io("kept"))?);
        let (to, to_name) = walker.make(path).map_err(io("kept"))?;
        dir.rename(name, to, to_name).map_err(io("kept"))?;
        let place = format!(".samara/{KEPT}/{}/{path}", self.journal.kept);
        self.report.kept.push((path.to_owned(), place));
        Ok(())
    }

    /// Removes what the old release had and the new one has not.
    fn remove_old(&mut self) -> Result<(), Failed> {
        let Some(old) = self.old else { return Ok(()) };
        let new = &self.journal.record;
        let mut walker = walker(&self.own.root)?;
        for path in old.paths.keys().rev().filter(|path| !new.paths.contains_key(*path)) {
            self.remove(&mut walker, path)?;
        }
        for folder in old.folders.iter().rev().filter(|folder| !new.folders.contains(*folder)) {
            remove_folder(&mut walker, folder)?;
        }
        Ok(())
    }

    fn remove(&mut self, walker: &mut Walker, path: &str) -> Result<(), Failed> {
        let io = |what| Failed::at(path, what);
        let is_folder = matches!(self.placed(path), Some(Placed::Folder { .. }));
        if is_folder {
            return remove_folder(walker, path);
        }
        let Some((dir, name)) = walker.find(path).map_err(io("read"))? else {
            return Ok(());
        };
        if dir.stat(name).map_err(io("read"))?.is_none() || self.journal.record.folders.contains(path) {
            return Ok(());
        }
        if self.is_unaltered(dir, name, path)? {
            dir.unlink(name).map_err(io("removed"))?;
            self.report.removed += 1;
        } else {
            self.report.left.push(path.to_owned());
        }
        Ok(())
    }

    fn set_modes(&self) -> Result<(), Failed> {
        let mut walker = walker(&self.own.root)?;
        for (path, placed) in &self.journal.record.paths {
            let Placed::Folder { mode } = placed else { continue };
            let set = |walker: &mut Walker| -> io::Result<()> {
                let Some((dir, name)) = walker.find(path)? else {
                    return Ok(());
                };
                let Some(stat) = dir.stat(name)? else { return Ok(()) };
                if kind(&stat) == FileType::Directory && stat.st_mode & 0o7777 != *mode {
                    dir.open(name)?.map_or(Ok(()), |folder| folder.set_mode(*mode))?;
                }
                Ok(())
            };
            set(&mut walker).map_err(Failed::at(path, "written"))?;
        }
        Ok(())
    }

    fn placed(&self, path: &str) -> Option<&Placed> {
        self.old.and_then(|old| old.paths.get(path))
    }

    fn is_unaltered(&self, dir: &Dir, name: &str, path: &str) -> Result<bool, Failed> {
        let placed = self
            .placed(path)
            .map_or(Ok(false), |placed| placed.is_unaltered(dir, name));
        placed.map_err(Failed::at(path, "read"))
    }
}

/// Removes a folder of ours if nothing is in it any more.
fn remove_folder(walker: &mut Walker, path: &str) -> Result<(), Failed> {
    let io = |what| Failed::at(path, what);
    let removed = match walker.find(path).map_err(io("read"))? {
        Some((dir, name)) => dir.remove_empty(name).map_err(io("removed"))?,
        None => false,
    };
    if removed {
        // It may be the one that stands open.
        walker.forget();
    }
    Ok(())
}
