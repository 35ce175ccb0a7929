//! The store as its callers see it. `real` and what `room` says of imports run on the system's files, the others on a disk in
//! memory that fails at every operation in turn.

#![expect(clippy::cast_possible_truncation, reason = "test files are small")]

mod crash;
mod faults;
mod fixture;
mod meanwhile;
mod real;
mod room;
