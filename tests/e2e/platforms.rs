//! A release for two platforms, of which a site wants one.

use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::Finished;
use samara_tests::network::{CHANNEL, FETCH, Network, PRODUCT, Plan};
use samara_tests::tree::{Tree, b3sum};

#[test]
fn a_site_takes_only_its_platforms_part() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.platforms = vec!["linux/amd64".to_owned()];
    let network = Network::start(&plan)?;
    let mut shared = Tree::new(network.folder("shared")?, 1)?;
    shared.file("shared.dat", 2 << 20)?;
    let mut linux = Tree::new(network.folder("linux")?, 2)?;
    linux.file("bin/tool", 6 << 20)?;
    let mut windows = Tree::new(network.folder("windows")?, 3)?;
    windows.file("bin/tool.exe", 6 << 20)?;
    let mut publish = network.vendor_command([
        "publish",
        "--product",
        PRODUCT,
        "--version",
        "1.0.0",
        "--channel",
        CHANNEL,
    ]);
    publish
        .arg("--platform")
        .arg(format!("linux/amd64={}", linux.root().display()));
    publish
        .arg("--platform")
        .arg(format!("windows/amd64={}", windows.root().display()));
    Finished::of(publish.arg(shared.root()), FETCH)?.success()?;
    let done = network.sites[0].node.wait_staged("1.0.0", Duration::from_secs(60))?;
    ensure!(
        done.wanted >= 8 << 20 && done.wanted < 9 << 20,
        "linux and shared, not windows: {done:?}"
    );
    ensure!(done.from("origin") < 9 << 20, "{done:?}");
    let into = network.folder("out")?;
    let mut fetch =
        samara_tests::network::fetch_command(&network.sites[0].hosts[0], &format!("{PRODUCT}@1.0.0"), &into);
    // What a machine needs is the default; on another kind of machine it is to be named.
    if std::env::consts::ARCH != "x86_64" {
        fetch.args(["--platform", "linux/amd64"]);
    }
    Finished::of(&mut fetch, FETCH)?.success()?;
    ensure!(
        b3sum(&into.join("bin/tool"))? == b3sum(&linux.root().join("bin/tool"))?,
        "the wanted platform"
    );
    ensure!(
        b3sum(&into.join("shared.dat"))? == b3sum(&shared.root().join("shared.dat"))?,
        "what all share"
    );
    ensure!(!into.join("bin/tool.exe").exists(), "no other platform");
    Ok(())
}
