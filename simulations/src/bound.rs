//! What no scheduler can beat.

/// The links of one node.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Bytes a second up; 0 for a node that never serves.
    pub up: f64,
    /// Bytes a second down.
    pub down: f64,
}

/// What a node lacks.
#[derive(Debug, Clone, Copy)]
pub struct Taker {
    /// Bytes.
    pub lacks: f64,
    /// Bytes a second down.
    pub down: f64,
}

/// Kumar and Ross, for nodes that may hold parts from the start: the least time in seconds in which all have all. The origins
/// have to send `first` bytes themselves, at `origin_up` together; all who serve, the origins included, send at `all_up`.
#[must_use]
pub fn kumar_ross(first: f64, origin_up: f64, all_up: f64, takers: &[Taker]) -> f64 {
    let slowest = takers
        .iter()
        .map(|taker| over(taker.lacks, taker.down))
        .fold(0.0, f64::max);
    let together: f64 = takers.iter().map(|taker| taker.lacks).sum();
    // Without an origin it says nothing: somebody else may hold what a group of nodes lacks.
    let first = if origin_up > 0.0 { first / origin_up } else { 0.0 };
    first.max(slowest).max(over(together, all_up))
}

/// Nothing takes no time, at whatever rate.
fn over(bytes: f64, rate: f64) -> f64 {
    if bytes == 0.0 { 0.0 } else { bytes / rate }
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
    fn equal_sites_are_bound_by_the_origin_weak_ones_by_all_uplinks_and_who_holds_much_by_what_is_left() {
        let takers = |lacks: f64, count: usize| vec![Taker { lacks, down: 100.0 }; count];
        let bound = kumar_ross(500.0, 50.0, 450.0, &takers(500.0, 8));
        assert!((bound - 10.0).abs() < 1e-9);
        let bound = kumar_ross(210.0, 50.0, 210.0, &takers(210.0, 16));
        assert!((bound - 16.0).abs() < 1e-9);
        let one = [
            Taker {
                lacks: 50.0,
                down: 10.0,
            },
            Taker { lacks: 0.0, down: 0.0 },
        ];
        assert!((kumar_ross(0.0, 50.0, 450.0, &one) - 5.0).abs() < 1e-9);
        assert!((kumar_ross(500.0, 0.0, 5.0, &one) - 10.0).abs() < 1e-9, "no origin");
        assert!(kumar_ross(0.0, 50.0, 0.0, &one[1..]).abs() < 1e-9);
    }

    #[test]
    fn whole_blocks_cost_a_round_for_each_doubling_of_the_sites() {
        let equal = [Rates { up: 50.0, down: 100.0 }; 8];
        let bound = mundinger(500.0, 50.0, &equal, 10).expect("equal links");
        assert!((bound - 13.0).abs() < 1e-9, "10 s and three blocks' time: {bound}");
        assert!(mundinger(500.0, 40.0, &equal, 10).is_none());
    }
}
