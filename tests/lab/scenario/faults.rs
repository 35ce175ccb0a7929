//! What goes wrong, done to real processes and links at the plan's moments.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use samara_protocol::rng::Rng;
use samara_simulations::scenario::FaultKind;
use samara_tests::wan::Wan;
use serde_json::Value;

use super::fleet::{lock, peers};
use super::links::{Links, is_origin, mbit};
use super::plan::{Act, Plan};
use super::stage::{Stage, look};

/// What a copy is on the wire at the most: 1 % of proofs, and headers of TCP and IP at 52 of 1,500 bytes; with room.
const COPY_ON_WIRE: f64 = 1.08;
/// A receiver is to leave a source that brings nothing within this time and four round trips.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);

/// How long a receiver waited for others after the path to a source was cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    /// From the cut to the next bytes from anybody else, if they came.
    pub(super) gap: Option<Duration>,
    /// Whether it had everything by then, or all of it before anybody else brought any.
    pub(super) missed_nothing: bool,
    /// How long it may be.
    pub(super) limit: Duration,
    /// What the source had brought until the cut, of what was wanted.
    pub(super) brought: u64,
}

impl Stage<'_> {
    /// Does one planned thing, if the run lasts until then, and undoes it.
    pub(super) fn act(&self, act: &Act) -> Result<()> {
        if !self.clock.until(act.at) {
            return Ok(());
        }
        let fault = &self.plan.scenario.fault[act.fault];
        let end = act.at + Duration::from_secs_f64(fault.for_s);
        let part = &self.plan.parts[act.node];
        match act.kind {
            FaultKind::Kill => {
                self.kill(act.node)?;
                if self.clock.until(end) {
                    self.fleet.start(act.node)?;
                }
                Ok(())
            }
            FaultKind::OriginDies => self.origin_dies(act),
            FaultKind::Outage => {
                self.wan()?.set_link(&part.place, false)?;
                self.clock.until(end);
                self.wan()?.set_link(&part.place, true)
            }
            FaultKind::Slow => {
                let rates = part.nature.rates;
                let set = |factor: f64| {
                    self.wan()?.change(&part.place, |link| {
                        link.up.mbit = Some(mbit(rates.up * factor));
                        link.down.mbit = Some(mbit(rates.down * factor));
                    })
                };
                set(fault.factor)?;
                self.clock.until(end);
                set(1.0)
            }
            FaultKind::HalfOpen => self.half_open(act, end),
            FaultKind::Power | FaultKind::DiskFull => bail!("{:?} is refused before", act.kind),
        }
    }

    fn wan(&self) -> Result<&Wan> {
        match self.links {
            Links::Wan(wan) => Ok(wan),
            Links::Star(_) => bail!("token buckets know no faults of the network"),
        }
    }

    /// The origin goes for good. Where the plan gives it the time to send one copy, it goes when that is out, however late.
    fn origin_dies(&self, act: &Act) -> Result<()> {
        let part = &self.plan.parts[act.node];
        #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
        let bytes = self.plan.bytes() as f64;
        if act.at.as_secs_f64() >= bytes / part.nature.rates.up {
            let sent = || -> Result<Option<()>> {
                let through = self.links.through(&part.place)?.sent - self.origin_before.sent;
                #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
                let is_out = through as f64 >= bytes * COPY_ON_WIRE;
                Ok(is_out.then_some(()))
            };
            if look(&self.clock, sent)?.is_none() {
                return Ok(());
            }
        }
        *lock(&self.origin_died) = Some(self.clock.now());
        self.leave(act.node)
    }

    /// What a source sends to the node is lost from now on, and the node is watched until others bring something.
    fn half_open(&self, act: &Act, end: Duration) -> Result<()> {
        let source = neighbour(self.plan, act)?;
        let (node, other) = (&self.plan.parts[act.node], &self.plan.parts[source]);
        let told = self
            .fleet
            .status(self.plan, source)
            .context("the source does not run")?;
        let name = told["node"]["peer"].as_str().context("a node's own name")?.to_owned();
        let status = || {
            self.fleet
                .status(self.plan, act.node)
                .context("the receiver does not run")
        };
        let before = status()?;
        let is_done = |status: &Value| missing(status) == Some(0);
        let brought = received(&before, |peer| peer == name);
        self.wan()?.set_path(&other.place, &node.place, false);
        let cut = self.clock.now();
        // What others brought until now is not what the receiver turned to them for.
        let others = received(&status()?, |peer| peer != name);
        let next = || -> Result<Option<Option<Duration>>> {
            let status = status()?;
            let more = received(&status, |peer| peer != name) > others;
            let gap = more.then(|| self.clock.now() - cut);
            Ok((more || is_done(&status)).then_some(gap))
        };
        let looked = if is_done(&before) {
            Some(None)
        } else {
            look(&self.clock, next)?
        };
        lock(&self.gaps).push(Gap {
            gap: looked.flatten(),
            missed_nothing: looked == Some(None),
            limit: LEAVES_WITHIN + 8 * self.plan.latency(act.node, source),
            brought,
        });
        self.clock.until(end);
        self.wan()?.set_path(&other.place, &node.place, true);
        Ok(())
    }
}

/// Whose path to the node is cut: drawn from those that the plan names.
fn neighbour(plan: &Plan, act: &Act) -> Result<usize> {
    let all = plan.neighbours_of(act);
    let mut rng = Rng::new(plan.scenario.seed ^ 0x6861_6c66);
    rng.pick(&all).copied().with_context(|| {
        let node = if is_origin(&plan.parts[act.node]) {
            "the origin"
        } else {
            &plan.parts[act.node].place
        };
        format!("`fault.with`: nobody but {node} is called so")
    })
}

/// Payload that was received of some peers, by a status. Whoever has gone has no row any more: it then counts as nothing.
fn received(status: &Value, wanted: impl Fn(&str) -> bool) -> u64 {
    let rows = peers(status)
        .iter()
        .filter(|row| row["peer"].as_str().is_some_and(&wanted));
    rows.filter_map(|row| row["received_bytes"].as_u64()).sum()
}

/// Bytes that a node still lacks of what it wants; none before it wants anything.
fn missing(status: &Value) -> Option<u64> {
    let rows = status["transfers"].as_array()?;
    let lacks = rows.iter().filter_map(|row| {
        let (have, wanted) = (row["have_bytes"].as_u64()?, row["wanted_bytes"].as_u64()?);
        Some(wanted.saturating_sub(have))
    });
    (!rows.is_empty()).then(|| lacks.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_of_one_peer_and_of_all_others_are_told_apart() {
        let status = json!({
            "peers": [{"peer": "a", "received_bytes": 5}, {"peer": "b", "received_bytes": 7}, {"peer": "c", "received_bytes": 1}],
            "transfers": [{"have_bytes": 3, "wanted_bytes": 10}, {"have_bytes": 2, "wanted_bytes": 2}],
        });
        assert_eq!(received(&status, |peer| peer == "b"), 7);
        assert_eq!(received(&status, |peer| peer != "b"), 6);
        assert_eq!(missing(&status), Some(7));
        assert_eq!(missing(&json!({"transfers": []})), None);
    }
}
