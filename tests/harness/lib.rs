//! What the black-box tests and the lab are made of: the binary, processes, random trees, namespaces, containers.
//!
//! Nothing here uses `samara-node` as a library: what is tested is what a user runs. Every wait has a deadline and names
//! what it waited for; everything that is started is ended on drop.
#![expect(clippy::print_stdout, reason = "tests say what they skip and what they measured")]

pub mod binary;
pub mod docker;
pub mod hostile;
pub mod leftovers;
pub mod metrics;
pub mod namespace;
pub mod network;
pub mod places;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod search;
pub mod seed;
pub mod skip;
pub mod tree;
pub mod usage;
pub mod wait;
pub mod wan;
pub mod web;

pub use process::{Finished, Process};
pub use skip::{runnable, skip};
