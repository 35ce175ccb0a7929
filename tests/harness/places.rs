//! Where programs are placed: named network namespaces, whatever joins them.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::namespace::{self, Counters};

/// Named places, each a network namespace with one address on a device `eth0`: a [`Star`](crate::namespace::Star) round a
/// bridge or a [`Wan`](crate::wan::Wan) of emulated links.
pub trait Places: Debug + Send + Sync {
    /// The address of a place.
    ///
    /// # Panics
    /// When there is no such place.
    fn address(&self, name: &str) -> String;

    /// The name of a place's namespace, for `ip netns exec`.
    fn namespace(&self, name: &str) -> String;

    /// Takes away every way out of a place but the one to `to`: what it sends to anybody else has no route.
    ///
    /// # Errors
    /// When `ip` fails.
    fn only_way_out(&self, name: &str, to: &str) -> Result<()> {
        let space = self.namespace(name);
        namespace::run("ip", &["-n", &space, "route", "flush", "dev", "eth0"])?;
        let route = format!("{}/32", self.address(to));
        namespace::run("ip", &["-n", &space, "route", "add", &route, "dev", "eth0"]).map(drop)
    }

    /// Refuses every TCP packet that a place has for `to`, as a firewall would.
    ///
    /// # Errors
    /// When `ip` fails.
    fn no_tcp(&self, name: &str, to: &str) -> Result<()> {
        let (space, to) = (self.namespace(name), format!("{}/32", self.address(to)));
        let rule = ["-n", &space, "rule", "add", "to", &to, "ipproto", "tcp", "prohibit"];
        namespace::run("ip", &rule).map(drop)
    }
}

/// What is the same everywhere, and cannot be a method of a trait that is used as an object.
impl dyn Places + '_ {
    /// `program` inside a place; its process number is the program's own.
    #[must_use]
    pub fn command(&self, name: &str, program: impl AsRef<OsStr>) -> Command {
        namespace::command(&self.namespace(name), program)
    }

    /// What has gone through a place's interface so far.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn counters(&self, name: &str) -> Result<Counters> {
        namespace::counters(&self.namespace(name))
    }

    /// Runs `act` on a thread inside a place. Threads that it starts, and sockets that it opens, stay there.
    ///
    /// # Errors
    /// When the place cannot be entered.
    pub fn inside<T: Send>(&self, name: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        namespace::inside(Path::new(&format!("/run/netns/{}", self.namespace(name))), act)
    }
}
