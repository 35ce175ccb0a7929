//! What is under way, on stderr: a line of progress for each thing on a terminal, and elsewhere one remark when
//! something else begins or is waited for. A command is never silent about what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use samara_protocol::units::{ByteRate, show_bytes};

use super::Printer;
use crate::admin::api::Progress;

/// How often a terminal is drawn on, at most.
const DRAWS_PER_SECOND: u8 = 8;
const STYLE: &str = "{prefix:<12.bold} [{bar:24}] {bytes:>10} of {total_bytes:<10} {wide_msg}";
const WAITING: &str = "{prefix:<12.bold} {spinner} {wide_msg}";

/// Everything under way in one command.
pub struct Board {
    lines: Option<MultiProgress>,
    rows: BTreeMap<String, Row>,
}

struct Row {
    bar: Option<ProgressBar>,
    phase: String,
}

impl Board {
    /// Draws when the printer's stderr is a terminal and not quiet.
    #[must_use]
    pub fn new(printer: &Printer) -> Self {
        let target = || ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        Self {
            lines: printer
                .shows_progress()
                .then(|| MultiProgress::with_draw_target(target())),
            rows: BTreeMap::new(),
        }
    }

    /// Says how far `name` is.
    pub fn show(&mut self, printer: &mut Printer, name: &str, progress: &Progress) {
        let lines = self.lines.as_ref();
        let row = self
            .rows
            .entry(name.to_owned())
            .or_insert_with(|| Row::new(lines, name));
        let Some(bar) = &row.bar else {
            if row.phase != progress.phase {
                printer.note(remark(name, progress));
            }
            row.phase.clone_from(&progress.phase);
            return;
        };
        if progress.wanted_bytes == 0 {
            bar.set_style(style(WAITING));
            bar.enable_steady_tick(Duration::from_millis(250));
        } else {
            bar.disable_steady_tick();
            bar.set_style(style(STYLE));
            bar.set_length(progress.wanted_bytes);
            bar.set_position(progress.have_bytes);
        }
        bar.set_message(message(progress));
        row.phase.clone_from(&progress.phase);
    }

    /// Says what `name` waits for, once however often it is said.
    pub fn wait(&mut self, printer: &mut Printer, name: &str, what: &str) {
        let progress = Progress {
            phase: what.to_owned(),
            have_bytes: 0,
            wanted_bytes: 0,
            bytes_per_second: 0,
            sources: Vec::new(),
        };
        self.show(printer, name, &progress);
    }

    /// Says something above what is drawn.
    pub fn note(&self, printer: &mut Printer, text: &str) {
        match &self.lines {
            // Fails only when stderr is gone, and then nobody reads.
            Some(lines) => lines.println(text).unwrap_or_default(),
            None => printer.note(text),
        }
    }

    /// `name` is done, well or not: its line stays as the last word on it.
    pub fn end(&mut self, printer: &mut Printer, name: &str, last_word: &str) {
        match self.rows.remove(name).and_then(|row| row.bar) {
            Some(bar) => {
                bar.disable_steady_tick();
                bar.set_style(style("{prefix:<12.bold} {wide_msg}"));
                bar.finish_with_message(last_word.to_owned());
            }
            None => printer.note(format!("{name}: {last_word}")),
        }
    }

    /// Takes everything off the terminal, as dropping it does: before the results are printed.
    pub fn clear(&mut self) {
        self.rows.clear();
        if let Some(lines) = self.lines.take() {
            // As above.
            lines.clear().unwrap_or_default();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Row {
    fn new(lines: Option<&MultiProgress>, name: &str) -> Self {
        let bar = lines.map(|lines| lines.add(ProgressBar::new(0).with_prefix(name.to_owned())));
        Self {
            bar,
            phase: String::new(),
        }
    }
}

/// The time that is left at the rate of lately.
#[must_use]
pub fn eta(have: u64, wanted: u64, rate: u64) -> Option<Duration> {
    let left = wanted.saturating_sub(have);
    (left > 0 && rate > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
}

/// A time as people say it.
#[must_use]
pub fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn message(progress: &Progress) -> String {
    let Progress {
        phase,
        have_bytes,
        wanted_bytes,
        bytes_per_second,
        ..
    } = progress;
    match eta(*have_bytes, *wanted_bytes, *bytes_per_second) {
        Some(left) => format!("{}, {} left, {phase}", ByteRate(*bytes_per_second), in_words(left)),
        None => phase.clone(),
    }
}

fn remark(name: &str, progress: &Progress) -> String {
    let Progress {
        phase,
        have_bytes,
        wanted_bytes,
        ..
    } = progress;
    match wanted_bytes {
        0 => format!("{name}: {phase}"),
        _ => format!(
            "{name}: {phase}, {} of {}",
            show_bytes(*have_bytes),
            show_bytes(*wanted_bytes)
        ),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates above are good, as a test shows")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::Format;
    use crate::cli::printer::memory::Memory;

    fn progress(phase: &str, have_bytes: u64) -> Progress {
        Progress {
            phase: phase.to_owned(),
            have_bytes,
            wanted_bytes: 4 << 20,
            bytes_per_second: 1 << 20,
            sources: Vec::new(),
        }
    }

    #[test]
    fn off_a_terminal_each_phase_is_one_remark() {
        let (mut printer, memory) = Memory::printer(Format::Human);
        let mut board = Board::new(&printer);
        board.show(&mut printer, "acme/app", &progress("fetching", 0));
        board.show(&mut printer, "acme/app", &progress("fetching", 1 << 20));
        board.show(
            &mut printer,
            "acme/app",
            &progress("waiting for a node that has it", 1 << 20),
        );
        board.end(&mut printer, "acme/app", "done");
        assert_eq!(
            memory.err(),
            "acme/app: fetching, 0 B of 4.0 MiB\n\
             acme/app: waiting for a node that has it, 1.0 MiB of 4.0 MiB\nacme/app: done\n"
        );
        assert_eq!(memory.out(), "");
    }

    #[test]
    fn the_templates_are_good_and_times_read_well() {
        let _ = (style(STYLE), style(WAITING));
        assert_eq!(
            message(&progress("fetching", 1 << 20)),
            "8.4 Mbit/s, 3 s left, fetching"
        );
        assert_eq!(eta(5, 5, 10), None);
        assert_eq!(eta(0, 5, 0), None);
        for (seconds, words) in [
            (59, "59 s"),
            (61, "1 min 01 s"),
            (3661, "1 h 01 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
