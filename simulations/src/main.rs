//! `samara-simulations`: runs scenarios and prints what they come to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod large_pages;

/// Runs the scheduler of Samara in a virtual world.
#[derive(Debug, Parser)]
#[command(name = "samara-simulations", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario to its end: a built-in one, or a file with your own sites and releases.
    Run(commands::run::Args),
    /// Name the built-in scenarios.
    List,
    /// Print the figures of docs/scheduler.md.
    Table(commands::table::Args),
    /// Print what each rule of the scheduler earns.
    Ablate(commands::ablate::Args),
    /// Run random fault schedules, one for each seed.
    Campaign(commands::campaign::Args),
    /// Make a random schedule that fails as small as it gets.
    Shrink(commands::shrink::Args),
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]
fn main() -> ExitCode {
    large_pages::ask_for();
    let printed = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::List => Ok(commands::list::list()),
        Command::Table(args) => commands::table::table(&args),
        Command::Ablate(args) => commands::ablate::ablate(&args),
        Command::Campaign(args) => commands::campaign::campaign(&args),
        Command::Shrink(args) => commands::shrink::shrink(&args),
    };
    match printed {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("samara-simulations: {error}");
            ExitCode::FAILURE
        }
    }
}
