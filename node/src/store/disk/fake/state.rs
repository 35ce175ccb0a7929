//! What a disk in memory holds: files and names, each as the running system sees them and as a power loss leaves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use samara_protocol::rng::Rng;

use super::{Fault, Meanwhile};

pub(super) const SECTOR: usize = 4096;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    /// Allocated 4 KiB blocks.
    pub(super) blocks: BTreeSet<usize>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
    pub(super) modified: i64,
    pub(super) changed: i64,
    pub(super) links: u64,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameChange {
    pub(super) fn dir(&self) -> Option<&Path> {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path, _)) = self;
        path.parent()
    }

    pub(super) fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Add(path, inode) => drop(names.insert(path, inode)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) boot: u64,
    pub(super) crashed: bool,
    /// Changing operations so far.
    pub(super) changes: u64,
    /// All operations so far.
    pub(super) ops: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) fault: Option<Fault>,
    /// Work of another thread, and the operation that it comes before.
    pub(super) meanwhile: Option<(u64, Meanwhile)>,
    pub(super) capacity: Option<usize>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) pending_names: Vec<NameChange>,
    pub(super) inodes: HashMap<u64, Inode>,
    pub(super) last_inode: u64,
    pub(super) tick: i64,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) clock: i64,
}

impl State {
    pub(super) fn blocks_used(&self) -> usize {
        self.inodes.values().map(|inode| inode.blocks.len()).sum()
    }

    pub(super) fn touch(&mut self, inode: u64) -> &mut Inode {
        self.tick += 1;
        let tick = self.tick;
        let inode = self.inodes.entry(inode).or_default();
        (inode.modified, inode.changed) = (tick, tick);
        inode
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.pending_names.push(change);
    }

    pub(super) fn write(&mut self, inode: u64, data: &[u8], offset: usize) -> io::Result<()> {
        let mut data = data;
        let room = self
            .capacity
            .map(|capacity| capacity.saturating_sub(self.blocks_used()));
        let file = self.touch(inode);
        let end = |data: &[u8]| (offset + data.len()).div_ceil(SECTOR);
        let mut full = false;
        if let Some(mut room) = room {
            for block in offset / SECTOR..end(data) {
                if file.blocks.contains(&block) {
                    continue;
                }
                if room == 0 {
                    data = &data[..(block * SECTOR).saturating_sub(offset)];
                    full = true;
                    break;
                }
                room -= 1;
            }
        }
        if !data.is_empty() {
            let needed = offset + data.len();
            if file.now.len() < needed {
                file.now.resize(needed, 0);
            }
            file.now[offset..needed].copy_from_slice(data);
            file.blocks.extend(offset / SECTOR..end(data));
            file.pending.push(Change::Write(offset, data.to_vec()));
        }
        if full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    pub(super) fn sync(&mut self, inode: u64) {
        if let Some(file) = self.inodes.get_mut(&inode) {
            for change in std::mem::take(&mut file.pending) {
                apply(&mut file.durable, &change, |_| true);
            }
        }
    }

    pub(super) fn lose_power(&mut self, rng: &mut Rng, torn: bool) {
        let pending = std::mem::take(&mut self.pending_names);
        let kept = if torn {
            rng.below(pending.len() as u64 + 1) as usize
        } else {
            0
        };
        for change in pending.into_iter().take(kept) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        let alive: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| alive.contains(inode));
        let mut order: Vec<u64> = alive.into_iter().collect();
        order.sort_unstable();
        for number in order {
            let Some(file) = self.inodes.get_mut(&number) else {
                continue;
            };
            for change in std::mem::take(&mut file.pending) {
                if torn {
                    let all = rng.one_in(2);
                    apply(&mut file.durable, &change, |_| all || rng.one_in(2));
                }
            }
            if file.now != file.durable {
                self.tick += 1;
                file.modified = self.tick;
                file.changed = self.tick;
            }
            file.now.clone_from(&file.durable);
            let blocks = file.now.chunks(SECTOR).enumerate();
            file.blocks = blocks
                .filter(|(_, block)| *block != &[0; SECTOR][..block.len()])
                .map(|(at, _)| at)
                .collect();
        }
        self.count_links();
    }

    pub(super) fn count_links(&mut self) {
        for file in self.inodes.values_mut() {
            file.links = 0;
        }
        for inode in self.names.values() {
            if let Some(file) = self.inodes.get_mut(inode) {
                file.links += 1;
            }
        }
        for file in self.inodes.values_mut().filter(|file| file.links == 0) {
            file.blocks.clear();
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change, mut keep: impl FnMut(usize) -> bool) {
    match change {
        Change::SetLen(len) => {
            if keep(0) {
                content.resize(*len, 0);
            }
        }
        Change::Write(offset, data) => {
            let mut at = 0;
            while at < data.len() {
                let sector_end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
                let end = sector_end.min(data.len());
                if keep(at) {
                    if content.len() < offset + end {
                        content.resize(offset + end, 0);
                    }
                    content[offset + at..offset + end].copy_from_slice(&data[at..end]);
                }
                at = end;
            }
        }
    }
}
