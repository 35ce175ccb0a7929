//! A peer that can cause an event as often as it likes fills no log: a few lines a minute of each kind and peer, and how
//! many were left out. Metrics count all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use samara_protocol::id::NodeId;

use super::fact::Fact;

/// Lines of one kind and peer in a window.
const LINES_MAX: u32 = 10;
/// How long that counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds and peers that are remembered; beyond, all counts start anew.
const KEYS_MAX: usize = 1024;

/// What has been said of whom lately.
#[derive(Debug, Default)]
pub(super) struct Flood {
    windows: Mutex<BTreeMap<(&'static str, NodeId), Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
}

impl Flood {
    /// Whether a line may be written; the first of a new window says how many were not.
    pub(super) fn admits(&self, fact: &mut Fact) -> bool {
        self.admits_at(fact, Instant::now())
    }

    fn admits_at(&self, fact: &mut Fact, now: Instant) -> bool {
        let Some(peer) = fact.caused_by else { return true };
        // A panic elsewhere leaves counts that are as good as any.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= KEYS_MAX {
            windows.clear();
        }
        let window = windows
            .entry((fact.name, peer))
            .or_insert(Window { began: now, lines: 0 });
        if now.duration_since(window.began) >= WINDOW {
            let left_out = window.lines.saturating_sub(LINES_MAX);
            if left_out > 0 {
                fact.fields.insert("left_out".to_owned(), left_out.into());
            }
            *window = Window { began: now, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        window.lines <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::LogLevel;

    fn fact(peer: u8) -> Fact {
        Fact::new(LogLevel::Warn, "groups_rejected", "").by(NodeId([peer; 32]))
    }

    #[test]
    fn a_peer_gets_ten_lines_a_minute_and_others_are_not_silenced() {
        let (flood, start) = (Flood::default(), Instant::now());
        let written = (0..1000).filter(|_| flood.admits_at(&mut fact(1), start)).count();
        assert_eq!(written, 10);
        assert!(flood.admits_at(&mut fact(2), start));
        let mut next = fact(1);
        assert!(flood.admits_at(&mut next, start + WINDOW));
        assert_eq!(next.fields["left_out"], 990);
    }

    #[test]
    fn many_peers_cost_bounded_memory_and_what_nobody_causes_always_passes() {
        let (flood, start) = (Flood::default(), Instant::now());
        for n in 0..3 * KEYS_MAX {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            flood.admits_at(&mut Fact::new(LogLevel::Warn, "x", "").by(NodeId(id)), start);
        }
        assert!(flood.windows.lock().expect("no panic").len() <= KEYS_MAX);
        let passed = (0..100)
            .filter(|_| flood.admits_at(&mut Fact::new(LogLevel::Warn, "x", ""), start))
            .count();
        assert_eq!(passed, 100);
    }
}
