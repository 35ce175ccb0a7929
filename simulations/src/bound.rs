//! What no scheduler can beat.

/// The links of one node that fetches.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Bytes a second up; 0 for a node that never serves.
    pub up: f64,
    /// Bytes a second down.
    pub down: f64,
}

/// Kumar and Ross: the least time in seconds in which `bytes` reach all of `sites` from origins with `origin_up` together.
#[must_use]
pub fn kumar_ross(bytes: f64, origin_up: f64, sites: &[Rates]) -> f64 {
    let slowest = sites.iter().map(|site| site.down).fold(f64::INFINITY, f64::min);
    let all_up: f64 = origin_up + sites.iter().map(|site| site.up).sum::<f64>();
    let count = f64::from(u32::try_from(sites.len()).unwrap_or(u32::MAX));
    (bytes / origin_up).max(bytes / slowest).max(count * bytes / all_up)
}

/// Mundinger, Weber and Weiss (2008): the same where `blocks` equal blocks must be whole before they are passed on and all
/// uplinks are equal; nothing where they are not, or where a downlink is narrower than an uplink.
#[must_use]
pub fn mundinger(bytes: f64, origin_up: f64, sites: &[Rates], blocks: u32) -> Option<f64> {
    let is_equal = |site: &Rates| (site.up - origin_up).abs() <= 1e-9 * origin_up && site.down >= origin_up;
    if sites.is_empty() || blocks == 0 || !sites.iter().all(is_equal) {
        return None;
    }
    let rounds = f64::from(sites.len().ilog2());
    Some((1.0 + rounds / f64::from(blocks)) * bytes / origin_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sites_are_bound_by_the_origin_and_weak_ones_by_all_uplinks() {
        let equal = [Rates { up: 50.0, down: 100.0 }; 8];
        assert!((kumar_ross(500.0, 50.0, &equal) - 10.0).abs() < 1e-9);
        let weak = [Rates { up: 10.0, down: 100.0 }; 16];
        assert!((kumar_ross(210.0, 50.0, &weak) - 16.0).abs() < 1e-9);
    }

    #[test]
    fn whole_blocks_cost_a_round_for_each_doubling_of_the_sites() {
        let equal = [Rates { up: 50.0, down: 100.0 }; 8];
        let bound = mundinger(500.0, 50.0, &equal, 10).expect("equal links");
        assert!((bound - 13.0).abs() < 1e-9, "10 s and three blocks' time: {bound}");
        assert!(mundinger(500.0, 40.0, &equal, 10).is_none());
    }
}
