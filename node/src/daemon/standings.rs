//! Blame that outlives the process: what the scheduler holds against peers, in a small file beside the store.
//!
//! The file is a help and never a condition: one that cannot be read is warned of and counts as none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use samara_protocol::id::NodeId;
use samara_protocol::limits::{STANDINGS_BYTES_MAX, STANDINGS_MAX};
use samara_protocol::swarm::io::FetchFault;
use samara_protocol::swarm::snapshot::{PeerRecord, Snapshot};
use samara_protocol::time::WallTime;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::clock::wall_time;
use super::driver::Driver;
use crate::access::AccessError;
use crate::access::disk::{self, Readers};

/// The file's name, in the store's folder.
const FILE: &str = "standings.json";
/// No quarantine is longer than this, whatever a file says.
const QUARANTINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where blame is kept, and whether there is any that is not.
#[derive(Debug)]
pub(super) struct Standings {
    path: PathBuf,
    changed: bool,
    writing: Option<JoinHandle<()>>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The format: 0.
    schema: u32,
    /// When it was written, in seconds since 1970: quarantines go on while the node is down.
    at: i64,
    peers: Vec<Record>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    peer: NodeId,
    blame: u32,
    quarantines: u32,
    quarantine_left_s: u64,
}

impl Standings {
    /// Those of the node whose store lies in `store`.
    pub(super) fn at(store: &Path) -> Self {
        Self {
            path: store.join(FILE),
            changed: false,
            writing: None,
        }
    }

    /// What the last process knew, less the time that has passed since.
    pub(super) fn load(&self) -> Snapshot {
        match read(&self.path) {
            Ok(written) => written.map_or_else(Snapshot::default, |written| restored(written, wall_time())),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "whom the last run of this node had quarantined is not known; the file is written anew with the next fault"
                );
                Snapshot::default()
            }
        }
    }

    /// A fetch failed: with some faults the peer is blamed.
    pub(super) const fn faulted(&mut self, fault: FetchFault) {
        self.changed |= matches!(fault, FetchFault::Invalid | FetchFault::Absent);
    }

    /// Somebody was quarantined.
    pub(super) const fn quarantined(&mut self) {
        self.changed = true;
    }
}

impl Driver {
    /// Writes down what has changed, on a worker and one write at a time.
    pub(super) fn keep_standings(&mut self) {
        let standings = &mut self.standings;
        let is_writing = standings.writing.as_ref().is_some_and(|task| !task.is_finished());
        if is_writing || !std::mem::take(&mut standings.changed) {
            return;
        }
        let (path, snapshot) = (standings.path.clone(), self.swarm.snapshot(self.clock.now()));
        standings.writing = Some(tokio::task::spawn_blocking(move || write(&path, &snapshot)));
    }

    /// Writes down all of it, at the end. Where nothing is held against anybody and nothing ever was, no file is made.
    pub(super) async fn keep_last_standings(&mut self) {
        if let Some(writing) = self.standings.writing.take() {
            writing.await.expect("writing does not panic and is not aborted");
        }
        let (path, snapshot) = (self.standings.path.clone(), self.swarm.snapshot(self.clock.now()));
        let work = move || {
            if !snapshot.peers.is_empty() || path.exists() {
                write(&path, &snapshot);
            }
        };
        let written = tokio::task::spawn_blocking(work).await;
        written.expect("writing does not panic and is not aborted");
    }
}

fn read(path: &Path) -> Result<Option<Written>, AccessError> {
    let written: Option<Written> = disk::read_json(path, STANDINGS_BYTES_MAX)?;
    match written {
        Some(Written { schema, .. }) if schema != 0 => {
            Err(AccessError::damaged(path, format!("its schema is {schema}, not 0")))
        }
        written => Ok(written),
    }
}

fn restored(written: Written, now: WallTime) -> Snapshot {
    // A clock that was set back ends no quarantine early.
    let passed = Duration::from_secs(u64::try_from(now.0.saturating_sub(written.at)).unwrap_or(0));
    let record = |record: Record| PeerRecord {
        peer: record.peer,
        blame: record.blame,
        quarantines: record.quarantines,
        quarantine_left: Duration::from_secs(record.quarantine_left_s)
            .min(QUARANTINE_MAX)
            .saturating_sub(passed),
    };
    Snapshot {
        peers: written.peers.into_iter().take(STANDINGS_MAX).map(record).collect(),
    }
}

fn write(path: &Path, snapshot: &Snapshot) {
    let record = |record: &PeerRecord| Record {
        peer: record.peer,
        blame: record.blame,
        quarantines: record.quarantines,
        quarantine_left_s: record.quarantine_left.as_secs(),
    };
    let written = Written {
        schema: 0,
        at: wall_time().0,
        peers: snapshot.peers.iter().map(record).collect(),
    };
    if let Err(error) = disk::write_json(path, &written, Readers::Owner) {
        tracing::warn!(%error, "whom this node has quarantined will not be known after a restart");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file of any bytes counts as none, or is one that the scheduler can be given and that is written the same.
    fn counts_as_none_or_is_bounded(bytes: &[u8]) -> Result<(), TestCaseError> {
        let dir = tempfile::tempdir().expect("a folder");
        let standings = Standings::at(dir.path());
        std::fs::write(&standings.path, bytes).expect("written");
        let loaded = standings.load();
        let is_bounded = |record: &PeerRecord| record.quarantine_left <= QUARANTINE_MAX;
        prop_assert!(loaded.peers.len() <= STANDINGS_MAX && loaded.peers.iter().all(is_bounded));
        prop_assert_eq!(read(&standings.path).is_err() && !loaded.peers.is_empty(), false);
        write(&standings.path, &loaded);
        let written = read(&standings.path).expect("reads").expect("is there");
        let at = WallTime(written.at);
        prop_assert_eq!(restored(written, at), loaded);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_file_of_random_bytes_counts_as_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            counts_as_none_or_is_bounded(&bytes)?;
        }

        #[test]
        fn a_good_file_with_some_bytes_changed_counts_as_none_or_is_kept_within_bounds(
            at in any::<prop::sample::Index>(), len in 0_usize..12, with in "[0-9]{1,22}|-[0-9]{1,20}|.{0,12}"
        ) {
            let dir = tempfile::tempdir().expect("a folder");
            let path = Standings::at(dir.path()).path;
            write(&path, &snapshot(900));
            let mut bytes = std::fs::read(&path).expect("reads");
            let start = at.index(bytes.len());
            bytes.splice(start..(start + len).min(bytes.len()), with.into_bytes());
            counts_as_none_or_is_bounded(&bytes)?;
        }
    }

    fn snapshot(left: u64) -> Snapshot {
        let record = |number: u8| PeerRecord {
            peer: NodeId([number; 32]),
            blame: u32::from(number),
            quarantines: 2,
            quarantine_left: Duration::from_secs(left),
        };
        Snapshot {
            peers: vec![record(1), record(2)],
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_time_between_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let standings = Standings::at(dir.path());
        assert_eq!(standings.load(), Snapshot::default(), "no file");
        write(&standings.path, &snapshot(900));
        let loaded = standings.load();
        assert_eq!(loaded.peers.len(), 2);
        assert!(
            loaded
                .peers
                .iter()
                .all(|record| record.quarantine_left > Duration::from_secs(800))
        );
        let written = read(&standings.path).expect("reads").expect("is there");
        let later = WallTime(written.at + 600);
        assert_eq!(restored(written, later), snapshot(300));
    }

    #[test]
    fn a_clock_that_was_set_back_ends_no_quarantine_and_a_file_cannot_make_one_endless() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Standings::at(dir.path()).path;
        write(&path, &snapshot(u64::MAX));
        let written = read(&path).expect("reads").expect("is there");
        let earlier = WallTime(written.at - 1_000_000);
        let left = restored(written, earlier).peers[0].quarantine_left;
        assert_eq!(left, QUARANTINE_MAX);
    }

    #[test]
    fn a_bad_file_counts_as_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let standings = Standings::at(dir.path());
        let long = vec![b' '; usize::try_from(STANDINGS_BYTES_MAX).expect("fits") + 1];
        let bad: [&[u8]; 4] = [b"", b"{\"schema\":0", b"{\"schema\":1,\"at\":0,\"peers\":[]}", &long];
        for bytes in bad {
            std::fs::write(&standings.path, bytes).expect("written");
            assert_eq!(standings.load(), Snapshot::default());
        }
    }

    #[test]
    fn as_many_standings_as_there_may_be_fit_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let standings = Standings::at(dir.path());
        let record = |number: usize| {
            let mut peer = [255; 32];
            peer[..8].copy_from_slice(&number.to_le_bytes());
            PeerRecord {
                peer: NodeId(peer),
                blame: u32::MAX,
                quarantines: u32::MAX,
                quarantine_left: QUARANTINE_MAX,
            }
        };
        let peers = (0..STANDINGS_MAX).map(record).collect();
        write(&standings.path, &Snapshot { peers });
        assert_eq!(standings.load().peers.len(), STANDINGS_MAX);
    }
}
