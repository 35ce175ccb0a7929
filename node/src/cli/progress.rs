//! A progress bar on stderr, on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;
use crate::admin::api::Progress;

/// One release on its way. Gone when dropped.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar for what is called `name`; hidden unless stderr is a terminal.
    #[must_use]
    pub fn new(printer: &Printer, name: &str) -> Self {
        let bar = if printer.shows_progress() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        bar.set_prefix(name.to_owned());
        bar.set_style(style("{prefix} {spinner} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// How far it is.
    pub fn show(&mut self, progress: &Progress) {
        if progress.wanted_bytes > 0 && self.bar.length() != Some(progress.wanted_bytes) {
            self.bar.set_style(style(
                "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}",
            ));
            self.bar.set_length(progress.wanted_bytes);
        }
        self.bar.set_position(progress.have_bytes);
        self.bar.set_message(progress.phase.clone());
    }

    /// A remark that stays.
    pub fn note(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well-formed")
}
