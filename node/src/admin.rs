//! The Unix socket between a running node and the verbs.
//!
//! One JSON object a line each way ([`api`]); what is larger than a line travels as open files beside it. The socket has
//! mode 0600 and tells the daemon who calls. [`server`] turns lines into typed [`Call`]s for the daemon's loop, through a
//! bounded queue; [`client`] is blocking and simple, for verbs. Keys never pass through here: verbs sign, the node checks.
//!
//! Not here: what a request means (`daemon`), how an answer is shown (`cli`).

pub mod api;
pub mod client;
mod error;
pub mod files;
mod line;
pub mod record;
pub mod server;
pub mod status;

#[cfg(test)]
mod tests;

pub use api::{Refusal, RefusalKind, Request, Response};
pub use client::Client;
pub use error::AdminError;
pub use record::Record;
pub use server::{Call, Caller, Reply, Server};
