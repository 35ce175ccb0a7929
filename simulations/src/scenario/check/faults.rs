//! What a fault must be: something that comes to somebody, lasts for a while and ends.

use super::super::{Fault, FaultKind, Nodes, RoleName, Scenario, ScenarioError};
use super::bounds::{LASTS_MIN, TIME_MAX};

pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    for fault in &scenario.fault {
        times(fault)?;
        kind(fault)?;
        names(fault, &scenario.nodes)?;
        victims(fault, &scenario.nodes)?;
    }
    Ok(())
}

fn value<T>(field: &str, what: &str) -> Result<T, ScenarioError> {
    Err(ScenarioError::Value(format!("fault.{field}"), what.to_owned()))
}

fn times(fault: &Fault) -> Result<(), ScenarioError> {
    if let Some(until) = fault.until_s.filter(|until| *until < fault.at_s) {
        let at = fault.at_s;
        let what = format!("{until:?} is before at_s = {at:?}; write a later time, or leave it out for exactly at_s");
        return value("until_s", &what);
    }
    if fault.times == 0 || (fault.times > 1 && fault.every_s <= fault.for_s) {
        return value("every_s", "what comes again must have ended: every_s above for_s");
    }
    if fault.end_s() > TIME_MAX {
        let what = format!(
            "the last one ends at {:?} s; by {TIME_MAX} s all must be over",
            fault.end_s()
        );
        return value("times", &what);
    }
    Ok(())
}

fn kind(fault: &Fault) -> Result<(), ScenarioError> {
    if !(0.0..=1.0).contains(&fault.factor) || fault.factor == 0.0 {
        return value("factor", "above 0, at most 1");
    }
    if fault.with.is_some() && fault.kind != FaultKind::HalfOpen {
        return value("with", "only for half-open: other faults have no second node");
    }
    let lasts = fault.kind != FaultKind::OriginDies;
    if lasts && fault.for_s < LASTS_MIN {
        let what = format!(
            "{:?} is too short; say how long it lasts, at least {LASTS_MIN}: everything must be well again in the end",
            fault.for_s
        );
        return value("for_s", &what);
    }
    if !lasts && (fault.for_s > 0.0 || fault.times > 1) {
        return value(
            "for_s",
            "origins that die are gone for good; leave for_s and times out, or write kind = \"kill\"",
        );
    }
    if !lasts && fault.on.is_some() {
        return value("on", "origin-dies comes to all origins; leave it out");
    }
    Ok(())
}

/// Whether there are groups of the names that a fault speaks of.
fn names(fault: &Fault, groups: &[Nodes]) -> Result<(), ScenarioError> {
    for (field, name) in [("on", &fault.on), ("with", &fault.with)] {
        let Some(name) = name else { continue };
        match groups.iter().find(|nodes| nodes.name.as_ref() == Some(name)) {
            None => return value(field, &format!("no [[nodes]] has name = \"{name}\"")),
            Some(nodes) if nodes.count == 0 => {
                return value(field, &format!("\"{name}\" has count = 0: nobody is meant"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether there is anybody to whom it can come.
fn victims(fault: &Fault, groups: &[Nodes]) -> Result<(), ScenarioError> {
    if fault.count == 0 {
        return value("count", "0 comes to nobody; write at least 1, or leave the fault out");
    }
    let origins = fault.kind == FaultKind::OriginDies;
    let is_meant = |nodes: &&Nodes| match (origins, nodes.role == RoleName::Origin) {
        (false, false) => nodes.behaviour.is_honest() && (fault.on.is_none() || fault.on == nodes.name),
        (true, is_origin) => is_origin,
        (false, true) => false,
    };
    let meant: usize = groups.iter().filter(is_meant).map(|nodes| nodes.count).sum();
    match (&fault.on, meant) {
        (Some(name), 0) => value(
            "on",
            &format!(
                "\"{name}\" has no honest site or host, and it comes to nobody else; only origin-dies comes to origins"
            ),
        ),
        (None, 0) if origins => value("kind", "origin-dies, and there is no origin"),
        (None, 0) => value("kind", "there is no honest site or host to whom it can come"),
        (Some(name), 1) if fault.with.as_ref() == Some(name) => value(
            "with",
            &format!("\"{name}\" is one node, which has no path to itself; name another group"),
        ),
        _ => Ok(()),
    }
}
