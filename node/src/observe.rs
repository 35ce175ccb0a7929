//! One stream of typed events feeding logs and metrics.

pub mod record;
