//! What a verb says when it cannot: who or what is to blame, what is wrong, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

use crate::admin::{AdminError, Refusal, RefusalKind};
use crate::observe::logging::LoggingError;
use crate::observe::metrics::endpoint::EndpointError;

use super::ExitStatus;

/// Shown as `error: <culprit>: <what>; <way out>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    status: ExitStatus,
    culprit: String,
    what: String,
    way_out: Option<String>,
}

impl CliError {
    /// `culprit` is a path, flag, product, key or peer: what the reader must look at. `what` has no trailing period.
    pub fn new(status: ExitStatus, culprit: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self {
            status,
            culprit: culprit.to_string(),
            what: what.to_string(),
            way_out: None,
        }
    }

    /// The same from an error of a layer below, whose text has its way out, if any, behind the last semicolon.
    pub fn worded(status: ExitStatus, culprit: impl fmt::Display, error: impl fmt::Display) -> Self {
        let text = error.to_string();
        match text.rsplit_once("; ") {
            Some((what, way_out)) => Self::new(status, culprit, what).way_out(way_out),
            None => Self::new(status, culprit, text),
        }
    }

    /// A failure without a code of its own.
    pub fn failure(culprit: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::new(ExitStatus::Failure, culprit, what)
    }

    /// The command line or an input is wrong.
    pub fn usage(culprit: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::new(ExitStatus::Usage, culprit, what)
    }

    /// A file operation failed: the exit code and the way out follow from its kind.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound => ExitStatus::Absent,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ExitStatus::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ExitStatus::DiskFull,
            io::ErrorKind::AlreadyExists => ExitStatus::Conflict,
            io::ErrorKind::Interrupted => ExitStatus::Interrupted,
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => ExitStatus::Usage,
            _ => ExitStatus::Failure,
        };
        let way_out = match status {
            ExitStatus::Absent => Some("check the path"),
            ExitStatus::Usage => Some("check the path: a file is needed where a folder is, or the other way round"),
            ExitStatus::Denied if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("name a place that can be written to")
            }
            ExitStatus::Denied => Some("run as the user who owns it, or change its permissions"),
            ExitStatus::DiskFull => Some("free some space and run the same command again"),
            _ => None,
        };
        let made = Self::new(status, path.display(), error);
        match way_out {
            Some(text) => made.way_out(text),
            None => made,
        }
    }

    /// An operation on a file of the program's own failed, which nobody named: its absence or kind is no answer to what was
    /// asked, so that only what the reader can mend has a code of its own.
    #[must_use]
    pub fn own_file(path: &Path, error: &io::Error) -> Self {
        let made = Self::io(path, error);
        match made.status {
            ExitStatus::Denied | ExitStatus::DiskFull | ExitStatus::Interrupted => made,
            _ => Self::failure(path.display(), error),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn way_out(mut self, text: impl fmt::Display) -> Self {
        self.way_out = Some(text.to_string());
        self
    }

    /// The exit status that it leads to.
    #[must_use]
    pub const fn status(&self) -> ExitStatus {
        self.status
    }

    /// What the reader must look at.
    #[must_use]
    pub fn culprit(&self) -> &str {
        &self.culprit
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.way_out.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.culprit, self.what)?;
        match &self.way_out {
            Some(text) => write!(f, "; {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> Self {
        let (path, status) = match &error {
            AdminError::Refused(refusal) => return refusal.clone().into(),
            AdminError::NotRunning { path } | AdminError::TimedOut { path, .. } => (path, ExitStatus::Unreachable),
            AdminError::InUse { path } => (path, ExitStatus::Conflict),
            AdminError::Stopped { path } => (path, ExitStatus::Interrupted),
            AdminError::Io { path, source } => return Self::io(path, source),
            AdminError::InTheWay { path } | AdminError::Broken { path, .. } => (path, ExitStatus::Failure),
        };
        // Each message starts with the path, and has its way out behind the first semicolon.
        let (culprit, text) = (path.display().to_string(), error.to_string());
        let text = text
            .strip_prefix(&culprit)
            .map_or(text.as_str(), |rest| rest.trim_start_matches(": "));
        match text.split_once("; ") {
            Some((what, way_out)) => Self::new(status, culprit, what).way_out(way_out),
            None => Self::new(status, culprit, text),
        }
    }
}

impl From<EndpointError> for CliError {
    fn from(error: EndpointError) -> Self {
        match &error {
            EndpointError::NotLoopback(_) => Self::usage("metrics.listen", error),
            EndpointError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => Self::new(ExitStatus::Conflict, "metrics.listen", error)
                    .way_out("stop what listens there, or choose another port"),
                _ => Self::failure("metrics.listen", error),
            },
        }
    }
}

impl From<LoggingError> for CliError {
    fn from(error: LoggingError) -> Self {
        Self::usage("environment", error)
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.reason {
            RefusalKind::Failure => ExitStatus::Failure,
            RefusalKind::Usage => ExitStatus::Usage,
            RefusalKind::Absent => ExitStatus::Absent,
            RefusalKind::Denied => ExitStatus::Denied,
            RefusalKind::Unverified => ExitStatus::Unverified,
            RefusalKind::DiskFull => ExitStatus::DiskFull,
            RefusalKind::Interrupted => ExitStatus::Interrupted,
            RefusalKind::Unreachable => ExitStatus::Unreachable,
            RefusalKind::Stale => ExitStatus::Stale,
            RefusalKind::Conflict => ExitStatus::Conflict,
        };
        Self {
            status,
            culprit: refusal.culprit,
            what: refusal.what,
            way_out: refusal.way_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_code_and_a_way_out() {
        let error = CliError::io(Path::new("/srv/x"), &io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.status(), ExitStatus::DiskFull);
        assert!(error.to_string().starts_with("/srv/x: "), "{error}");
        assert!(error.to_string().ends_with("run the same command again"), "{error}");
    }

    #[test]
    fn no_node_running_names_the_socket_and_the_way_out() {
        let error = AdminError::NotRunning {
            path: "/run/node.sock".into(),
        };
        let error = CliError::from(error);
        assert_eq!(
            (error.status(), error.culprit()),
            (ExitStatus::Unreachable, "/run/node.sock")
        );
        assert_eq!(error.what(), "no node is running here");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("samara node run")),
            "{error}"
        );
    }

    #[test]
    fn a_folder_in_place_of_a_file_and_a_read_only_place_have_a_way_out() {
        let folder = std::fs::read("/").expect_err("is a folder");
        for (error, status) in [
            (folder, ExitStatus::Usage),
            (io::ErrorKind::ReadOnlyFilesystem.into(), ExitStatus::Denied),
        ] {
            let error = CliError::io(Path::new("/srv/x"), &error);
            assert_eq!(error.status(), status, "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn a_file_of_our_own_that_is_gone_is_no_answer_to_what_was_asked() {
        use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied, StorageFull};
        for (kind, status) in [
            (NotFound, ExitStatus::Failure),
            (IsADirectory, ExitStatus::Failure),
            (PermissionDenied, ExitStatus::Denied),
            (StorageFull, ExitStatus::DiskFull),
        ] {
            let error = CliError::own_file(Path::new("/srv/x"), &kind.into());
            assert_eq!(error.status(), status, "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_absent() {
        let error = std::fs::read("/nonexistent/samara").expect_err("is not there");
        let error = CliError::io(Path::new("/nonexistent/samara"), &error);
        assert_eq!(error.status(), ExitStatus::Absent);
    }
}
