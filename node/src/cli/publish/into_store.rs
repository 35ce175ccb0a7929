//! A prepared release straight into the store of an origin that does not run.

use std::path::Path;

use super::release::Prepared;
use crate::cli::{CliError, ExitStatus};
use crate::daemon::importing::{ImportError, Importing};
use crate::store::{Store, StoreError, StoreOptions};

/// Imports everything; durable on return.
pub(super) fn write(dir: &Path, prepared: &Prepared, link: bool) -> Result<(), CliError> {
    let (store, _) = Store::open(dir, StoreOptions::default()).map_err(|error| failed(dir, &error.into()))?;
    let import = || -> Result<(), ImportError> {
        let mut importing = Importing::begin(store, dir, link)?;
        importing.add_paths(&prepared.sources)?;
        importing.finish(&prepared.head, &prepared.list.bytes)?;
        Ok(())
    };
    import().map_err(|error| failed(dir, &error))
}

fn failed(dir: &Path, error: &ImportError) -> CliError {
    let status = match error {
        ImportError::Store(StoreError::DiskFull { .. } | StoreError::QuotaFull { .. }) => ExitStatus::DiskFull,
        _ => ExitStatus::Failure,
    };
    CliError::new(status, dir.display(), error)
}
