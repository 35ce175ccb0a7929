//! What operators see of a transfer: `status`, `watch`, the log and the metrics say the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::metrics::{self, Samples};
use samara_tests::network::{Network, Node, Plan};
use samara_tests::tree::{Tree, total_bytes};
use samara_tests::{Finished, Process, ports, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);
/// The distances that bytes are counted by.
const DISTANCES: [&str; 5] = ["site", "tenant", "region", "other", "origin"];
/// What a node says on stderr beside its log.
const REMARKS: [&str; 2] = ["node is running", "stopping: "];

#[test]
fn status_watch_log_and_metrics_say_the_same_of_a_transfer() -> Result<()> {
    let mut network = set_up()?;
    network.origin.start()?;
    for site in &mut network.sites {
        site.node.start()?;
    }
    let (first, second) = (&network.sites[0].node, &network.sites[1].node);
    for (one, other) in [(first, second), (first, &network.origin), (second, &network.origin)] {
        one_of_them_has_dialled(one, other)?;
    }
    // The second comes back when the first has everything and the origin is gone: each has one source then, so that nothing
    // is sent twice and every number has one value.
    network.sites[1].node.stop()?;
    let first = &network.sites[0].node;
    let watch = watching(first)?;
    let mut tree = Tree::new(network.folder("release")?, 31)?;
    tree.file("large", 12 << 20)?.small_files(60, 1000, 9000)?;
    let total = total_bytes(tree.root())?;
    let manifest = network.publish(tree.root(), "1.0.0")?.json()?["manifest"].clone();

    first.wait_status("a rate and the time left", SOON, |status| {
        payload(status).is_some_and(|row| {
            row["stage"] == "fetching"
                && row["bytes_per_second"].as_u64() > Some(0)
                && row["eta_seconds"].as_u64().is_some_and(|left| left <= 60)
                && row["have_bytes"].as_u64() < row["wanted_bytes"].as_u64()
        })
    })?;
    first.wait_staged("1.0.0", SOON)?;
    let status = first.status()?;
    let row = payload(&status).context("a transfer")?;
    ensure!(row["eta_seconds"].is_null(), "nothing is missing: {row}");
    has_moved(&status, "origin", total)?;
    counts_what_status_says(first, &status)?;
    counts_what_was_sent(&network.origin, "other", received(&status)?)?;

    let watched = watch.terminate(SOON)?.success()?;
    tells_the_transfer(&watched.objects()?, &manifest, &json!({ "origin": total }))?;
    let log = log_of(first)?;
    tells_the_transfer(&log, &manifest, &json!({ "origin": total }))?;
    names_whom_a_request_asked_for_what(&log, &network.origin.status()?["node"]["peer"], &manifest)?;

    network.origin.stop()?;
    network.sites[1].node.start()?;
    let second = &network.sites[1].node;
    second.wait_staged("1.0.0", SOON)?;
    let status = second.status()?;
    has_moved(&status, "other", total)?;
    counts_what_status_says(second, &status)?;
    counts_what_was_sent(&network.sites[0].node, "other", received(&status)?)?;
    // Over before there is progress to be told.
    tells_the_end(&log_of(second)?, &manifest, &json!({ "other": total }))?;
    Ok(())
}

#[test]
fn metrics_are_for_names_of_this_machine_alone() -> Result<()> {
    let mut network = set_up()?;
    network.origin.start()?;
    let address = address_of(&network.origin)?;
    let samples = metrics::scrape(&address)?;
    ensure!(
        samples.count("samara_admin_requests_total{request=\"status\"}") > 0,
        "each verb is counted: {samples:?}"
    );
    let port = address.rsplit(':').next().context("a port")?;
    ensure!(
        metrics::get(&address, &format!("localhost:{port}"), "/metrics")?.code == 200,
        "localhost"
    );
    let stranger = metrics::get(&address, "evil.example", "/metrics")?;
    ensure!(
        stranger.code == 421 && !stranger.body.contains("samara_"),
        "a name that somebody has pointed here: {stranger:?}"
    );
    ensure!(
        metrics::get(&address, &address, "/")?.code == 404,
        "nothing else is there"
    );

    let mut node = network.sites.remove(0).node;
    node.configure(|config| config.metrics = Some("0.0.0.0:9170".to_owned()))?;
    let refused = Finished::of(node.actor.command().args(["config", "check"]).arg(node.file()), SOON)?;
    ensure!(
        refused.code() == Some(2) && refused.stderr.contains("0.0.0.0:9170"),
        "{} {}",
        refused.status,
        refused.stderr
    );
    Ok(())
}

/// An origin whose uplink is narrow and two sites that feed each other; all of them count and log.
fn set_up() -> Result<Network> {
    let mut plan = Plan {
        sites: 2,
        hosts: 0,
        ..Plan::default()
    };
    plan.origin.up = Some("24mbit".to_owned());
    plan.site.upload = Some("all".to_owned());
    (plan.origin.log, plan.site.log) = (Some("debug"), Some("debug"));
    let mut network = Network::prepare(&plan)?;
    for node in network
        .sites
        .iter_mut()
        .map(|site| &mut site.node)
        .chain([&mut network.origin])
    {
        let address = format!("127.0.0.1:{}", ports::free()?);
        node.configure(|config| config.metrics = Some(address))?;
    }
    Ok(network)
}

/// Fails unless the two are connected, and by their words one of them has dialled; whoever was dialled can be.
fn one_of_them_has_dialled(one: &Node, other: &Node) -> Result<()> {
    let row = |node: &Node, peer: &Node| -> Result<(Value, Value)> {
        let peer = peer.status()?["node"]["peer"].clone();
        let is_it = |row: &&Value| row["peer"] == peer;
        let find = |status: &Value| status["peers"].as_array()?.iter().find(is_it).cloned();
        let status = node.wait_status("them to be connected", SOON, |status| {
            // Two that dial each other keep one of the connections, which takes a moment.
            find(status).is_some_and(|row| row["connected_seconds"].as_u64() >= Some(2))
        })?;
        Ok((find(&status).context("just seen")?, status["node"]["dialable"].clone()))
    };
    let ((there, dialable), (back, other_dialable)) = (row(one, other)?, row(other, one)?);
    for (dialled, dialable) in [(&back, dialable), (&there, other_dialable)] {
        let was_dialled = dialled["dialled"].as_bool().context("`dialled` is true or false")?;
        ensure!(
            !was_dialled || dialable == "yes",
            "it was dialled and is dialable: {dialable}"
        );
    }
    ensure!(
        there["dialled"] != back["dialled"],
        "one of the two has dialled: {there} {back}"
    );
    Ok(())
}

/// `watch --json` of a node, when it has begun to tell what happens.
fn watching(node: &Node) -> Result<Process> {
    let watch = Process::start(node.actor.command().args(["watch", "--json"]))?;
    wait::until("the first event", SOON, || {
        // Asking is an event too.
        node.status()?;
        let said = watch.result("an event", Duration::from_millis(200), |text| {
            text.contains('\n').then_some(())
        });
        ensure!(watch.is_running(), "it ended: {:?}", watch.lines());
        Ok(said.ok())
    })?;
    Ok(watch)
}

fn payload(status: &Value) -> Option<&Value> {
    let rows = status["transfers"].as_array()?;
    rows.iter().find(|row| row["part"] == "payload")
}

/// Fails unless the whole payload of the release, and nothing more of it, came from one class of source.
fn has_moved(status: &Value, source: &str, total: u64) -> Result<()> {
    let row = payload(status).context("a transfer")?;
    ensure!(
        row["have_bytes"] == total && row["wanted_bytes"] == total,
        "the release has {total} bytes: {row}"
    );
    ensure!(row["sources"] == json!([{ "source": source, "bytes": total }]), "{row}");
    Ok(())
}

/// Payload and entries that a node has received by its status.
fn received(status: &Value) -> Result<u64> {
    status["limits"]["received_bytes"]
        .as_u64()
        .context("limits.received_bytes")
}

/// Fails unless a node's counters of what came from where are the sums of its transfers.
fn counts_what_status_says(node: &Node, status: &Value) -> Result<()> {
    let samples = metrics::scrape(&address_of(node)?)?;
    let rows = status["transfers"].as_array().into_iter().flatten();
    let sources: Vec<&Value> = rows.filter_map(|row| row["sources"].as_array()).flatten().collect();
    let mut all = 0;
    for distance in DISTANCES {
        let of_it = sources.iter().filter(|of| of["source"] == distance);
        let shown: u64 = of_it.filter_map(|of| of["bytes"].as_u64()).sum();
        let counted = samples.payload("received", distance);
        ensure!(counted == shown, "{distance}: {counted} counted, {shown} in {status:#}");
        all += counted;
    }
    ensure!(all == received(status)?, "{all} counted: {}", status["limits"]);
    ensure!(
        samples.count("samara_release_staged_total") == 1
            && samples.count("samara_swarm_transfers_completed_total") == 2,
        "one release, its entries and its payload: {samples:?}"
    );
    Ok(())
}

/// Waits until all that others have received is counted as sent: the last word of a socket comes after the bytes.
fn counts_what_was_sent(node: &Node, to: &str, bytes: u64) -> Result<()> {
    let status = node.wait_status("what was sent to be counted", SOON, |status| {
        status["limits"]["sent_bytes"].as_u64() >= Some(bytes)
    })?;
    let samples: Samples = metrics::scrape(&address_of(node)?)?;
    ensure!(
        status["limits"]["sent_bytes"] == bytes && samples.payload("sent", to) == bytes,
        "{bytes} bytes were received: {} {samples:?}",
        status["limits"]
    );
    Ok(())
}

/// What a node has logged. All that it says on stderr is one object a line, but for two remarks.
fn log_of(node: &Node) -> Result<Vec<Value>> {
    let lines = node.process()?.lines();
    let (objects, others): (Vec<String>, Vec<String>) = lines.into_iter().partition(|line| line.starts_with('{'));
    let is_remark = |line: &String| REMARKS.iter().any(|remark| line.starts_with(remark));
    ensure!(others.iter().all(is_remark), "neither log nor remark: {others:?}");
    objects
        .iter()
        .map(|line| {
            let object: Value = serde_json::from_str(line).with_context(|| line.clone())?;
            ensure!(object["target"].is_string() && object["spans"].is_array(), "{line}");
            Ok(object)
        })
        .collect()
}

/// Fails unless what is said of a request for payload stands in the spans of the node, the peer, the transfer and the request.
fn names_whom_a_request_asked_for_what(log: &[Value], peer: &Value, manifest: &Value) -> Result<()> {
    let is_asked = |line: &Value| {
        let spans = line["spans"].as_array().into_iter().flatten();
        spans
            .map(|span| &span["name"])
            .eq(["node", "peer", "transfer", "request"])
    };
    let of_payload = |line: &&Value| is_asked(line) && line["spans"][2]["part"] == "payload";
    let line = log.iter().find(of_payload).context("a line about a request")?;
    let shown = line["spans"][2]["manifest"].as_str().context("a manifest")?;
    ensure!(
        line["spans"][1]["peer"] == *peer
            && manifest.as_str().is_some_and(|whole| whole.starts_with(shown))
            && line["spans"][3]["request"].is_u64(),
        "the origin {peer} was asked for {manifest}: {line}"
    );
    Ok(())
}

/// The same, and progress from less to more before the end.
fn tells_the_transfer(events: &[Value], manifest: &Value, sources: &Value) -> Result<()> {
    let end = tells_the_end(events, manifest, sources)?;
    let (began, progress) = find(events, "transfer_progressed", manifest)?;
    ensure!(
        progress["fields"]["have_bytes"].as_u64() < progress["fields"]["wanted_bytes"].as_u64(),
        "the transfer's begin: {progress}"
    );
    ensure!(began < end, "progress after the end: {progress}");
    Ok(())
}

/// Fails unless the events are what they are documented to be, and tell how the payload came: its end with the bytes by source,
/// and then that the release is staged. Gives the place of its end among them.
fn tells_the_end(events: &[Value], manifest: &Value, sources: &Value) -> Result<usize> {
    for event in events {
        let is_level = |level: &str| ["error", "warn", "info", "debug"].contains(&level);
        // The log has free lines of libraries too, which are no event.
        let is_event = event["event"].is_string() || event["event"].is_null() && event["target"].is_string();
        ensure!(
            is_event
                && event["schema"] == 1
                && event["at"].is_string()
                && event["level"].as_str().is_some_and(is_level)
                && event["message"].is_string()
                && event["fields"].is_object(),
            "not as documented: {event}"
        );
    }
    let (completed, end) = find(events, "transfer_completed", manifest)?;
    ensure!(end["fields"]["sources"] == *sources, "the transfer's end: {end}");
    let (staged, _) = find(events, "release_staged", manifest)?;
    ensure!(completed < staged, "it was staged before it was there");
    Ok(completed)
}

/// The first event of that name about the payload of a release, and its place.
fn find<'a>(events: &'a [Value], name: &str, manifest: &Value) -> Result<(usize, &'a Value)> {
    let is_it = |event: &Value| {
        let fields = &event["fields"];
        event["event"] == name && fields["manifest"] == *manifest && fields["part"] != "entries"
    };
    let mut found = events.iter().enumerate().filter(|(_, event)| is_it(event));
    found.next().with_context(|| format!("{name} was not told"))
}

/// Where a node's configuration has its metrics served.
fn address_of(node: &Node) -> Result<String> {
    let mut check = node.actor.command();
    let check = Finished::of(check.args(["config", "check", "--json"]).arg(node.file()), SOON)?;
    let settings = check.success()?.json()?;
    let address = settings["metrics"].as_str();
    address.map(str::to_owned).context("metrics are served")
}
