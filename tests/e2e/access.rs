//! Who gets in, and what the others learn: nothing.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_protocol::id::{LayoutId, ManifestId, Part, ProductId};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::wire::data::{Ask, EndStatus};
use samara_tests::hostile::{Insider, Visit, runtime};
use samara_tests::network::{Actor, Network, Node, PRODUCT, Plan, fetch};
use samara_tests::tree::{Tree, same};
use samara_tests::{Finished, wait};
use serde_json::Value;

/// How long news may take from one node to the next before it counts as not travelling.
const NEWS: Duration = Duration::from_secs(60);
/// The exit code of whoever may not.
const DENIED: Option<i32> = Some(4);

/// The id of a node that runs.
fn id(node: &Node) -> Result<String> {
    let status = node.status()?;
    let id = status["node"]["peer"].as_str();
    id.map(str::to_owned).context("a node has an id")
}

/// Waits until `node` is connected to exactly those of `others` that it is to be.
fn meets(node: &Node, others: &[(&str, bool)]) -> Result<()> {
    node.wait_status(&format!("its peers to be {others:?}"), NEWS, |status| {
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        others
            .iter()
            .all(|(other, there)| peers.iter().any(|peer| peer["peer"] == *other) == *there)
    })
    .map(drop)
}

/// Waits until `node` has taken a list that another node brought.
fn hears_of_revocations(node: &Node) -> Result<()> {
    let heard = |line: &str| line.contains("a site's newer list");
    node.process()?.line("the list of revoked nodes", NEWS, heard).map(drop)
}

/// Withdraws enrolments where the site key is, and hands the newest list to one node.
fn revoke(keeper: &Actor, names: &[&str], list: &Path, told: &Node) -> Result<()> {
    for name in names {
        keeper.run([
            "site".as_ref(),
            "revoke".as_ref(),
            name.as_ref(),
            "--output".as_ref(),
            list.as_os_str(),
        ])?;
    }
    told.actor.run(["join".as_ref(), list.as_os_str()]).map(drop)
}

/// Fails unless a fetch ends with the exit code of whoever may not, and an error that says `word`.
fn is_denied(refused: &Finished, word: &str) -> Result<()> {
    ensure!(
        refused.code() == DENIED && refused.stderr.contains(word),
        "not denied with `{word}`: {} {}",
        refused.status,
        refused.stderr
    );
    Ok(())
}

#[test]
fn a_list_handed_to_one_node_shuts_the_revoked_out_of_every_node_of_the_site() -> Result<()> {
    let mut network = Network::start(&Plan {
        hosts: 0,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 4)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut second = network.add_node(0, "second")?;
    let mut third = network.add_node(0, "third")?;
    second.start()?;
    third.start()?;
    for name in ["stays", "goes"] {
        network.add_host(0, name)?;
    }
    second.wait_staged("1.0.0", NEWS)?;
    let third_id = id(&third)?;
    for node in [&network.sites[0].node, &second, &network.origin] {
        meets(node, &[(&third_id, true)])?;
    }

    let (list, site) = (network.exchange("revocations"), &network.sites[0]);
    revoke(&site.keeper, &["goes", "third"], &list, &site.node)?;
    // The list goes from the node that was told to the second and to the origin: their connections with the third end.
    hears_of_revocations(&second)?;
    hears_of_revocations(&network.origin)?;
    for node in [&network.sites[0].node, &second, &network.origin] {
        meets(node, &[(&third_id, false)])?;
    }
    third.wait_status("the third node to be alone", NEWS, |status| {
        status["peers"].as_array().is_some_and(Vec::is_empty)
    })?;
    // Nobody keeps the two that are out from each other: what is asked here is whether the site's nodes let them in.
    third.stop()?;

    // The node that was told is gone: what follows is the second's own verdict.
    network.sites[0].node.stop()?;
    let what = format!("{PRODUCT}@1.0.0");
    let hosts = &network.sites[0].hosts;
    is_denied(&fetch(&hosts[1], &what, &network.folder("after")?)?, "enrolled")?;
    let into = network.folder("other")?;
    fetch(&hosts[0], &what, &into)?.success()?;
    same(tree.root(), &into)?;

    // It outlives the second's process.
    second.stop()?;
    second.start()?;
    second.wait_staged("1.0.0", NEWS)?;
    let hosts = &network.sites[0].hosts;
    is_denied(&fetch(&hosts[1], &what, &network.folder("later")?)?, "enrolled")
}

#[test]
fn an_origin_learns_from_a_sites_node_whom_the_site_has_revoked() -> Result<()> {
    let mut network = Network::start(&Plan {
        hosts: 2,
        direct: true,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 5)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let what = format!("{PRODUCT}@1.0.0");
    for host in 0..2 {
        let into = network.folder(&format!("before{host}"))?;
        fetch(&network.sites[0].hosts[host], &what, &into)?.success()?;
    }
    network.sites[0].node.start()?;
    let (node_id, list) = (id(&network.sites[0].node)?, network.exchange("revocations"));
    meets(&network.origin, &[(&node_id, true)])?;
    let site = &network.sites[0];
    revoke(&site.keeper, &[site.hosts[0].name()], &list, &site.node)?;
    hears_of_revocations(&network.origin)?;
    network.sites[0].node.stop()?;
    let hosts = &network.sites[0].hosts;
    is_denied(&fetch(&hosts[0], &what, &network.folder("after")?)?, "enrolled")?;
    let into = network.folder("other")?;
    fetch(&hosts[1], &what, &into)?.success()?;
    same(tree.root(), &into)
}

/// The finding of `doctor` about a machine's own credentials.
fn doctor(actor: &Actor) -> Result<Value> {
    let findings: Value = actor.attempt(["doctor", "--json"])?.json()?;
    let checks = findings["checks"].as_array().cloned().unwrap_or_default();
    let own = checks.into_iter().find(|check| check["name"] == "credentials");
    own.with_context(|| format!("doctor looks at credentials: {findings:#}"))
}

/// Enrols a machine that has made its request, until so many seconds from now, and joins there.
fn enrol_for(seconds: u32, member: &Actor, kind: &str, network: &Network) -> Result<()> {
    let [request, join] = ["request", "join"].map(|what| network.exchange(&format!("short-{kind}.{what}")));
    let mut clock = std::process::Command::new("date");
    let end = Finished::of(
        clock.args(["-u", "-d", &format!("+{seconds} seconds"), "+%FT%TZ"]),
        NEWS,
    )?
    .success()?;
    member.run(
        ["request", kind, "--output"]
            .map(OsStr::new)
            .into_iter()
            .chain([request.as_os_str()]),
    )?;
    let mut enrol = network.sites[0].keeper.command();
    enrol.args(["site", "enrol", "--until", end.text().trim()]);
    Finished::of(enrol.arg(&request).arg("--output").arg(&join), NEWS)?.success()?;
    member.run(["join".as_ref(), join.as_os_str()]).map(drop)
}

#[test]
fn whose_enrolment_has_ended_is_told_to_ask_the_site_for_a_new_one() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 6)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", NEWS)?;
    let host = network.sites[0].hosts[0].clone();
    ensure!(doctor(&host)?["verdict"] == "ok", "it is enrolled for 90 days");

    enrol_for(86_400, &host, "host", &network)?;
    let soon = doctor(&host)?;
    ensure!(soon["verdict"] == "warning", "a day is not long: {soon:#}");
    fetch(&host, &format!("{PRODUCT}@1.0.0"), &network.folder("before")?)?.success()?;

    enrol_for(15, &host, "host", &network)?;
    let ended = wait::until("the host's enrolment to end", NEWS, || {
        Ok(Some(doctor(&host)?).filter(|check| check["verdict"] == "failed"))
    })?;
    for (field, word) in [("what", "expired"), ("way_out", "samara site enrol")] {
        ensure!(
            ended[field].as_str().is_some_and(|text| text.contains(word)),
            "{ended:#}"
        );
    }
    let refused = fetch(&host, &format!("{PRODUCT}@1.0.0"), &network.folder("after")?)?;
    is_denied(&refused, "expired")?;
    is_denied(&refused, "ask the site for a new enrolment")?;

    // The node's own, while it runs: it says so, and goes on to be one after a new enrolment.
    let node = network.sites[0].node.actor.clone();
    enrol_for(15, &node, "node", &network)?;
    let running = &network.sites[0].node;
    running.wait_status("the node's credentials to end", NEWS, |status| {
        status["products"][0]["credentials"] == "ended"
    })?;
    let said = doctor(&node)?;
    ensure!(said["verdict"] == "failed", "{said:#}");
    enrol_for(86_400 * 80, &node, "node", &network)?;
    running.wait_status("the node's credentials to be good again", NEWS, |status| {
        status["products"][0]["credentials"] == "good"
    })?;
    Ok(())
}

#[test]
fn a_revoked_host_gets_nothing_and_its_neighbour_still_does() -> Result<()> {
    let mut network = Network::start(&Plan {
        hosts: 2,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &network.folder("before")?)?;
    let site = &network.sites[0];
    let list = network.exchange("revocations");
    let name = site.hosts[0].name();
    site.keeper.run([
        "site".as_ref(),
        "revoke".as_ref(),
        name.as_ref(),
        "--output".as_ref(),
        list.as_os_str(),
    ])?;
    site.node.actor.run(["join".as_ref(), list.as_os_str()])?;
    network.sites[0].node.stop()?;
    network.sites[0].node.start()?;
    let site = &network.sites[0];
    let refused = fetch(&site.hosts[0], &format!("{PRODUCT}@1.0.0"), &network.folder("after")?)?;
    ensure!(!refused.status.success(), "a revoked host was let in");
    let into = network.folder("other")?;
    fetch(&site.hosts[1], &format!("{PRODUCT}@1.0.0"), &into)?.success()?;
    same(tree.root(), &into)
}

#[test]
fn an_enrolled_host_gets_in_without_the_vendor() -> Result<()> {
    let mut network = Network::start(&Plan {
        hosts: 0,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    // The vendor's keys are gone for good: whoever gets in from here on does so by the site's key alone.
    std::fs::rename(&network.keys, network.exchange("vault"))?;
    network.add_host(0, "latecomer")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

#[test]
fn absent_and_denied_are_one_answer() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("a", 1000)?;
    let granted = manifest(&network.publish(tree.root(), "1.0.0")?)?;
    tree.file("a", 2000)?;
    let to_beta = [
        "publish",
        "--product",
        PRODUCT,
        "--version",
        "2.0.0",
        "--channel",
        "beta",
    ];
    let mut publish = network.vendor_command(to_beta);
    let published = Finished::of(publish.arg("--json").arg(tree.root()), NEWS)?.success()?;
    let (denied, nowhere) = (manifest(&published)?, ManifestId([0x5a; 32]));

    // The verb knows more than the network tells: channels are in the signed metadata, which goes to every member. Its
    // code is one all the same.
    let host = &network.sites[0].hosts[0];
    let refused = |version: &str| -> Result<Value> {
        let refused = fetch(host, &format!("{PRODUCT}@{version}"), &network.folder("out")?)?;
        ensure!(
            refused.code() == Some(3),
            "{version}: {} {}",
            refused.status,
            refused.stderr
        );
        Ok(refused.json()?["error"].clone())
    };
    let not_ours = wait::until("the site to know of the release on beta", NEWS, || {
        let error = refused("2.0.0")?;
        Ok(error["what"].to_string().contains("is on beta").then_some(error))
    })?;
    let absent = refused("9.9.9")?;
    ensure!(
        absent["what"] == "none of this site's channels (stable) offers 9.9.9",
        "{absent}"
    );
    for field in ["status", "code", "culprit"] {
        ensure!(not_ours[field] == absent[field], "{not_ours} and {absent}");
    }

    let site = &network.sites[0];
    let runtime = runtime()?;
    let host = Insider::of(site.node.actor.home())?.beside(site.keeper.home(), [7; 32], MemberKind::Host)?;
    let mut visits = Vec::new();
    for node in [&network.origin, &site.node] {
        let mut visit = runtime.block_on(Visit::to(&host, &node.address()))?;
        runtime.block_on(hears_one_answer(&mut visit, host.product(), [granted, denied, nowhere]))?;
        visits.push(visit);
    }
    // What is published next on the granted channel is told; until then nothing was said of the other.
    tree.file("a", 3000)?;
    let next = manifest(&network.publish(tree.root(), "1.0.1")?)?;
    for visit in &mut visits {
        runtime.block_on(hears_of(visit, next, denied))?;
    }
    site.node.wait_staged("1.0.1", NEWS)?;
    ensure!(
        !site.node.status()?.to_string().contains("2.0.0"),
        "the site's node has taken up what is not for it"
    );
    let heads = site.node.store().join("releases");
    ensure!(heads.join(format!("{granted}.head")).exists(), "heads lie there");
    ensure!(!heads.join(format!("{denied}.head")).exists(), "it has the head");
    Ok(())
}

/// The manifest that `publish --json` has printed.
fn manifest(published: &Finished) -> Result<ManifestId> {
    Ok(serde_json::from_value(published.json()?["manifest"].clone())?)
}

/// Asks for everything that can be asked for of what is granted, of what is not and of what is nowhere.
async fn hears_one_answer(visit: &mut Visit, product: ProductId, manifests: [ManifestId; 3]) -> Result<()> {
    let head = |manifest: ManifestId| Ask::File {
        product,
        name: format!("head/{manifest}"),
        offset: 0,
    };
    let groups = |manifest, part| Ask::Groups {
        layout: LayoutId { manifest, part },
        groups: RangeSet::from(0..1),
    };
    let [granted, denied, nowhere] = manifests;
    let (bytes, end) = visit.ask(head(granted)).await?;
    ensure!(
        end == EndStatus::Done && !bytes.is_empty(),
        "what is granted is given: {end:?}"
    );
    for ask in [
        &head as &dyn Fn(ManifestId) -> Ask,
        &|manifest| groups(manifest, Part::Entries),
        &|manifest| groups(manifest, Part::Payload),
    ] {
        let (bytes, end) = visit.ask(ask(denied)).await?;
        ensure!(
            bytes.is_empty() && end == EndStatus::Absent,
            "{:?}: {} bytes and {end:?}",
            ask(denied),
            bytes.len()
        );
        ensure!(
            (bytes, end) == visit.ask(ask(nowhere)).await?,
            "two answers to {:?}",
            ask(denied)
        );
    }
    Ok(())
}

/// Listens until there is talk of `next`; there must be none of `denied` before.
async fn hears_of(visit: &mut Visit, next: ManifestId, denied: ManifestId) -> Result<()> {
    let names = |said: &[u8], manifest: ManifestId| said.windows(manifest.0.len()).any(|part| part == manifest.0);
    loop {
        let said = tokio::time::timeout(NEWS, visit.hear()).await.context("news")??;
        ensure!(!names(&said, denied), "it was told of what is not for it: {said:?}");
        if names(&said, next) {
            return Ok(());
        }
    }
}

#[test]
fn a_stranger_who_connects_hears_nothing_and_is_hung_up_on() -> Result<()> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let address = network.origin.address();
    let mut heard = Vec::new();
    for greeting in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\x13/multistream/1.0.0\n",
        &[0xff; 4096],
        b"",
    ] {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(greeting)?;
        heard.clear();
        // An error is as good as an end: what counts is what was heard before it.
        let _ = stream.read_to_end(&mut heard);
        let text = String::from_utf8_lossy(&heard);
        ensure!(heard.len() < 512, "a stranger heard {} bytes", heard.len());
        ensure!(
            !text.contains("acme") && !text.contains("samara"),
            "a stranger heard {text:?}"
        );
    }
    ensure!(network.origin.process()?.is_running(), "and the node goes on");
    Ok(())
}

#[test]
fn keys_are_readable_by_their_owner_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let network = Network::prepare(&Plan::default())?;
    let mut open = vec![
        network.keys.clone(),
        network.sites[0].keeper.home().to_path_buf(),
        network.origin.actor.home().to_path_buf(),
    ];
    let mut keys = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
                continue;
            }
            let text = std::fs::read(entry.path())?;
            if String::from_utf8_lossy(&text).to_lowercase().contains("private")
                || entry.path().extension().is_some_and(|e| e == "key")
            {
                keys += 1;
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", entry.path().display());
            }
        }
    }
    ensure!(keys >= 3, "found only {keys} key files");
    Ok(())
}
