//! A vendor with two products at one origin: who was granted one of them learns nothing of the other, from nobody.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_protocol::id::{LayoutId, ManifestId, Part, ProductId};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::trust::credentials::Credentials;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::wire::data::{Ask, EndStatus};
use samara_protocol::wire::frame;
use samara_tests::Finished;
use samara_tests::hostile::{Insider, Link, Visit, runtime};
use samara_tests::network::{Actor, CHANNEL, FETCH, Network, PRODUCT, Plan, VERB, fetch};
use samara_tests::search::Needles;
use samara_tests::tree::{Tree, same, scan};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(120);
/// What the first site was not granted, and the second was.
const OTHER: &str = "acme/other";
const OTHERS_VERSION: &str = "7.7.7-quite-unlike";

/// A vendor with two products and one origin of both; the first site has one of them, the second both. All of them run.
struct Vendor {
    network: Network,
    product: ProductId,
    manifest: ManifestId,
    tree: Tree,
}

impl Vendor {
    fn start() -> Result<Self> {
        let mut plan = Plan {
            sites: 2,
            ..Plan::default()
        };
        plan.site.upload = Some("all".to_owned());
        plan.site.log = Some("trace");
        let mut network = Network::prepare(&plan)?;
        let made = network.vendor(["vendor", "product", OTHER, "--json"])?.json()?;
        let product = serde_json::from_value(made["product"].clone())?;

        let join = grant_other(&network, "origin", &[])?;
        network.origin.actor.run(["join".as_ref(), join.as_os_str()])?;
        let terms = [
            "--tenant",
            "tenant2",
            "--site",
            "site2",
            "--channel",
            CHANNEL,
            "--reseed",
            "all",
        ];
        let join = grant_other(&network, "site2.key", &terms)?;
        let second = &network.sites[1];
        second.keeper.run(["join".as_ref(), join.as_os_str()])?;
        for member in [&second.node.actor, &second.hosts[0]] {
            let request = network.exchange(&format!("{}.request", member.name()));
            let join = network.exchange(&format!("{}.both", member.name()));
            let mut enrol = second.keeper.command();
            enrol.args(["site", "enrol", "--name", member.name()]).arg(&request);
            Finished::of(enrol.arg("--output").arg(&join), VERB)?.success()?;
            member.run(["join".as_ref(), join.as_os_str()])?;
        }
        network.origin.configure(|config| config.further = vec![OTHER])?;
        network.sites[1].node.configure(|config| config.further = vec![OTHER])?;
        network.origin.start()?;
        for site in &mut network.sites {
            site.node.start()?;
        }

        let mut tree = Tree::new(network.folder("other")?, 51)?;
        tree.file("inside", 300_000)?;
        let to_other = [
            "publish",
            "--product",
            OTHER,
            "--version",
            OTHERS_VERSION,
            "--channel",
            CHANNEL,
        ];
        let mut publish = network.vendor_command(to_other);
        let published = Finished::of(publish.arg("--json").arg(tree.root()), FETCH)?.success()?;
        let manifest = serde_json::from_value(published.json()?["manifest"].clone())?;
        Ok(Self {
            network,
            product,
            manifest,
            tree,
        })
    }

    /// By which words, numbers and bytes the other product is known.
    fn traces(&self) -> Result<Needles> {
        let mut traces = Needles::default();
        traces
            .add("its name", OTHER)
            .add("its version", OTHERS_VERSION)
            .add("its id", self.product.to_string())
            .add("its id's bytes", self.product.0)
            .add("its manifest", self.manifest.to_string())
            .add("its manifest's bytes", self.manifest.0)
            .add("what is in it", &fs::read(self.tree.root().join("inside"))?[..64]);
        Ok(traces)
    }
}

/// A grant of the other product for a request that was made before.
fn grant_other(network: &Network, request: &str, terms: &[&str]) -> Result<PathBuf> {
    let join = network.exchange(&format!("{request}.other"));
    let mut grant = network.vendor_command(["grant", "--product", OTHER]);
    grant.args(terms).arg(network.exchange(&format!("{request}.request")));
    Finished::of(grant.arg("--output").arg(&join), VERB)?.success()?;
    Ok(join)
}

fn fetch_other(host: &Actor, into: &Path) -> Result<Finished> {
    fetch(host, &format!("{OTHER}@{OTHERS_VERSION}"), into)
}

#[test]
fn a_site_learns_nothing_of_a_product_that_it_was_not_granted() -> Result<()> {
    let vendor = Vendor::start()?;
    let network = &vendor.network;
    let (first, second) = (&network.sites[0], &network.sites[1]);
    // There is something to be had, and whoever was granted it has it: from here on all that could tell of it run.
    let into = network.folder("granted")?;
    second.node.wait_staged(OTHERS_VERSION, SOON)?;
    fetch_other(&second.hosts[0], &into)?.success()?;
    same(vendor.tree.root(), &into)?;
    let their = second.node.status()?["node"]["peer"].clone();
    first.node.wait_status("the two sites to be peers", SOON, |status| {
        let mut peers = status["peers"].as_array().into_iter().flatten();
        peers.any(|row| row["peer"] == their && row["distance"] == "other")
    })?;

    let refused = fetch_other(&first.hosts[0], &network.exchange("refused"))?;
    let error = refused.json()?["error"].clone();
    ensure!(
        refused.code() == Some(3)
            && error["status"] == "absent"
            && error["culprit"] == OTHER
            && error["what"] == "no such product is known here"
            && error["way_out"] == format!("this machine knows {PRODUCT}"),
        "{} {error}",
        refused.status
    );
    ensure!(!network.exchange("refused").exists(), "it made a folder");

    // News of its own product comes by the same ways: when it is there, so would the other be.
    let mut tree = Tree::new(network.folder("app")?, 52)?;
    tree.file("own", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    first.node.wait_staged("1.0.0", SOON)?;
    first.fetch(&format!("{PRODUCT}@1.0.0"), &network.folder("own")?)?;

    let traces = vendor.traces()?;
    let status = first.node.status()?.to_string();
    let log = first.node.process()?.lines().join("\n");
    ensure!(
        log.contains("1.0.0") && log.contains("metadata_taken"),
        "it logs what it takes"
    );
    for (what, text) in [("status", &status), ("log", &log)] {
        let found = traces.in_bytes(text.as_bytes());
        ensure!(found.is_empty(), "its {what} has {found:?}");
    }
    for home in [first.node.actor.home(), first.hosts[0].home(), first.keeper.home()] {
        let found = traces.in_files(home)?;
        ensure!(found.is_empty(), "{found:?}");
    }
    // Each of them is what would have been found.
    let log = second.node.process()?.lines().join("\n");
    let mut found = traces.in_files(second.node.actor.home())?.join("\n");
    found.push_str(&traces.in_bytes(log.as_bytes()).join(" in the log\n"));
    for name in [
        "its name",
        "its version",
        "its id",
        "its manifest",
        "its manifest's bytes",
        "what is in it",
    ] {
        ensure!(
            found.contains(&format!("{name} in ")),
            "{name} is not even where it may be:\n{found}"
        );
    }
    ensure!(
        !traces.in_bytes(log.as_bytes()).is_empty(),
        "the log of who has it names it"
    );
    Ok(())
}

#[test]
fn a_grant_for_one_product_opens_no_other_of_the_same_origin() -> Result<()> {
    let vendor = Vendor::start()?;
    let Vendor {
        network,
        product,
        manifest,
        ..
    } = &vendor;
    let (first, second) = (&network.sites[0], &network.sites[1]);
    second.node.wait_staged(OTHERS_VERSION, SOON)?;
    let home = second.node.actor.home();
    let theirs = Insider::in_product(home, &home.join("products").join(product.to_string()))?;
    let ours = Insider::of(first.node.actor.home())?.beside(first.keeper.home(), [9; 32], MemberKind::Node)?;
    let (own, granted) = (
        Credentials::decode(ours.credentials())?,
        Credentials::decode(theirs.credentials())?,
    );
    let spliced = Credentials {
        grant: granted.grant,
        enrolments: own.enrolments,
    };
    let shown = [
        ("its own grant", ours.credentials().to_vec()),
        ("another site's grant and its own enrolment", spliced.encode()?),
        ("another site's credentials", theirs.credentials().to_vec()),
    ];
    let runtime = runtime()?;
    for node in [&network.origin, &second.node] {
        let address = node.address();
        let mut visit = runtime.block_on(Visit::to(&ours, &address))?;
        for (what, credentials) in &shown {
            let mut hello = ours.hello();
            (hello.product, hello.credentials) = (*product, credentials.clone());
            let hello = frame::encode(&hello.encode());
            // By itself, and beside the product that it was let in for.
            let alone = runtime.block_on(async { Link::dial(&ours, &address).await?.raw_hello(&hello).await })?;
            let beside = runtime.block_on(visit.link.raw_hello(&hello))?;
            ensure!(
                alone.is_empty() && beside.is_empty(),
                "who shows {what} heard {alone:?} {beside:?} of {}",
                node.actor.name()
            );
        }
        runtime.block_on(gets_nothing(&mut visit, &ours, (*product, *manifest)))?;
        // It is the key that decides: a node of the site that has the grant is let in.
        let granted = theirs.beside(second.keeper.home(), [10; 32], MemberKind::Node)?;
        runtime.block_on(Visit::to(&granted, &address))?;
    }
    Ok(())
}

/// Asks for all that there is of the other product, over a connection that is good for one.
async fn gets_nothing(visit: &mut Visit, who: &Insider, (product, manifest): (ProductId, ManifestId)) -> Result<()> {
    let file = |product, name: String| Ask::File {
        product,
        name,
        offset: 0,
    };
    let groups = |part| Ask::Groups {
        layout: LayoutId { manifest, part },
        groups: RangeSet::from(0..1),
    };
    for ask in [
        file(product, "metadata".to_owned()),
        file(product, format!("head/{manifest}")),
        file(who.product(), format!("head/{manifest}")),
        groups(Part::Entries),
        groups(Part::Payload),
    ] {
        let (bytes, end) = visit.ask(ask.clone()).await?;
        ensure!(
            bytes.is_empty() && end == EndStatus::Absent,
            "{ask:?}: {} bytes and {end:?}",
            bytes.len()
        );
    }
    let (bytes, end) = visit.ask(file(who.product(), "metadata".to_owned())).await?;
    ensure!(
        end == EndStatus::Done && !bytes.is_empty(),
        "it is in, and has what is its own: {end:?}"
    );
    Ok(())
}

#[test]
fn join_files_that_carry_another_sites_product_are_refused_whole() -> Result<()> {
    let vendor = Vendor::start()?;
    let network = &vendor.network;
    let (first, second) = (&network.sites[0], &network.sites[1]);
    let (keeper, node, host) = (&first.keeper, &first.node.actor, &first.hosts[0]);
    let theirs = network.exchange("site2.key.other");
    let into_site = spliced(network, "site1.grant", &theirs)?;
    let into_node = spliced(network, "site1.join", &theirs)?;
    let into_host = spliced(network, "host1-1.join", &theirs)?;
    let homes = || -> Result<_> { Ok((scan(keeper.home())?, scan(host.home())?, memberships(node.home())?)) };
    let before = homes()?;
    let not_ours = "not for";
    let not_theirs = "the grant for acme/other";
    for (who, file, code, word) in [
        (keeper, &theirs, 4, not_ours),
        (node, &network.exchange("site2.both"), 4, not_ours),
        (host, &network.exchange("host2-1.both"), 4, not_ours),
        (keeper, &into_site, 4, not_ours),
        (node, &into_node, 5, not_theirs),
        (host, &into_host, 5, not_theirs),
    ] {
        let refused = who.attempt(["join".as_ref(), "--json".as_ref(), file.as_os_str()])?;
        let error = refused.json()?["error"].clone();
        ensure!(
            refused.code() == Some(code)
                && error["culprit"] == file.display().to_string()
                && error["what"].as_str().is_some_and(|what| what.contains(word)),
            "{} at {}: {} {error}",
            file.display(),
            who.name(),
            refused.status
        );
    }
    ensure!(homes()? == before, "something of what was refused was taken");

    // A home that claims it all the same: what the second site's host has, in the first one's.
    let claimed = Path::new("products").join(vendor.product.to_string());
    copy(&second.hosts[0].home().join(&claimed), &host.home().join(&claimed))?;
    let into = network.exchange("claimed");
    let refused = fetch_other(host, &into)?;
    let error = refused.json()?["error"].clone();
    ensure!(
        refused.code() == Some(4) && error["status"] == "denied" && error["culprit"] == OTHER,
        "{} {error}",
        refused.status
    );
    let found = vendor.traces()?.in_files(&into)?;
    ensure!(!found.iter().any(|found| found.contains("what is in it")), "{found:?}");
    // The second site's own host, whose home it is a copy of, is let in.
    second.node.wait_staged(OTHERS_VERSION, SOON)?;
    fetch_other(&second.hosts[0], &network.folder("granted")?)?
        .success()
        .map(drop)
}

/// What a home has joined, and as what; the rest of it changes while a node runs.
fn memberships(home: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let folders = fs::read_dir(home.join("products"))?;
    let one = |folder: io::Result<fs::DirEntry>| {
        let file = folder?.path().join("membership.json");
        let text = fs::read_to_string(&file)?;
        Ok((file, text))
    };
    folders.map(one).collect()
}

/// The join file `name`, with the product of the file `theirs` put beside its own.
fn spliced(network: &Network, name: &str, theirs: &Path) -> Result<PathBuf> {
    let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let (mut file, theirs) = (read(&network.exchange(name))?, read(theirs)?);
    let products = file["products"].as_array_mut().context("products")?;
    products.push(theirs["products"][0].clone());
    let path = network.exchange(&format!("{name}.spliced"));
    fs::write(&path, file.to_string())?;
    Ok(path)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
