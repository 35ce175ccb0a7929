//! What a scenario must be beyond its form.

pub(crate) mod bounds;
mod faults;
mod times;

use std::collections::BTreeSet;

use samara_protocol::limits::{BLOCKS_MAX, GROUP_BYTES};

use self::bounds::{BROKEN_MAX, GROUPS_MOVED_MAX, LOSS_MAX, NODES_MAX, RATE_MAX, RATE_MIN, RELEASES_MAX, SIZE_MAX};
use super::{Nodes, Release, RoleName, Scenario, ScenarioError, size};

pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    if scenario.release.is_empty() || scenario.release.len() > RELEASES_MAX {
        return value("release", &format!("1 to {RELEASES_MAX}"));
    }
    scenario.release.iter().try_for_each(release)?;
    let counts = scenario.nodes.iter().map(|nodes| nodes.count);
    let count = counts.fold(0, usize::saturating_add);
    if count == 0 || count > NODES_MAX {
        return value("nodes.count", &format!("1 to {NODES_MAX} in all"));
    }
    if scenario.neighbours.is_some_and(|most| most == 0 || most > NODES_MAX) {
        return value("neighbours", &format!("1 to {NODES_MAX}"));
    }
    if !(0.0..=BROKEN_MAX).contains(&scenario.broken_replies) {
        return value("broken_replies", &format!("0 to {BROKEN_MAX}"));
    }
    if scenario.origin_copies_max == Some(0) {
        return value(
            "origin_copies_max",
            "0 copies reach nobody; write 1 or more, or leave it out",
        );
    }
    times::check(scenario)?;
    scenario.nodes.iter().try_for_each(nodes)?;
    names(&scenario.nodes)?;
    faults::check(scenario)?;
    somebody(&scenario.nodes)?;
    work(scenario)
}

fn value(field: &str, what: &str) -> Result<(), ScenarioError> {
    Err(ScenarioError::Value(field.to_owned(), what.to_owned()))
}

fn release(release: &Release) -> Result<(), ScenarioError> {
    let bytes = size(&release.size)?;
    if bytes == 0 {
        return value("release.size", "more than nothing");
    }
    if bytes > SIZE_MAX {
        let what = format!(
            "\"{}\" is too large; a release has at most {} TiB",
            release.size,
            SIZE_MAX >> 40
        );
        return value("release.size", &what);
    }
    if release.blocks.is_some_and(|most| most == 0 || most > BLOCKS_MAX) {
        return value("release.blocks", &format!("1 to {BLOCKS_MAX}"));
    }
    Ok(())
}

/// Whether a run comes to the end of it all.
fn work(scenario: &Scenario) -> Result<(), ScenarioError> {
    let mut groups = 0;
    for release in &scenario.release {
        groups += size(&release.size)?.div_ceil(GROUP_BYTES);
    }
    let takers = scenario.nodes.iter().filter(|nodes| nodes.role != RoleName::Origin);
    let takers = takers.fold(0, |sum: u64, nodes| sum.saturating_add(nodes.count as u64));
    let moved = groups.saturating_mul(takers);
    if moved <= GROUPS_MOVED_MAX {
        return Ok(());
    }
    let what = format!(
        "{takers} nodes with {groups} groups of 64 KiB each are too much for one run; write smaller sizes or fewer nodes, \
         {GROUPS_MOVED_MAX} groups in all at the most"
    );
    value("release.size, nodes.count", &what)
}

/// Whether somebody has something and somebody else is to get it: of a run in which nothing is to move there is nothing to
/// say.
fn somebody(groups: &[Nodes]) -> Result<(), ScenarioError> {
    let has = |nodes: &Nodes| nodes.count > 0 && (nodes.role == RoleName::Origin || nodes.holds.most() > 0.0);
    if !groups.iter().any(has) {
        return value(
            "nodes",
            "nobody has anything: one group needs role = \"origin\" or holds above 0",
        );
    }
    let is_to_get = |nodes: &Nodes| {
        let takes = nodes.role != RoleName::Origin && nodes.behaviour.is_honest() && nodes.leaves_s.is_none();
        nodes.count > 0 && takes && nodes.holds.least() < 1.0
    };
    if !groups.iter().any(is_to_get) {
        return value(
            "nodes",
            "nobody is to get anything: one group needs count above 0, role = \"site\" or \"host\", honest behaviour, holds below 1 \
             and no leaves_s",
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
    let value = |field: &str, what: &str| value(&format!("nodes.{field}"), what);
    if nodes.holds.most() > 1.0 {
        return value("holds", "0 to 1");
    }
    if nodes.loss.most() > LOSS_MAX {
        return value("loss", &format!("0 to {LOSS_MAX}"));
    }
    for (field, rate) in [("up", &nodes.up), ("down", &nodes.down)] {
        let is_mute = field == "up" && rate.most() == 0.0;
        if (rate.least() < RATE_MIN && !is_mute) || rate.most() > RATE_MAX {
            let what = "20kbit to 1000gbit: over less no group comes before a node asks elsewhere; up = \"0bit\" is who never serves";
            return value(field, what);
        }
    }
    for (field, limit) in [("limit_up", &nodes.limit_up), ("limit_down", &nodes.limit_down)] {
        if limit.as_ref().is_some_and(|limit| limit.least() < RATE_MIN) {
            return value(field, "at least 20kbit; leave it out for no limit");
        }
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
