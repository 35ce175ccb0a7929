//! docs/json.md against the program: what it prints, counts and reads stands there.

use clap::{Command, CommandFactory};

use super::{Cli, ExitStatus};
use crate::config::env;
use crate::observe;

const PAGE: &str = include_str!("../../../docs/json.md");

#[test]
fn every_command_has_its_section() {
    fn leaves(command: &Command, name: &str, found: &mut Vec<String>) {
        if !command.has_subcommands() {
            found.push(name.to_owned());
        }
        for sub in command.get_subcommands() {
            leaves(sub, &format!("{name} {}", sub.get_name()), found);
        }
    }
    let mut commands = Vec::new();
    leaves(&Cli::command(), "samara", &mut commands);
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        assert!(
            PAGE.lines().any(|line| line == format!("### `{command}`")),
            "`{command}` has no section"
        );
    }
}

#[test]
fn every_exit_code_and_variable_stands_in_its_table() {
    for status in ExitStatus::ALL {
        let row = format!("| {} | `{}` |", status.code(), status.name());
        assert!(PAGE.contains(&row), "{row}");
    }
    for variable in env::Variable::ALL {
        assert!(
            PAGE.contains(&format!("| `{}` |", variable.name())),
            "{}",
            variable.name()
        );
        assert!(!variable.purpose().is_empty());
    }
    for (name, _) in env::IGNORED {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_event_stands_there_with_its_fields_and_every_metric_by_its_name() {
    for fact in observe::tests::every_fact() {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", fact.name)));
        let row = row.unwrap_or_else(|| panic!("`{}` has no row", fact.name));
        for field in fact.fields.keys() {
            assert!(
                row.contains(&format!("`{field}`")),
                "{}: `{field}` is missing",
                fact.name
            );
        }
    }
    for name in observe::tests::every_metric() {
        assert!(PAGE.contains(&format!("`{name}`")), "`{name}` is missing");
    }
}

#[test]
fn every_field_of_status_stands_in_its_section() {
    let start = PAGE.find("### `samara status`").expect("a section");
    let section = &PAGE[start..start + PAGE[start..].find("### `samara doctor`").expect("the next")];
    let mut names = Vec::new();
    keys(&super::status::sample(), &mut names);
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(section.contains(&format!("`{name}`")), "`{name}` is missing");
    }
}

fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                found.push(name.clone());
                keys(value, found);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}
