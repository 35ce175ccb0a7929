//! `docker-compose.yml` for real: a release published into it reaches the host of each site, and a killed container comes back.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::docker::{self, Compose};
use samara_tests::tree::{Tree, same};
use samara_tests::{Finished, runnable, skip};

const HEALTHY: Duration = Duration::from_secs(90);
const DONE: Duration = Duration::from_secs(120);

#[test]
fn a_release_published_into_the_containers_reaches_the_host_of_each_site() -> Result<()> {
    if !runnable("compose", &["docker", "docker-compose", "busybox"], false) {
        return Ok(());
    }
    if let Err(error) = docker::engine() {
        skip("compose", &format!("{error:#}"));
        return Ok(());
    }
    let images = docker::image_context(&docker::static_binary()?)?;
    let compose = Compose::up(&format!("samara-test-{}", std::process::id()), images)?;
    for service in ["origin", "site1", "site2", "site3"] {
        compose.healthy(service, HEALTHY)?;
    }
    let folder = tempfile::tempdir()?;
    let mut tree = Tree::new(folder.path().join("release"), 1)?;
    tree.file("large", 24 << 20)?
        .small_files(100, 1000, 20_000)?
        .executable("bin/run", 70_000)?;
    let mount = format!("{}:/release:ro", tree.root().display());
    let publish = [
        "publish",
        "/release",
        "--product",
        "acme/app",
        "--version",
        "1.0.0",
        "--channel",
        "stable",
    ];
    compose.run(&[&["run", "--rm", "-v", &mount, "vendor"], &publish[..]].concat())?;

    // Killed while the release is on its way, or just after: either way it must come back.
    let site = compose.container("site1")?;
    Finished::of(Command::new("docker").args(["kill", "--signal", "KILL", &site]), DONE)?.success()?;
    Finished::of(Command::new("docker").args(["start", &site]), DONE)?.success()?;
    compose.healthy("site1", HEALTHY)?;

    for number in 1..=3 {
        let host = format!("host{number}");
        compose.ended(&host, DONE)?;
        let out = folder.path().join(&host);
        let from = format!("{}:/data/app", compose.container(&host)?);
        Finished::of(Command::new("docker").args(["cp", &from]).arg(&out), DONE)?.success()?;
        same(tree.root(), &out)?;
    }
    Ok(())
}

#[test]
fn the_image_holds_one_static_program_and_runs_as_nobody() -> Result<()> {
    let compose = std::fs::read_to_string(samara_tests::binary::repository().join("docker-compose.yml"))?;
    for promise in [
        "read_only: true",
        "user: \"65532:65532\"",
        "cap_drop: [ALL]",
        "test: [\"CMD\",",
    ] {
        ensure!(compose.contains(promise), "docker-compose.yml has lost `{promise}`");
    }
    Ok(())
}
