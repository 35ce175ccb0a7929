//! Links that fail, and the one way out of a site.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::namespace::{Place, Star};
use samara_tests::network::{Crossing, Network, PRODUCT, Plan, fetch_command};
use samara_tests::proxy::Proxy;
use samara_tests::tree::{Tree, same};
use samara_tests::wan::{self, profile};
use samara_tests::{Process, runnable, wait};

const SOON: Duration = Duration::from_secs(300);

#[test]
fn a_link_that_goes_away_without_a_word_costs_time_and_nothing_else() -> Result<()> {
    if !runnable("a flapping link", &["ip", "tc"], true) {
        return Ok(());
    }
    let places = ["o", "s1"].map(|name| Place::new(name, Some(60.0), Some(60.0)));
    let star = Arc::new(Star::new(places.into())?);
    let plan = Plan {
        places: Some(star.clone()),
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
        wait::until("the link to be down for a while", Duration::from_secs(10), {
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
fn a_fetch_right_after_a_promotion_waits_for_news_over_a_link_that_is_gone_for_a_moment() -> Result<()> {
    if !runnable("a link that is gone for a moment", &["ip", "tc"], true) {
        return Ok(());
    }
    let places = ["o", "s1"].map(|name| Place::new(name, None, None));
    let star = Arc::new(Star::new(places.into())?);
    let plan = Plan {
        places: Some(star.clone()),
        ..Plan::default()
    };
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("a", 1000)?;
    network.publish(tree.root(), "1.0.0")?;
    let site = &network.sites[0];
    site.fetch(&format!("{PRODUCT}@1.0.0"), &network.folder("before")?)?;
    star.set_link("s1", false)?;
    tree.file("a", 2000)?;
    network.publish(tree.root(), "1.0.1")?;
    let into = network.folder("out")?;
    let fetching = Process::start(&mut fetch_command(&site.hosts[0], &format!("{PRODUCT}@1.0.1"), &into))?;
    wait::until("the fetch to have heard the site's node", SOON, || {
        ensure!(fetching.is_running(), "it ended: {:?}", fetching.lines());
        let lines = fetching.lines();
        Ok(lines.iter().any(|line| line.contains("waiting for news")).then_some(()))
    })?;
    star.set_link("s1", true)?;
    fetching.finish(SOON)?.success()?;
    same(tree.root(), &into)
}

#[test]
fn a_site_whose_only_way_out_is_a_proxy_fetches_through_it() -> Result<()> {
    if !runnable("a proxy as the only way out", &["ip", "tc"], true) {
        return Ok(());
    }
    let places = ["o", "p", "s1"].map(|name| Place::new(name, None, None));
    let star = Arc::new(Star::new(places.into())?);
    let proxy = Proxy::start_in(&*star, "p")?;
    star.only_way_out("s1", "p")?;
    let mut plan = Plan {
        places: Some(star.clone()),
        ..Plan::default()
    };
    plan.site.proxy = Some(proxy.url());
    let network = Network::start(&plan)?;
    let origin = network.origin.address();
    let direct = star.inside("s1", || TcpStream::connect(&origin))?;
    ensure!(direct.is_err(), "the site reaches the origin without its proxy");
    goes_through(&proxy, &network)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(&network.folder("release")?, &into)
}

#[test]
fn a_site_that_nobody_can_dial_fetches_through_its_proxy() -> Result<()> {
    let proxy = Proxy::start()?;
    let mut plan = Plan {
        hosts: 0,
        ..Plan::default()
    };
    plan.site.proxy = Some(proxy.url());
    // On loopback the origin could dial the site, and then all would go past the proxy.
    plan.site.external = Some("127.0.0.1:1".to_owned());
    let network = Network::start(&plan)?;
    goes_through(&proxy, &network)
}

#[test]
fn a_site_whose_firewall_lets_no_tcp_out_fetches_over_quic() -> Result<()> {
    if !runnable("a firewall that lets no TCP out", &["ip", "tc"], true) {
        return Ok(());
    }
    let places = ["o", "s1"].map(|name| Place::new(name, None, None));
    let star = Arc::new(Star::new(places.into())?);
    star.no_tcp("s1", "o")?;
    let plan = Plan {
        places: Some(star.clone()),
        ..Plan::default()
    };
    let network = Network::start(&plan)?;
    let origin = network.origin.address();
    let direct = star.inside("s1", || TcpStream::connect(&origin))?;
    ensure!(direct.is_err(), "the site reaches the origin over TCP");
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("large", 6 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let done = network.sites[0].node.wait_staged("1.0.0", SOON)?;
    ensure!(done.from("origin") >= 6 << 20, "{done:?}");
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

/// 8 Mbit/s, 90 ms there and back, every fiftieth packet lost, eight at a time.
#[test]
fn a_site_on_a_weak_mobile_link_gets_its_release() -> Result<()> {
    if !wan::runnable("a weak mobile link", &[]) {
        return Ok(());
    }
    let crossing = Crossing::of(profile("weak-4g").link(), 1, 1 << 20, SOON)?;
    println!("weak-4g: {crossing:?}");
    let down = crossing.traffic.down;
    ensure!(
        crossing.took > Duration::from_millis(1048),
        "faster than the link: {crossing:?}"
    );
    ensure!(
        down.loss > 0 && down.bytes > 1 << 20,
        "the link was not lossy: {crossing:?}"
    );
    ensure!(down.bytes < 2 << 20, "much crossed the link twice: {crossing:?}");
    Ok(())
}

/// Publishes 6 MiB and waits until the site has them; all of it must have passed the proxy.
fn goes_through(proxy: &Proxy, network: &Network) -> Result<()> {
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", 6 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let done = network.sites[0].node.wait_staged("1.0.0", SOON)?;
    ensure!(proxy.tunnels() >= 1, "a tunnel was opened");
    ensure!(
        proxy.bytes() >= 6 << 20 && done.from("origin") >= 6 << 20,
        "the release went through it: {} bytes of {done:?}",
        proxy.bytes()
    );
    Ok(())
}
