//! Sizes and rates as people write them: `64MiB`, `50mbit`, `1.5MB/s`. A bare number needs a unit, except 0.

use std::fmt;

/// What stands in the way of reading a size or rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number at the front.
    #[error("`{0}` does not start with a number; write for example {1}")]
    Number(String, &'static str),
    /// The unit is none that is known.
    #[error("`{0}` has no known unit; write for example {1}")]
    Unit(String, &'static str),
    /// The value does not fit 64 bits.
    #[error("`{0}` is too large")]
    Large(String),
}

const SIZE_EXAMPLE: &str = "64MiB, 1.5GB or 100KiB";
const RATE_EXAMPLE: &str = "50mbit, 6.25MB/s or 512KiB/s";

/// Reads a size: `B`, `KB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024).
///
/// # Errors
/// Names the text and gives an example.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (value, unit) = split(text, SIZE_EXAMPLE)?;
    if unit.is_empty() && value == 0.0 {
        return Ok(0);
    }
    let scale = byte_unit(unit).ok_or_else(|| UnitError::Unit(text.to_owned(), SIZE_EXAMPLE))?;
    scaled(value, scale, text)
}

/// A rate in bytes a second. 0 is a rate of nothing, not "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub u64);

impl std::str::FromStr for ByteRate {
    type Err = UnitError;

    /// Reads `bit`, `kbit`, `mbit`, `gbit` (bits a second, powers of 1000, as `tc` writes them) or a size followed by `/s`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (value, unit) = split(text, RATE_EXAMPLE)?;
        if unit.is_empty() && value == 0.0 {
            return Ok(Self(0));
        }
        let bits = match unit.to_ascii_lowercase().trim_end_matches("/s") {
            "bit" => Some(1.0),
            "kbit" => Some(1e3),
            "mbit" => Some(1e6),
            "gbit" => Some(1e9),
            _ => None,
        };
        if let Some(bits) = bits {
            return scaled(value, bits / 8.0, text).map(Self);
        }
        let scale = unit.strip_suffix("/s").and_then(byte_unit);
        let scale = scale.ok_or_else(|| UnitError::Unit(text.to_owned(), RATE_EXAMPLE))?;
        scaled(value, scale, text).map(Self)
    }
}

impl fmt::Display for ByteRate {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0 as f64 * 8.0;
        match bits {
            b if b >= 1e9 => write!(f, "{:.2} Gbit/s", b / 1e9),
            b if b >= 1e6 => write!(f, "{:.1} Mbit/s", b / 1e6),
            b => write!(f, "{:.1} kbit/s", b / 1e3),
        }
    }
}

/// A size for people: powers of 1024, three digits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn show_bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

fn split<'a>(text: &'a str, example: &'static str) -> Result<(f64, &'a str), UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let value = text[..end]
        .parse::<f64>()
        .map_err(|_| UnitError::Number(text.to_owned(), example))?;
    Ok((value, text[end..].trim()))
}

fn byte_unit(unit: &str) -> Option<f64> {
    let scale = match unit.to_ascii_lowercase().as_str() {
        "b" => 1u64,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    #[expect(clippy::cast_precision_loss, reason = "powers of ten and two below 2^53")]
    Some(scale as f64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked against the range first"
)]
fn scaled(value: f64, scale: f64, text: &str) -> Result<u64, UnitError> {
    let value = value * scale;
    if value >= u64::MAX as f64 {
        return Err(UnitError::Large(text.to_owned()));
    }
    Ok(value as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_panics_and_every_refusal_gives_an_example_or_says_too_large(
            text in prop_oneof![".{0,20}", "[0-9.eE+-]{0,24} ?(B|KB|MiB|TiB|mbit|gbit|)(/s)?"]
        ) {
            for error in [parse_bytes(&text).err(), text.parse::<ByteRate>().err()].into_iter().flatten() {
                let said = error.to_string();
                prop_assert!(said.contains("for example") || said.contains("too large"), "{}", said);
            }
        }
    }

    #[test]
    fn sizes_and_rates_read_as_people_write_them() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5 GB"), Ok(1_500_000_000));
        assert_eq!("50mbit".parse(), Ok(ByteRate(6_250_000)));
        assert_eq!("512KiB/s".parse(), Ok(ByteRate(512 << 10)));
        assert_eq!("0".parse(), Ok(ByteRate(0)));
    }

    #[test]
    fn a_bare_number_is_refused_with_an_example() {
        let error = "50".parse::<ByteRate>().expect_err("no unit").to_string();
        assert!(error.contains("50mbit"), "{error}");
        assert!(
            parse_bytes("many")
                .expect_err("no number")
                .to_string()
                .contains("64MiB")
        );
        assert!(parse_bytes("99999999999TiB").is_err());
    }
}
