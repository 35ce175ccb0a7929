//! What the values of a scenario may be, in one place. Within these bounds a run comes to its end, if slowly.

use samara_protocol::limits::{GROUP_BYTES, GROUPS_MAX};

/// The longest time of a plan in seconds: eleven days, which a simulation still comes to the end of.
pub(crate) const TIME_MAX: f64 = 1e6;
/// What ends sooner than this, in seconds, nobody notices.
pub(crate) const LASTS_MIN: f64 = 0.001;
/// Nodes of a scenario at the most.
pub(crate) const NODES_MAX: usize = 100_000;
/// Releases of a scenario at the most: as many as a node takes part in.
pub(crate) const RELEASES_MAX: usize = samara_protocol::limits::RELEASES_MAX;
/// Bytes of a release at the most: those of a layout.
pub(crate) const SIZE_MAX: u64 = GROUPS_MAX as u64 * GROUP_BYTES;
/// Groups that all together are to get at the most: a run of so many takes hours.
pub(crate) const GROUPS_MOVED_MAX: u64 = 100_000_000;
/// Bytes a second of a link at the most: 1 Tbit/s.
pub(crate) const RATE_MAX: f64 = 1.25e11;
/// Bytes a second at the least, 20 kbit/s: a group takes 26 s then, and after 30 s without one a node asks elsewhere.
pub(crate) const RATE_MIN: f64 = 2_500.0;
/// The part of packets that is lost at the most.
pub(crate) const LOSS_MAX: f64 = 0.5;
/// The part of replies that break off at the most.
pub(crate) const BROKEN_MAX: f64 = 0.9;
