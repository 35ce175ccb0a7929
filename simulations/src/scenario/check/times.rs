//! All times of a scenario, looked at in one place.

use super::super::{Scenario, ScenarioError};
use super::bounds::TIME_MAX;

pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    within("latency_ms", scenario.latency_ms, TIME_MAX * 1e3)?;
    within("region_latency_ms", scenario.region_latency_ms, TIME_MAX * 1e3)?;
    within("deadline_factor", scenario.deadline_factor, TIME_MAX)?;
    for release in &scenario.release {
        within("release.at_s", release.at_s, TIME_MAX)?;
    }
    for nodes in &scenario.nodes {
        let joins = ("nodes.joins_s", Some(&nodes.joins_s), TIME_MAX);
        let leaves = ("nodes.leaves_s", nodes.leaves_s.as_ref(), TIME_MAX);
        let latency = ("nodes.latency_ms", Some(&nodes.latency_ms), TIME_MAX * 1e3);
        for (field, spread, most) in [joins, leaves, latency] {
            let ends = spread.map(|spread| [spread.least(), spread.most()]);
            ends.into_iter()
                .flatten()
                .try_for_each(|end| within(field, end, most))?;
        }
    }
    for fault in &scenario.fault {
        within("fault.at_s", fault.at_s, TIME_MAX)?;
        within("fault.until_s", fault.until_s.unwrap_or_default(), TIME_MAX)?;
        within("fault.for_s", fault.for_s, TIME_MAX)?;
        within("fault.every_s", fault.every_s, TIME_MAX)?;
    }
    Ok(())
}

fn within(field: &str, value: f64, most: f64) -> Result<(), ScenarioError> {
    // What is no number is in no range.
    if (0.0..=most).contains(&value) {
        return Ok(());
    }
    let what = format!("{value:?} is out of range; write a number from 0 to {most}");
    Err(ScenarioError::Value(field.to_owned(), what))
}
