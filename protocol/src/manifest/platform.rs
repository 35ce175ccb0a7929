//! Platforms, written `os/arch` or `os/arch/variant`, and sets of them.
//!
//! Invariant: a [`PlatformSet`] is sorted and no two of its members overlap, so one set has one spelling. The empty set
//! means every platform.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::PLATFORMS_PER_SET_MAX;

/// Bytes of an operating system's, architecture's or variant's name.
const NAME_BYTES_MAX: usize = 32;

/// Why a text is no platform, or platforms are no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not of the form.
    #[error("`{0}` is not a platform; write os/arch or os/arch/variant in lower case, for example linux/amd64")]
    Form(String),
    /// Two members overlap, or they are not sorted.
    #[error("`{0}` and `{1}` in one set overlap or are out of order; list each platform once, sorted")]
    Order(String, String),
    /// Too many.
    #[error("a set of {0} platforms is larger than the {PLATFORMS_PER_SET_MAX} allowed")]
    Many(usize),
}

/// One platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    arch: String,
    variant: Option<String>,
}

impl Platform {
    /// The operating system, `linux` for one.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture by its OCI name, `amd64` for one.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The variant, `v8` for one.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether some machine is both: a platform without a variant stands for all its variants.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let variants = self.variant.is_none() || other.variant.is_none() || self.variant == other.variant;
        self.os == other.os && self.arch == other.arch && variants
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        if !parts.iter().all(|part| is_name(part)) {
            return Err(PlatformError::Form(text.chars().take(100).collect()));
        }
        match parts.as_slice() {
            [os, arch] => Ok(Self::of(os, arch, None)),
            [os, arch, variant] => Ok(Self::of(os, arch, Some(variant))),
            _ => Err(PlatformError::Form(text.chars().take(100).collect())),
        }
    }
}

impl Platform {
    fn of(os: &str, arch: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            arch: arch.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn is_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && text.len() <= NAME_BYTES_MAX && text.bytes().all(inside)
}

/// Which platforms an entry is for; empty means all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct PlatformSet(Vec<Platform>);

impl PlatformSet {
    /// Every platform.
    #[must_use]
    pub const fn every() -> Self {
        Self(Vec::new())
    }

    /// A set of given platforms in any order, doubles taken once.
    ///
    /// # Errors
    /// When two different ones overlap, or there are too many.
    pub fn new(platforms: impl IntoIterator<Item = Platform>) -> Result<Self, PlatformError> {
        let mut platforms: Vec<Platform> = platforms.into_iter().collect();
        platforms.sort();
        platforms.dedup();
        Self::try_from(platforms)
    }

    /// Whether it means every platform.
    #[must_use]
    pub const fn is_every(&self) -> bool {
        self.0.is_empty()
    }

    /// The members; none when it means every platform.
    #[must_use]
    pub fn members(&self) -> &[Platform] {
        &self.0
    }

    /// Whether a machine of that platform takes it. A member without a variant takes all variants; a machine whose
    /// variant is not known takes only those.
    #[must_use]
    pub fn admits(&self, machine: &Platform) -> bool {
        let takes =
            |member: &Platform| member.overlaps(machine) && (member.variant.is_none() || machine.variant.is_some());
        self.is_every() || self.0.iter().any(takes)
    }

    /// Whether no machine takes both.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        let clash = |a: &Platform| other.0.iter().any(|b| a.overlaps(b));
        !(self.is_every() || other.is_every() || self.0.iter().any(clash))
    }
}

impl TryFrom<Vec<Platform>> for PlatformSet {
    type Error = PlatformError;

    /// Takes a list that is sorted already and free of overlaps.
    fn try_from(platforms: Vec<Platform>) -> Result<Self, PlatformError> {
        if platforms.len() > PLATFORMS_PER_SET_MAX {
            return Err(PlatformError::Many(platforms.len()));
        }
        // A platform without a variant sorts right before its variants, so neighbours are enough.
        for pair in platforms.windows(2) {
            if pair[0] >= pair[1] || pair[0].overlaps(&pair[1]) {
                return Err(PlatformError::Order(pair[0].to_string(), pair[1].to_string()));
            }
        }
        Ok(Self(platforms))
    }
}

impl fmt::Display for PlatformSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_every() {
            return f.write_str("every platform");
        }
        for (at, platform) in self.0.iter().enumerate() {
            write!(f, "{}{platform}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect(text)
    }

    fn set(texts: &[&str]) -> Result<PlatformSet, PlatformError> {
        PlatformSet::new(texts.iter().map(|text| platform(text)))
    }

    #[test]
    fn platforms_are_read_and_shown() {
        for text in [
            "linux/amd64",
            "linux/arm/v7",
            "windows/amd64",
            "darwin/arm64",
            "linux/x86_64",
        ] {
            assert_eq!(platform(text).to_string(), text);
        }
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "Linux/amd64",
            "linux/amd64/v1/x",
            "linux/am d",
            "linux/../x",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_has_one_spelling_and_no_overlap() {
        assert_eq!(
            set(&["linux/arm64", "linux/amd64"]),
            set(&["linux/amd64", "linux/arm64", "linux/arm64"])
        );
        assert!(matches!(
            set(&["linux/arm/v7", "linux/arm"]),
            Err(PlatformError::Order(..))
        ));
        assert!(PlatformSet::try_from(vec![platform("b/b"), platform("a/a")]).is_err());
        assert!(matches!(
            PlatformSet::new((0..17).map(|i| platform(&format!("os{i}/a")))),
            Err(PlatformError::Many(17))
        ));
    }

    #[test]
    fn a_machine_takes_what_is_for_every_platform_for_its_own_and_for_its_variant() {
        let arm = set(&["linux/arm"]).expect("one");
        let v7 = set(&["linux/arm/v7"]).expect("one");
        assert!(PlatformSet::every().admits(&platform("plan9/mips")));
        assert!(arm.admits(&platform("linux/arm")) && arm.admits(&platform("linux/arm/v7")));
        assert!(v7.admits(&platform("linux/arm/v7")) && !v7.admits(&platform("linux/arm/v6")));
        assert!(
            !v7.admits(&platform("linux/arm")),
            "a machine of unknown variant does not take v7"
        );
        assert!(!arm.is_disjoint(&v7) && !arm.is_disjoint(&PlatformSet::every()));
        assert!(v7.is_disjoint(&set(&["linux/arm/v6", "linux/amd64"]).expect("two")));
    }
}
