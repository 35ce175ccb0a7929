//! Every environment variable that is read, in one list. Flags add one each, by rule: `--some-flag` is
//! `SAMARA_SOME_FLAG` (`cli::table`).

use std::ffi::OsString;

/// A variable that is not a flag's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variable {
    /// The user's home directory.
    Home,
    /// Where a user's programs keep data.
    XdgDataHome,
    /// Anything but empty turns colour off.
    NoColor,
    /// A log filter finer than a level.
    SamaraLog,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Home, Self::XdgDataHome, Self::NoColor, Self::SamaraLog];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "HOME",
            Self::XdgDataHome => "XDG_DATA_HOME",
            Self::NoColor => "NO_COLOR",
            Self::SamaraLog => "SAMARA_LOG",
        }
    }

    /// What it does, in a sentence.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Home => {
                "where `.local/share/samara` is looked for when neither `--home` nor XDG_DATA_HOME says otherwise"
            }
            Self::XdgDataHome => "where the directory `samara` is looked for when `--home` does not say otherwise",
            Self::NoColor => "anything but empty turns colour off",
            Self::SamaraLog => "log filter directives such as `samara_node::net=debug`, over the configured level",
        }
    }

    /// Its value; an empty one is as good as none.
    #[must_use]
    pub fn read(self) -> Option<OsString> {
        std::env::var_os(self.name()).filter(|value| !value.is_empty())
    }
}

/// Variables that other programs obey and this one ignores, on purpose.
pub const IGNORED: [(&str, &str); 4] = [
    ("SSLKEYLOGFILE", "session keys are written nowhere"),
    (
        "HTTP_PROXY",
        "a proxy is configured by `proxy` in the file, so that it is never used by surprise",
    ),
    ("HTTPS_PROXY", "as HTTP_PROXY"),
    (
        "RUST_LOG",
        "SAMARA_LOG, so that a setting for another program changes nothing here",
    ),
];
