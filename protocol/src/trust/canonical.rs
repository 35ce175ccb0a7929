//! Canonical JSON: the one encoding that is signed and the only one that is read.
//!
//! The rules are TUF's (sorted keys, no spaces, integers only), the encoder is `sigstore_tuf`'s, so what is signed here
//! and what is checked there are the same bytes. A reader that accepts nothing else leaves an attacker no second spelling
//! of a signed document: no spaces, escapes, doubled keys or upper-case digits.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::time::WallTime;

/// Why bytes are not a canonical document.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Larger than the caller allows.
    #[error("the document has {bytes} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Not JSON, or not the fields that are expected.
    #[error("the document does not have the expected fields: {0}")]
    Shape(#[from] serde_json::Error),
    /// JSON, but not in its canonical form.
    #[error("the document is not canonical JSON (sorted keys, no spaces, integers only); it was altered after signing")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Errors
/// When it holds a number that is not an integer, or a control character (which canonical JSON could not read back).
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    let bytes = sigstore_tuf::canonical_json::to_canonical_bytes(&value).map_err(|_| CanonicalError::NotCanonical)?;
    if bytes.iter().any(|&byte| byte < 0x20) {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(bytes)
}

/// Reads `bytes`, at most `max` of them, as a `T`; only the canonical encoding is taken.
///
/// # Errors
/// When there are too many, they are not canonical, or not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CanonicalError> {
    let value = decode_value(bytes, max)?;
    Ok(serde_json::from_value(value)?)
}

/// Reads `bytes` as any canonical JSON.
///
/// # Errors
/// As [`decode`].
pub fn decode_value(bytes: &[u8], max: usize) -> Result<Value, CanonicalError> {
    if bytes.len() > max {
        return Err(CanonicalError::TooLarge {
            bytes: bytes.len(),
            max,
        });
    }
    let value: Value = serde_json::from_slice(bytes)?;
    let again = sigstore_tuf::canonical_json::to_canonical_bytes(&value).map_err(|_| CanonicalError::NotCanonical)?;
    if again != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(value)
}

/// Wall time in signed documents: RFC 3339 in UTC with whole seconds, in exactly one spelling.
pub mod wall_time {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::WallTime;

    /// Writes it.
    ///
    /// # Errors
    /// The serialiser's.
    pub fn serialize<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.to_rfc3339())
    }

    /// Reads it.
    ///
    /// # Errors
    /// On any other spelling.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        WallTime::from_rfc3339(&text)
            .filter(|time| time.to_rfc3339() == text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a time like 2026-11-21T11:30:00Z")))
    }

    /// The same for an optional time.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        use super::super::WallTime;

        /// Writes it; nothing as null.
        ///
        /// # Errors
        /// The serialiser's.
        pub fn serialize<S: Serializer>(time: &Option<WallTime>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads it.
        ///
        /// # Errors
        /// On any other spelling.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WallTime>, D::Error> {
            #[derive(Deserialize)]
            struct Text(#[serde(with = "super")] WallTime);
            Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_document_is_read() {
        let good = br#"{"a":1,"b":"x"}"#;
        assert!(decode_value(good, 100).is_ok());
        let others: [&[u8]; 7] = [
            br#"{"b":"x","a":1}"#,
            br#"{"a": 1,"b":"x"}"#,
            br#"{"a":1,"a":1,"b":"x"}"#,
            br#"{"a":1,"b":"\u0078"}"#,
            br#"{"a":1.0,"b":"x"}"#,
            br#"{"a":1,"b":"x"} "#,
            br#"{"a":-0,"b":"x"}"#,
        ];
        for other in others {
            assert!(decode_value(other, 100).is_err(), "{}", String::from_utf8_lossy(other));
        }
        assert!(matches!(
            decode_value(good, 14),
            Err(CanonicalError::TooLarge { bytes: 15, max: 14 })
        ));
    }

    #[test]
    fn what_cannot_be_read_back_is_not_written() {
        assert!(encode(&"line\nbreak").is_err());
        assert!(encode(&0.5).is_err());
        assert_eq!(
            encode(&"plain \"quoted\" \\ text").ok(),
            Some(br#""plain \"quoted\" \\ text""#.to_vec())
        );
    }
}
