//! What goes wrong: crashes, links that are cut or slow, disks that are full, and how all of it is well again.

use std::time::Duration;

use samara_protocol::swarm::config::Role;
use samara_protocol::time::Timestamp;

use super::paths::pair;
use super::{Event, Planned, WARM_UP, World};
use crate::scenario::FaultKind;
use crate::topology::seconds;

/// Who is cut off for so long is hung up on, as a node does it.
const SILENCE: Duration = Duration::from_secs(15);

impl World {
    pub(super) fn plan_faults(&mut self) {
        for (number, fault) in self.scenario.fault.clone().into_iter().enumerate() {
            let origins = fault.kind == FaultKind::OriginDies;
            let all = 0..self.nodes.len();
            let mut victims: Vec<usize> = if origins {
                all.filter(|node| self.nodes[*node].nature.role == Role::Origin)
                    .collect()
            } else {
                all.filter(|node| self.nodes[*node].counts() && self.is_called(*node, fault.on.as_ref()))
                    .collect()
            };
            if !origins {
                self.rng.shuffle(&mut victims);
                victims.truncate(fault.count);
            }
            for victim in victims {
                let (from, to) = (seconds(fault.at_s), seconds(fault.latest_s()));
                let at = Timestamp(from.0 + self.rng.below(to.0 - from.0 + 1)).after(WARM_UP);
                self.planned.push(Planned {
                    fault: number,
                    node: victim,
                    at,
                });
                self.at(at, Event::Fault(number, victim, fault.times));
            }
        }
    }

    /// Whether the plan calls a node by this name; without one everybody is meant.
    fn is_called(&self, node: usize, name: Option<&String>) -> bool {
        name.is_none() || self.scenario.nodes[self.nodes[node].nature.group].name.as_ref() == name
    }

    /// A fault comes to a node, and comes again later if it is planned so.
    pub(super) fn fault(&mut self, number: usize, node: usize, times: usize) {
        let Some(fault) = self.scenario.fault.get(number).cloned() else {
            return;
        };
        if times > 1 {
            let again = self.now.after(Duration::from_secs_f64(fault.every_s));
            self.at(again, Event::Fault(number, node, times - 1));
        }
        let end = self.now.after(Duration::from_secs_f64(fault.for_s));
        if self.nodes[node].alive {
            self.struck.insert(number);
        }
        match fault.kind {
            FaultKind::Kill | FaultKind::Power if self.nodes[node].alive => {
                self.stop(node, fault.kind == FaultKind::Power);
                self.at(end, Event::Join(node));
            }
            FaultKind::OriginDies => self.leave(node),
            FaultKind::Outage => {
                self.cut_until[node] = self.cut_until[node].max(end);
                self.links.set_rates(self.now, node, 0.0, 0.0);
                self.at(end, Event::Healed(fault.kind, node, node));
                self.at(self.now.after(SILENCE), Event::Silence(fault.kind, node, node));
            }
            FaultKind::HalfOpen => {
                let neighbours = self.nodes[node].connected.keys().copied();
                let neighbours: Vec<usize> = neighbours
                    .filter(|other| self.is_called(*other, fault.with.as_ref()))
                    .collect();
                let Some(other) = self.rng.pick(&neighbours).copied() else {
                    return;
                };
                self.half_open.insert(pair(node, other), end);
                self.hold_down(node, other);
                self.at(end, Event::Healed(fault.kind, node, other));
                self.at(self.now.after(SILENCE), Event::Silence(fault.kind, node, other));
            }
            FaultKind::Slow => {
                let rates = self.nodes[node].nature.rates;
                self.links
                    .set_rates(self.now, node, rates.up * fault.factor, rates.down * fault.factor);
                self.at(end, Event::Healed(fault.kind, node, node));
            }
            FaultKind::DiskFull => {
                let entry = &mut self.nodes[node];
                entry.full_until = entry.full_until.max(end);
            }
            FaultKind::Kill | FaultKind::Power => {}
        }
    }

    /// A fault may be over: another one of its kind may still hold.
    pub(super) fn healed(&mut self, kind: FaultKind, node: usize, other: usize) {
        if kind == FaultKind::HalfOpen {
            if self
                .half_open
                .get(&pair(node, other))
                .is_some_and(|until| *until <= self.now)
            {
                self.half_open.remove(&pair(node, other));
            }
            self.hold_down(node, other);
            self.connect(node, other);
            return;
        }
        if self.cut_until[node] > self.now {
            return;
        }
        let rates = self.nodes[node].nature.rates;
        self.links.set_rates(self.now, node, rates.up, rates.down);
        for other in self.nodes[node].knows.clone() {
            self.connect(node, other);
        }
    }

    /// Nothing was heard for long: both sides hang up.
    pub(super) fn silence(&mut self, kind: FaultKind, node: usize, other: usize) {
        if kind == FaultKind::HalfOpen {
            if self.half_open.contains_key(&pair(node, other)) {
                self.disconnect(node, other, None);
            }
        } else if self.cut_until[node] > self.now {
            for other in self.nodes[node].knows.clone() {
                self.disconnect(other, node, None);
            }
        }
    }
}
