//! The links of a scenario: token buckets round a bridge, or emulated ones with delay, loss and faults.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use samara_protocol::swarm::config::Role;
use samara_tests::namespace::{Place, Star};
use samara_tests::places::Places;
use samara_tests::wan::{Link, Loss, Shape, Wan};
use serde_json::{Value, json};

use super::plan::{Part, Plan};

/// How all places are joined.
#[derive(Debug, Clone)]
pub(super) enum Links {
    /// Rates alone.
    Star(Arc<Star>),
    /// Rates, delay, loss, faults.
    Wan(Arc<Wan>),
}

/// Bytes through one place's interface, headers and all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Through {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Links {
    /// Sets them up.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        crate::swarm::neighbours::make_room(plan.parts.len())?;
        if plan.is_emulated {
            let links = plan.parts.iter().map(|part| (part.place.as_str(), link(plan, part)));
            return Ok(Self::Wan(Arc::new(Wan::new(plan.scenario.seed, links)?)));
        }
        let place = |part: &Part| {
            let rates = part.nature.rates;
            Place::new(&part.place, Some(mbit(rates.up)), Some(mbit(rates.down)))
        };
        Ok(Self::Star(Arc::new(Star::new(plan.parts.iter().map(place).collect())?)))
    }

    /// For a network of nodes.
    pub(super) fn places(&self) -> Arc<dyn Places> {
        match self {
            Self::Star(star) => star.clone(),
            Self::Wan(wan) => wan.clone(),
        }
    }

    /// What has gone through a place so far.
    pub(super) fn through(&self, place: &str) -> Result<Through> {
        Ok(match self {
            Self::Star(star) => {
                let counters = star.counters(place)?;
                Through {
                    sent: counters.sent,
                    received: counters.received,
                }
            }
            Self::Wan(wan) => {
                let traffic = wan.traffic(place);
                Through {
                    sent: traffic.up.bytes,
                    received: traffic.down.bytes,
                }
            }
        })
    }

    /// What they are, and how well they were kept: with overruns, or lateness near the delays, nothing was measured.
    pub(super) fn quality(&self) -> Result<Value> {
        Ok(match self {
            Self::Star(_) => json!({"kind": "star"}),
            Self::Wan(wan) => json!({
                "kind": "wan",
                "late_ms": crate::measure::round(wan.lateness().worst.as_secs_f64() * 1e3),
                "overruns": wan.overruns()?,
            }),
        })
    }
}

/// Half of what the scenario says of all paths, and what the node adds of its own, at each end of a path.
fn link(plan: &Plan, part: &Part) -> Link {
    let delay = Duration::from_secs_f64((plan.scenario.latency_ms / 2.0 + part.nature.latency_ms) / 1e3);
    let shape = |rate: f64| Shape {
        mbit: Some(mbit(rate)),
        delay,
        loss: Loss::random(part.nature.loss),
        ..Shape::default()
    };
    Link {
        up: shape(part.nature.rates.up),
        down: shape(part.nature.rates.down),
    }
}

/// Bytes a second as Mbit/s.
pub(super) fn mbit(rate: f64) -> f64 {
    rate * 8.0 / 1e6
}

/// Whether a part is the origin.
pub(super) fn is_origin(part: &Part) -> bool {
    part.nature.role == Role::Origin
}
