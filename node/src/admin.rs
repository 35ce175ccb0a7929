//! The Unix socket between a running node and the verbs.
