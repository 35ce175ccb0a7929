//! Samara's side of the comparisons.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::measure::Transfer;
use crate::rivals::Rival;

/// An origin that has published the file, and a host that fetches it.
pub(crate) struct Pair {}

impl Pair {
    /// Publishes `source` at a fresh origin.
    pub(crate) fn start(_source: &Path) -> Result<Self> {
        bail!("the samara half waits for the verbs")
    }
}

impl Rival for Pair {
    fn name(&self) -> &'static str {
        "samara"
    }

    fn fetch(&mut self, _into: &Path) -> Result<(Transfer, PathBuf)> {
        bail!("the samara half waits for the verbs")
    }
}
