//! One stream of typed events, three views of it: log lines, metrics and `watch` (AI-10).
//!
//! Whoever knows a fact says it once, [`Observer::emit`]; nobody else counts or words it. Saying never waits and never
//! fails. Free log lines of libraries and of code that is no event (`tracing::debug!`) go to the same log.
//!
//! Levels: error means that somebody must act, warn that something is wrong and was dealt with, info is what an operator
//! wants to know next morning, debug and trace are for developers.
//!
//! Spans nest node > peer > transfer > request ([`span`]), so that a line of the inner ones names the outer ones.
//! Not here: the audit log and receipts, which must not lose anything and therefore wait.

use std::sync::Arc;

use samara_protocol::limits::EVENT_FEED_MAX;
use tokio::sync::broadcast;

use crate::admin::{Record, Reply, Response};

mod describe;
mod event;
mod fact;
mod flood;
mod lines;
pub mod logging;
pub mod metrics;
pub mod span;

#[cfg(test)]
pub(crate) mod tests;

pub use event::Event;
pub use metrics::Metrics;

/// Takes events. Clones share one log, one set of metrics and one feed.
#[derive(Debug, Clone)]
pub struct Observer {
    metrics: Arc<Metrics>,
    flood: Arc<flood::Flood>,
    feed: broadcast::Sender<Record>,
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer {
    /// One with all counters at zero. The log is the process's own ([`logging::init`]).
    #[must_use]
    pub fn new() -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            flood: Arc::new(flood::Flood::default()),
            feed: broadcast::Sender::new(EVENT_FEED_MAX),
        }
    }

    /// Says that something happened: counts it, logs it and feeds it to watchers.
    #[expect(clippy::needless_pass_by_value, reason = "what is said is not kept by who says it")]
    pub fn emit(&self, event: Event) {
        self.metrics.count(&event);
        let Some(mut fact) = describe::describe(&event) else {
            return;
        };
        let watched = self.feed.receiver_count() > 0;
        if !watched && !fact.is_logged() {
            return;
        }
        if !self.flood.admits(&mut fact) {
            return;
        }
        fact.log();
        if watched {
            // Fails only when the last watcher has just gone.
            let _ = self.feed.send(fact.into_record());
        }
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Events from now on, all but those that are only counted.
    #[must_use]
    pub fn feed(&self) -> broadcast::Receiver<Record> {
        self.feed.subscribe()
    }

    /// Sends events to a verb until it goes away, from a task of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn subscribe(&self, reply: Reply) {
        let mut feed = self.feed();
        tokio::spawn(async move {
            loop {
                let record = tokio::select! {
                    () = reply.closed() => return,
                    received = feed.recv() => match received {
                        Ok(record) => record,
                        Err(broadcast::error::RecvError::Lagged(missed)) => fact::missed(missed).into_record(),
                        Err(broadcast::error::RecvError::Closed) => return reply.finish(Response::Done),
                    },
                };
                if !reply.send(Response::Event(record)).await {
                    return;
                }
            }
        });
    }
}
