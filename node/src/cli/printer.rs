//! Where words go: results to stdout, as text or as JSON; everything else to stderr.
//!
//! With `--json` stdout carries JSON objects and nothing else, one a line, each with `"schema": 1`; an error is an
//! object too (and a line on stderr). Colour and progress appear only on a terminal. Non-goal: logs (`observe`).

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use crate::config::env::Variable;

use super::context::GlobalArgs;
use super::{CliError, ExitStatus};

/// The version of every JSON object that is printed.
pub const SCHEMA: u32 = 1;

/// Text or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// Writes a command's results and notes.
pub struct Printer {
    format: Format,
    quiet: bool,
    verbosity: u8,
    terminal: bool,
    colour: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    status: &'static str,
    code: u8,
    culprit: &'a str,
    what: &'a str,
    way_out: Option<&'a str>,
}

impl Printer {
    /// The process's own stdout and stderr.
    #[must_use]
    pub fn new(global: &GlobalArgs) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            format: if global.json { Format::Json } else { Format::Human },
            quiet: global.quiet,
            verbosity: global.verbose,
            terminal,
            colour: terminal && Variable::NoColor.read().is_none(),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
        }
    }

    /// Writes elsewhere, as if not on a terminal: for tests.
    #[must_use]
    pub fn with_writers(format: Format, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            format,
            quiet: false,
            verbosity: 0,
            terminal: false,
            colour: false,
            out,
            err,
        }
    }

    /// Text or JSON.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether a progress display may be drawn on stderr.
    #[must_use]
    pub const fn shows_progress(&self) -> bool {
        self.terminal && !self.quiet
    }

    /// Prints a result: its `Display` for people, its fields for programs. `T` serialises as a struct or map.
    ///
    /// # Errors
    /// When stdout cannot be written to (full disk, closed pipe).
    pub fn print<T: Serialize + fmt::Display>(&mut self, value: &T) -> Result<(), CliError> {
        match self.format {
            Format::Human => self.text(&value.to_string()),
            Format::Json => self.json(value),
        }
    }

    /// Prints a JSON object whatever the format; for results that have no text.
    ///
    /// # Errors
    /// When stdout cannot be written to, or `value` is not an object.
    pub fn json<T: Serialize>(&mut self, value: &T) -> Result<(), CliError> {
        let envelope = Envelope { schema: SCHEMA, value };
        let text = serde_json::to_string(&envelope).map_err(|error| CliError::failure("JSON", error))?;
        self.text(&text)
    }

    /// Prints text on stdout, with a newline unless it ends in one.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        write!(self.out, "{text}{end}")
            .and_then(|()| self.out.flush())
            .map_err(|error| stdout_failed(&error))
    }

    /// Stdout itself, for results that are bytes (`-o -`).
    pub fn bytes(&mut self) -> &mut (dyn Write + Send) {
        &mut *self.out
    }

    /// A remark on stderr, unless `--quiet`: what was done, what is waited for, what to run next.
    pub fn note(&mut self, text: impl fmt::Display) {
        if !self.quiet {
            self.say("", "", &text);
        }
    }

    /// A remark for `-v`.
    pub fn detail(&mut self, text: impl fmt::Display) {
        if self.verbosity > 0 && !self.quiet {
            self.say("", "", &text);
        }
    }

    /// Something that the reader should know about, on stderr even with `--quiet`.
    pub fn warn(&mut self, text: impl fmt::Display) {
        self.say("warning: ", "\x1b[33m", &text);
    }

    /// Why the command failed.
    pub fn error(&mut self, error: &CliError) {
        self.say("error: ", "\x1b[31m", error);
        if self.format == Format::Json {
            let object = ErrorObject {
                error: ErrorBody {
                    status: error.status().name(),
                    code: error.status().code(),
                    culprit: error.culprit(),
                    what: error.what(),
                    way_out: error.hint(),
                },
            };
            // The exit code and stderr have said it already; a closed stdout must not hide them.
            let _ = self.json(&object);
        }
    }

    fn say(&mut self, label: &str, colour: &str, text: &dyn fmt::Display) {
        // Nobody is left to tell when stderr is closed.
        let _ = if self.colour && !label.is_empty() {
            writeln!(self.err, "{colour}{label}\x1b[0m{text}")
        } else {
            writeln!(self.err, "{label}{text}")
        };
    }
}

fn stdout_failed(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CliError::new(ExitStatus::Failure, "stdout", "closed by its reader");
    }
    CliError::io(Path::new("stdout"), error)
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
