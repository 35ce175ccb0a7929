//! What a broken-off attempt had already taken from its source must not be fetched again.
//!
//! Large files found under `stage/` are hashed, moved to `salvage/` by id and used before the source is asked. Small ones
//! are cheaper to ask for again.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use samara_protocol::id::ArtifactId;
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::entry::Artifact;

use super::prepare::{copy, opened};
use crate::release::digest::root_of;
use crate::release::dir::Dir;
use crate::release::record::{NEW, Own, SALVAGE, STAGE};

/// Artifacts that were saved.
#[derive(Debug)]
pub(super) struct Saved {
    dir: Option<Dir>,
    ids: HashSet<ArtifactId>,
}

/// Saves what is under `stage/` and removes the rest of it. Only without a journal.
pub(super) fn collect(own: &Own) -> io::Result<Saved> {
    let mut ids = HashSet::new();
    if let Some(dir) = own.own.open(SALVAGE)? {
        for name in dir.names()? {
            // A power loss may have taken what a crash had not: hash again.
            match id_of(&dir, &name)? {
                Some(id) if id.to_string() == name => drop(ids.insert(id)),
                _ => dir.remove_all(&name)?,
            }
        }
    }
    if let Some(new) = own.own.open(STAGE)?.map_or(Ok(None), |stage| stage.open(NEW))? {
        let dir = own.own.make(SALVAGE, 0o755)?;
        walk(&new, &dir, &mut ids)?;
    }
    own.own.remove_all(STAGE)?;
    let dir = own.own.open(SALVAGE)?;
    Ok(Saved { dir, ids })
}

fn walk(from: &Dir, to: &Dir, ids: &mut HashSet<ArtifactId>) -> io::Result<()> {
    for name in from.names()? {
        if let Some(inner) = from.open(&name)? {
            walk(&inner, to, ids)?;
        } else if let Some(id) = id_of(from, &name)? {
            from.rename(&name, to, &id.to_string())?;
            ids.insert(id);
        }
    }
    Ok(())
}

fn id_of(dir: &Dir, name: &str) -> io::Result<Option<ArtifactId>> {
    let Some(mut file) = dir.read(name)? else {
        return Ok(None);
    };
    if file.metadata()?.len() < GROUP_BYTES {
        return Ok(None);
    }
    root_of(&mut file).map(Some)
}

impl Saved {
    /// Gives a saved artifact as a new file: the saved one itself when nothing else needs it, else a copy.
    pub(super) fn give(
        &self,
        artifact: &Artifact,
        last: bool,
        dir: &Dir,
        name: &str,
        mode: u32,
    ) -> io::Result<Option<File>> {
        let Some(saved) = self.dir.as_ref().filter(|_| self.ids.contains(&artifact.id)) else {
            return Ok(None);
        };
        let id = artifact.id.to_string();
        if last {
            saved.rename(&id, dir, name)?;
            return opened(dir, name).map(Some);
        }
        copy(opened(saved, &id)?, dir, name, artifact, mode).map(Some)
    }
}
