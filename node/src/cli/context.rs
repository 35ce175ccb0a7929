//! What every command is given: where this machine's data lives, the node's socket, the clock, and the signals.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use samara_protocol::time::WallTime;

use crate::config::env::Variable;

use super::{CliError, Interrupt};

/// Where root keeps it.
const SYSTEM_HOME: &str = "/var/lib/samara";
/// The socket's name inside the home.
const SOCKET_NAME: &str = "node.sock";

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GlobalArgs {
    /// Print JSON objects instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results, warnings and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for debugging.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Where this machine's identity, keys and metadata live [default: /var/lib/samara for root, else
    /// $XDG_DATA_HOME/samara or ~/.local/share/samara].
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The running node's Unix socket [default: node.sock in the home].
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Handed to every command.
#[derive(Debug)]
pub struct Context {
    home: PathBuf,
    socket: PathBuf,
    verbosity: u8,
    interrupt: std::sync::OnceLock<Interrupt>,
}

impl Context {
    /// Resolves the global flags; creates nothing.
    ///
    /// # Errors
    /// When no home can be found: not root, no flag and no `HOME`.
    pub fn new(global: &GlobalArgs) -> Result<Self, CliError> {
        let home = match &global.home {
            Some(home) => home.clone(),
            None => default_home(
                |variable| variable.read().map(PathBuf::from),
                rustix::process::geteuid().is_root(),
            )?,
        };
        let socket = global.socket.clone().unwrap_or_else(|| home.join(SOCKET_NAME));
        Ok(Self {
            home,
            socket,
            verbosity: if global.quiet { 0 } else { global.verbose },
            interrupt: std::sync::OnceLock::new(),
        })
    }

    /// One with its home at `home` and all else as without flags: for tests.
    #[must_use]
    pub fn at(home: PathBuf) -> Self {
        Self {
            socket: home.join(SOCKET_NAME),
            home,
            verbosity: 0,
            interrupt: std::sync::OnceLock::new(),
        }
    }

    /// Where this machine's identity, keys and metadata live. May not exist yet.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where a running node listens for verbs. May not exist.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How often `-v` was given.
    #[must_use]
    pub const fn verbosity(&self) -> u8 {
        self.verbosity
    }

    /// The wall clock now. The only place where a verb reads it; pass the value down.
    #[must_use]
    pub fn now(&self) -> WallTime {
        let now = SystemTime::now();
        let seconds = match now.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
        };
        WallTime(seconds)
    }

    /// Takes SIGINT and SIGTERM over from the first call on: a command that calls this must look at it.
    #[must_use]
    pub fn interrupt(&self) -> &Interrupt {
        self.interrupt.get_or_init(Interrupt::install)
    }
}

fn default_home(read: impl Fn(Variable) -> Option<PathBuf>, root: bool) -> Result<PathBuf, CliError> {
    if root {
        return Ok(PathBuf::from(SYSTEM_HOME));
    }
    // The XDG rules: a relative value is as good as none.
    let absolute = |variable| read(variable).filter(|path| path.is_absolute());
    absolute(Variable::XdgDataHome)
        .or_else(|| absolute(Variable::Home).map(|home| home.join(".local/share")))
        .map(|data| data.join("samara"))
        .ok_or_else(|| {
            CliError::usage(Variable::Home.name(), "is not set").way_out("give --home DIR or set SAMARA_HOME")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(pairs: &'static [(Variable, &str)], root: bool) -> Result<PathBuf, CliError> {
        default_home(
            |variable| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == variable)
                    .map(|(_, value)| PathBuf::from(value))
            },
            root,
        )
    }

    #[test]
    fn home_follows_xdg_for_users_and_var_lib_for_root() {
        assert_eq!(
            home(&[(Variable::Home, "/h/a")], true),
            Ok(PathBuf::from("/var/lib/samara"))
        );
        assert_eq!(
            home(&[(Variable::Home, "/h/a")], false),
            Ok(PathBuf::from("/h/a/.local/share/samara"))
        );
        assert_eq!(
            home(&[(Variable::Home, "/h/a"), (Variable::XdgDataHome, "/d")], false),
            Ok(PathBuf::from("/d/samara"))
        );
        assert_eq!(
            home(&[(Variable::Home, "/h/a"), (Variable::XdgDataHome, "d")], false),
            Ok(PathBuf::from("/h/a/.local/share/samara"))
        );
    }

    #[test]
    fn no_home_at_all_names_the_flag() {
        let error = home(&[], false).expect_err("nothing to go by");
        assert!(error.to_string().contains("--home"), "{error}");
    }
}
