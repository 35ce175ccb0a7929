//! From a running engine to a release that is here: asks, shows how far it is, gives up in time and says why.

use std::str::FromStr;
use std::time::{Duration, Instant};

use samara_protocol::id::{ArtifactId, NodeId};

use super::Args;
use crate::admin::Client;
use crate::admin::api::{Progress, Refusal, RefusalKind, ReleaseState, Request, Response};
use crate::admin::server::{Call, Caller, Reply};
use crate::cli::{CliError, Context, ExitStatus, Printer};
use crate::daemon::{Engine, TURNED_AWAY, entry_culprit};
use tokio_util::sync::CancellationToken;

/// How long a fetch without --wait looks for somebody who can help.
const WITHOUT_WAIT: Duration = Duration::from_secs(15);
/// How long the release may make no progress at all after that.
const STANDSTILL: Duration = Duration::from_secs(60);
/// How long after a refusal the same is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes.
    Forever,
    /// So long.
    For(Duration),
}

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        let parsed = units
            .iter()
            .find_map(|(unit, seconds)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()?.saturating_mul(*seconds)));
        parsed
            .map(|seconds| Self::For(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("`{text}` is no time; write for example 90s, 10m or 2h"))
    }
}

/// The node that runs on this machine, by its socket.
pub(super) fn node_beside(context: &Context) -> Vec<(NodeId, Vec<String>)> {
    let Ok(mut client) = Client::connect(context.socket()) else {
        return Vec::new();
    };
    match client.ask(&Request::Status, &[], Duration::from_secs(2)) {
        Ok(Response::Status(status)) => vec![(status.node.peer, status.node.listening)],
        _ => Vec::new(),
    }
}

/// Waits until the release is here.
pub(super) async fn release(
    args: &Args,
    engine: &Engine,
    present: Vec<ArtifactId>,
    context: &Context,
    printer: &mut Printer,
) -> Result<ReleaseState, CliError> {
    let mut board = crate::cli::progress::Board::new(printer);
    let mut patience = Clock::new(args.wait);
    loop {
        let (reply, mut answers, mut end) = Reply::pair();
        let platforms = super::machine::wanted(&args.platform);
        let platforms = (!platforms.is_empty()).then(|| platforms.iter().map(ToString::to_string).collect());
        let request = Request::Want {
            release: args.target.release(),
            platforms,
            entry: args.entry.clone(),
        };
        engine.want_without(&present);
        let call = Call {
            caller: Caller::this_process(),
            request,
            files: Vec::new(),
            closed: CancellationToken::new(),
            connection: 0,
            reply,
        };
        if engine.calls().send(call).await.is_err() {
            return Err(CliError::failure("fetch", "the engine stopped"));
        }
        let answer = loop {
            tokio::select! {
                biased;
                () = context.interrupt().wait() => return Err(crate::cli::interrupt::interrupted()),
                answer = &mut end => break answer,
                progress = answers.recv() => if let Some(Response::Progress(progress)) = progress {
                    board.show(printer, &args.target.product, &progress);
                    patience.saw(&progress, args)?;
                },
                () = tokio::time::sleep(Duration::from_millis(500)) => patience.check(args)?,
            }
        };
        match answer {
            Ok(Response::Release(state)) => return Ok(state),
            Ok(Response::Refused(refusal)) if args.wait.is_some() && may_come(&refusal, args) => {
                let Some(pause) = patience.pause() else {
                    return Err(in_vain(refusal, patience.began.elapsed()));
                };
                board.wait(printer, &args.target.product, &format!("{refusal}; waiting"));
                tokio::time::sleep(pause).await;
            }
            Ok(Response::Refused(refusal)) => return Err(CliError::from(refusal)),
            Ok(_) | Err(_) => return Err(CliError::failure("fetch", "the engine stopped")),
        }
    }
}

/// Whether waiting may help.
fn may_come(refusal: &Refusal, args: &Args) -> bool {
    let is_entry = |entry: &String| refusal.culprit == entry_culprit(entry);
    match refusal.reason {
        RefusalKind::Absent => !args.entry.as_ref().is_some_and(is_entry),
        RefusalKind::Unreachable | RefusalKind::Stale | RefusalKind::DiskFull => true,
        _ => false,
    }
}

/// What there was to wait for is why it ended, and not that somebody waited.
fn in_vain(refusal: Refusal, waited: Duration) -> CliError {
    let what = format!(
        "{}, and {} s of waiting changed nothing",
        refusal.what,
        waited.as_secs()
    );
    Refusal { what, ..refusal }.into()
}

/// When to give up.
struct Clock {
    began: Instant,
    until: Option<Instant>,
    phase: String,
    have: u64,
    moved: Instant,
}

impl Clock {
    fn new(wait: Option<Patience>) -> Self {
        let now = Instant::now();
        let until = match wait {
            None => Some(now + WITHOUT_WAIT),
            Some(Patience::For(time)) => Some(now + time),
            Some(Patience::Forever) => None,
        };
        Self {
            began: now,
            until,
            phase: "reaching a node that has it".to_owned(),
            have: 0,
            moved: now,
        }
    }

    fn saw(&mut self, progress: &Progress, args: &Args) -> Result<(), CliError> {
        let turned_away = self.phase == TURNED_AWAY || progress.phase == TURNED_AWAY;
        if progress.have_bytes != self.have || progress.phase != self.phase && !turned_away {
            (self.have, self.moved) = (progress.have_bytes, Instant::now());
        }
        self.phase.clone_from(&progress.phase);
        self.check(args)
    }

    /// How long to wait before what was refused is asked for again; nothing when the time that was given is over.
    fn pause(&self) -> Option<Duration> {
        let Some(until) = self.until else {
            return Some(ASK_AGAIN);
        };
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(ASK_AGAIN))
    }

    /// # Errors
    /// When patience has run out: what was being waited for, and what to do.
    fn check(&self, args: &Args) -> Result<(), CliError> {
        let now = Instant::now();
        let Some(until) = self.until else { return Ok(()) };
        if now < until || (self.have > 0 || self.moved > until - WITHOUT_WAIT) && now < self.moved + STANDSTILL {
            return Ok(());
        }
        let what = format!("gave up while {}", self.phase);
        if self.phase == TURNED_AWAY {
            let error = CliError::new(ExitStatus::Denied, &args.target.product, what);
            return Err(error.way_out("ask the site whether this machine is still enrolled, and for a new enrolment if it is not; what was fetched is kept"));
        }
        let error = CliError::new(ExitStatus::Unreachable, &args.target.product, what);
        Err(error.way_out("is the site's node running and reachable? `samara doctor` on it says more; --wait waits longer; what was fetched is kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: RefusalKind, what: &str) -> Refusal {
        Refusal::new(reason, "acme/app", what).way_out("acme/app:stable is 1.0.0")
    }

    #[test]
    fn what_was_waited_for_in_vain_ends_with_its_own_cause_and_code() {
        for (reason, status) in [
            (RefusalKind::Absent, ExitStatus::Absent),
            (RefusalKind::Stale, ExitStatus::Stale),
            (RefusalKind::DiskFull, ExitStatus::DiskFull),
        ] {
            let error = in_vain(refusal(reason, "nobody offers 9.9.9"), Duration::from_secs(20));
            assert_eq!((error.status(), error.culprit()), (status, "acme/app"));
            assert_eq!(error.what(), "nobody offers 9.9.9, and 20 s of waiting changed nothing");
            assert_eq!(error.hint(), Some("acme/app:stable is 1.0.0"));
        }
    }

    #[test]
    fn what_is_refused_is_asked_for_again_until_the_time_is_over() {
        let left = |wait| Clock::new(Some(wait)).pause();
        assert_eq!(left(Patience::For(Duration::ZERO)), None);
        assert_eq!(left(Patience::For(Duration::from_secs(60))), Some(ASK_AGAIN));
        assert_eq!(left(Patience::Forever), Some(ASK_AGAIN));
        let short = left(Patience::For(Duration::from_millis(900)));
        assert!(short.is_none_or(|pause| pause < ASK_AGAIN), "{short:?}");
    }
}
