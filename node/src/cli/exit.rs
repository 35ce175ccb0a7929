//! Exit codes: part of the contract with scripts, so a number never changes its meaning (docs/json.md lists them).

use std::process::ExitCode;

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Success = 0,
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line, a configuration file or an input file is wrong; nothing was done.
    Usage = 2,
    /// What was asked for is not there, or not for this site: the network gives one answer for both.
    Absent = 3,
    /// A key, grant or permission of this machine does not allow it.
    Denied = 4,
    /// Bytes or signatures are not what they must be.
    Unverified = 5,
    /// The disk or the quota is full.
    DiskFull = 6,
    /// Stopped by a signal or a time limit; running the same command again goes on where it stopped.
    Interrupted = 7,
    /// No node, origin or peer answers.
    Unreachable = 8,
    /// The newest metadata is older than the site's policy tolerates.
    Stale = 9,
    /// It exists already and is something else, or another process holds it.
    Conflict = 10,
}

impl ExitStatus {
    /// Every status, in the order of its code.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Absent,
        Self::Denied,
        Self::Unverified,
        Self::DiskFull,
        Self::Interrupted,
        Self::Unreachable,
        Self::Stale,
        Self::Conflict,
    ];

    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Unverified => "unverified",
            Self::DiskFull => "disk_full",
            Self::Interrupted => "interrupted",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_in_order() {
        for (code, status) in ExitStatus::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.code()), code, "{}", status.name());
        }
    }
}
