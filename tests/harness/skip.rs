//! Tests that need more than every machine has: they say so and pass, except where everything must run.

use std::io::Write;
use std::path::Path;

/// Says `SKIPPED name: why`; where `SAMARA_REQUIRE_ALL` is set, fails instead.
///
/// # Panics
/// When everything must run.
pub fn skip(name: &str, why: &str) {
    assert!(
        std::env::var_os("SAMARA_REQUIRE_ALL").is_none(),
        "{name} must run here (SAMARA_REQUIRE_ALL): {why}"
    );
    say(name, why);
}

/// Says `SKIPPED name: why`, also where everything must run: somebody has asked for it.
pub fn say(name: &str, why: &str) {
    // Not `println!`: what a passing test prints by that is shown to nobody.
    let _ = writeln!(std::io::stdout(), "SKIPPED {name}: {why}");
}

/// Whether `program` is on the path.
#[must_use]
pub fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Where `program` is: on the path, in the administrator's folders, or where cargo installs.
#[must_use]
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin"));
    let folders = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain(cargo);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Skips unless every program is there and, where `root` is asked for, this is root. True: go on.
///
/// # Panics
/// As [`skip`].
#[must_use]
pub fn runnable(name: &str, programs: &[&str], root: bool) -> bool {
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        skip(name, &format!("`{missing}` is not installed"));
        return false;
    }
    if root && !crate::usage::is_root() {
        skip(name, "needs root");
        return false;
    }
    true
}
