//! Folders by handle, so that nothing is ever written through a symbolic link that sits in them.
//!
//! Invariant: every name is one component, opened relative to a folder that is open, and never followed when it is a link.
//! Who changes the tree meanwhile can make an operation fail, not lead it elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// What an existing path may be when it is not what is looked for.
const NO_FOLDER: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];

/// An open folder.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

impl Dir {
    /// The folder that the user names; links on the way there are followed.
    pub(super) fn open_root(path: &Path) -> io::Result<Self> {
        Self::at(CWD, path, OFlags::empty())
    }

    /// A folder in this one; `None` when there is none of that name (a link to one is none).
    pub(super) fn open(&self, name: &str) -> io::Result<Option<Self>> {
        match Self::at(self.0.as_fd(), Path::new(name), OFlags::NOFOLLOW) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(errno) if NO_FOLDER.contains(&errno) => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn at(fd: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(fd, path, flags, Mode::empty())?))
    }

    /// A folder in this one, made with `mode` when there is none.
    pub(super) fn make(&self, name: &str, mode: u32) -> io::Result<Self> {
        loop {
            if let Some(dir) = self.open(name)? {
                return Ok(dir);
            }
            step()?;
            match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode)) {
                Ok(()) => {
                    let Some(dir) = self.open(name)? else { continue };
                    rustix::fs::fchmod(&dir.0, Mode::from_raw_mode(mode))?;
                    return Ok(dir);
                }
                // Made by another thread, or something else stands there.
                Err(Errno::EXIST) if self.is_folder(name)? => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is there, a link itself and not what it points to.
    pub(super) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_folder(&self, name: &str) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some_and(|stat| kind(&stat) == FileType::Directory))
    }

    /// A new file for writing.
    pub(super) fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        step()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(mode))?;
        Ok(File::from(fd))
    }

    /// A file for reading; `None` when there is no regular file of that name.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let regular = file.metadata()?.is_file();
        Ok(regular.then_some(file))
    }

    /// A file that is made if it is not there, for locking.
    pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(
            &self.0,
            name,
            flags,
            Mode::from_raw_mode(0o600),
        )?))
    }

    pub(super) fn rename(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        step()?;
        Ok(rustix::fs::renameat(&self.0, from, &to.0, name)?)
    }

    /// Takes a file in from wherever it is; false when that is another file system.
    pub(super) fn adopt(&self, from: &Path, name: &str) -> io::Result<bool> {
        step()?;
        match rustix::fs::renameat(CWD, from, &self.0, name) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file or link; fine when there is none.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        step()?;
        gone(rustix::fs::unlinkat(&self.0, name, AtFlags::empty()))
    }

    /// Removes a folder if it is empty; false when it is not.
    pub(super) fn remove_empty(&self, name: &str) -> io::Result<bool> {
        step()?;
        match rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            other => gone(other).map(|()| true),
        }
    }

    /// Removes whatever is there, and everything in it.
    pub(super) fn remove_all(&self, name: &str) -> io::Result<()> {
        if let Some(dir) = self.open(name)? {
            for inner in dir.names()? {
                dir.remove_all(&inner)?;
            }
            return self.remove_empty(name).map(|_| ());
        }
        self.unlink(name)
    }

    pub(super) fn symlink(&self, target: &str, name: &str) -> io::Result<()> {
        step()?;
        Ok(rustix::fs::symlinkat(target, &self.0, name)?)
    }

    /// Where a link points; `None` when there is no link.
    pub(super) fn read_link(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match rustix::fs::readlinkat(&self.0, name, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::NOENT | Errno::INVAL | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it that are UTF-8, sorted. Others cannot be of a release.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in rustix::fs::Dir::read_from(&self.0)? {
            let item = item?;
            let name = String::from_utf8_lossy(item.file_name().to_bytes()).into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a file in one step: whole under its name, or not there.
    pub(super) fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let draft = format!("{name}.new");
        self.unlink(&draft)?;
        let mut file = self.create(&draft, 0o644)?;
        step()?;
        io::Write::write_all(&mut file, bytes)?;
        if sync {
            file.sync_all()?;
        }
        self.rename(&draft, self, name)
    }

    /// Makes everything on its file system durable.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        step()?;
        Ok(rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    /// The same folder once more.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kind that a stat tells.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn gone(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Finds the folders that paths lie in, keeping the last chain of them open: sorted paths share most of it.
#[derive(Debug)]
pub(super) struct Walker {
    root: Dir,
    chain: Vec<(String, Dir)>,
}

impl Walker {
    pub(super) const fn new(root: Dir) -> Self {
        Self {
            root,
            chain: Vec::new(),
        }
    }

    /// The folder of `path` and its last component; `None` when there is no such folder.
    pub(super) fn find<'a>(&mut self, path: &'a str) -> io::Result<Option<(&Dir, &'a str)>> {
        self.walk(path, Dir::open)
    }

    /// The same; missing folders are made with mode 0755.
    pub(super) fn make<'a>(&mut self, path: &'a str) -> io::Result<(&Dir, &'a str)> {
        let found = self.walk(path, |dir, name| dir.make(name, 0o755).map(Some))?;
        found.ok_or_else(|| io::Error::other("a folder that was made is not there"))
    }

    /// Forgets what is open, after something on the way may have been moved.
    pub(super) fn forget(&mut self) {
        self.chain.clear();
    }

    fn walk<'a>(
        &mut self,
        path: &'a str,
        open: impl Fn(&Dir, &str) -> io::Result<Option<Dir>>,
    ) -> io::Result<Option<(&Dir, &'a str)>> {
        let (folders, name) = path
            .rsplit_once('/')
            .map_or((None, path), |(folders, name)| (Some(folders), name));
        let folders = || folders.into_iter().flat_map(|folders| folders.split('/'));
        let shared = folders().zip(&self.chain).take_while(|(a, (b, _))| a == b).count();
        self.chain.truncate(shared);
        for folder in folders().skip(shared) {
            let above = self.chain.last().map_or(&self.root, |(_, dir)| dir);
            let Some(dir) = open(above, folder)? else {
                return Ok(None);
            };
            self.chain.push((folder.to_owned(), dir));
        }
        Ok(Some((self.chain.last().map_or(&self.root, |(_, dir)| dir), name)))
    }
}

/// Called before every change to the disk: where tests pull the plug.
#[cfg(not(test))]
pub(super) const fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use plug::step;

/// A plug for tests: on the thread that set it, the n-th change and all after it fail.
#[cfg(test)]
pub(super) mod plug {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Lets `steps` changes through on this thread, or all.
    pub(in crate::release) fn pull_after(steps: Option<u32>) {
        LEFT.set(steps);
    }

    pub(in crate::release) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the plug was pulled")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
