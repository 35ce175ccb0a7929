//! One stream of typed events feeding logs and metrics.
