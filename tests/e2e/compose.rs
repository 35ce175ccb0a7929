//! `docker-compose.yml` for real: a release published into it reaches the host of each site, and a node that is killed in
//! mid-transfer comes back.

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
