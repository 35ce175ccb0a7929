//! Random fault schedules: a batch that fits a run of all tests, and the seeds that once failed.

use samara_simulations::{attempt, chaos};

/// Seeds that found a fault, and what it was. Their plans had no hosts that know only their own site.
const REGRESSIONS: [(u64, &str); 7] = [
    (126, "a domain that stood still was near its end for ever"),
    (2739, "the same"),
    (90, "what was lost and came again was taken for asked of nobody"),
    (499, "the same, with a stalled peer"),
    (48, "who has a narrow link that others keep full was let go as stalled"),
    (153, "a node with a full disk was taken for a liar"),
    (33, "who closed a layout was blamed for each ask that was under way"),
];

#[test]
fn seeds_that_once_failed_end_well() {
    for (seed, what) in REGRESSIONS {
        let outcome = attempt(&chaos::without_housed(seed));
        assert!(
            outcome.is_ok(),
            "seed {seed} ({what}): {}",
            outcome.expect_err("failed")
        );
    }
}

#[test]
fn random_fault_schedules_are_safe_fair_and_end() {
    for seed in 0..200 {
        if let Err(error) = attempt(&chaos::scenario(seed)) {
            panic!("seed {seed}: {error}\nreplay: samara-simulations run chaos --seed {seed}");
        }
    }
}
