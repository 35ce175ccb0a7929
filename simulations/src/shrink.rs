//! Makes a plan that fails as small as it gets while it still fails in the same way.

use crate::scenario::Scenario;
use crate::{RunError, attempt};

/// The smallest plan found, and how it fails; nothing when the plan does not fail.
#[must_use]
pub fn shrink(plan: &Scenario) -> Option<(Scenario, RunError)> {
    let mut error = attempt(plan).err()?;
    let (kind, mut small) = (error.kind(), plan.clone());
    loop {
        let smaller = candidates(&small).into_iter().find_map(|candidate| {
            candidate.check().ok()?;
            let error = attempt(&candidate).err()?;
            (error.kind() == kind).then_some((candidate, error))
        });
        match smaller {
            Some((candidate, how)) => (small, error) = (candidate, how),
            None => return Some((small, error)),
        }
    }
}

/// Plans that are one step smaller, the largest steps first.
fn candidates(plan: &Scenario) -> Vec<Scenario> {
    let mut out = Vec::new();
    let mut add = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        out.push(candidate);
    };
    for at in 0..plan.fault.len() {
        add(&|plan| {
            plan.fault.remove(at);
        });
    }
    for at in 1..plan.nodes.len() {
        add(&|plan| {
            plan.nodes.remove(at);
        });
    }
    for at in 1..plan.release.len() {
        add(&|plan| {
            plan.release.remove(at);
        });
    }
    for at in 0..plan.nodes.len() {
        if plan.nodes[at].count > 1 {
            add(&|plan| plan.nodes[at].count /= 2);
            add(&|plan| plan.nodes[at].count -= 1);
        }
    }
    for at in 0..plan.fault.len() {
        if plan.fault[at].times > 1 {
            add(&|plan| plan.fault[at].times = 1);
        }
        if plan.fault[at].count > 1 {
            add(&|plan| plan.fault[at].count = 1);
        }
    }
    if plan.broken_replies > 0.0 {
        add(&|plan| plan.broken_replies = 0.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos;

    #[test]
    fn a_plan_that_cannot_end_well_shrinks_to_what_makes_it_fail() {
        let mut plan = chaos::scenario(11);
        // Nobody can have finished by then, whatever else happens.
        plan.deadline_factor = 0.0;
        plan.release[0].size = "64MiB".to_owned();
        plan.nodes[0].up = crate::scenario::Spread::one(1.25e5);
        let (small, error) = shrink(&plan).expect("it fails");
        assert_eq!(error.kind(), "too slow");
        let nodes: usize = small.nodes.iter().map(|nodes| nodes.count).sum();
        assert!(small.fault.is_empty() && nodes == 2, "{small:#?}");
        let path = std::env::temp_dir().join(format!("samara-shrink-{}.toml", std::process::id()));
        std::fs::write(&path, small.to_toml().expect("can be said")).expect("written");
        let read = Scenario::load(&path.to_string_lossy()).expect("a scenario");
        std::fs::remove_file(&path).expect("removed");
        let again = attempt(&read).expect_err("fails from its file as well");
        assert_eq!(again.to_string(), error.to_string());
        assert!(
            shrink(&Scenario {
                deadline_factor: 60.0,
                ..small
            })
            .is_none()
        );
    }

    #[test]
    fn who_stands_still_does_not_shrink_to_who_is_merely_slow() {
        let text = "name = \"x\"\ndeadline_factor = 0.0\n[[release]]\nsize = \"64MiB\"\n\
            [[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"1mbit\"\ndown = \"1mbit\"\n\
            [[nodes]]\ncount = 4\nrole = \"site\"\nup = \"1mbit\"\ndown = \"1mbit\"\n\
            [[fault]]\nkind = \"origin-dies\"\nat_s = 3.0\n";
        let plan = Scenario::parse("x", text).expect("a scenario");
        let (small, error) = shrink(&plan).expect("it fails");
        assert_eq!(error.kind(), "stands still");
        assert!(error.to_string().contains("stands still since"), "{error}");
        assert_eq!(small.fault.len(), 1, "without it they are slow: {small:#?}");
        let mut slow = plan;
        slow.fault.clear();
        let error = attempt(&slow).expect_err("64 MiB take nine minutes");
        assert!(error.to_string().contains("still moving at"), "{error}");
    }
}
