//! The outside of a metadata file: canonical bytes, exactly two fields, lower-case signatures, and the product's id.

use serde::Deserialize;
use serde_json::Value;

use crate::id::ProductId;
use crate::limits::METADATA_BYTES_MAX;
use crate::time::WallTime;
use crate::trust::canonical::{self, wall_time};
use crate::trust::product::TrustError;
use crate::trust::role::Role;

/// The field that carries the product's id in every signed file but the first root (whose hash it is).
pub(crate) const PRODUCT_FIELD: &str = "x-samara-product";
/// The field of a timestamp that says when it was signed.
pub(crate) const SIGNED_AT_FIELD: &str = "x-samara-signed";

/// What a file says of itself, before anything is verified.
pub(crate) struct Header {
    pub(crate) version: u64,
    pub(crate) expires: WallTime,
    /// The BLAKE3 of the canonical signed part: two files with equal ones say the same.
    pub(crate) signed: blake3::Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    signatures: Vec<FileSignature>,
    signed: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    keyid: String,
    sig: String,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "_type")]
    kind: String,
    version: u64,
    #[serde(with = "wall_time")]
    expires: WallTime,
    #[serde(rename = "x-samara-product")]
    product: Option<ProductId>,
}

/// Reads the header of `file`, which is offered as `role`'s.
pub(crate) fn header(role: Role, file: &[u8], product: ProductId) -> Result<Header, TrustError> {
    let malformed = |reason: String| TrustError::Malformed { role, reason };
    let max = usize::try_from(METADATA_BYTES_MAX).unwrap_or(usize::MAX);
    let file: File = canonical::decode(file, max).map_err(|error| malformed(error.to_string()))?;
    let lower = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !file.signatures.iter().all(|one| lower(&one.keyid) && lower(&one.sig)) {
        return Err(malformed("a signature is not lower-case hexadecimal".to_owned()));
    }
    if !file.signatures.windows(2).all(|pair| pair[0].keyid < pair[1].keyid) {
        return Err(malformed(
            "its signatures are not sorted by key, each key once".to_owned(),
        ));
    }
    let signed = canonical::encode(&file.signed).map_err(|error| malformed(error.to_string()))?;
    let fields = Fields::deserialize(&file.signed).map_err(|error| malformed(error.to_string()))?;
    let kind = if Role::DELEGATED.contains(&role) {
        "targets"
    } else {
        role.as_str()
    };
    if fields.kind != kind {
        return Err(malformed(format!("it is a `{}` file", fields.kind)));
    }
    let first_root = role == Role::Root && fields.version == 1;
    match fields.product {
        None if first_root => {}
        Some(found) if found == product && !first_root => {}
        found => {
            return Err(TrustError::OtherProduct {
                role,
                found,
                expected: product,
            });
        }
    }
    Ok(Header {
        version: fields.version,
        expires: fields.expires,
        signed: blake3::hash(&signed),
    })
}

/// A wall time as `sigstore_tuf` takes it; outside its years the nearest it has.
pub(crate) fn instant(time: WallTime) -> jiff::Timestamp {
    let clamp = if time.0 < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    jiff::Timestamp::from_second(time.0).unwrap_or(clamp)
}
