//! Everything in Samara that decides.
//!
//! This crate's own source reads no clock, no entropy, no file, no socket, and starts no thread (AI-1): time and seeds
//! come in as values, and what is to be done comes out as values. The same code runs in a node and, thousands at a time,
//! in `samara-simulations`.
//!
//! | layer | modules |
//! |---|---|
//! | base | [`id`], [`time`], [`rng`], [`units`], [`limits`], [`bits`], [`sorted`] |
//! | bytes | [`tree`] |
//! | what is said | [`manifest`], [`trust`], [`wire`] |
//! | what is done | [`swarm`] |

#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests use small numbers"))]

pub mod bits;
pub mod id;
pub mod limits;
pub mod manifest;
pub mod rng;
pub mod sorted;
pub mod swarm;
pub mod time;
pub mod tree;
pub mod trust;
pub mod units;
pub mod wire;
