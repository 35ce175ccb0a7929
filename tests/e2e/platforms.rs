//! A release for two platforms, of which a site wants one.

use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::Finished;
use samara_tests::network::{CHANNEL, FETCH, Network, PRODUCT, Plan};
use samara_tests::tree::{Tree, b3sum};

#[test]
fn a_site_takes_only_its_platforms_part() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.follow = true;
    plan.site.platforms = vec!["linux/amd64".to_owned()];
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("linux/tool", 6 << 20)?
        .file("windows/tool.exe", 6 << 20)?
        .file("shared.dat", 2 << 20)?;
    let mut publish = network.vendor.command();
    publish
        .arg("--socket")
        .arg(network.origin.socket())
        .arg("publish")
        .arg(tree.root());
    publish.args(["--product", PRODUCT, "--version", "1.0.0", "--channel", CHANNEL]);
    publish.args([
        "--platform",
        "linux/=linux/amd64",
        "--platform",
        "windows/=windows/amd64",
    ]);
    Finished::of(&mut publish, FETCH)?.success()?;
    let done = network.sites[0].node.wait_staged("1.0.0", Duration::from_secs(60))?;
    ensure!(
        done.wanted >= 8 << 20 && done.wanted < 9 << 20,
        "linux and shared, not windows: {done:?}"
    );
    ensure!(done.from("origin") < 9 << 20, "{done:?}");
    let into = network.folder("out")?;
    let mut fetch =
        samara_tests::network::fetch_command(&network.sites[0].hosts[0], &format!("{PRODUCT}@1.0.0"), &into);
    Finished::of(fetch.args(["--platform", "linux/amd64"]), FETCH)?.success()?;
    ensure!(
        b3sum(&into.join("linux/tool"))? == b3sum(&tree.root().join("linux/tool"))?,
        "the wanted platform"
    );
    ensure!(
        b3sum(&into.join("shared.dat"))? == b3sum(&tree.root().join("shared.dat"))?,
        "what all share"
    );
    ensure!(!into.join("windows").exists(), "no other platform");
    Ok(())
}
