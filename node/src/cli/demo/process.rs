//! This very binary, run as anyone would run it: public verbs, its own process each, and nothing of the caller's
//! environment that is meant for Samara.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus as Exit, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{CliError, ExitStatus, Interrupt, Printer};

/// How often a running verb is looked at.
const TICK: Duration = Duration::from_millis(5);
/// How long a node may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Lines of a failed command's stderr that are shown.
const TAIL_LINES: usize = 8;

/// Runs command lines in the demo's folder.
#[derive(Debug)]
pub(super) struct Runner {
    binary: PathBuf,
    dir: PathBuf,
    group: i32,
    explain: bool,
    interrupt: Interrupt,
}

/// A process of the demo; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    line: String,
    output: PathBuf,
    log: PathBuf,
}

impl Runner {
    /// Runs in `dir`, with every child in the process group `group`.
    pub(super) fn new(dir: &Path, group: i32, explain: bool, interrupt: &Interrupt) -> Result<Self, CliError> {
        let binary = std::env::current_exe().map_err(|error| CliError::failure("the path of this program", error))?;
        Ok(Self {
            binary,
            dir: dir.to_owned(),
            group,
            explain,
            interrupt: interrupt.clone(),
        })
    }

    /// Runs a verb to its end and returns what it printed.
    pub(super) fn run(&self, arguments: &[&str], printer: &mut Printer) -> Result<String, CliError> {
        let mut process = self.start("verb", arguments, printer)?;
        self.finish(&mut process)
    }

    /// Waits for the end of a verb that was started and returns what it printed.
    pub(super) fn finish(&self, process: &mut Process) -> Result<String, CliError> {
        loop {
            if let Some(exit) = process.exit()? {
                return if exit.success() {
                    process.output()
                } else {
                    Err(process.failed(exit))
                };
            }
            self.interrupt.check()?;
            std::thread::sleep(TICK);
        }
    }

    /// Starts a command line; what it says goes to files named after `name`.
    pub(super) fn start(&self, name: &str, arguments: &[&str], printer: &mut Printer) -> Result<Process, CliError> {
        let line = shown(arguments);
        if self.explain {
            printer.note(format_args!("$ {line}"));
        }
        let (output, log) = (self.path(&format!("{name}.out")), self.path(&format!("{name}.log")));
        let create = |path: &Path| File::create(path).map_err(|error| CliError::io(path, &error));
        let append = |path: &Path| {
            let opened = File::options().create(true).append(true).open(path);
            opened.map_err(|error| CliError::io(path, &error))
        };
        let ours = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("SAMARA_"));
        let child = Command::new(&self.binary)
            .args(arguments)
            .env_clear()
            .envs(ours)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(create(&output)?)
            .stderr(if name == "verb" { create(&log)? } else { append(&log)? })
            .process_group(self.group)
            .spawn()
            .map_err(|error| CliError::failure(&line, format!("could not be started: {error}")))?;
        Ok(Process {
            child,
            line,
            output,
            log,
        })
    }

    /// Shows a file that a person would write, when lines are explained.
    pub(super) fn explain_file(&self, name: &str, text: &str, printer: &mut Printer) {
        if self.explain {
            printer.note(format_args!("$ cat > {name} <<EOF\n{text}EOF"));
        }
    }

    /// Shows what was done to a process, when lines are explained.
    pub(super) fn explain_line(&self, line: &str, printer: &mut Printer) {
        if self.explain {
            printer.note(format_args!("$ {line}"));
        }
    }

    /// A file in the demo's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// For loops of the demo's own.
    pub(super) const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}

impl Process {
    /// Its id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    pub(super) fn exit(&mut self) -> Result<Option<Exit>, CliError> {
        self.child
            .try_wait()
            .map_err(|error| CliError::failure(&self.line, error))
    }

    /// What it printed on stdout.
    pub(super) fn output(&self) -> Result<String, CliError> {
        std::fs::read_to_string(&self.output).map_err(|error| CliError::io(&self.output, &error))
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; `kill -9` for one that does not leave.
    pub(super) fn stop(&mut self) {
        let asked = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = asked.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let end = Instant::now() + GOODBYE;
        while asked && Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        self.kill();
    }

    /// That it failed: the command line, its exit and the end of what it said.
    pub(super) fn failed(&self, exit: Exit) -> CliError {
        let status = exit.code().and_then(|code| usize::try_from(code).ok());
        let status = status.and_then(|code| ExitStatus::ALL.get(code).copied());
        let status = status.filter(|status| *status != ExitStatus::Success);
        CliError::new(
            status.unwrap_or(ExitStatus::Failure),
            format_args!("`{}`", self.line),
            format_args!("ended with {exit}{}", self.tail()),
        )
    }

    /// That it takes too long.
    pub(super) fn stuck(&self, what: &str) -> CliError {
        CliError::failure(format_args!("`{}`", self.line), format_args!("{what}{}", self.tail()))
    }

    fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        lines[from..]
            .iter()
            .fold(String::new(), |all, line| format!("{all}\n  | {line}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// As one would type it.
fn shown(arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            (*word).to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.fold("samara".to_owned(), |line, word| line + " " + &word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_it_could_be_typed() {
        assert_eq!(
            shown(&["fetch", "a/b@1.0.0", "-o", "it's here"]),
            "samara fetch a/b@1.0.0 -o 'it'\\''s here'"
        );
    }
}
