//! Thousands of small files move as a few large pieces: what a site asks for and how often it makes things durable does not
//! grow with their number.

use std::time::Duration;

use anyhow::{Result, ensure};
use samara_protocol::id::ManifestId;
use samara_tests::hostile::{Conduct, Hostile, Insider, Wares, runtime};
use samara_tests::metrics;
use samara_tests::network::{Network, PRODUCT, Plan};
use samara_tests::ports;
use samara_tests::tree::{Tree, same, total_bytes};

const SOON: Duration = Duration::from_secs(300);
const FILES: u32 = 3000;
/// A tenth of what one for each file would be, and many times what there are.
const FEW: u64 = FILES as u64 / 10;

#[test]
fn three_thousand_small_files_take_few_requests_and_few_checkpoints() -> Result<()> {
    let mut plan = Plan {
        sites: 2,
        ..Plan::default()
    };
    // Enough for the list of entries; the files are to come from the other site, which counts what it is asked for.
    plan.origin.up = Some("8mbit".to_owned());
    plan.site.upload = Some("all".to_owned());
    let mut network = Network::prepare(&plan)?;
    network.origin.start()?;
    let mut tree = Tree::new(network.folder("release")?, 41)?;
    tree.small_files(FILES, 1 << 10, 4 << 10)?;
    let total = total_bytes(tree.root())?;
    let published = network.publish(tree.root(), "1.0.0")?.json()?;
    ensure!(published["entries"] == FILES, "{published}");
    let manifest: ManifestId = serde_json::from_value(published["manifest"].clone())?;

    let counting = Insider::of(network.sites[1].node.actor.home())?;
    let wares = runtime()?.block_on(Wares::take(&counting, &network.origin.address(), manifest, tree.root()))?;
    let address = format!("127.0.0.1:{}", ports::free()?);
    let site = &mut network.sites[0];
    site.node.configure(|config| config.metrics = Some(address.clone()))?;
    site.node.start()?;
    let other = Hostile::start(counting, wares, Conduct::Truth, &[site.node.address()])?;
    let staged = site.node.wait_staged("1.0.0", SOON)?;
    let (asks, from_it) = (other.seen()[0].asks(), staged.from("other"));
    let checkpoints = metrics::scrape(&address)?.count("samara_store_checkpoint_seconds_count");
    println!("{from_it} of {total} bytes for {asks} requests; {checkpoints} checkpoints");
    // So that few requests for little are not taken for few requests.
    ensure!(from_it > total / 2, "most was to come from the other site: {staged:?}");
    ensure!(asks > 0 && asks < FEW, "{asks} requests for {from_it} bytes");
    ensure!(checkpoints > 0 && checkpoints < FEW, "{checkpoints} checkpoints");

    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}
