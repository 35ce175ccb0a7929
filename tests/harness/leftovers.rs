//! What a run that was interrupted leaves behind: namespaces with its processes in them, and folders. Both carry the number of the
//! process that made them, so that what is left of one that is gone can be told from what another run needs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use super::namespace;

/// How names of namespaces begin, before the number of their process.
const PREFIXES: [&str; 2] = ["sm", "sw"];

/// Takes away the namespaces of processes that are gone, and what still runs in them; and of `folder` the folders that such
/// processes made, whose names are `prefix`, that number and more.
pub fn sweep(folder: &Path, prefix: &str) {
    for (space, process) in spaces() {
        if !is_there(process) {
            end(&space);
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name, prefix).is_some_and(|process| !is_there(process)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Has Ctrl-C and SIGTERM take away this process's namespaces, with what runs in them, and end it with status 130.
///
/// # Errors
/// When the system refuses to watch for signals.
#[expect(clippy::exit, reason = "a signal ends the process, whatever it is doing")]
pub fn end_on_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let own = spaces()
            .into_iter()
            .filter(|(_, process)| *process == std::process::id());
        own.for_each(|(space, _)| end(&space));
        std::process::exit(130);
    });
    Ok(())
}

/// The namespaces that stars and fabrics made, and for which process.
fn spaces() -> Vec<(String, u32)> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| {
            let process = PREFIXES.iter().find_map(|prefix| owner(&name, prefix))?;
            Some((name, process))
        })
        .collect()
}

/// The number behind `prefix`, up to what is no digit.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    let rest = name.strip_prefix(prefix)?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    rest[..digits].parse().ok()
}

fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// Kills what runs in a namespace and removes it.
fn end(space: &str) {
    let inside = Command::new("ip").args(["netns", "pids", space]).output();
    let inside = inside.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for process in inside.unwrap_or_default().split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", process]).output();
    }
    namespace::remove(space);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_are_gone_go_and_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        // Process numbers end at 2^22.
        let (gone, own) = ("lab-4194399-x".to_owned(), format!("lab-{}-x", std::process::id()));
        let names = [gone.as_str(), own.as_str(), "lab-", "lab-x4194399-", "other-4194399-x"];
        for name in names {
            fs::create_dir(folder.path().join(name)).expect("is ours");
        }
        sweep(folder.path(), "lab-");
        for name in names {
            assert_eq!(folder.path().join(name).exists(), name != gone, "{name}");
        }
    }

    #[test]
    fn a_namespace_names_its_process() {
        assert_eq!(owner("sm4194399x0-hub", "sm"), Some(4_194_399));
        assert_eq!(owner("sw12", "sw"), None);
        assert_eq!(owner("mine", "sm"), None);
    }
}
