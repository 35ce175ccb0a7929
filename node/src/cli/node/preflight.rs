//! Everything that `node run` would refuse before it opens a socket or its store: it asks this first, and `config check`
//! and `doctor` ask the same, so that what one passes the other does not refuse.

use std::io::ErrorKind;
use std::path::Path;

use rustix::net::SocketAddrUnix;
use samara_protocol::time::WallTime;
use samara_protocol::trust::join::{JoinFile, Joined};

use super::membership;
use crate::access::{AccessError, Machine};
use crate::cli::{CliError, blame};
use crate::config::Settings;

/// What was found to be in order.
#[derive(Debug)]
pub(in crate::cli) struct Cleared {
    /// The join files that the configuration names, verified and not yet taken in.
    pub(in crate::cli) joins: Vec<JoinFile>,
    /// What keeps no node from starting, each with its way out behind the last semicolon.
    pub(in crate::cli) warnings: Vec<String>,
}

/// Looks at all of it, and makes nothing. A home that this user cannot read is warned of.
///
/// # Errors
/// With the first thing that keeps a node with these settings from starting.
pub(in crate::cli) fn look(settings: &Settings, now: WallTime) -> Result<Cleared, CliError> {
    is_folder("node.home", &settings.node.home)?;
    is_folder("store.dir", &settings.store.dir)?;
    is_socket(&settings.node.socket)?;
    let machine = Machine::at(&settings.node.home);
    if let Some(error) = hidden(&machine) {
        let warnings = vec![format!(
            "what this machine has joined was not looked at: {error}; run this as the node's user"
        )];
        let joins = Vec::new();
        return Ok(Cleared { joins, warnings });
    }
    let (joins, offered) = offered(&machine, settings, now)?;
    let warnings = membership::check(&machine, settings, offered, now)?;
    Ok(Cleared { joins, warnings })
}

/// Why this user sees nothing of the home, where that is so.
fn hidden(machine: &Machine) -> Option<AccessError> {
    let failed = machine.products().err().or_else(|| machine.existing_identity().err());
    failed
        .filter(|error| matches!(error, AccessError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied))
}

/// The join files that the configuration names, and what they bring.
fn offered(machine: &Machine, settings: &Settings, now: WallTime) -> Result<(Vec<JoinFile>, Vec<Joined>), CliError> {
    let (mut files, mut joined) = (Vec::new(), Vec::new());
    for path in settings.products.iter().filter_map(|product| product.join.as_ref()) {
        let file = crate::cli::join::read(path)?;
        joined.extend(verified(machine, &file, path, now)?);
        files.push(file);
    }
    Ok((files, joined))
}

fn verified(machine: &Machine, file: &JoinFile, path: &Path, now: WallTime) -> Result<Vec<Joined>, CliError> {
    machine.verify(file, now).map_err(|error| match error {
        AccessError::Join(error) => blame::join(&error, path.display()),
        other => other.into(),
    })
}

/// Whether a folder is or can be made at `path`: nothing on the way there is something else.
fn is_folder(key: &str, path: &Path) -> Result<(), CliError> {
    let there = path.ancestors().find(|part| part.exists());
    match there.filter(|part| !part.is_dir()) {
        None => Ok(()),
        Some(part) => {
            let what = format!("`{}` needs a folder, and {} is none", path.display(), part.display());
            Err(CliError::usage(key, what).way_out("name another place, or move away what lies there"))
        }
    }
}

/// The system's bound on a socket's path is far below that of other paths.
fn is_socket(path: &Path) -> Result<(), CliError> {
    match SocketAddrUnix::new(path) {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = format!("no socket can be at `{}`: {error}", path.display());
            Err(CliError::usage("node.socket", what)
                .way_out("write `socket` under [node] with a path of at most 107 bytes"))
        }
    }
}
