//! The index: what is durable where, in redb. Never bytes: all of it can be found again from heads and files.
//!
//! Invariants: one writer at a time, one transaction a checkpoint, two-phase commits that carry the allocator's state (so
//! opening after a crash is instant). After any error the database is dropped and opened anew at the next use: redb
//! refuses writes after a failed one. A file that does not open is set aside and a new one begun.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition,
};
use samara_protocol::id::{ArtifactId, LayoutId};

use super::StoreError;
use super::disk::{Disk, DiskFile, Open, read_exact, remove_if_there};
use super::error::Context;
use super::tables::{BodyRecord, Location, Table, artifact_of_key, layout_key, layout_of_key};

const ARTIFACTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("artifacts");
const PACKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("packs");
const LOCATIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("locations");

/// redb's page cache.
const CACHE_BYTES: usize = 8 << 20;

/// Everything that one transaction changes; `None` removes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) artifacts: Vec<(ArtifactId, Option<BodyRecord>)>,
    pub(super) packs: Vec<(LayoutId, Option<BodyRecord>)>,
    pub(super) locations: Vec<(ArtifactId, Option<Location>)>,
    /// Packs of which every location goes.
    pub(super) dead_packs: Vec<u32>,
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        self.artifacts.is_empty() && self.packs.is_empty() && self.locations.is_empty() && self.dead_packs.is_empty()
    }
}

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    db: RwLock<Option<OpenIndex>>,
    numbers: Mutex<Numbers>,
    /// It was found broken, gone or replaced while it was in use: what it said is to be said again.
    begun_anew: AtomicBool,
}

/// Which pack has which number.
#[derive(Debug, Default)]
struct Numbers {
    by_id: HashMap<LayoutId, u32>,
    by_number: HashMap<u32, LayoutId>,
    last: u32,
}

impl Numbers {
    fn add(&mut self, id: LayoutId, number: u32) {
        self.by_id.insert(id, number);
        self.by_number.insert(number, id);
        self.last = self.last.max(number);
    }
}

/// What an index held when it was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) rebuilt: bool,
    pub(super) artifacts: u64,
    pub(super) packs: u64,
}

impl Index {
    pub(super) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<(Self, Found), StoreError> {
        let (db, rebuilt) = open_or_begin(&*disk, path)?;
        let index = Self {
            disk,
            path: path.to_owned(),
            db: RwLock::new(Some(db)),
            numbers: Mutex::default(),
            begun_anew: AtomicBool::new(false),
        };
        let mut found = index.load_numbers()?;
        found.rebuilt = rebuilt;
        Ok((index, found))
    }

    fn load_numbers(&self) -> Result<Found, StoreError> {
        let mut numbers = Numbers::default();
        let artifacts = self.with(|db| {
            let read = db.begin_read()?;
            for row in read.open_table(PACKS)?.iter()? {
                let (key, value) = row?;
                let id = layout_of_key(key.value());
                let record = BodyRecord::decode(Table::Packs, key.value(), value.value());
                if let (Some(id), Some(record)) = (id, record) {
                    numbers.add(id, record.number);
                }
            }
            Ok(read.open_table(ARTIFACTS)?.len()?)
        })?;
        let packs = numbers.by_id.len() as u64;
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
        Ok(Found {
            rebuilt: false,
            artifacts,
            packs,
        })
    }

    pub(super) fn artifact(&self, id: ArtifactId) -> Result<Option<BodyRecord>, StoreError> {
        self.body(ARTIFACTS, Table::Artifacts, &id.0)
    }

    pub(super) fn pack(&self, id: LayoutId) -> Result<Option<BodyRecord>, StoreError> {
        self.body(PACKS, Table::Packs, &layout_key(id))
    }

    fn body(
        &self,
        definition: TableDefinition<'_, &'static [u8], &'static [u8]>,
        table: Table,
        key: &[u8],
    ) -> Result<Option<BodyRecord>, StoreError> {
        self.with(|db| {
            let rows = db.begin_read()?.open_table(definition)?;
            let value = rows.get(key)?;
            Ok(value.and_then(|value| BodyRecord::decode(table, key, value.value())))
        })
    }

    /// Where small artifacts lie, in the order asked.
    pub(super) fn locations(&self, ids: &[ArtifactId]) -> Result<Vec<Option<Location>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.with(|db| {
            let rows = db.begin_read()?.open_table(LOCATIONS)?;
            let mut out = Vec::with_capacity(ids.len());
            for id in ids {
                let value = rows.get(id.0.as_slice())?;
                out.push(value.and_then(|value| Location::decode(&id.0, value.value())));
            }
            Ok(out)
        })
    }

    /// All large artifacts and packs of which something is recorded.
    pub(super) fn all(&self) -> Result<(Vec<ArtifactId>, Vec<LayoutId>), StoreError> {
        let artifacts = self.with(|db| {
            let mut ids = Vec::new();
            for row in db.begin_read()?.open_table(ARTIFACTS)?.iter()? {
                ids.extend(artifact_of_key(row?.0.value()));
            }
            Ok(ids)
        })?;
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((artifacts, numbers.by_id.keys().copied().collect()))
    }

    /// The number that locations name a pack by; a new one for a new pack.
    pub(super) fn number(&self, id: LayoutId) -> u32 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.by_id.get(&id) {
            return *number;
        }
        let number = numbers.last + 1;
        numbers.add(id, number);
        number
    }

    /// The pack with a number.
    pub(super) fn pack_of_number(&self, number: u32) -> Option<LayoutId> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.by_number.get(&number).copied()
    }

    /// Whether it was begun anew since this was asked last: what it once said may not be in it.
    pub(super) fn was_begun_anew(&self) -> bool {
        self.begun_anew.swap(false, Ordering::Relaxed)
    }

    /// Opens it anew if it failed before, or if its file is not the one that has its name: commits would go nowhere.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        let there = self.disk.open(&self.path, Open::Read).and_then(|file| file.stamp());
        let there = match there {
            Ok(stamp) => Some(stamp.inode),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).on("look at", &self.path),
        };
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if db.as_ref().is_some_and(|open| Some(open.inode) != there) {
            let gone = db.take();
            drop(catch_unwind(AssertUnwindSafe(|| drop(gone))));
            self.begun_anew.store(true, Ordering::Relaxed);
        }
        drop(db);
        self.reopen()
    }

    /// Commits all of it or nothing, durable on return.
    pub(super) fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.with(|db| {
            let mut write = db.begin_write()?;
            write.set_quick_repair(true);
            {
                let mut rows = write.open_table(ARTIFACTS)?;
                for (id, record) in &batch.artifacts {
                    let value = record.as_ref().map(|record| record.encode(Table::Artifacts, &id.0));
                    put(&mut rows, &id.0, value)?;
                }
                let mut rows = write.open_table(PACKS)?;
                for (id, record) in &batch.packs {
                    let key = layout_key(*id);
                    let value = record.as_ref().map(|record| record.encode(Table::Packs, &key));
                    put(&mut rows, &key, value)?;
                }
                let mut rows = write.open_table(LOCATIONS)?;
                if !batch.dead_packs.is_empty() {
                    rows.retain(|key, value| {
                        Location::decode(key, value).is_some_and(|at| !batch.dead_packs.contains(&at.pack))
                    })?;
                }
                for (id, location) in &batch.locations {
                    put(&mut rows, &id.0, location.map(|location| location.encode(&id.0)))?;
                }
            }
            Ok(write.commit()?)
        })
    }

    /// Runs `work` on the database, opening it anew if it failed before. Any error or panic drops it.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.reopen()?;
        let outcome = {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            let Some(db) = db.as_ref() else {
                return Err(failed(&self.path, "it is being opened anew"));
            };
            // redb checks its pages only after an unclean stop: a page damaged since then may make it panic.
            catch_unwind(AssertUnwindSafe(|| work(&db.db)))
        };
        let message = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a damaged page".to_owned(),
        };
        let broken = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(catch_unwind(AssertUnwindSafe(|| drop(broken))));
        Err(failed(&self.path, message))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        if self.db.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if db.is_none() {
            let (opened, anew) = open_or_begin(&*self.disk, &self.path)?;
            *db = Some(opened);
            self.begun_anew.fetch_or(anew, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn put(
    rows: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    key: &[u8],
    value: Option<Vec<u8>>,
) -> Result<(), redb::Error> {
    match value {
        Some(value) => drop(rows.insert(key, value.as_slice())?),
        None => drop(rows.remove(key)?),
    }
    Ok(())
}

fn failed(path: &Path, message: impl Display) -> StoreError {
    StoreError::Index {
        path: path.to_owned(),
        message: message.to_string(),
    }
}

enum OpenError {
    Disk(io::Error),
    Broken(String),
}

impl Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}

/// Opens the index; whether it had to be begun anew, because it was not there or broken.
fn open_or_begin(disk: &dyn Disk, path: &Path) -> Result<(OpenIndex, bool), StoreError> {
    let was_there = match disk.open(path, Open::Read) {
        Ok(file) => file.stamp().on("look at", path)?.len > 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).on("open", path),
    };
    let mut anew = !was_there;
    let db = match open_db(disk, path) {
        Ok(db) => db,
        // A sick disk is not a broken file: nothing is thrown away then.
        Err(OpenError::Disk(error)) => return Err(error).on("open the index", path),
        Err(OpenError::Broken(reason)) if was_there => {
            tracing::warn!(path = %path.display(), reason, "the index is damaged; it is set aside and rebuilt");
            set_aside(disk, path)?;
            anew = true;
            open_db(disk, path).map_err(|error| failed(path, error))?
        }
        Err(error) => return Err(failed(path, error)),
    };
    if let Some(dir) = path.parent() {
        disk.sync_dir(dir).on("sync", dir)?;
    }
    Ok((db, anew))
}

/// The database, and which file it is in.
#[derive(Debug)]
struct OpenIndex {
    db: Database,
    inode: u64,
}

fn open_db(disk: &dyn Disk, path: &Path) -> Result<OpenIndex, OpenError> {
    let file = disk.open(path, Open::Create).map_err(OpenError::Disk)?;
    let inode = file.stamp().map_err(OpenError::Disk)?.inode;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let db = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(IndexFile(file))
            .map_err(redb::Error::from)?;
        let mut write = db.begin_write()?;
        let fresh = write.list_tables()?.next().is_none();
        if fresh {
            write.set_quick_repair(true);
            for table in [ARTIFACTS, PACKS, LOCATIONS] {
                write.open_table(table)?;
            }
            write.commit()?;
        } else {
            write.abort()?;
        }
        Ok::<_, redb::Error>(db)
    }));
    match outcome {
        Ok(Ok(db)) => Ok(OpenIndex { db, inode }),
        Ok(Err(redb::Error::Io(error))) if !looks_damaged(&error) => Err(OpenError::Disk(error)),
        Ok(Err(error)) => Err(OpenError::Broken(error.to_string())),
        Err(_) => Err(OpenError::Broken("a damaged page".to_owned())),
    }
}

/// redb says with these that the file is too short or not its own.
fn looks_damaged(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn set_aside(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    let mut damaged = path.as_os_str().to_owned();
    damaged.push(".damaged");
    let damaged = PathBuf::from(damaged);
    remove_if_there(disk, &damaged).on("remove", &damaged)?;
    disk.rename(path, &damaged).on("set aside", path)
}

/// The index file as redb wants it.
#[derive(Debug)]
struct IndexFile(Arc<dyn DiskFile>);

impl StorageBackend for IndexFile {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.stamp()?.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        read_exact(&*self.0, out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(data, offset)
    }
}
