//! One release over one emulated link: from an origin without fault to a site that has it, and on to the site's host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Network, PRODUCT, Plan, Transfer};
use crate::tree::{Tree, same};
use crate::wan::{Lateness, Link, LinkTraffic, Wan};

/// The only release.
const VERSION: &str = "1.0.0";

/// What it took.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// From the start of `publish` until the site had all of it, checked and durable.
    pub took: Duration,
    /// What the site had then.
    pub transfer: Transfer,
    /// What had crossed its link meanwhile.
    pub traffic: LinkTraffic,
    /// How well the emulator kept up.
    pub lateness: Lateness,
    /// Packets that the emulator or a receiver had no room for.
    pub overruns: u64,
}

impl Crossing {
    /// Publishes one random file of so many bytes and waits until the site, which follows the channel, has staged it; then
    /// fetches it on the site's host and compares.
    ///
    /// # Errors
    /// When that does not happen within `limit`, or what arrived is not what was published.
    pub fn of(link: Link, seed: u64, bytes: u64, limit: Duration) -> Result<Self> {
        let wan = Arc::new(Wan::new(seed, [("o", Link::default()), ("s1", link)])?);
        let network = Network::start(&Plan {
            places: Some(wan.clone()),
            ..Plan::default()
        })?;
        let mut tree = Tree::new(network.folder("release")?, seed)?;
        tree.file("large", bytes)?;
        let (started, before) = (Instant::now(), wan.traffic("s1"));
        network.publish(tree.root(), VERSION)?;
        let site = &network.sites[0];
        let transfer = site.node.wait_staged(VERSION, limit)?;
        let crossing = Self {
            took: started.elapsed(),
            transfer,
            traffic: wan.traffic("s1").since(&before),
            lateness: wan.lateness(),
            overruns: wan.overruns()?,
        };
        let into = network.folder("out")?;
        site.fetch(&format!("{PRODUCT}@{VERSION}"), &into)?;
        same(tree.root(), &into)?;
        let got = crossing.transfer.from("origin");
        ensure!(got >= bytes, "it came over the link: {crossing:?}");
        Ok(crossing)
    }
}
