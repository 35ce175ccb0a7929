//! What nodes say that they have moved, over all lives of their processes: a counter ends with its process.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fleet::Fleet;
use super::plan::Plan;

/// Payload of one node since the barrier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Verified, also what it had already.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// What it wanted of all releases, lists of entries included.
    pub(super) wanted: u64,
}

/// Everybody's.
#[derive(Debug, Default)]
pub(super) struct Books {
    before: BTreeMap<usize, Moved>,
    lives: BTreeMap<usize, Moved>,
}

impl Books {
    /// Notes what everybody who runs has moved before the barrier.
    pub(super) fn open(plan: &Plan, fleet: &Fleet) -> Self {
        let mut books = Self::default();
        for at in 0..plan.parts.len() {
            if let Some(status) = fleet.status(plan, at) {
                books.before.insert(at, counters(&status));
            }
        }
        books
    }

    /// Adds the life of a node that ends, or has come to the end of the run, by its last status.
    pub(super) fn close(&mut self, at: usize, status: Option<&Value>) {
        let Some(status) = status else { return };
        let (last, total) = (counters(status), self.lives.entry(at).or_default());
        total.received += last.received;
        total.sent += last.sent;
        total.wanted = total.wanted.max(last.wanted);
    }

    /// What a node has moved since the barrier.
    pub(super) fn moved(&self, at: usize) -> Moved {
        let (lives, before) = (self.lives.get(&at), self.before.get(&at));
        let (lives, before) = (lives.copied().unwrap_or_default(), before.copied().unwrap_or_default());
        Moved {
            received: lives.received.saturating_sub(before.received),
            sent: lives.sent.saturating_sub(before.sent),
            wanted: lives.wanted,
        }
    }
}

fn counters(status: &Value) -> Moved {
    let limits = |key: &str| status["limits"][key].as_u64().unwrap_or_default();
    let rows = status["transfers"].as_array().into_iter().flatten();
    Moved {
        received: limits("received_bytes"),
        sent: limits("sent_bytes"),
        wanted: rows.filter_map(|row| row["wanted_bytes"].as_u64()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lives_are_added_and_what_was_before_the_barrier_is_not() {
        let status = |received: u64, sent: u64| json!({"limits": {"received_bytes": received, "sent_bytes": sent}, "transfers": [{"wanted_bytes": 90}, {"wanted_bytes": 10}]});
        let mut books = Books::default();
        books.before.insert(1, counters(&status(5, 7)));
        books.close(1, Some(&status(65, 10)));
        books.close(1, Some(&status(45, 2)));
        books.close(1, None);
        let moved = Moved {
            received: 105,
            sent: 5,
            wanted: 100,
        };
        assert_eq!(books.moved(1), moved);
        assert_eq!(books.moved(2), Moved::default());
    }
}
