//! What may not be in a release is refused when it is published, by name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use samara_tests::network::{Network, Plan};

/// Makes one bad thing in an empty folder; the word that the error must contain.
type Bad = (&'static str, fn(&Path) -> std::io::Result<()>);

const BAD: &[Bad] = &[
    ("readme", |at| {
        fs::write(at.join("README"), "1").and_then(|()| fs::write(at.join("readme"), "2"))
    }),
    ("caf", |at| {
        fs::write(at.join("caf\u{e9}"), "1").and_then(|()| fs::write(at.join("cafe\u{301}"), "2"))
    }),
    ("NUL.txt", |at| fs::write(at.join("NUL.txt"), "1")),
    ("aux", |at| fs::create_dir(at.join("aux"))),
    ("trailing", |at| fs::write(at.join("trailing."), "1")),
    ("back", |at| fs::write(at.join("back\\slash"), "1")),
    ("stream", |at| fs::write(at.join("stream:x"), "1")),
    ("line", |at| fs::write(at.join("line\nbreak"), "1")),
    ("bytes", |at| fs::write(at.join(OsStr::from_bytes(b"bytes\xff")), "1")),
    ("out", |at| symlink("../../etc/passwd", at.join("out"))),
    ("root", |at| symlink("/etc/passwd", at.join("root"))),
    ("up", |at| {
        fs::create_dir(at.join("d")).and_then(|()| symlink("../../x", at.join("d/up")))
    }),
    ("pipe", |at| {
        Command::new("mkfifo").arg(at.join("pipe")).status().map(drop)
    }),
    (".samara", |at| {
        fs::create_dir(at.join(".samara")).and_then(|()| fs::write(at.join(".samara/x"), "1"))
    }),
];

#[test]
fn what_no_system_could_hold_safely_is_refused_by_name() -> Result<()> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    for (number, (word, make)) in BAD.iter().enumerate() {
        let folder = network.folder(&format!("bad{number}"))?;
        fs::write(folder.join("fine"), "fine")?;
        make(&folder)?;
        let error = match network.publish(&folder, "1.0.0") {
            Ok(_) => anyhow::bail!("`{word}` was published"),
            Err(error) => error.to_string(),
        };
        ensure!(error.contains(word), "the error names `{word}`: {error}");
        ensure!(!error.contains("panicked"), "{error}");
    }
    Ok(())
}
