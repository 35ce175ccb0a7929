//! What the honest nodes' logs say of whom.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What is held against a peer in a log: the names of events that only misconduct or a fault causes.
const BLAMES: [&str; 8] = [
    "file_late",
    "group_rejected",
    "groups_rejected",
    "have_was_false",
    "metadata_refused",
    "peer_quarantined",
    "peer_stalled",
    "protocol_broken",
];

/// What all honest nodes together say of one peer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many of them keep it out.
    pub(crate) quarantined_by: u64,
    /// The events that name it, and the reasons of quarantines.
    pub(crate) events: BTreeSet<String>,
}

/// The verdicts on every peer that any of the logs names.
pub(crate) fn of(logs: &[Vec<String>]) -> BTreeMap<String, Verdict> {
    let mut verdicts: BTreeMap<String, Verdict> = BTreeMap::new();
    for log in logs {
        let mut kept_out = BTreeSet::new();
        for line in log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let (Some(event), Some(peer)) = (line["event"].as_str(), line["fields"]["peer"].as_str()) else {
                continue;
            };
            if !BLAMES.contains(&event) {
                continue;
            }
            let verdict = verdicts.entry(peer.to_owned()).or_default();
            match line["fields"]["reason"]
                .as_str()
                .filter(|_| event == "peer_quarantined")
            {
                Some(reason) => {
                    kept_out.insert(peer.to_owned());
                    verdict.events.insert(format!("{event}: {reason}"));
                }
                None => drop(verdict.events.insert(event.to_owned())),
            }
        }
        for peer in kept_out {
            verdicts.entry(peer).or_default().quarantined_by += 1;
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_kept_out_counts_once_for_each_node_and_what_blames_nobody_is_left_out() {
        let line = |event: &str, fields: Value| json!({"event": event, "fields": fields}).to_string();
        let out = line("peer_quarantined", json!({"peer": "a", "reason": "misbehaved"}));
        let logs = [
            vec![
                out.clone(),
                out.clone(),
                "no JSON".to_owned(),
                line("peer_up", json!({"peer": "b"})),
            ],
            vec![out, line("peer_stalled", json!({"peer": "c"}))],
        ];
        let verdicts = of(&logs);
        assert_eq!(verdicts.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(verdicts["a"].quarantined_by, 2);
        assert!(
            verdicts["a"].events.contains("peer_quarantined: misbehaved"),
            "{verdicts:?}"
        );
        assert_eq!((verdicts["c"].quarantined_by, verdicts["c"].events.len()), (0, 1));
    }
}
