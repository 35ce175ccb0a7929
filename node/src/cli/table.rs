//! What holds for every flag of every command, applied to clap's table once it is built.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

use super::ExitStatus;

/// Gives every `--some-flag` its `SAMARA_SOME_FLAG`, so that no command can forget it. Switches read
/// `1`/`0`, `true`/`false`, `yes`/`no`, `on`/`off`.
#[must_use]
pub fn with_environment(command: Command) -> Command {
    command.mut_args(with_variable).mut_subcommands(with_environment)
}

fn with_variable(arg: Arg) -> Arg {
    let Some(name) = arg.get_long().filter(|_| takes_variable(&arg)).map(variable_of) else {
        return arg;
    };
    // clap wants names that live as long as the program; there are as many as flags.
    let arg = arg.env(&*Box::leak(name.into_boxed_str())).hide_env_values(true);
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg.value_parser(BoolishValueParser::new());
    }
    arg
}

fn takes_variable(arg: &Arg) -> bool {
    !matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// The variable of a flag: `origin-copies-max` is `SAMARA_ORIGIN_COPIES_MAX`.
#[must_use]
pub fn variable_of(long: &str) -> String {
    format!("SAMARA_{}", long.to_uppercase().replace('-', "_"))
}

/// Prints what clap has to say (help, the version, or what is wrong) where it belongs.
pub fn show_usage(error: &clap::Error) -> ExitStatus {
    // Nobody is left to tell when the stream is closed.
    let _ = error.print();
    if error.use_stderr() {
        ExitStatus::Usage
    } else {
        ExitStatus::Success
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::super::Cli;
    use super::*;

    #[test]
    fn clap_accepts_the_table() {
        with_environment(Cli::command()).debug_assert();
    }

    #[test]
    fn every_flag_of_every_command_has_its_variable() {
        fn check(command: &Command, seen: &mut usize) {
            for arg in command.get_arguments().filter(|arg| takes_variable(arg)) {
                if let Some(long) = arg.get_long() {
                    let variable = arg.get_env().and_then(|name| name.to_str());
                    assert_eq!(variable, Some(variable_of(long).as_str()), "{}", command.get_name());
                    *seen += 1;
                }
            }
            command.get_subcommands().for_each(|sub| check(sub, seen));
        }
        let mut seen = 0;
        check(&with_environment(Cli::command()), &mut seen);
        assert!(seen >= 5, "the global flags at least, not {seen}");
    }

    #[test]
    fn every_command_and_flag_says_what_it_is() {
        fn check(command: &Command) {
            assert!(command.get_about().is_some(), "`{}` has no help", command.get_name());
            for arg in command.get_arguments().filter(|arg| takes_variable(arg)) {
                assert!(
                    arg.get_help().is_some(),
                    "`{}` {} has no help",
                    command.get_name(),
                    arg.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error_that_names_it() {
        let error = with_environment(Cli::command())
            .try_get_matches_from(["samara", "completions", "bash", "--hoem", "/x"])
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .expect_err("no such flag");
        assert!(error.to_string().contains("--hoem"), "{error}");
        assert_eq!(error.exit_code(), i32::from(ExitStatus::Usage.code()));
    }
}
