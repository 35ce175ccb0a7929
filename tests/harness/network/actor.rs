//! Someone with a home folder who runs verbs: a vendor, a site's keeper, a node, a host.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use super::VERB;
use crate::places::Places;
use crate::{Finished, binary};

/// One home, and where its programs run.
#[derive(Debug, Clone)]
pub struct Actor {
    name: String,
    home: PathBuf,
    place: Option<(Arc<dyn Places>, String)>,
    node: Option<PathBuf>,
}

impl Actor {
    /// Makes the home `base/name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(base: &Path, name: &str, place: Option<(Arc<dyn Places>, String)>) -> Result<Self> {
        let home = base.join(name);
        std::fs::create_dir_all(&home)?;
        Ok(Self {
            name: name.to_owned(),
            home,
            place,
            node: None,
        })
    }

    /// What it is called in the test.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same host, told which of its site's nodes runs beside it.
    #[must_use]
    pub fn beside(mut self, node: PathBuf) -> Self {
        self.node = Some(node);
        self
    }

    /// The socket of the node beside it, if it was told.
    #[must_use]
    pub fn node(&self) -> Option<&Path> {
        self.node.as_deref()
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The address of its place; loopback without one.
    #[must_use]
    pub fn ip(&self) -> String {
        match &self.place {
            Some((places, name)) => places.address(name),
            None => "127.0.0.1".to_owned(),
        }
    }

    /// `samara --home HOME`, in its place, with nothing of the tester's own environment.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match &self.place {
            Some((places, name)) => places.command(name, binary::samara()),
            None => Command::new(binary::samara()),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SAMARA_") {
                command.env_remove(name);
            }
        }
        command.arg("--home").arg(&self.home);
        command
    }

    /// Runs a verb that must succeed.
    ///
    /// # Errors
    /// What it said.
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Finished> {
        self.attempt(arguments)?.success()
    }

    /// Runs a verb that may fail.
    ///
    /// # Errors
    /// When it hangs or cannot be started.
    pub fn attempt(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Finished> {
        Finished::of(self.command().args(arguments), VERB)
    }
}
