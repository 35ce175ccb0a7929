use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use samara_protocol::time::WallTime;

use super::*;
use crate::cli::printer::Format;
use crate::cli::printer::memory::Memory;

fn home_with_key(mode: u32) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("set");
    fs::create_dir(home.path().join("site")).expect("made");
    let key = home.path().join("site/site.key");
    fs::write(&key, "secret").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set");
    home
}

fn doctor(home: &Path, config: Option<PathBuf>, format: Format) -> (Result<ExitStatus, CliError>, String) {
    let context = Context::at(home.to_owned());
    let (mut printer, memory) = Memory::printer(format);
    (run(&Args { config }, &context, &mut printer), memory.out())
}

#[test]
fn a_good_machine_without_a_node_is_healthy_and_what_was_skipped_is_said() {
    let home = home_with_key(0o600);
    let (result, out) = doctor(home.path(), None, Format::Human);
    assert_eq!(result, Ok(ExitStatus::Success), "{out}");
    assert!(
        out.contains("skipped  node ") && out.contains("samara node run") && out.ends_with("\nhealthy\n"),
        "{out}"
    );
}

#[test]
fn a_key_that_others_can_read_is_a_failure_that_names_it() {
    let home = home_with_key(0o644);
    let (result, out) = doctor(home.path(), None, Format::Json);
    assert_eq!(result, Ok(ExitStatus::Failure));
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&json["schema"], &json["healthy"]), (&1.into(), &false.into()));
    let checks = json["checks"].as_array().expect("a list");
    let keys = checks.iter().find(|check| check["name"] == "keys").expect("looked at");
    assert_eq!(keys["verdict"], "failed");
    let what = keys["what"].as_str().expect("text");
    assert!(
        what.contains("site/site.key (mode 644)") && !out.contains("secret"),
        "{what}"
    );
}

#[test]
fn a_configuration_that_no_node_would_start_with_is_a_failure() {
    let home = home_with_key(0o600);
    let file = home.path().join("node.toml");
    fs::write(&file, "[[product]]\nname = \"acme/app\"\n").expect("written");
    let (result, out) = doctor(home.path(), Some(file), Format::Human);
    assert_eq!(result, Ok(ExitStatus::Failure));
    assert!(
        out.contains("FAILED   config    acme/app: is configured, but this machine has not joined it")
            && out.contains("samara join FILE"),
        "{out}"
    );
}

#[test]
fn a_bad_configuration_is_a_failure_with_its_line() {
    let home = home_with_key(0o600);
    let file = home.path().join("node.toml");
    fs::write(&file, "[limits]\nup = \"50\"\n").expect("written");
    let (result, out) = doctor(home.path(), Some(file), Format::Human);
    assert_eq!(result, Ok(ExitStatus::Failure));
    assert!(out.contains("node.toml:2: `limits.up`"), "{out}");
}

#[test]
fn a_clock_that_cannot_be_right_is_a_failure() {
    for wrong in [0, 4_200_000_000] {
        assert_eq!(machine::clock(WallTime(wrong)).verdict, Verdict::Failed);
    }
    assert_eq!(machine::clock(WallTime(1_795_000_000)).verdict, Verdict::Ok);
}

#[test]
fn a_disk_within_its_reserve_is_a_failure_even_before_the_store_is_there() {
    let home = home_with_key(0o600);
    let store = home.path().join("not/yet/there");
    assert_eq!(machine::disk(&store, 0).verdict, Verdict::Ok);
    let full = machine::disk(&store, u64::MAX);
    assert_eq!(full.verdict, Verdict::Failed);
    assert!(full.way_out.is_some_and(|text| text.contains("reserve")));
}

#[test]
fn a_home_that_is_missing_or_open_is_a_failure() {
    assert_eq!(machine::home(Path::new("/nonexistent/samara")).verdict, Verdict::Failed);
    let home = home_with_key(0o600);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).expect("set");
    let check = machine::home(home.path());
    assert_eq!(check.verdict, Verdict::Failed);
    assert!(check.way_out.is_some_and(|text| text.starts_with("chmod go-w")));
}
