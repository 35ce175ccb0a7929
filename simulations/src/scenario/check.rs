//! What a scenario must be beyond its form.

use super::{Fault, FaultKind, Nodes, RoleName, Scenario, ScenarioError, size};

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
    let count: usize = scenario.nodes.iter().map(|nodes| nodes.count).sum();
    if count == 0 || count > NODES_MAX {
        return value("nodes.count", &format!("1 to {NODES_MAX} in all"));
    }
    if scenario.neighbours == Some(0) {
        return value("neighbours", "at least one");
    }
    if !(0.0..=0.9).contains(&scenario.broken_replies) {
        return value("broken_replies", "0 to 0.9");
    }
    for (field, number) in [
        ("latency_ms", scenario.latency_ms),
        ("region_latency_ms", scenario.region_latency_ms),
        ("deadline_factor", scenario.deadline_factor),
    ] {
        if !number.is_finite() || number < 0.0 {
            return value(field, "0 or more");
        }
    }
    scenario.nodes.iter().try_for_each(nodes)?;
    scenario.fault.iter().try_for_each(fault)?;
    scenario
        .fault
        .iter()
        .try_for_each(|fault| names(fault, &scenario.nodes))?;
    let has_source = |nodes: &Nodes| nodes.count > 0 && (nodes.role == RoleName::Origin || nodes.holds.most() > 0.0);
    if !scenario.nodes.iter().any(has_source) {
        return value(
            "nodes",
            "nobody has anything: one group needs role = \"origin\" or holds above 0",
        );
    }
    Ok(())
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

/// Whether there are groups of the names that a fault speaks of.
fn names(fault: &Fault, groups: &[Nodes]) -> Result<(), ScenarioError> {
    for (field, name) in [("fault.on", &fault.on), ("fault.with", &fault.with)] {
        let Some(name) = name else { continue };
        if !groups.iter().any(|nodes| nodes.name.as_ref() == Some(name)) {
            let what = format!("no [[nodes]] has name = \"{name}\"");
            return Err(ScenarioError::Value(field.to_owned(), what));
        }
    }
    Ok(())
}

fn fault(fault: &Fault) -> Result<(), ScenarioError> {
    let value = |field: &str, what: &str| Err(ScenarioError::Value(format!("fault.{field}"), what.to_owned()));
    let times = [fault.at_s, fault.until_s, fault.for_s, fault.every_s];
    if times.iter().any(|time| !time.is_finite() || *time < 0.0) {
        return value("at_s", "times are 0 or more");
    }
    if fault.times == 0 || (fault.times > 1 && fault.every_s <= fault.for_s) {
        return value("every_s", "what comes again must have ended: every_s above for_s");
    }
    if !(0.0..=1.0).contains(&fault.factor) || fault.factor == 0.0 {
        return value("factor", "above 0, at most 1");
    }
    if fault.with.is_some() && fault.kind != FaultKind::HalfOpen {
        return value("with", "only for half-open: other faults have no second node");
    }
    let lasts = !matches!(fault.kind, FaultKind::OriginDies);
    if lasts && fault.for_s == 0.0 {
        return value("for_s", "how long it lasts: everything must be well again in the end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "[[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"50mbit\"\ndown = \"100mbit\"\n";

    #[test]
    fn what_makes_no_sense_is_refused_and_the_field_named() {
        for (rest, field) in [
            ("broken_replies = 2.0\n", "broken_replies"),
            ("neighbours = 0\n", "neighbours"),
            ("latency_ms = -1.0\n", "latency_ms"),
            ("nieghbours = 3\n", "nieghbours"),
        ] {
            let error = Scenario::parse("x", &format!("name = \"x\"\n{rest}{NODES}")).expect_err(rest);
            assert!(error.to_string().contains(field), "{error}");
        }
        for (rest, field) in [
            ("holds = 2\n", "nodes.holds"),
            ("loss = \"0.1 | 0.9\"\n", "nodes.loss"),
            ("site_only = true\n", "nodes.site_only"),
            ("tenants = 0\n", "nodes.tenants"),
            ("uplink = \"5mbit\"\n", "uplink"),
            ("latency_ms = \"fast\"\n", "2..40"),
            ("[[fault]]\nkind = \"kill\"\nat_s = 1.0\n", "fault.for_s"),
            (
                "[[fault]]\nkind = \"outage\"\nat_s = 1.0\nfor_s = 2.0\ntimes = 3\nevery_s = 1.0\n",
                "fault.every_s",
            ),
            (
                "[[fault]]\nkind = \"slow\"\nat_s = 1.0\nfor_s = 2.0\nfactor = 0.0\n",
                "fault.factor",
            ),
            ("[[fault]]\nkind = \"melt\"\nat_s = 1.0\n", "melt"),
            (
                "[[fault]]\nkind = \"kill\"\nat_s = 1.0\nfor_s = 1.0\non = \"x\"\n",
                "fault.on",
            ),
            (
                "name = \"x\"\n[[fault]]\nkind = \"kill\"\nat_s = 1.0\nfor_s = 1.0\nwith = \"x\"\n",
                "fault.with",
            ),
            ("[[release]]\nsize = \"0MiB\"\n", "release.size"),
            ("[[release]]\nsize = \"64\"\n", "size"),
        ] {
            let error = Scenario::parse("x", &format!("name = \"x\"\n{NODES}{rest}")).expect_err(rest);
            assert!(error.to_string().contains(field), "{error}");
        }
        let nobody = NODES.replace("origin", "site");
        let error = Scenario::parse("x", &format!("name = \"x\"\n{nobody}")).expect_err("no source");
        assert!(error.to_string().contains("nobody has anything"), "{error}");
    }
}
