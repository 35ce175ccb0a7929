//! What a scenario must be beyond its form.

mod faults;
mod times;

use std::collections::BTreeSet;

pub(crate) use times::TIME_MAX;

use super::{Nodes, RoleName, Scenario, ScenarioError, size};

/// Nodes of a scenario at the most.
const NODES_MAX: usize = 100_000;

pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let value = |field: &str, what: &str| Err(ScenarioError::Value(field.to_owned(), what.to_owned()));
    if scenario.release.is_empty() {
        return value("release", "at least one");
    }
    for release in &scenario.release {
        if size(&release.size)? == 0 {
            return value("release.size", "more than nothing");
        }
        if release.blocks == Some(0) {
            return value("release.blocks", "at least one");
        }
    }
    let counts = scenario.nodes.iter().map(|nodes| nodes.count);
    let count = counts.fold(0, usize::saturating_add);
    if count == 0 || count > NODES_MAX {
        return value("nodes.count", &format!("1 to {NODES_MAX} in all"));
    }
    if scenario.neighbours == Some(0) {
        return value("neighbours", "at least one");
    }
    if !(0.0..=0.9).contains(&scenario.broken_replies) {
        return value("broken_replies", "0 to 0.9");
    }
    times::check(scenario)?;
    scenario.nodes.iter().try_for_each(nodes)?;
    names(&scenario.nodes)?;
    faults::check(scenario)?;
    let has_source = |nodes: &Nodes| nodes.count > 0 && (nodes.role == RoleName::Origin || nodes.holds.most() > 0.0);
    if !scenario.nodes.iter().any(has_source) {
        return value(
            "nodes",
            "nobody has anything: one group needs role = \"origin\" or holds above 0",
        );
    }
    Ok(())
}

/// A fault that speaks of a name must mean one group.
fn names(groups: &[Nodes]) -> Result<(), ScenarioError> {
    let mut seen = BTreeSet::new();
    match groups
        .iter()
        .filter_map(|nodes| nodes.name.as_ref())
        .find(|name| !seen.insert(*name))
    {
        None => Ok(()),
        Some(name) => {
            let what =
                format!("two groups are called \"{name}\"; give each another name, so that faults know whom they mean");
            Err(ScenarioError::Value("nodes.name".to_owned(), what))
        }
    }
}

fn nodes(nodes: &Nodes) -> Result<(), ScenarioError> {
    let value = |field: &str, what: &str| Err(ScenarioError::Value(format!("nodes.{field}"), what.to_owned()));
    if nodes.holds.most() > 1.0 {
        return value("holds", "0 to 1");
    }
    if nodes.loss.most() > 0.5 {
        return value("loss", "0 to 0.5");
    }
    if nodes.nodes_per_site == 0 {
        return value("nodes_per_site", "at least one");
    }
    if nodes.tenants == Some(0) {
        return value("tenants", "at least one");
    }
    if nodes.tenant.is_some() && nodes.tenants.is_some() {
        return value("tenant", "either one tenant or a number of tenants");
    }
    if nodes.site.is_some() && nodes.nodes_per_site > 1 {
        return value("site", "either the name of one site or a number of nodes in each");
    }
    if nodes.site_only && nodes.role != RoleName::Host {
        return value("site_only", "only for hosts");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
