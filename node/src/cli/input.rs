//! What several verbs read from their arguments: product names, releases, times, small files, and where results go.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use rustix::io::Errno;
use samara_protocol::limits::REQUEST_FILE_BYTES_MAX;
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::Contact;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::join::JoinFile;
use samara_protocol::trust::request::{Request, RequestFile};
use semver::Version;

use super::{CliError, ExitStatus, Printer};
use crate::access::AccessError;
use crate::access::disk::{self, Readers};

const DAY: i64 = 86_400;

/// `vendor/product`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductName(pub String);

impl FromStr for ProductName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if crate::config::is_product_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a product's name is vendor/product, of a-z, 0-9, `-`, `_` and `.`, e.g. acme/app".to_owned())
        }
    }
}

/// `vendor/product@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseArg {
    /// Of which product.
    pub product: String,
    /// Which version.
    pub version: Version,
}

impl FromStr for ReleaseArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "a release is named vendor/product@version, e.g. acme/app@1.0.0".to_owned();
        let (product, version) = text.split_once('@').ok_or_else(form)?;
        let ProductName(product) = product.parse()?;
        let version = self::version(version)?;
        Ok(Self { product, version })
    }
}

/// A version as its user writes it.
///
/// # Errors
/// In words that show how one is written.
pub fn version(text: &str) -> Result<Version, String> {
    text.parse().map_err(|error| {
        format!("`{text}` is not a version, which has three numbers as in 1.0.0 or 1.0.0-rc.1 ({error})")
    })
}

/// How long something is good: `90d`, `12h`, or a day or time like `2027-06-30` or `2027-06-30T12:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// For that many seconds from now.
    Seconds(i64),
    /// Until then.
    Time(WallTime),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("d", DAY), ("h", 3600), ("y", 365 * DAY)];
        for (unit, seconds) in units {
            let count = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
            if let Some(count) = count.filter(|count| (1..=36_500).contains(count)) {
                return Ok(Self::Seconds(i64::from(count) * seconds));
            }
        }
        WallTime::from_rfc3339(text)
            .or_else(|| WallTime::from_rfc3339(&format!("{text}T23:59:59Z")))
            .map(Self::Time)
            .ok_or_else(|| "write how long (90d, 12h, 1y) or until when (2027-06-30)".to_owned())
    }
}

impl Until {
    /// As a time; `flag` names the argument when it has passed.
    ///
    /// # Errors
    /// When it is not in the future.
    pub fn from(self, now: WallTime, flag: &str) -> Result<WallTime, CliError> {
        let end = match self {
            Self::Seconds(seconds) => now.plus_seconds(seconds),
            Self::Time(time) => time,
        };
        if end > now {
            Ok(end)
        } else {
            Err(CliError::usage(flag, format!("{} has passed", end.to_rfc3339())).way_out("give a later one"))
        }
    }
}

/// Reads a small file, `-` being stdin.
///
/// # Errors
/// When it is not there, cannot be read, or is longer than `max`.
pub fn read(path: &Path, max: usize) -> Result<Vec<u8>, CliError> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let stdin = std::io::Read::take(std::io::stdin(), max as u64 + 1);
        std::io::Read::read_to_end(&mut { stdin }, &mut bytes).map_err(|error| CliError::io(path, &error))?;
        return Ok(bytes);
    }
    // In the system's words, as where it says so itself.
    disk::read(path, max as u64)?.ok_or_else(|| CliError::io(path, &Errno::NOENT.into()))
}

/// Reads a request file, `-` being stdin, and what it asks.
///
/// # Errors
/// When it cannot be read, or is something else.
pub fn request(path: &Path) -> Result<(Request, Option<(Contact, Envelope)>), CliError> {
    let bytes = read(path, REQUEST_FILE_BYTES_MAX)?;
    RequestFile::open(&bytes).map_err(|error| match JoinFile::decode(&bytes) {
        Ok(_) => CliError::usage(path.display(), "it is a join file, not a request file")
            .way_out("`samara join` takes it, on the machine that it was made for"),
        Err(_) => CliError::usage(path.display(), error),
    })
}

/// Whether there is a folder to write `path` into. To be asked before something is done that writing only reports.
///
/// # Errors
/// When there is none.
pub fn has_folder(path: &Path) -> Result<(), CliError> {
    match path.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            let what = format!("there is no folder `{}`", folder.display());
            Err(CliError::usage(path.display(), what).way_out("make it first, or name another file"))
        }
        _ => Ok(()),
    }
}

/// Whether a result may be written to `path`: nothing is there, `flag` was given, or what is there may go by `same`, which sees
/// it where it has `max` bytes at most. To be asked before something is done that writing only reports.
///
/// # Errors
/// When something else is there: it may be what another machine is still to be given; when there is no such folder.
pub fn may_write(
    path: &Path,
    given: bool,
    flag: &str,
    max: usize,
    same: impl FnOnce(&[u8]) -> bool,
) -> Result<(), CliError> {
    has_folder(path)?;
    // A pipe or a device holds nothing, and reading it may wait for ever.
    if given || path == Path::new("-") || is_special(path) {
        return Ok(());
    }
    let is_other = match disk::read(path, max as u64) {
        Ok(there) => there.is_some_and(|there| !same(&there)),
        // Longer than what is to be written.
        Err(AccessError::Damaged { .. }) => true,
        // A folder, or one that cannot be read: writing says so.
        Err(_) => false,
    };
    if !is_other {
        return Ok(());
    }
    let error = CliError::new(
        ExitStatus::Conflict,
        path.display(),
        "it exists already and holds something else",
    );
    Err(error.way_out(format!("name another file, or give {flag} to write over it")))
}

/// Writes a result file, `-` being stdout.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8], printer: &mut Printer) -> Result<(), CliError> {
    if path == Path::new("-") {
        let out = printer.bytes();
        return out
            .write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|error| CliError::io(path, &error));
    }
    if is_special(path) {
        let written = OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut out| out.write_all(bytes));
        return written.map_err(|error| CliError::io(path, &error));
    }
    Ok(disk::write(path, bytes, Readers::All)?)
}

/// Whether `path` is a pipe, a socket or a device, or `/dev/stdout` and the like: to be written into, never to be replaced.
fn is_special(path: &Path) -> bool {
    let found = std::fs::metadata(path).map(|data| data.file_type());
    path.starts_with("/dev") || found.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::Format;
    use crate::cli::printer::memory::Memory;

    #[test]
    fn times_are_spans_days_or_instants() {
        let now = WallTime(1_790_000_000);
        let end = |text: &str| text.parse::<Until>().map(|until| until.from(now, "--until"));
        assert_eq!(end("90d"), Ok(Ok(now.plus_seconds(90 * DAY))));
        assert_eq!(end("12h"), Ok(Ok(now.plus_seconds(12 * 3600))));
        let day = WallTime::from_rfc3339("2027-06-30T23:59:59Z").expect("a time");
        assert_eq!(end("2027-06-30"), Ok(Ok(day)));
        assert!(end("2020-06-30").expect("read").is_err(), "it has passed");
        for bad in ["", "soon", "0d", "-1d", "99999999d", "2027-13-01"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pipe_is_neither_read_nor_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        may_write(&path, false, "--replace", 5, |_| false).expect("it holds nothing");
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| std::fs::read(&path).expect("read"));
            let (mut printer, _) = Memory::printer(Format::Human);
            write(&path, b"bytes", &mut printer).expect("written");
            reader.join().expect("a reader")
        });
        assert_eq!(read, b"bytes");
        assert!(is_special(&path), "it is a pipe still");
    }

    #[test]
    fn another_file_is_written_over_when_that_is_asked_for_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.join");
        let is_two = |there: &[u8]| there == b"two";
        let may = |given| may_write(&path, given, "--replace", 3, is_two).map_err(|error| error.status());
        assert_eq!(may(false), Ok(()), "nothing is there");
        let nowhere = may_write(&dir.path().join("no/s.join"), true, "--replace", 3, is_two).expect_err("no folder");
        assert!(
            nowhere.what().contains("no folder") && nowhere.hint().is_some(),
            "{nowhere}"
        );
        std::fs::write(&path, b"two").expect("written");
        assert_eq!(may(false), Ok(()), "it is the same");
        for other in [b"one".as_slice(), b"three", b""] {
            std::fs::write(&path, other).expect("written");
            assert_eq!(may(false), Err(ExitStatus::Conflict));
            assert_eq!(may(true), Ok(()));
        }
    }

    #[test]
    fn releases_are_named_with_product_and_version() {
        let release: ReleaseArg = "acme/app@1.0.0-rc.1".parse().expect("a release");
        assert_eq!(
            (release.product.as_str(), release.version.to_string().as_str()),
            ("acme/app", "1.0.0-rc.1")
        );
        let two = version("1.0").expect_err("two numbers");
        assert!(two.contains("`1.0`") && two.contains("1.0.0"), "{two}");
        for bad in ["acme/app", "acme@1.0.0", "acme/app@1", "Acme/app@1.0.0", "/@1.0.0"] {
            assert!(bad.parse::<ReleaseArg>().is_err(), "{bad}");
        }
    }
}
