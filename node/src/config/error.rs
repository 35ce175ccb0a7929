//! Why a configuration is refused: the file, the line, the key, and the way out.

use std::fmt;
use std::path::{Path, PathBuf};

/// What stands in the way of using a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {source}; give the path of a TOML file", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration at all: too large, or not text.
    #[error("{}: {what}", path.display())]
    NoText {
        /// Which file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A key or value is wrong.
    #[error("{}:{line}: {}{what}{}", path.display(), Key(key), WayOut(way_out))]
    Value {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Dotted, e.g. `limits.up`; empty when no key is involved.
        key: String,
        /// What is wrong.
        what: String,
        /// What to do; empty when `what` says it.
        way_out: String,
    },
}

impl ConfigError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. } | Self::NoText { path, .. } | Self::Value { path, .. } => path,
        }
    }
}

struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "`{}`: ", self.0)
        }
    }
}

struct WayOut<'a>(&'a str);

impl fmt::Display for WayOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.0)
        }
    }
}
