//! Who gets in, and what the others learn: nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::network::{Network, PRODUCT, Plan, fetch};
use samara_tests::tree::{Tree, same};

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
    network.publish(tree.root(), "1.0.0")?;
    let host = &network.sites[0].hosts[0];
    let absent = fetch(host, &format!("{PRODUCT}@9.9.9"), &network.folder("absent")?)?;
    ensure!(
        absent.code() == Some(3),
        "an absent version: {} {}",
        absent.status,
        absent.stderr
    );
    let other = fetch(host, "acme/secret@1.0.0", &network.folder("other")?)?;
    ensure!(
        other.code() == Some(3),
        "another product: {} {}",
        other.status,
        other.stderr
    );
    Ok(())
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
