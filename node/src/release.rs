//! Files into releases and releases into files.
//!
//! | module | does |
//! |---|---|
//! | [`scan`] | a file or folder into entries, hashed |
//! | [`sizes`] | how much its files come to, and how much of that is unique |
//! | [`place`] | a verified release into a folder, in one switch that a crash cannot break |
//! | [`verify`] | a placed folder against the manifest kept in it |
//!
//! All of it blocks and belongs on worker threads. Nothing here names the store, the network or the async runtime: bytes
//! come through [`source::ArtifactSource`].

use std::collections::VecDeque;
use std::io::{self, BufRead};

use samara_protocol::manifest::entry::Entry;
use samara_protocol::manifest::list::{ListError, ListReader};

pub use record::ENTRIES as ENTRIES_FILE;

mod digest;
mod dir;
mod parallel;
pub mod place;
mod record;
pub mod scan;
pub mod sizes;
pub mod source;
pub mod verify;

/// The entries of a list, read as a stream. It ends with the first error.
#[derive(Debug)]
pub struct Entries<R> {
    reader: R,
    list: Option<ListReader>,
    ready: VecDeque<Entry>,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// The file.
    #[error("the entries list could not be read")]
    Io(#[from] io::Error),
    /// What is in it.
    #[error(transparent)]
    List(#[from] ListError),
}

/// Reads the entries of a list one by one. What came before an error must not be used either.
pub fn entries<R: BufRead>(reader: R) -> Entries<R> {
    Entries {
        reader,
        list: Some(ListReader::new()),
        ready: VecDeque::new(),
    }
}

impl<R: BufRead> Entries<R> {
    /// Reads on until an entry is there; true at the end.
    fn read(&mut self) -> Result<bool, EntriesError> {
        let Some(list) = self.list.as_mut() else {
            return Ok(true);
        };
        let bytes = self.reader.fill_buf()?;
        let len = bytes.len();
        if len == 0 {
            self.list.take().map_or(Ok(0), ListReader::finish)?;
            return Ok(true);
        }
        list.feed(bytes, |entry| self.ready.push_back(entry))?;
        self.reader.consume(len);
        Ok(false)
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Result<Entry, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.read() {
                Ok(false) => {}
                Ok(true) => return None,
                Err(error) => {
                    self.list = None;
                    self.ready.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
