//! Ctrl-C and SIGTERM: the first asks a command to stop and keep what can be resumed, the second ends the process.
//!
//! Usable from blocking code ([`Interrupt::check`]) and from async code ([`Interrupt::wait`]) alike.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{CliError, ExitStatus};

/// Whether this process was asked to stop. Clones share the answer.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Receiver<bool>,
    /// Keeps `asked` open where no signal thread does.
    _sender: std::sync::Arc<watch::Sender<bool>>,
}

impl Interrupt {
    /// Takes both signals over for the rest of the process's life.
    pub(super) fn install() -> Self {
        let (interrupt, sender) = Self::manual();
        let spawned = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listen(&sender));
        if let Err(error) = spawned {
            // Without it the signals keep their default: the process ends, which is what was asked for.
            tracing::warn!(%error, "signals are not handled: no thread");
        }
        interrupt
    }

    /// One that the caller triggers by sending `true`: for tests and for commands run inside another.
    #[must_use]
    pub fn manual() -> (Self, std::sync::Arc<watch::Sender<bool>>) {
        let (sender, asked) = watch::channel(false);
        let sender = std::sync::Arc::new(sender);
        (
            Self {
                asked,
                _sender: sender.clone(),
            },
            sender,
        )
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.asked.borrow()
    }

    /// For loops in blocking code.
    ///
    /// # Errors
    /// [`ExitStatus::Interrupted`] once a stop was asked for.
    pub fn check(&self) -> Result<(), CliError> {
        if self.requested() { Err(interrupted()) } else { Ok(()) }
    }

    /// Returns when a stop is asked for.
    pub async fn wait(&self) {
        let mut asked = self.asked.clone();
        // The sender lives as long as `self`, so this ends only by the value.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

/// The error of a command that was asked to stop and kept what it had.
#[must_use]
pub fn interrupted() -> CliError {
    CliError::new(
        ExitStatus::Interrupted,
        "signal",
        "stopped, what was done so far is kept",
    )
    .way_out("run the same command again to go on")
}

fn listen(sender: &watch::Sender<bool>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        return;
    };
    runtime.block_on(async {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                leave();
            }
        }
    });
}

#[expect(clippy::exit, reason = "the second signal means now")]
fn leave() -> ! {
    std::process::exit(i32::from(ExitStatus::Interrupted.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wait_returns_once_a_stop_is_asked_for() {
        let (interrupt, sender) = Interrupt::manual();
        assert_eq!(interrupt.check(), Ok(()));
        let waiting = tokio::spawn({
            let interrupt = interrupt.clone();
            async move { interrupt.wait().await }
        });
        sender.send_replace(true);
        waiting.await.expect("no panic");
        let error = interrupt.check().expect_err("asked to stop");
        assert_eq!(error.status(), ExitStatus::Interrupted);
    }
}
