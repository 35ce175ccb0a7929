//! Room for everybody's addresses: the kernel has one table of neighbours for all namespaces of a machine.
//!
//! Where all sites talk with all, 32 of them need 1,056 entries, and Linux by default gives 1,024. Whoever comes late then has
//! packets that go nowhere, and what is measured is how a program bears that.

use std::fs;

use anyhow::{Context, Result};

/// How many entries the table may have.
const BOUND: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";
/// From how many on the kernel throws out old ones.
const CROWDED: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh2";

/// Raises the bound where it is too low for a star of `places`. It stays raised, since another star may stand beside this one.
pub(crate) fn make_room(places: usize) -> Result<()> {
    let bound: usize = fs::read_to_string(BOUND)
        .context(BOUND)?
        .trim()
        .parse()
        .context(BOUND)?;
    if let Some(needed) = needed(places, bound) {
        crate::note(&format!("{BOUND} is raised from {bound} to {needed}"));
        fs::write(BOUND, needed.to_string()).context(BOUND)?;
        fs::write(CROWDED, (needed / 2).to_string()).context(CROWDED)?;
    }
    Ok(())
}

/// What the bound has to become, if it is not enough: twice the entries, as others use the table too.
fn needed(places: usize, bound: usize) -> Option<usize> {
    let entries = places * places.saturating_sub(1);
    (2 * entries > bound).then_some(4 * entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_raised_for_many_sites_alone() {
        assert_eq!(needed(17, 1024), None, "16 sites fit as the machine is");
        assert_eq!(needed(33, 1024), Some(4224));
        assert_eq!(needed(33, 4224), None, "and once is enough");
        assert_eq!(needed(0, 1024), None);
    }
}
