//! The scheduler.
pub mod event;
pub mod io;
