//! A started program: its lines as they come, its end, its cost. Killed on drop.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::usage::{self, Usage};

/// How much a program may print before the rest is dropped: enough for any test, not for a runaway.
const OUTPUT_MAX: usize = 64 << 20;

/// A running or ended program.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    started: Instant,
    shared: Arc<Shared>,
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What was run.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it printed as a result.
    pub stdout: Vec<u8>,
    /// Everything it said beside.
    pub stderr: String,
    /// What it cost.
    pub usage: Usage,
    /// From its start to its end.
    pub elapsed: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<String>,
    open: usize,
    ended: Option<(ExitStatus, Usage, Instant)>,
}

impl Process {
    /// Starts `command` with no input and both outputs captured.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = describe(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let shared = Arc::new(Shared::default());
        shared.lock().open = 2;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let pid = child.id();
        thread::spawn({
            let shared = shared.clone();
            move || shared.read_results(stdout)
        });
        thread::spawn({
            let shared = shared.clone();
            move || shared.read_lines(stderr)
        });
        thread::spawn({
            let shared = shared.clone();
            move || shared.watch(pid)
        });
        Ok(Self {
            name,
            pid,
            started,
            shared,
        })
    }

    /// The process's number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for a line on stderr that `wanted` accepts, also among those already there.
    ///
    /// # Errors
    /// When the program ends first or `limit` passes; with what it said last.
    pub fn line(&self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut seen = 0;
        self.wait(what, limit, |state| {
            let found = state.stderr[seen..].iter().find(|line| wanted(line)).cloned();
            seen = state.stderr.len();
            found
        })
    }

    /// Whether it has said something on stderr that `wanted` accepts, beyond the first `seen` lines; these are all there are then.
    pub fn has_said(&self, seen: &mut usize, wanted: impl Fn(&str) -> bool) -> bool {
        let state = self.shared.lock();
        let new = state.stderr.get(*seen..).unwrap_or_default();
        let found = new.iter().any(|line| wanted(line));
        *seen = state.stderr.len();
        found
    }

    /// Waits for text on stdout that `wanted` accepts.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub fn result<T>(&self, what: &str, limit: Duration, mut wanted: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.wait(what, limit, |state| wanted(&String::from_utf8_lossy(&state.stdout)))
    }

    /// Waits for a line with `text` on either output, also among those already there.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub fn line_or_result(&self, what: &str, limit: Duration, text: &str) -> Result<String> {
        self.wait(what, limit, |state| {
            let said = state.stderr.iter().find(|line| line.contains(text)).cloned();
            said.or_else(|| {
                let printed = String::from_utf8_lossy(&state.stdout);
                printed.lines().find(|line| line.contains(text)).map(str::to_owned)
            })
        })
    }

    /// Every line on stderr so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().stderr.clone()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.lock().ended.is_none()
    }

    /// What it and its children have cost so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        usage::of_tree(self.pid)
    }

    /// Sends a signal; nothing where it has already ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: i32) -> Result<()> {
        // Under the lock the process is not collected, so its number is still its own.
        let state = self.shared.lock();
        if state.ended.is_none() {
            usage::signal(self.pid, signal).with_context(|| format!("signalling {}", self.name))?;
        }
        Ok(())
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<Finished> {
        self.signal(libc::SIGKILL)?;
        self.finish(Duration::from_secs(10))
    }

    /// SIGTERM, and waits at most `limit` for its end.
    ///
    /// # Errors
    /// When it has not ended by then.
    pub fn terminate(&self, limit: Duration) -> Result<Finished> {
        self.signal(libc::SIGTERM)?;
        self.finish(limit)
    }

    /// Waits for its end and for all that it printed.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub fn finish(&self, limit: Duration) -> Result<Finished> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            let grace = state
                .ended
                .as_ref()
                .is_some_and(|(_, _, at)| at.elapsed() > Duration::from_secs(2));
            // A grandchild may keep the pipes open for ever; what the program itself said is there by now.
            if let Some((status, usage, at)) = state.ended.filter(|_| state.open == 0 || grace) {
                return Ok(Finished {
                    name: self.name.clone(),
                    status,
                    stdout: state.stdout.clone(),
                    stderr: state.stderr.join("\n"),
                    usage,
                    elapsed: at - self.started,
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "{} has not ended after {limit:?}; it said last:\n{}",
                    self.name,
                    tail(&state.stderr)
                );
            }
            state = self.shared.wait(state, left.min(Duration::from_millis(500)));
        }
    }

    fn wait<T>(&self, what: &str, limit: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            if let Some((status, ..)) = state.ended.filter(|_| state.open == 0) {
                bail!(
                    "{} ended ({status}) before {what}; it said last:\n{}",
                    self.name,
                    tail(&state.stderr)
                );
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "waited {limit:?} for {what} of {}; it said last:\n{}",
                    self.name,
                    tail(&state.stderr)
                );
            }
            state = self.shared.wait(state, left.min(Duration::from_millis(500)));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(libc::SIGKILL);
    }
}

impl Finished {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it cannot be started or has not ended within `limit`; then it is killed.
    pub fn of(command: &mut Command, limit: Duration) -> Result<Self> {
        Process::start(command)?.finish(limit)
    }

    /// Its exit code, if it was not ended by a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself when it ended with 0.
    ///
    /// # Errors
    /// With what it said otherwise.
    pub fn success(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "{} ended with {}:\n{}\n{}",
            self.name,
            self.status,
            self.text(),
            self.stderr
        );
        Ok(self)
    }

    /// What it printed, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it printed, as JSON objects, one a line or one over several lines.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let stream = serde_json::Deserializer::from_slice(&self.stdout).into_iter();
        let objects: Result<Vec<Value>, _> = stream.collect();
        objects.with_context(|| format!("{} printed no JSON:\n{}", self.name, self.text()))
    }

    /// The one JSON object that it printed.
    ///
    /// # Errors
    /// When it printed none or several.
    pub fn json(&self) -> Result<Value> {
        let mut objects = self.objects()?;
        ensure!(
            objects.len() == 1,
            "{} printed {} JSON objects:\n{}",
            self.name,
            objects.len(),
            self.text()
        );
        objects.pop().context("one object")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn read_results(&self, mut from: impl Read) {
        let mut buffer = [0; 16 << 10];
        while let Ok(read) = from.read(&mut buffer) {
            let mut state = self.lock();
            if read == 0 {
                break;
            }
            if state.stdout.len() < OUTPUT_MAX {
                state.stdout.extend_from_slice(&buffer[..read]);
            }
            self.changed.notify_all();
        }
        self.lock().open -= 1;
        self.changed.notify_all();
    }

    fn read_lines(&self, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        let mut bytes = 0;
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            bytes += line.len();
            if bytes < OUTPUT_MAX {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                self.lock().stderr.push(text);
                self.changed.notify_all();
            }
            line.clear();
        }
        self.lock().open -= 1;
        self.changed.notify_all();
    }

    fn watch(&self, pid: u32) {
        // No error is possible: it is our child and nobody else collects it.
        let _ = usage::wait_end(pid);
        let at = Instant::now();
        let mut state = self.lock();
        if let Ok((status, usage)) = usage::collect(pid) {
            state.ended = Some((status, usage, at));
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).expect("sh runs")
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn lines_results_and_the_exit_code_arrive() {
        let process = shell("echo ready >&2; echo '{\"a\":1}'; echo more >&2; exit 4");
        assert_eq!(
            process.line("ready", SOON, |line| line == "ready").expect("it says so"),
            "ready"
        );
        let finished = process.finish(SOON).expect("it ends");
        assert_eq!(finished.code(), Some(4));
        assert_eq!(finished.json().expect("one object")["a"], 1);
        assert_eq!(finished.stderr, "ready\nmore");
        assert!(finished.success().expect_err("it failed").to_string().contains("more"));
    }

    #[test]
    fn a_line_that_never_comes_says_what_was_said_instead() {
        let error = shell("echo other >&2")
            .line("ready", SOON, |line| line == "ready")
            .expect_err("it ends first");
        assert!(error.to_string().contains("other"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let process = shell("exec sleep 60");
        assert!(process.finish(Duration::from_millis(50)).is_err());
        assert!(process.is_running());
        assert_eq!(process.kill().expect("it ends").code(), None);
        assert!(!process.is_running());
    }
}
