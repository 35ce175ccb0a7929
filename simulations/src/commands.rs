//! One command, one file.

pub(crate) mod ablate;
pub(crate) mod campaign;
pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod table;
