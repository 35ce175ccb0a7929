//! The `samara` program.

fn main() {}
