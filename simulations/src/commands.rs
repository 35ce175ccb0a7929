//! One command, one file.

pub(crate) mod ablate;
pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod table;
