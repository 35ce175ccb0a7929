//! What must hold, on real processes.
#![expect(clippy::print_stdout, reason = "a test says what it measured")]

mod access;
mod bad_input;
mod compose;
mod damage;
mod demo;
mod disks;
mod goodbye;
mod hostile_names;
mod hostile_peers;
mod keys;
mod limits;
mod links;
mod many_sites;
mod observing;
mod platforms;
mod publish_fetch;
mod refused_fetches;
mod resume;
mod small_files;
mod two_products;
