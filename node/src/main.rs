//! The `samara` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    samara_node::heap::tune();
    samara_node::cli::main(std::env::args_os())
}
