//! Releases side by side: `DIR/<version>`, and a link `current` that goes from one to the next in one step.

use std::path::{Path, PathBuf};

use semver::Version;

use super::{Failed, PlaceError, in_dir};
use crate::release::dir::Dir;

/// The link's name.
pub const CURRENT: &str = "current";

/// Where a version lies.
#[must_use]
pub fn version_dir(dir: &Path, version: &Version) -> PathBuf {
    dir.join(version.to_string())
}

/// Points `DIR/current` to `DIR/<version>`, which must be there.
///
/// # Errors
/// When the version is not there, or something that is no link stands in the place of `current`.
pub fn set_current(dir: &Path, version: &Version, sync: bool) -> Result<(), PlaceError> {
    let fail = |what| move |source| in_dir(dir, Failed::at(CURRENT, what)(source));
    let root = Dir::open_root(dir).map_err(fail("read"))?;
    let name = version.to_string();
    if !root.is_folder(&name).map_err(fail("read"))? {
        return Err(in_dir(dir, Failed::at(name, "read")(rustix::io::Errno::NOENT.into())));
    }
    let there = root.stat(CURRENT).map_err(fail("read"))?.is_some();
    if there && root.read_link(CURRENT).map_err(fail("read"))?.is_none() {
        let text = "something that is no link stands there; move it away";
        return Err(fail("written")(std::io::Error::other(text)));
    }
    let draft = format!(".{CURRENT}.new");
    root.unlink(&draft).map_err(fail("written"))?;
    root.symlink(&name, &draft).map_err(fail("written"))?;
    root.rename(&draft, &root, CURRENT).map_err(fail("written"))?;
    if sync {
        root.sync_all().map_err(fail("written"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::dir::plug;
    use crate::release::place::tests::Sample;

    #[test]
    fn current_goes_from_one_release_to_the_next_in_one_step() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (Version::new(1, 0, 0), Version::new(2, 0, 0));
        let read = || std::fs::read(dir.path().join("current/app")).expect("there");
        assert!(set_current(dir.path(), &one, false).is_err());
        Sample::default()
            .file("app", b"1")
            .place(&version_dir(dir.path(), &one))
            .expect("placed");
        set_current(dir.path(), &one, false).expect("set");
        assert_eq!(read(), b"1");
        Sample::default()
            .file("app", b"2")
            .place(&version_dir(dir.path(), &two))
            .expect("placed");
        for steps in 0..3 {
            plug::pull_after(Some(steps));
            assert!(set_current(dir.path(), &two, false).is_err());
            plug::pull_after(None);
            assert_eq!(read(), b"1");
        }
        set_current(dir.path(), &two, true).expect("set");
        assert_eq!(read(), b"2");
        std::fs::remove_file(dir.path().join("current")).expect("removed");
        std::fs::create_dir(dir.path().join("current")).expect("made");
        assert!(set_current(dir.path(), &one, false).is_err());
    }
}
