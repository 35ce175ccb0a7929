//! What has moved and what it has cost until now, by the kernel's counters and the nodes' own.

use std::fs;

use anyhow::{Context, Result};
use samara_tests::metrics::{self, Samples};
use samara_tests::network::Network;

use super::attack::Attacker;
use crate::swarm::{Bed, ORIGIN};

/// Where a site's counters are served, in its own namespace.
pub(crate) const METRICS: &str = "127.0.0.1:9464";

/// See the module; differences of two of them are what counts.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Counted {
    /// Bytes out of the origin's interface.
    pub(crate) origin_sent: u64,
    /// Bytes into the honest sites' interfaces.
    pub(crate) sites_received: u64,
    /// Payload into the honest sites' nodes, verified.
    pub(crate) payload: u64,
    /// CPU seconds of the origin's node and the honest sites'.
    pub(crate) honest_cpu: f64,
    /// Those of the hostile processes.
    pub(crate) hostile_cpu: f64,
    /// The whole machine's.
    pub(crate) machine: Ticks,
}

/// The machine's CPU time, in the kernel's units.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    all: u64,
    idle: u64,
}

impl Counted {
    /// Looks at the bed's sites, the origin, and the hostile ones.
    pub(crate) fn now(bed: &Bed<'_>, network: &Network, attackers: &[Attacker]) -> Result<Self> {
        let mut counted = Self {
            origin_sent: bed.star.counters(ORIGIN)?.sent,
            honest_cpu: network.origin.process()?.usage().cpu.as_secs_f64(),
            hostile_cpu: attackers.iter().map(Attacker::cpu).sum(),
            machine: Ticks::now()?,
            ..Self::default()
        };
        for (name, site) in bed.sites.iter().zip(&network.sites) {
            counted.sites_received += bed.star.counters(name)?.received;
            let samples = bed.star.inside(name, || metrics::scrape(METRICS))?;
            counted.payload += received(&samples.with_context(|| format!("the counters of {name}"))?);
            counted.honest_cpu += site.node.process()?.usage().cpu.as_secs_f64();
        }
        Ok(counted)
    }

    /// What has come since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            origin_sent: self.origin_sent - before.origin_sent,
            sites_received: self.sites_received - before.sites_received,
            payload: self.payload - before.payload,
            honest_cpu: self.honest_cpu - before.honest_cpu,
            hostile_cpu: self.hostile_cpu - before.hostile_cpu,
            machine: Ticks {
                all: self.machine.all - before.machine.all,
                idle: self.machine.idle - before.machine.idle,
            },
        }
    }
}

fn received(samples: &Samples) -> u64 {
    let distances = ["site", "tenant", "region", "other", "origin"];
    distances
        .map(|distance| samples.payload("received", distance))
        .iter()
        .sum()
}

impl Ticks {
    fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).context("the first line of /proc/stat")
    }

    /// From the line of all cores: user, nice, system, idle, waiting for disks, interrupts and so on; guests are in user already.
    fn parse(table: &str) -> Option<Self> {
        let line = table.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        Some(Self {
            all: fields.iter().sum(),
            idle: fields.get(3)? + fields.get(4)?,
        })
    }

    /// The share of it that was used.
    #[expect(clippy::cast_precision_loss, reason = "ticks far below 2^53")]
    pub(crate) fn busy(self) -> f64 {
        (self.all - self.idle) as f64 / self.all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_idle_nor_waits_for_a_disk_is_busy() {
        let ticks = Ticks::parse("cpu  10 20 30 25 15 0 0 0 7 7\ncpu0 1 2\n").expect("a line of the kernel's");
        assert_eq!(ticks, Ticks { all: 100, idle: 40 });
        assert!((ticks.busy() - 0.6).abs() < 1e-9);
        assert_eq!(Ticks::parse("intr 1 2 3"), None);
    }
}
