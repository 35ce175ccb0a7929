//! Every fact of the scheduler that a person, a metric or an auditor may want.

/// A fact, in the past tense.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {}
