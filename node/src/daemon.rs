//! The one owner of the scheduler: inputs in, outputs performed.
