//! The one owner of the scheduler: inputs in, outputs performed. A node and a `fetch` are the same engine with different
//! settings.
//!
//! Data goes one way: network and tasks -> `driver` -> scheduler (`protocol`) -> `shell` -> network and tasks. No
//! lock guards the scheduler, because nobody else touches it. This is the one place that joins `net` and `store` (AI-3).

mod answering;
mod checkpoints;
mod clock;
mod collecting;
mod contact;
mod contacts;
mod driver;
mod fetching;
mod files;
mod freshness;
mod gate;
mod heads;
pub mod importing;
mod meeting;
mod moving;
mod not_offered;
mod opening;
mod own_credentials;
mod peers;
mod products;
mod publishing;
mod releases;
mod renewing;
mod report;
mod revoking;
mod room;
mod serving;
mod shell;
mod standings;
mod start;
mod status;
mod throughput;

pub use not_offered::channel_not_granted;
pub use opening::one_entry::entry_culprit;
pub use own_credentials::{TURNED_AWAY, credentials_check};
pub use start::{Engine, EngineConfig, ProductConfig, StartError};
