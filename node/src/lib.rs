//! Everything in Samara that does: sockets, files, processes, the command line. What is decided is decided in
//! `samara-protocol`.
//!
//! Layers, imports only downward: [`cli`] > [`daemon`] > {[`net`], [`store`], [`release`], [`access`], [`admin`],
//! [`observe`]} > {[`config`], [`heap`]} > protocol. `net` and `store` do not know each other (AI-3); `daemon` joins them.

pub mod access;
pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod heap;
pub mod net;
pub mod observe;
pub mod release;
pub mod store;
