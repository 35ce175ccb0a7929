//! For which machines a release is fetched: this one, unless others are named.

use std::str::FromStr;

use samara_protocol::manifest::platform::{Platform, PlatformError};

/// What `--platform` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Machines {
    /// Everything that the release has.
    All,
    /// What such a machine needs.
    Like(Platform),
}

impl FromStr for Machines {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.parse().map(Self::Like)
    }
}

/// The platforms that are fetched; none is all of them.
pub(super) fn wanted(named: &[Machines]) -> Vec<Platform> {
    if named.contains(&Machines::All) {
        return Vec::new();
    }
    let like = |machines: &Machines| match machines {
        Machines::All => None,
        Machines::Like(platform) => Some(platform.clone()),
    };
    let named: Vec<Platform> = named.iter().filter_map(like).collect();
    if named.is_empty() {
        return this().into_iter().collect();
    }
    named
}

/// This machine, by the names that OCI images have. Of one that has no such name everything is fetched.
fn this() -> Option<Platform> {
    use std::env::consts::{ARCH, OS};
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = match ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("{os}/{arch}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<Machines> {
        texts.iter().map(|text| text.parse().expect("well-formed")).collect()
    }

    #[test]
    fn this_machine_is_meant_unless_others_or_all_are_named() {
        let this = wanted(&[]);
        assert_eq!(this.len(), 1);
        assert_eq!(
            this[0].os(),
            if cfg!(target_os = "macos") {
                "darwin"
            } else {
                std::env::consts::OS
            }
        );
        assert_eq!(wanted(&parsed(&["all"])), []);
        assert_eq!(wanted(&parsed(&["windows/amd64", "all"])), []);
        let two = wanted(&parsed(&["windows/amd64", "linux/arm64"]));
        assert_eq!(two.len(), 2);
        assert!("everything".parse::<Machines>().is_err());
    }
}
