//! What can be seen without a node: files, the clock, the disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use samara_protocol::time::WallTime;
use samara_protocol::units::show_bytes;

use crate::access::{AccessError, Machine, Standing};
use crate::admin::api::{Check, Verdict};
use crate::cli::CliError;
use crate::cli::node::preflight;
use crate::config::Settings;
use crate::daemon::credentials_check;

/// Bytes that should be free where no configuration says how many.
pub(super) const RESERVE: u64 = 256 << 20;
/// Folders below the home that are looked into for keys.
const DEPTH: usize = 6;
/// Files that are looked at: a home has a few dozen, and the store is left out.
const FILES_MAX: usize = 10_000;
/// This program did not exist before: 2026-01-01.
const EARLIEST: WallTime = WallTime(1_767_225_600);
/// No certificate or signature of today lives until then: 2100-01-01.
const LATEST: WallTime = WallTime(4_102_444_800);

pub(super) fn found(name: &str, verdict: Verdict, what: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        verdict,
        what: what.into(),
        way_out: None,
    }
}

pub(super) fn way_out(mut check: Check, text: impl Into<String>) -> Check {
    check.way_out = Some(text.into());
    check
}

/// The node's file, when one is named, and whether a node would start with it.
pub(super) fn configuration(file: Option<&Path>, home: &Path, now: WallTime) -> (Check, Option<Settings>) {
    let Some(file) = file else {
        let check = found("config", Verdict::Skipped, "no file named");
        return (
            way_out(check, "name the node's file with --config to have it checked"),
            None,
        );
    };
    match Settings::load(file, home) {
        Ok(settings) => (settled(file, &settings, now), Some(settings)),
        Err(error) => (refused(&error.into(), "look at that line"), None),
    }
}

/// What `node run` would say of settings that are good by themselves.
fn settled(file: &Path, settings: &Settings, now: WallTime) -> Check {
    let file = file.display();
    let warnings = match preflight::look(settings, now) {
        Ok(cleared) => cleared.warnings,
        Err(error) => return refused(&error, "`samara config check` looks at it again"),
    };
    let warned = warnings.first().and_then(|warning| warning.rsplit_once("; "));
    match warned {
        None => found("config", Verdict::Ok, format!("{file} is good")),
        Some((what, hint)) => way_out(found("config", Verdict::Warning, format!("{file}: {what}")), hint),
    }
}

fn refused(error: &CliError, otherwise: &str) -> Check {
    let what = format!("{}: {}", error.culprit(), error.what());
    way_out(
        found("config", Verdict::Failed, what),
        error.hint().unwrap_or(otherwise),
    )
}

/// The home: there, a directory, and writable by nobody else.
pub(super) fn home(home: &Path) -> Check {
    let shown = home.display();
    let metadata = match fs::metadata(home) {
        Ok(metadata) => metadata,
        Err(error) => {
            let check = found("home", Verdict::Failed, format!("{shown}: {error}"));
            return way_out(check, "`samara request` makes it, or name another with --home");
        }
    };
    if !metadata.is_dir() {
        return way_out(
            found("home", Verdict::Failed, format!("{shown} is no directory")),
            "name another with --home",
        );
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let check = found(
            "home",
            Verdict::Failed,
            format!("{shown} can be written by other users (mode {mode:o})"),
        );
        return way_out(check, format!("chmod go-w {shown}"));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        let check = found(
            "home",
            Verdict::Warning,
            format!("{shown} belongs to user {}", metadata.uid()),
        );
        return way_out(check, "run as that user");
    }
    found(
        "home",
        Verdict::Ok,
        format!("{shown} is there and the owner's alone to write"),
    )
}

/// Key files that others can read.
pub(super) fn keys(home: &Path) -> Check {
    let mut keys = Vec::new();
    let mut left = FILES_MAX;
    collect_keys(home, DEPTH, &mut left, &mut keys);
    let open: Vec<String> = keys
        .iter()
        .filter(|(_, mode)| mode & 0o077 != 0)
        .map(|(path, mode)| format!("{} (mode {mode:o})", path.display()))
        .collect();
    match (keys.len(), open.as_slice()) {
        (0, _) => {
            let check = found("keys", Verdict::Warning, format!("no key below {}", home.display()));
            way_out(check, "`samara request` makes this machine's identity")
        }
        (count, []) => found(
            "keys",
            Verdict::Ok,
            format!("{count} key files, readable by their owner alone"),
        ),
        (_, open) => {
            let check = found(
                "keys",
                Verdict::Failed,
                format!("other users can read {}", open.join(", ")),
            );
            way_out(
                check,
                "chmod 600 them, and replace the keys if others may have read them",
            )
        }
    }
}

fn collect_keys(dir: &Path, depth: usize, left: &mut usize, keys: &mut Vec<(PathBuf, u32)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        // Of the link, not of what it names: a home may link elsewhere.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth > 0 && entry.file_name() != "store" {
            collect_keys(&path, depth - 1, left, keys);
        } else if metadata.is_file() && path.extension().is_some_and(|extension| extension == "key") {
            keys.push((path, metadata.permissions().mode() & 0o777));
        }
    }
}

/// This machine's own credentials, as its home has them.
pub(super) fn credentials(home: &Path, now: WallTime) -> Vec<Check> {
    standings(home, now).unwrap_or_else(|error| {
        let check = found("credentials", Verdict::Failed, error.to_string());
        vec![way_out(check, "restore the home from a backup, or join again")]
    })
}

fn standings(home: &Path, now: WallTime) -> Result<Vec<Check>, AccessError> {
    let machine = Machine::at(home);
    let mut checks = Vec::new();
    let Some(identity) = machine.existing_identity()? else {
        return Ok(checks);
    };
    for product in machine.products()? {
        let lists = product.home.site_revocations()?;
        let by_site = lists.iter().map(|(list, _)| list);
        let credentials = product.membership.credentials();
        let standing = Standing::of(&product.trust, &credentials, identity.node_id(), by_site, now);
        checks.push(credentials_check(&product.membership.name, &standing));
    }
    Ok(checks)
}

/// Whether the clock can be right at all. Whether it agrees with signed times, the node says.
pub(super) fn clock(now: WallTime) -> Check {
    if now < EARLIEST || now > LATEST {
        let check = found(
            "clock",
            Verdict::Failed,
            format!("it says {}, which cannot be", now.to_rfc3339()),
        );
        return way_out(
            check,
            "set it, for example with NTP; until then signed times are judged by the newest one seen",
        );
    }
    found("clock", Verdict::Ok, format!("it says {}", now.to_rfc3339()))
}

/// Room where the store is, or will be.
pub(super) fn disk(store: &Path, reserve: u64) -> Check {
    // The store may not be there yet; its place is.
    let existing = store
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/"));
    let shown = store.display();
    match rustix::fs::statvfs(existing) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let what = format!(
                "{} free for {shown}, {} are to stay free",
                show_bytes(free),
                show_bytes(reserve)
            );
            if free <= reserve {
                return way_out(
                    found("disk", Verdict::Failed, what),
                    "free some space, or set a smaller `reserve` under [store]",
                );
            }
            if disk.f_ffree > 0 && disk.f_favail < 1000 {
                return way_out(
                    found(
                        "disk",
                        Verdict::Warning,
                        format!("{} inodes free for {shown}", disk.f_favail),
                    ),
                    "remove files",
                );
            }
            found("disk", Verdict::Ok, what)
        }
        Err(error) => found("disk", Verdict::Failed, format!("{}: {error}", existing.display())),
    }
}
