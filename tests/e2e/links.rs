//! Links that fail, and the one way out of a site.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::namespace::{Place, Star};
use samara_tests::network::{Network, PRODUCT, Plan};
use samara_tests::proxy::Proxy;
use samara_tests::runnable;
use samara_tests::tree::{Tree, same};

const SOON: Duration = Duration::from_secs(300);

#[test]
fn a_link_that_goes_away_without_a_word_costs_time_and_nothing_else() -> Result<()> {
    if !runnable("a flapping link", &["ip", "tc"], true) {
        return Ok(());
    }
    let places = ["o", "s1"].map(|name| Place::new(name, Some(60.0), Some(60.0)));
    let star = Arc::new(Star::new(places.into())?);
    let plan = Plan {
        star: Some(star.clone()),
        ..Plan::default()
    };
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let node = &network.sites[0].node;
    let mut before = 0;
    for _ in 0..3 {
        let now = node.wait_transfer("1.0.0", "progress", SOON, |now| now.have > before + (3 << 20))?;
        star.set_link("s1", false)?;
        // Long enough that everything under way is lost, short enough that no connection has been given up yet.
        samara_tests::wait::until("the link to be down for a while", Duration::from_secs(10), {
            let started = std::time::Instant::now();
            move || Ok((started.elapsed() > Duration::from_secs(3)).then_some(()))
        })?;
        star.set_link("s1", true)?;
        before = now.have;
    }
    let done = node.wait_staged("1.0.0", SOON)?;
    ensure!(
        done.from("origin") < 40 << 20,
        "little crossed the link twice: {done:?}"
    );
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

#[test]
fn a_site_whose_only_way_out_is_a_proxy_fetches_through_it() -> Result<()> {
    let proxy = Proxy::start()?;
    let mut plan = Plan::default();
    plan.site.proxy = Some(proxy.url());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", 6 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    ensure!(proxy.tunnels() >= 1, "a tunnel was opened");
    ensure!(
        proxy.bytes() >= 6 << 20,
        "the release went through it: {} bytes",
        proxy.bytes()
    );
    Ok(())
}
