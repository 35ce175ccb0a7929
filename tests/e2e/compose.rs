//! `docker-compose.yml` for real: a release published into it reaches the host of each site, and a node that is killed in
//! mid-transfer comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::docker::{self, Compose};
use samara_tests::tree::{Tree, same};
use samara_tests::{runnable, skip, usage, wait};
use serde_json::Value;

const HEALTHY: Duration = Duration::from_secs(90);
const DONE: Duration = Duration::from_secs(120);
/// Ten seconds for one copy of the release, so that there is a mid-transfer.
const ORIGIN_UP: &str = "20mbit";
const LARGE: u64 = 24 << 20;

#[test]
fn a_release_published_into_the_containers_reaches_the_host_of_each_site() -> Result<()> {
    if std::env::var_os("SAMARA_NO_DOCKER").is_some() {
        skip::say("compose", "SAMARA_NO_DOCKER is set");
        return Ok(());
    }
    if !runnable("compose", &["docker", "docker-compose", "busybox"], false) {
        return Ok(());
    }
    if let Err(error) = docker::engine() {
        skip("compose", &format!("{error:#}"));
        return Ok(());
    }
    let images = docker::image_context(&docker::static_binary()?)?;
    let compose = Compose::up(&format!("samara-test-{}", std::process::id()), images, ORIGIN_UP)?;
    for service in ["origin", "site1", "site2", "site3"] {
        compose.healthy(service, HEALTHY)?;
        has_no_rights(&compose, service)?;
    }
    hosts_have_no_way_to_the_origin(&compose)?;
    let folder = tempfile::tempdir()?;
    let mut tree = Tree::new(folder.path().join("release"), 1)?;
    tree.file("large", LARGE)?
        .small_files(100, 1000, 20_000)?
        .executable("bin/run", 70_000)?;
    let mount = format!("{}:/release:ro", tree.root().display());
    let publish = "publish /release --product acme/app --version 1.0.0 --channel stable";
    let publish: Vec<_> = publish.split(' ').collect();
    compose.run(&[&["run", "--rm", "-v", &mount, "vendor"], &publish[..]].concat())?;

    killed_in_mid_transfer_it_comes_back(&compose, "site1")?;
    for number in 1..=3 {
        let host = format!("host{number}");
        compose.ended(&host, DONE)?;
        let out = folder.path().join(&host);
        compose.copy_out(&host, "/data/app", &out)?;
        same(tree.root(), &out)?;
    }
    Ok(())
}

/// What `docker-compose.yml` promises, as the engine and the kernel see it.
fn has_no_rights(compose: &Compose, service: &str) -> Result<()> {
    let promised = [
        ("{{.Config.User}}", "65532:65532"),
        ("{{.HostConfig.ReadonlyRootfs}}", "true"),
        ("{{index .Config.Healthcheck.Test 0}}", "CMD"),
        ("{{range .Mounts}}{{.Type}} {{.Destination}};{{end}}", "volume /data;"),
    ];
    for (asked, wanted) in promised {
        let answer = compose.inspect(service, asked)?;
        ensure!(answer == wanted, "{service}: {asked} is {answer}, not {wanted}");
    }
    let status = format!("/proc/{}/status", process(compose, service)?);
    let status = std::fs::read_to_string(&status).context(status)?;
    for wanted in [
        "Uid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        ensure!(status.contains(wanted), "{service} does not have `{wanted}`:\n{status}");
    }
    let files = compose.files(service)?;
    // The engine makes some empty ones, such as /etc/hosts, to mount its own over.
    let full = files
        .lines()
        .filter(|line| line.starts_with('-') && line.split_whitespace().nth(2) != Some("0"));
    let full: Vec<_> = full.filter_map(|line| line.split_whitespace().last()).collect();
    ensure!(
        full == ["samara"],
        "the image holds one program and nothing else: {full:?}"
    );
    Ok(())
}

/// Where the port is that every node of `docker-compose.yml` listens on.
const PORT: u16 = 7170;

/// The networks of a service's running container: the number of each, and the address there, by its name in the file.
fn networks(compose: &Compose, service: &str) -> Result<BTreeMap<String, (String, IpAddr)>> {
    let format =
        "{{range $name, $of := .NetworkSettings.Networks}}{{$name}} {{$of.NetworkID}} {{$of.IPAddress}};{{end}}";
    ensure!(
        compose.inspect(service, "{{.State.Running}}")? == "true",
        "{service} does not run"
    );
    let listed = compose.inspect(service, format)?;
    let rows = listed.split_terminator(';').map(|row| -> Result<_> {
        let [name, id, address] = *row.split(' ').collect::<Vec<_>>() else {
            anyhow::bail!("{service}: {row}");
        };
        // The engine puts the project's name before it.
        let name = name.rsplit('_').next().unwrap_or(name).to_owned();
        Ok((name, (id.to_owned(), address.parse().context(row.to_owned())?)))
    });
    rows.collect()
}

/// A host is in its site's network alone, the origin in none of these, and what the engine says so the kernel does too: from
/// where the host is, its site's node answers and nobody else.
fn hosts_have_no_way_to_the_origin(compose: &Compose) -> Result<()> {
    let names = |of: &BTreeMap<String, (String, IpAddr)>| of.keys().cloned().collect::<Vec<_>>();
    let of_origin = networks(compose, "origin")?;
    ensure!(names(&of_origin) == ["wan"], "the origin is in {of_origin:?}");
    let (wan, origin) = &of_origin["wan"];
    let mut seen = BTreeSet::from([wan.clone()]);
    for number in 1..=3 {
        let (host, site, lan) = (format!("host{number}"), format!("site{number}"), format!("lan{number}"));
        let (of_host, of_site) = (networks(compose, &host)?, networks(compose, &site)?);
        ensure!(names(&of_host) == [lan.clone()], "{host} is in {of_host:?}");
        ensure!(
            names(&of_site) == [lan.clone(), "wan".to_owned()],
            "{site} is in {of_site:?}"
        );
        ensure!(
            of_host[&lan].0 == of_site[&lan].0,
            "{host} and {site} are in one network"
        );
        ensure!(of_site["wan"].0 == *wan, "{site} and the origin are in one network");
        ensure!(seen.insert(of_host[&lan].0.clone()), "{lan} is another network too");

        ensure!(
            docker::is_internal(&of_host[&lan].0)?,
            "{host} has a way out of its site's network"
        );

        ensure!(
            compose.connects(&site, SocketAddr::new(*origin, PORT))?
                && compose.connects(&host, SocketAddr::new(of_site[&lan].1, PORT))?,
            "who may is let through: {site} to the origin, {host} to {site}"
        );
        for (what, address) in [("the origin", *origin), ("its site's other address", of_site["wan"].1)] {
            ensure!(
                !compose.connects(&host, SocketAddr::new(address, PORT))?,
                "{host} reaches {what} at {address}"
            );
        }
    }
    Ok(())
}

/// SIGKILL to the program itself, as the kernel would: the engine starts it again, and it goes on where it was.
fn killed_in_mid_transfer_it_comes_back(compose: &Compose, service: &str) -> Result<()> {
    let have = wait::until("the site to be in mid-transfer", DONE, || {
        let Some(payload) = payload(compose, service)? else {
            return Ok(None);
        };
        let number = |key: &str| payload[key].as_u64().unwrap_or(0);
        ensure!(
            number("have_bytes") < LARGE,
            "it had all of it before it could be interrupted"
        );
        Ok((number("durable_bytes") > 2 << 20).then(|| number("durable_bytes")))
    })?;
    let before = process(compose, service)?;
    usage::signal(before, libc::SIGKILL)?;
    wait::until("the site to be started again", DONE, || {
        let now = process(compose, service)?;
        Ok((now != 0 && now != before).then_some(()))
    })?;
    compose.healthy(service, HEALTHY)?;
    let resumed = wait::until("the site to have what it had", DONE, || {
        let Some(payload) = payload(compose, service)? else {
            return Ok(None);
        };
        let mut sources = payload["sources"].as_array().into_iter().flatten();
        Ok(sources
            .find(|of| of["source"] == "resumed")
            .and_then(|of| of["bytes"].as_u64()))
    })?;
    ensure!(
        resumed >= have,
        "{resumed} bytes were resumed of {have} that were durable"
    );
    Ok(())
}

fn payload(compose: &Compose, service: &str) -> Result<Option<Value>> {
    let status = compose.exec(service, &["/samara", "status", "--json"])?;
    let status = status.json()?;
    let mut transfers = status["transfers"].as_array().into_iter().flatten();
    Ok(transfers.find(|transfer| transfer["part"] == "payload").cloned())
}

fn process(compose: &Compose, service: &str) -> Result<u32> {
    Ok(compose.inspect(service, "{{.State.Pid}}")?.parse()?)
}
