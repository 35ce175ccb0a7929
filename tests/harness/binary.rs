//! Finds the `samara` program of the profile that the tests were built with, and builds it once where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The program under test. `SAMARA_BINARY` names another one.
///
/// # Panics
/// When it is not there and cannot be built: no test can go on.
#[must_use]
pub fn samara() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| locate().unwrap_or_else(|error| panic!("no samara binary: {error:#}")))
}

/// The repository's root.
///
/// # Panics
/// Never: the tests crate lies one level below it.
#[must_use]
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests crate lies one level below the root")
}

/// The target folder, whether or not this program was built for a target named to Cargo.
///
/// # Errors
/// When this program does not lie in a target folder.
pub fn target_folder() -> Result<PathBuf> {
    let profile = profile_folder()?;
    let folder = profile
        .parent()
        .context("the profile's folder lies in the target folder")?;
    let named = std::env::var_os("CARGO_BUILD_TARGET");
    match named {
        Some(triple) if folder.ends_with(&triple) => folder.parent().context("a target folder").map(Path::to_path_buf),
        _ => Ok(folder.to_path_buf()),
    }
}

/// `target/<profile>`, which this program itself was started from.
///
/// # Errors
/// When this program does not lie in a target folder.
pub fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own path")?;
    let folder = own.parent().context("this program lies in a folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_path_buf())
}

fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SAMARA_BINARY") {
        return Ok(path.into());
    }
    let folder = profile_folder()?;
    let path = folder.join("samara");
    // Cargo builds it along with `--workspace`; with `-p samara-tests` alone it may be missing or old, and Cargo knows.
    let profile = folder.file_name().context("the profile's folder has a name")?;
    let profile = if profile == "debug" {
        "dev".into()
    } else {
        profile.to_os_string()
    };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--locked",
            // Not the package alone: features, and so everything, would be built once more.
            "--workspace",
            "--bin",
            "samara",
            "--profile",
        ])
        .arg(profile);
    build
        .arg("--target-dir")
        .arg(target_folder()?)
        .current_dir(repository());
    let status = build.status().context("running cargo build")?;
    ensure!(status.success(), "cargo build failed");
    ensure!(path.is_file(), "{} is not there after building it", path.display());
    Ok(path)
}
