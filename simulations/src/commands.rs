//! One command, one file.

pub(crate) mod ablate;
pub(crate) mod campaign;
pub(crate) mod list;
mod provenance;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod table;
