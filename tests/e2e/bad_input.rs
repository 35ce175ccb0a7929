//! Bad input of every command: an error that names the culprit and a way out, the right exit code, nothing lost.

use std::fs;

use anyhow::{Context, Result, ensure};
use samara_tests::Finished;
use samara_tests::network::{Actor, Network, Plan, VERB};
use samara_tests::tree::Tree;
use serde_json::Value;

/// Arguments, the exit code, and a word that the error must contain.
type Case<'a> = (&'a [&'a str], i32, &'a str);

fn refused(actor: &Actor, cases: &[Case<'_>]) -> Result<()> {
    refused_by(cases, |arguments| actor.attempt(arguments))
}

/// Tries every case twice, for people and for programs.
fn refused_by(cases: &[Case<'_>], attempt: impl Fn(&[&str]) -> Result<Finished>) -> Result<()> {
    let mut stuck = Vec::new();
    for (arguments, code, word) in cases {
        let line = arguments.join(" ");
        judge(&attempt(arguments)?, &line, *code, word)?;
        let in_json = attempt(&[*arguments, &["--json"]].concat())?;
        ensure!(in_json.code() == Some(*code), "`{line} --json`: {}", in_json.status);
        // What is wrong with the arguments themselves is said on stderr alone, with the usage below it.
        if *code == 2 && in_json.stdout.is_empty() {
            continue;
        }
        let error = in_json.json()?["error"].clone();
        let has = |key: &str| error[key].as_str().is_some_and(|text| !text.trim().is_empty());
        ensure!(
            has("culprit") && has("what") && error["code"] == *code,
            "`{line}` blames nobody: {error}"
        );
        if !has("way_out") {
            stuck.push(format!("{line}: {error}"));
        }
    }
    ensure!(stuck.is_empty(), "no way out:\n{}", stuck.join("\n"));
    Ok(())
}

fn judge(finished: &Finished, line: &str, code: i32, word: &str) -> Result<()> {
    ensure!(
        finished.code() == Some(code),
        "`{line}` ended with {}, not {code}:\n{}",
        finished.status,
        finished.stderr
    );
    ensure!(
        finished.stderr.contains(word),
        "`{line}` does not name `{word}`:\n{}",
        finished.stderr
    );
    ensure!(!finished.stderr.contains("panicked"), "`{line}`:\n{}", finished.stderr);
    ensure!(
        finished.stdout.is_empty(),
        "`{line}` printed a result:\n{}",
        finished.text()
    );
    Ok(())
}

#[test]
fn words_that_are_no_command_and_values_that_are_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let actor = Actor::new(folder.path(), "nobody", None)?;
    refused(
        &actor,
        &[
            (&["fetsh"], 2, "fetch"),
            (&["fetch"], 2, "PRODUCT"),
            (&["fetch", "noslash@1.0.0", "-o", "x"], 2, "noslash"),
            (&["fetch", "acme/app@1.0", "-o", "x"], 2, "1.0"),
            (
                &["node", "run", "--config", "/nonexistent.toml"],
                2,
                "/nonexistent.toml",
            ),
            (&["join", "/nonexistent.join"], 3, "/nonexistent.join"),
            (&["verify", "/nonexistent"], 3, "/nonexistent"),
            (
                &["publish", "/nonexistent", "--product", "acme/app", "--version", "1.0.0"],
                3,
                "vendor product",
            ),
        ],
    )
}

/// The same with the vendor's keys, which no case may change.
fn vendor_refused(network: &Network, cases: &[Case<'_>]) -> Result<()> {
    let before = samara_tests::tree::scan(&network.keys)?;
    refused_by(cases, |arguments| {
        Finished::of(&mut network.vendor_command(arguments), VERB)
    })?;
    let after = samara_tests::tree::scan(&network.keys)?;
    ensure!(after == before, "and nothing has changed");
    Ok(())
}

#[test]
fn every_verb_about_releases_names_what_is_wrong_and_changes_nothing() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("a", 1000)?;
    network.publish(tree.root(), "1.0.0")?;
    let release = tree.root().display().to_string();
    let to = |version| ["--product", "acme/app", "--version", version];
    let none = "/nonexistent/path";
    let publish = |from: &[&'static str], version| [&["publish"][..], from, &to(version)].concat();
    let missing = publish(&[none], "2.0.0");
    let no_version = publish(&["."], "two");
    let no_platform = publish(&["--platform", "vax=."], "2.0.0");
    let no_path = publish(&[], "2.0.0");
    vendor_refused(
        &network,
        &[
            (&["vendor", "product", "acme"], 2, "acme"),
            (&["vendor", "product", "acme/app"], 10, "samara publish"),
            (&missing, 2, none),
            (&no_version, 2, "two"),
            (&no_platform, 2, "vax"),
            (&no_path, 2, "PATH"),
            (
                &["publish", &release, "--product", "acme/none", "--version", "2.0.0"],
                3,
                "acme/none",
            ),
            (&["promote", "acme/app@9.9.9"], 3, "9.9.9"),
            (&["promote", "acme/none@1.0.0"], 3, "acme/none"),
            (&["promote", "acme/app@1.0.0", "--channel", "Bad!"], 2, "Bad!"),
            (&["recall", "acme/app@1.0.0"], 2, "--reason"),
            (&["recall", "acme/app@1.0.0", "--reason", " "], 2, "--reason"),
            (&["recall", "acme/app@9.9.9", "--reason", "broken"], 3, "9.9.9"),
            (
                &["recall", "acme/app@1.0.0", "--reason", "x", "--replacement", "9.9.9"],
                3,
                "9.9.9",
            ),
        ],
    )
}

#[test]
fn grants_and_their_end_name_what_is_wrong_and_change_nothing() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let path = |name: &str| network.exchange(name).display().to_string();
    let (join, host, site) = (path("site1.join"), path("host1-1.request"), path("site1.key.request"));
    let (out, none) = (path("x.out"), "/nonexistent/path");
    let grant = |request, product| ["grant", request, "--product", product, "-o", &out];
    let named = [&grant(&site, "acme/none")[..], &["--tenant", "t", "--site", "s"]].concat();
    let revoke = |more: &[&'static str]| [&["revoke", "--product", "acme/app"][..], more].concat();
    vendor_refused(
        &network,
        &[
            (&grant(&join, "acme/app"), 2, "samara join"),
            (&grant(&host, "acme/app"), 2, "samara site enrol"),
            (&grant(none, "acme/app"), 3, none),
            (&grant(&site, "acme/app"), 2, "--tenant"),
            (&named, 3, "acme/none"),
            (&revoke(&[]), 2, "--grant"),
            (&revoke(&["--tenant", "t", "--site", "nowhere"]), 3, "nowhere"),
            (&revoke(&["--peer", "nobody"]), 2, "nobody"),
        ],
    )?;
    ensure!(!network.exchange("x.out").exists(), "and nothing was made");
    Ok(())
}

#[test]
fn every_verb_of_a_site_and_of_a_host_names_what_is_wrong_and_changes_nothing() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let path = |name: &str| network.exchange(name).display().to_string();
    let (keeper, host) = (&network.sites[0].keeper, &network.sites[0].hosts[0]);
    let (join, request, site) = (path("site1.join"), path("host1-1.request"), path("site1.key.request"));
    let (out, list) = (path("x.out"), path("x.list"));
    let folder = network.folder("foreign")?;
    fs::write(folder.join("mine"), "mine")?;
    let foreign = folder.display().to_string();
    let before = (
        samara_tests::tree::scan(keeper.home())?,
        samara_tests::tree::scan(host.home())?,
    );
    refused(
        keeper,
        &[
            (&["site", "enrol", &join, "-o", &out], 2, "samara join"),
            (&["site", "enrol", &site, "-o", &out], 2, "vendor"),
            (
                &["site", "enrol", &request, "--enrol-right", "-o", &out],
                2,
                "--enrol-right",
            ),
            (&["site", "enrol", &request, "--until", "never", "-o", &out], 2, "never"),
            (
                &["site", "enrol", &request, "--until", "2020-01-01", "-o", &out],
                2,
                "--until",
            ),
            (&["site", "revoke", "nobody", "-o", &list], 3, "nobody"),
            (&["join", &request], 2, "samara site enrol"),
            (&["join", &join], 3, "samara request"),
        ],
    )?;
    refused(
        host,
        &[
            (&["site", "enrol", &request, "-o", &out], 4, "site key"),
            (&["site", "revoke", "host1-1", "-o", &list], 3, "site.key"),
            (
                &["request", "host", "--address", "10.0.0.1:1", "-o", &out],
                2,
                "--address",
            ),
            (&["request", "node", "--address", "nowhere", "-o", &out], 2, "nowhere"),
            (&["request", "pilot", "-o", &out], 2, "pilot"),
            (&["verify", &foreign], 3, "samara fetch"),
            (&["fetch", "acme/app@1.0.0", "-o", "-"], 2, "--entry"),
            (&["fetch", "acme/app@7", "-o", &out], 2, "`7` is not a version"),
            (&["fetch", "acme/app@1.0.0", "-o", &out, "--entry", ""], 2, "--entry"),
            (&["fetch", "acme/app@1.0.0", "-o", &out, "--wait", "soon"], 2, "soon"),
            (&["fetch", "acme/app@1.0.0", "-o", &out, "--down", "fast"], 2, "fast"),
            (
                &["fetch", "acme/app@1.0.0", "-o", &out, "--down", "0mbit"],
                2,
                "moves nothing",
            ),
            (&["fetch", "acme/app@1.0.0", "-o", &out, "--platform", "vax"], 2, "vax"),
            (
                &["fetch", "acme/app@1.0.0", "-o", &out, "--proxy", "ftp://x"],
                2,
                "ftp://x",
            ),
            (&["watch"], 8, "node.sock"),
            (&["config", "check", "/nonexistent.toml"], 2, "/nonexistent.toml"),
            (&["completions", "klingon"], 2, "klingon"),
            (&["demo", "/nonexistent"], 3, "/nonexistent"),
            (&["demo", "--sites", "0"], 2, "--sites"),
        ],
    )?;
    let after = (
        samara_tests::tree::scan(keeper.home())?,
        samara_tests::tree::scan(host.home())?,
    );
    ensure!(after == before, "and nothing has changed");
    for made in [&out, &list] {
        ensure!(!std::path::Path::new(made).exists(), "{made} was made");
    }
    Ok(())
}

#[test]
fn a_command_without_a_node_says_where_it_looked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let actor = Actor::new(folder.path(), "nobody", None)?;
    let status = actor.attempt(["status"])?;
    ensure!(!status.status.success(), "there is nothing to show");
    ensure!(
        status.stderr.contains(&actor.home().display().to_string()),
        "{}",
        status.stderr
    );
    Ok(())
}

#[test]
fn doctor_finds_what_is_wrong_and_says_what_to_do_about_each_of_it() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let host = &network.sites[0].hosts[0];
    let key = network.exchange("open.key");
    fs::write(&key, "x")?;
    // A home that is not there, a file that is not there, and one that is no configuration.
    let nowhere = Actor::new(&network.folder("x")?, "gone", None)?;
    fs::remove_dir(nowhere.home())?;
    for (actor, file, failed) in [
        (&nowhere, None, "home"),
        (host, Some("/nonexistent.toml".into()), "config"),
        (host, Some(key), "config"),
    ] {
        let mut doctor = actor.command();
        doctor.args(["doctor", "--json"]);
        if let Some(file) = &file {
            doctor.arg("--config").arg(file);
        }
        let finished = Finished::of(&mut doctor, VERB)?;
        ensure!(finished.code() == Some(1), "{} {}", finished.status, finished.stderr);
        let found = finished.json()?;
        let checks = found["checks"].as_array().context("checks")?;
        let of = |verdict: &str| {
            checks
                .iter()
                .filter(|check| check["verdict"] == verdict)
                .collect::<Vec<_>>()
        };
        ensure!(
            found["healthy"] == false && of("failed").iter().any(|check| check["name"] == failed),
            "{failed} has failed: {found:#}"
        );
        for check in [of("failed"), of("warning")].concat() {
            let has = |key: &str| check[key].as_str().is_some_and(|text| !text.is_empty());
            ensure!(has("what") && has("way_out"), "no way out: {check}");
        }
    }
    ensure!(!nowhere.home().exists(), "and nothing was made");
    let none = Actor::new(&network.folder("x")?, "nobody", None)?;
    refused(&none, &[(&["doctor", "everything"], 2, "everything")])
}

#[test]
fn a_site_key_is_made_once_and_a_site_that_is_none_has_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let actor = Actor::new(folder.path(), "keeper", None)?;
    let empty = actor.run(["site", "list", "--json"])?.json()?;
    ensure!(
        empty["members"] == serde_json::json!([]) && empty["products"] == serde_json::json!([]),
        "{empty}"
    );
    ensure!(!actor.home().join("site").exists(), "looking makes nothing");
    let request = folder.path().join("site.request").display().to_string();
    let init = ["site", "init", "--json", "-o", &request];
    let first = actor.run(init)?.json()?;
    let made = (samara_tests::tree::scan(actor.home())?, fs::read(&request)?);
    fs::remove_file(&request)?;
    let second = actor.run(init)?.json()?;
    ensure!(first == second, "the same key: {first} {second}");
    let again = (samara_tests::tree::scan(actor.home())?, fs::read(&request)?);
    ensure!(made == again, "the request again, and nothing else");
    refused(
        &actor,
        &[
            (&["site", "init", "-o", "/nonexistent/site.request"], 2, "/nonexistent"),
            (&["site", "list", "everybody"], 2, "everybody"),
        ],
    )?;
    // A key that is none is never replaced by a new one.
    let key = actor.home().join("site/site.key");
    fs::write(&key, "mine")?;
    refused(&actor, &[(&init[..2], 5, "site.key")])?;
    ensure!(fs::read(&key)? == b"mine", "and it is left alone");
    Ok(())
}

#[test]
fn errors_are_json_objects_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let actor = Actor::new(folder.path(), "nobody", None)?;
    let finished = actor.attempt(["join", "/nonexistent.join", "--json"])?;
    let error: Value = finished.json()?;
    ensure!(error["schema"] == 1, "{error}");
    ensure!(error["error"]["culprit"] == "/nonexistent.join", "{error}");
    ensure!(
        error["error"]["code"].as_i64() == finished.code().map(i64::from),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_vendor_is_never_made_over_another() -> Result<()> {
    let network = Network::prepare(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let before = samara_tests::tree::scan(&network.keys)?;
    let again = Finished::of(&mut network.vendor_command(["vendor", "init"]), VERB)?;
    ensure!(again.code() == Some(10), "{} {}", again.status, again.stderr);
    ensure!(
        samara_tests::tree::scan(&network.keys)? == before,
        "and nothing has changed"
    );
    Ok(())
}

#[test]
fn join_files_that_are_damaged_are_refused_and_nothing_is_lost() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let whole = fs::read(network.exchange("site1.join"))?;
    let host = Actor::new(&network.folder("x")?, "host", None)?;
    let request = network.exchange("x.request");
    host.run([
        "request".as_ref(),
        "host".as_ref(),
        "--output".as_ref(),
        request.as_os_str(),
    ])?;
    let before = samara_tests::tree::scan(host.home())?;
    let bad = network.exchange("bad.join");
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        (
            "flipped",
            whole
                .iter()
                .enumerate()
                .map(|(at, byte)| if at == whole.len() / 2 { byte ^ 0x20 } else { *byte })
                .collect(),
        ),
        ("noise", vec![0xa5; 4096]),
    ] {
        fs::write(&bad, bytes)?;
        let joined = host.attempt(["join".as_ref(), bad.as_os_str()])?;
        ensure!(!joined.status.success(), "{name} was accepted");
        ensure!(
            joined.stderr.contains("bad.join"),
            "{name}: names the file:\n{}",
            joined.stderr
        );
        ensure!(!joined.stderr.contains("panicked"), "{name}:\n{}", joined.stderr);
    }
    ensure!(
        samara_tests::tree::scan(host.home())? == before,
        "and nothing has changed"
    );
    Ok(())
}

#[test]
fn a_bad_configuration_names_the_line_and_the_way_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let actor = Actor::new(folder.path(), "node", None)?;
    for (text, word) in [
        ("[node]\nlisen = []\n", "listen"),
        ("[limits]\nup = \"fast\"\n", "mbit"),
        ("[limits]\nupload = \"some\"\n", "tenant"),
        ("[store]\nquota = 5\n", "quota"),
        ("[node\n", "1"),
    ] {
        let file = actor.home().join("node.toml");
        fs::write(&file, text)?;
        for verb in [["config", "check"].as_slice(), &["node", "run", "--config"]] {
            let finished = actor.attempt(verb.iter().map(std::ffi::OsString::from).chain([file.clone().into()]))?;
            ensure!(
                finished.code() == Some(2),
                "{text:?}: {} {}",
                finished.status,
                finished.stderr
            );
            ensure!(
                finished.stderr.contains("node.toml") && finished.stderr.contains(word),
                "{text:?}: {}",
                finished.stderr
            );
        }
    }
    Ok(())
}

#[test]
fn a_store_belongs_to_one_process() -> Result<()> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let mut second = network.origin.actor.command();
    let finished = Finished::of(
        second.args(["node", "run", "--config"]).arg(network.origin.file()),
        std::time::Duration::from_secs(20),
    )?;
    ensure!(
        finished.code() == Some(10),
        "a second node over one store: {} {}",
        finished.status,
        finished.stderr
    );
    Ok(())
}

#[test]
fn a_target_that_cannot_be_written_is_named_and_left_alone() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("a", 1000)?;
    network.publish(tree.root(), "1.0.0")?;
    let file = network.exchange("a-file");
    fs::write(&file, "mine")?;
    let finished = samara_tests::network::fetch(&network.sites[0].hosts[0], "acme/app@1.0.0", &file)?;
    ensure!(
        !finished.status.success() && finished.stderr.contains("a-file"),
        "{}",
        finished.stderr
    );
    ensure!(fs::read(&file)? == b"mine", "and it is left alone");
    Ok(())
}
