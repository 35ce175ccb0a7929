//! A small virtual world that runs the very scheduler of `samara-protocol`, thousands of sites at a time.
//!
//! Virtual time, fluid links, disks that lose what was not durable, nodes that crash and nodes that lie. The same seed
//! gives the same run, event for event (`trace_hash`). Nothing here decides anything about a transfer: all of that is in
//! `samara_protocol::swarm`, driven through its `step`.

pub mod bound;
pub mod chaos;
pub mod link;
mod meeting;
pub mod node;
pub mod oracle;
pub mod pace;
pub mod picture;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod timeline;
pub mod topology;
pub mod world;

use pace::Progress;

pub use report::Report;
pub use scenario::Scenario;

/// Runs a scenario to its end.
///
/// # Errors
/// When the scenario makes no sense, or an oracle objects to what happened.
pub fn run(scenario: &Scenario) -> Result<Report, RunError> {
    let mut world = world::World::new(scenario)?;
    world.run();
    oracle::judge(&world)?;
    Ok(report::report(&world))
}

/// Runs a scenario to its end; a broken invariant, which panics, is an error like others.
///
/// # Errors
/// As [`run`], and when the scheduler's own check of its state fails.
pub fn attempt(scenario: &Scenario) -> Result<Report, RunError> {
    std::panic::catch_unwind(|| run(scenario)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(RunError::Invariant(text.unwrap_or("a panic without a word").to_owned()))
    })
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario makes no sense.
    #[error(transparent)]
    Scenario(#[from] scenario::ScenarioError),
    /// The pictures cannot be written.
    #[error("cannot write pictures into `{0}`: {1}")]
    Picture(std::path::PathBuf, std::io::Error),
    /// The ledger cannot be written.
    #[error("cannot write `{0}`: {1}")]
    Ledger(std::path::PathBuf, std::io::Error),
    /// The scheduler's state contradicts itself.
    #[error("invariant: {0}")]
    Invariant(String),
    /// What happened must not happen.
    #[error(transparent)]
    Oracle(#[from] oracle::Objection),
}

impl RunError {
    /// What went wrong in a word, for tables.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Scenario(_) => "no scenario",
            Self::Picture(..) => "no pictures",
            Self::Ledger(..) => "no ledger",
            Self::Invariant(_) => "broken invariant",
            Self::Oracle(oracle::Objection::Safety(_)) => "unsafe",
            Self::Oracle(oracle::Objection::Budget(_)) => "over budget",
            Self::Oracle(oracle::Objection::Liveness { progress, .. }) => match progress {
                Progress::Moving { .. } => "too slow",
                Progress::Still { .. } => "stands still",
            },
            Self::Oracle(oracle::Objection::Fairness(_)) => "unfair",
        }
    }
}
