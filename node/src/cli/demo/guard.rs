//! What ends the demo's processes and removes its folder when the demo itself cannot any more: after `kill -9`, a second
//! Ctrl-C or a closed terminal.
//!
//! A shell that waits at the end of a pipe from this process. All children are in its process group. When the pipe closes
//! without a word, it ends the group and removes the folder; on the word it just leaves.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::place::Place;

/// `$0` is the folder. The group is asked first, so that nobody writes any more when the folder goes.
const SCRIPT: &str =
    "trap '' TERM INT HUP; read -r word && exit; kill -TERM 0; sleep 2; rm -rf -- \"$0\"; kill -KILL 0";

/// The shell at the pipe's other end, and the folder that it watches over. Dropping removes the folder first.
#[derive(Debug)]
pub(super) struct Guard {
    place: Option<Place>,
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts it over `place`.
    pub(super) fn over(place: Place) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(place.dir())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self {
            place: Some(place),
            shell,
            pipe,
        })
    }

    /// The process group that the demo's children belong to.
    pub(super) fn group(&self) -> i32 {
        i32::try_from(self.shell.id()).expect("process ids are positive 32-bit numbers")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.place.take());
        if let Some(mut pipe) = self.pipe.take() {
            // It left already when this fails.
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
