//! Honest sites beside hostile ones, and what the logs of the first say of the second.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_protocol::id::ManifestId;
use samara_tests::hostile::{Conduct, Hostile, Insider, Wares, runtime};
use samara_tests::namespace::Star;
use samara_tests::network::{Network, Node, PRODUCT, Plan};
use samara_tests::places::Places;
use samara_tests::tree::{Tree, same};
use samara_tests::wait;
use serde_json::Value;

/// How long a release may take.
pub(super) const SOON: Duration = Duration::from_secs(300);
/// How long it may take until a hostile peer is named.
pub(super) const NAMED: Duration = Duration::from_secs(60);
/// How many honest sites there are; the hostile ones come behind them.
pub(super) const HONEST: usize = 2;

/// How a victim's log names a hostile peer.
#[derive(Clone, Copy)]
pub(super) struct Named {
    event: &'static str,
    /// For a quarantine.
    reason: Option<&'static str>,
}

pub(super) const fn event(event: &'static str) -> Named {
    Named { event, reason: None }
}

pub(super) const fn kept_out(reason: &'static str) -> Named {
    Named {
        event: "peer_quarantined",
        reason: Some(reason),
    }
}

impl Named {
    pub(super) fn is_in(self, line: &str, peer: &str) -> bool {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return false;
        };
        let fields = &line["fields"];
        line["event"] == self.event
            && fields["peer"] == peer
            && self.reason.is_none_or(|reason| fields["reason"] == reason)
    }
}

/// Two honest sites and an origin whose uplink is slow, so that the hostile ones are of use; all of these are victims.
pub(super) struct Beside {
    pub(super) hostile: Vec<Hostile>,
    pub(super) network: Network,
    tree: Tree,
}

impl Beside {
    /// All of it set up and every honest site told to take the release.
    pub(super) fn start(conducts: &[Conduct], origin_up: &str) -> Result<Self> {
        let mut beside = Self::prepare(conducts, origin_up, None)?;
        beside.let_honest_sites_in()?;
        Ok(beside)
    }

    /// The same in network namespaces, where each has an address of its own, and no honest site runs yet.
    pub(super) fn prepare(conducts: &[Conduct], origin_up: &str, star: Option<&Arc<Star>>) -> Result<Self> {
        let mut plan = Plan {
            sites: HONEST + conducts.len(),
            places: star.map(|star| Arc::clone(star) as Arc<dyn Places>),
            ..Plan::default()
        };
        plan.origin.up = Some(origin_up.to_owned());
        plan.site.upload = Some("all".to_owned());
        plan.site.log = Some("info");
        let mut network = Network::prepare(&plan)?;
        network.origin.start()?;
        let mut tree = Tree::new(network.folder("release")?, 7)?;
        tree.file("large", 24 << 20)?.small_files(40, 1 << 10, 20 << 10)?;
        let published = network.publish(tree.root(), "1.0.0")?.json()?;
        let manifest: ManifestId = serde_json::from_value(published["manifest"].clone())?;

        let mut victims: Vec<String> = network.sites[..HONEST].iter().map(|site| site.node.address()).collect();
        victims.push(network.origin.address());
        let (origin, mut hostile) = (network.origin.address(), Vec::new());
        for (number, (site, conduct)) in network.sites[HONEST..].iter().zip(conducts).enumerate() {
            let mut insider = Insider::of(site.node.actor.home())?;
            if *conduct == Conduct::StallFiles {
                insider = insider.lowest_beside(site.keeper.home())?;
            }
            let start = || -> Result<Hostile> {
                let wares = Wares::take(&insider, &origin, manifest, tree.root());
                let wares = runtime()?.block_on(wares)?;
                Hostile::start(insider.clone(), wares, *conduct, &victims)
            };
            hostile.push(match star {
                Some(star) => star.inside(&format!("s{}", HONEST + number + 1), start)??,
                None => start()?,
            });
        }
        Ok(Self { hostile, network, tree })
    }

    /// Starts the honest sites' nodes, which take the release.
    pub(super) fn let_honest_sites_in(&mut self) -> Result<()> {
        let honest = self.network.sites[..HONEST].iter_mut();
        honest.map(|site| &mut site.node).try_for_each(Node::start)
    }

    pub(super) fn honest(&self) -> impl Iterator<Item = &Node> {
        self.network.sites[..HONEST].iter().map(|site| &site.node)
    }

    /// Waits until every honest site's log names the hostile peer.
    pub(super) fn name(&self, hostile: usize, named: Named) -> Result<()> {
        let hostile = &self.hostile[hostile];
        let peer = hostile.node().to_string();
        for site in self.honest() {
            let what = format!("{} of {peer}", named.event);
            let line = site.process()?.line(&what, NAMED, |line| named.is_in(line, &peer));
            line.with_context(|| format!("the hostile one: {:?} {}", hostile.seen(), hostile.last_error()))?;
        }
        Ok(())
    }

    /// The same; then it is neither let in again nor asked for anything.
    pub(super) fn name_and_avoid(&self, hostile: usize, named: &[Named]) -> Result<()> {
        for named in named {
            self.name(hostile, *named)?;
        }
        for seen in &self.hostile[hostile].seen()[..HONEST] {
            let refused = seen.refused();
            wait::until("its connections to be refused", NAMED, || {
                Ok((seen.refused() > refused).then_some(()))
            })?;
            let (admitted, asks, refused) = (seen.admitted(), seen.asks(), seen.refused());
            wait::until("them to be refused again", NAMED, || {
                Ok((seen.refused() > refused + 2).then_some(()))
            })?;
            ensure!(
                seen.admitted() == admitted && seen.asks() == asks,
                "let in or asked again: {seen:?}, before {admitted}, {asks}"
            );
        }
        Ok(())
    }

    /// Both honest sites stage the release, and a host of each has the very bytes.
    pub(super) fn complete(&self) -> Result<()> {
        for (number, site) in self.network.sites[..HONEST].iter().enumerate() {
            let staged = site.node.wait_staged("1.0.0", SOON)?;
            let resident = site.node.process()?.usage().peak_rss >> 20;
            println!(
                "site {number}: {} bytes from the origin, {} from other sites, {resident} MiB resident at most",
                staged.from("origin"),
                staged.from("other")
            );
            ensure!(resident <= 64, "{resident} MiB resident");
            let into = self.network.folder(&format!("out{number}"))?;
            site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
            same(self.tree.root(), &into)?;
        }
        ensure!(self.network.origin.process()?.is_running(), "the origin goes on");
        Ok(())
    }
}
