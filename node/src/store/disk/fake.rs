//! A disk in memory that fails on demand.
//!
//! It keeps what a running system sees (the page cache) apart from what is durable: a sync moves a file's writes over, a
//! folder's sync its names. It can crash at any operation, run full at any block, and fail any operation with any error.
//! A kill keeps the page cache. A power loss keeps what is durable and, of the rest, whatever subset of 4 KiB sectors and
//! whatever prefix of name changes the seed picks. A sync that failed drops its writes for good while reads still show
//! them, as Linux does.

#![expect(clippy::cast_possible_truncation, reason = "test files are small")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_protocol::rng::Rng;

use super::{Disk, DiskFile, Listed, Lock, Open, Space, Stamp};

mod state;

use state::{Change, NameChange, SECTOR, State};

/// What an operation is, for choosing where to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Read,
    Write,
    SetLen,
    Punch,
    Sync,
    SyncDir,
    SyncAll,
    Rename,
    Remove,
    Stamp,
    List,
}

impl Op {
    /// Whether a crash before or after it can leave different disks.
    const fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Stamp | Self::List)
    }
}

/// How the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The process died; the page cache lives.
    Kill,
    /// Nothing that was not synced is left.
    PowerLoss,
    /// A random part of what was not synced is left.
    TornPowerLoss(u64),
}

/// Decides of the n-th operation whether it fails, and how.
pub(crate) type Fault = Arc<dyn Fn(u64, Op, &Path) -> Option<io::ErrorKind> + Send + Sync>;

/// What another thread does at one moment.
pub(crate) type Meanwhile = Arc<dyn Fn() + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub(crate) struct FakeDisk {
    state: Arc<Mutex<State>>,
    boot: u64,
}

impl std::fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeDisk")
    }
}

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    inode: u64,
    path: PathBuf,
}

#[derive(Debug)]
struct FakeLock {
    disk: FakeDisk,
    path: PathBuf,
}

impl Lock for FakeLock {
    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.disk.step(Op::SyncAll, &self.path)?;
        let inodes: Vec<u64> = state.inodes.keys().copied().collect();
        for inode in inodes {
            state.sync(inode);
        }
        for change in std::mem::take(&mut state.pending_names) {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.boot == self.disk.boot {
            state.locked.remove(&self.path);
        }
    }
}

impl FakeDisk {
    pub(crate) fn new() -> Self {
        let state = State {
            clock: 1_800_000_000,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            boot: 0,
        }
    }

    /// An independent disk with the same content.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.lock_state().clone();
        state.locked.clear();
        state.meanwhile = None;
        state.boot += 1;
        Self {
            boot: state.boot,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Crashes at the `n`-th changing operation from now.
    pub(crate) fn crash_after(&self, n: u64) {
        let mut state = self.lock_state();
        state.crash_at = Some(state.changes + n);
    }

    /// Has another thread's work done in full just before the `n`-th operation from now: every way in which two threads can
    /// meet at a disk operation, without a race. Once; what it does may name the next.
    pub(crate) fn meanwhile(&self, n: u64, work: Meanwhile) {
        let mut state = self.lock_state();
        state.meanwhile = Some((state.ops + n, work));
    }

    /// Whether the work of [`Self::meanwhile`] was not reached, and drops it.
    pub(crate) fn was_not_reached(&self) -> bool {
        self.lock_state().meanwhile.take().is_some()
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.lock_state().fault = fault;
    }

    /// Blocks of 4 KiB that fit.
    pub(crate) fn set_capacity(&self, blocks: Option<usize>) {
        self.lock_state().capacity = blocks;
    }

    pub(crate) fn blocks_used(&self) -> usize {
        self.lock_state().blocks_used()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    pub(crate) fn ops(&self) -> u64 {
        self.lock_state().ops
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.lock_state().crashed
    }

    /// Deletes the files with this extension for good, and their names.
    pub(crate) fn delete(&self, extension: &Path) {
        let mut state = self.lock_state();
        let is_other = |path: &PathBuf| path.extension() != Some(extension.as_os_str());
        state.names.retain(|path, _| is_other(path));
        state.durable_names.retain(|path, _| is_other(path));
        state.count_links();
    }

    /// Flips a bit of the first file with this extension; nothing tells of it.
    pub(crate) fn rot(&self, extension: &Path, at: usize) {
        let mut state = self.lock_state();
        let mut files = state
            .names
            .iter()
            .filter(|(path, _)| path.extension() == Some(extension.as_os_str()));
        let inode = *files.next().expect("there is one").1;
        state.inodes.get_mut(&inode).expect("a name has a file").now[at] ^= 1;
    }

    pub(crate) fn wait_seconds(&self, seconds: i64) {
        self.lock_state().clock += seconds;
    }

    /// The disk as the next start finds it. Everything opened before is dead.
    pub(crate) fn restart(&self, stop: Stop) -> Self {
        let mut state = self.lock_state();
        state.boot += 1;
        state.crashed = false;
        state.crash_at = None;
        state.fault = None;
        state.meanwhile = None;
        state.locked.clear();
        match stop {
            Stop::Kill => {}
            Stop::PowerLoss => state.lose_power(&mut Rng::new(0), false),
            Stop::TornPowerLoss(seed) => state.lose_power(&mut Rng::new(seed), true),
        }
        let boot = state.boot;
        drop(state);
        Self {
            state: Arc::clone(&self.state),
            boot,
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the operation; an error when it is to fail. `None` beside the state when the machine crashes in it.
    fn begin(&self, op: Op, path: &Path) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.lock_state();
        if state.meanwhile.as_ref().is_some_and(|(at, _)| state.ops >= *at)
            && let Some((_, work)) = state.meanwhile.take()
        {
            drop(state);
            work();
            state = self.lock_state();
        }
        if state.crashed || state.boot != self.boot {
            return Err(io::Error::other("the machine is off"));
        }
        state.ops += 1;
        if let Some(kind) = state.fault.as_ref().and_then(|fault| fault(state.ops, op, path)) {
            if op == Op::Sync
                && let Some(inode) = state.names.get(path).copied()
                && let Some(inode) = state.inodes.get_mut(&inode)
            {
                inode.pending.clear();
            }
            return Err(kind.into());
        }
        if op.changes() {
            state.changes += 1;
            if state.crash_at.is_some_and(|at| state.changes > at) {
                state.crashed = true;
                return Ok((state, true));
            }
        }
        Ok((state, false))
    }

    /// An operation that a crash leaves undone.
    fn step(&self, op: Op, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        match self.begin(op, path)? {
            (_, true) => Err(io::Error::other("the machine is off")),
            (state, false) => Ok(state),
        }
    }
}

impl Disk for FakeDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.step(Op::Open, path)?;
        let inode = match state.names.get(path) {
            Some(inode) => *inode,
            None if how == Open::Create => {
                state.last_inode += 1;
                let inode = state.last_inode;
                state.touch(inode).links = 1;
                state.change_name(NameChange::Add(path.to_owned(), inode));
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(FakeFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step(Op::Rename, from)?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        state.tick += 1;
        let tick = state.tick;
        state.inodes.entry(inode).or_default().changed = tick;
        state.count_links();
        Ok(())
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(Op::Remove, path)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        state.count_links();
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let state = self.step(Op::List, dir)?;
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let listed = files.map(|(path, inode)| Listed {
            name: path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned(),
            allocated: state
                .inodes
                .get(inode)
                .map_or(0, |file| (file.blocks.len() * SECTOR) as u64),
        });
        Ok(listed.collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.step(Op::SyncDir, dir)?;
        for change in std::mem::take(&mut state.pending_names) {
            if change.dir() == Some(dir) {
                change.apply(&mut state.durable_names);
            } else {
                state.pending_names.push(change);
            }
        }
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.lock_state();
        let total = state.capacity.map_or(1 << 40, |blocks| (blocks * SECTOR) as u64);
        let used = (state.blocks_used() * SECTOR) as u64;
        Ok(Space {
            free: total.saturating_sub(used),
            total,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        let mut state = self.lock_state();
        if state.crashed || state.boot != self.boot {
            return Err(io::Error::other("the machine is off"));
        }
        if !state.locked.insert(path.to_owned()) {
            return Ok(Err("1".to_owned()));
        }
        Ok(Ok(Box::new(FakeLock {
            disk: self.clone(),
            path: path.to_owned(),
        })))
    }

    fn now(&self) -> i64 {
        self.lock_state().clock
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.step(Op::Read, &self.path)?;
        let content = state.inodes.get(&self.inode).map_or(&[][..], |file| &file.now);
        let content = content.get(offset as usize..).unwrap_or_default();
        let len = content.len().min(buf.len());
        buf[..len].copy_from_slice(&content[..len]);
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, crash) = self.disk.begin(Op::Write, &self.path)?;
        if crash {
            // The page cache took a part of it.
            let part = data.len() * (state.changes as usize % 4) / 4;
            state.write(self.inode, &data[..part], offset as usize)?;
            return Err(io::Error::other("the machine is off"));
        }
        state.write(self.inode, data, offset as usize)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.disk.step(Op::Punch, &self.path)?;
        let file = state.touch(self.inode);
        let start = (offset as usize).min(file.now.len());
        let end = ((offset + len) as usize).min(file.now.len());
        file.now[start..end].fill(0);
        file.blocks
            .retain(|block| *block < start.div_ceil(SECTOR) || (block + 1) * SECTOR > end);
        file.pending.push(Change::Write(start, vec![0; end - start]));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.step(Op::SetLen, &self.path)?;
        let file = state.touch(self.inode);
        file.now.resize(len as usize, 0);
        file.blocks.retain(|block| block * SECTOR < len as usize);
        file.pending.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(Op::Sync, &self.path)?.sync(self.inode);
        Ok(())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let state = self.disk.step(Op::Stamp, &self.path)?;
        let file = state.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        Ok(Stamp {
            len: file.now.len() as u64,
            modified: file.modified,
            changed: file.changed,
            inode: self.inode,
            links: file.links,
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let state = self.disk.step(Op::Stamp, &self.path)?;
        let file = state.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        let from = offset as usize / SECTOR;
        let next = file.blocks.range(from..).next();
        Ok(next.map(|block| ((block * SECTOR) as u64).max(offset)))
    }

    fn as_file(&self) -> Option<&File> {
        None
    }
}
