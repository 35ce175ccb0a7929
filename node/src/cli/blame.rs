//! From what went wrong below to what a verb says: the culprit, the way out, the exit code.

use std::io::ErrorKind;
use std::path::Path;

use samara_protocol::trust::join::JoinError;
use samara_protocol::trust::writer::WriteError;

use super::{CliError, ExitStatus};
use crate::access::AccessError;
use crate::access::site::EnrolError;
use crate::access::vendor::VendorError;
use crate::admin::AdminError;
use crate::daemon::StartError;
use crate::store::StoreError;

impl From<AccessError> for CliError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Io { path, source } => Self::io(&path, &source),
            AccessError::Exposed { path, reason } => Self::new(ExitStatus::Denied, path.display(), reason)
                .way_out("run `chmod 600` on it, and take a new key if others may have read it"),
            AccessError::Damaged { path, reason } => Self::worded(ExitStatus::Unverified, path.display(), reason),
            AccessError::Absent { path, way_out } => {
                Self::new(ExitStatus::Absent, path.display(), "not there").way_out(way_out)
            }
            AccessError::Exists { path, way_out } => {
                Self::new(ExitStatus::Conflict, path.display(), "exists already").way_out(way_out)
            }
            AccessError::NoProduct { name, way_out } => {
                Self::new(ExitStatus::Absent, name, "no such product is known here").way_out(way_out)
            }
            AccessError::Trust { name, source } => Self::worded(ExitStatus::Unverified, name, source),
            AccessError::Join(error) => join(&error, "the join file"),
        }
    }
}

impl From<VendorError> for CliError {
    fn from(error: VendorError) -> Self {
        match error {
            VendorError::Access(error) => error.into(),
            VendorError::Write(error) => error.into(),
            VendorError::Statement(error) => Self::failure("the statement", error),
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> Self {
        let (status, culprit) = match &error {
            WriteError::Sign(error) => (ExitStatus::Denied, format!("key {}", error.key)),
            WriteError::Published { version } | WriteError::Recalled { version } => {
                (ExitStatus::Conflict, version.to_string())
            }
            WriteError::NoRelease { version } => (ExitStatus::Absent, version.to_string()),
            WriteError::Canonical(_) => (ExitStatus::Usage, "the text".to_owned()),
            WriteError::Refused(_) => (ExitStatus::Unverified, "the signed metadata".to_owned()),
            WriteError::NoChange(_) | WriteError::Incomplete => (ExitStatus::Failure, "the product".to_owned()),
        };
        Self::worded(status, culprit, error)
    }
}

impl From<EnrolError> for CliError {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Access(error) => error.into(),
            EnrolError::NoRight { .. } | EnrolError::HostsOnly | EnrolError::Revoked { .. } => {
                Self::worded(ExitStatus::Denied, "enrolment", error)
            }
            EnrolError::NoGrant { .. } | EnrolError::NoMember { .. } => Self::worded(ExitStatus::Absent, "site", error),
            EnrolError::Statement(error) => Self::failure("the statement", error),
        }
    }
}

/// What a verb says of a join file that is refused.
pub(super) fn join(error: &JoinError, file: impl std::fmt::Display) -> CliError {
    let status = match error {
        JoinError::Shape(_) | JoinError::Unusable(_) => ExitStatus::Usage,
        JoinError::OtherKey { .. } => ExitStatus::Denied,
        _ => ExitStatus::Unverified,
    };
    CliError::worded(status, file, error)
}

/// What a verb says when its engine does not start.
pub(super) fn start(error: StartError, culprit: impl std::fmt::Display) -> CliError {
    match error {
        StartError::Access(error) => error.into(),
        // Nothing was done yet, and the path is as it was given.
        StartError::Store(StoreError::Io { path, source, .. })
            if matches!(source.kind(), ErrorKind::IsADirectory | ErrorKind::NotADirectory) =>
        {
            CliError::io(&path, &source)
        }
        StartError::Store(error) => store(&error, culprit),
        StartError::Net(error) => CliError::failure(culprit, error),
    }
}

/// What a verb says when a store refuses.
pub(super) fn store(error: &StoreError, culprit: impl std::fmt::Display) -> CliError {
    let status = match error {
        StoreError::Io { path, source, .. } => return CliError::own_file(path, source),
        StoreError::Owned { .. } => ExitStatus::Conflict,
        error if error.is_full() => ExitStatus::DiskFull,
        StoreError::Damaged(_) | StoreError::Unexpected { .. } => ExitStatus::Unverified,
        _ => ExitStatus::Failure,
    };
    CliError::worded(status, culprit, error)
}

/// What a verb says when the running node does not take something.
pub(super) fn admin(error: &AdminError, socket: &Path) -> CliError {
    CliError::failure(socket.display(), error)
}
