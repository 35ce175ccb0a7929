//! The signed files themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{RoleKeys, WriteError};
use crate::id::ProductId;
use crate::time::WallTime;
use crate::trust::canonical;
use crate::trust::key::Signer;
use crate::trust::role::Role;
use crate::trust::verify::{PRODUCT_FIELD, SIGNED_AT_FIELD};

/// The version of the TUF specification that is written.
const SPEC_VERSION: &str = "1.0.31";

/// The field of a first root that makes its hash, the product's id, the only one of its kind.
const NONCE_FIELD: &str = "x-samara-nonce";

/// The `signed` part of a file.
pub(super) struct Body(Map<String, Value>);

impl Body {
    fn new(kind: &str, product: Option<ProductId>, version: u64, expires: WallTime) -> Self {
        let mut body = Map::new();
        body.insert("_type".to_owned(), kind.into());
        body.insert("spec_version".to_owned(), SPEC_VERSION.into());
        body.insert("version".to_owned(), version.into());
        body.insert("expires".to_owned(), expires.to_rfc3339().into());
        if let Some(product) = product {
            body.insert(PRODUCT_FIELD.to_owned(), product.to_string().into());
        }
        Self(body)
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.0.insert(field.to_owned(), value);
        self
    }

    /// The first root; its hash becomes the product's id.
    pub(super) fn first_root(keys: &RoleKeys, nonce: [u8; 16], expires: WallTime) -> Self {
        Self::new("root", None, 1, expires)
            .with(NONCE_FIELD, data_encoding::HEXLOWER.encode(&nonce).into())
            .with_roles(keys)
    }

    /// A later root.
    pub(super) fn root(product: ProductId, version: u64, keys: &RoleKeys, expires: WallTime) -> Self {
        Self::new("root", Some(product), version, expires).with_roles(keys)
    }

    fn with_roles(self, keys: &RoleKeys) -> Self {
        let roles = Role::TOP
            .into_iter()
            .map(|role| (role.as_str().to_owned(), bind(keys, role)));
        let roles: Map<String, Value> = roles.collect();
        self.with("consistent_snapshot", true.into())
            .with("keys", key_table(keys, &Role::TOP))
            .with("roles", roles.into())
    }

    pub(super) fn targets(product: ProductId, keys: &RoleKeys, expires: WallTime) -> Self {
        let role = |role: Role| {
            let mut entry = bind(keys, role);
            entry["name"] = role.as_str().into();
            entry["paths"] = role.path_pattern().into_iter().collect();
            entry["terminating"] = true.into();
            entry
        };
        let roles: Vec<Value> = Role::DELEGATED.into_iter().map(role).collect();
        Self::new("targets", Some(product), 1, expires)
            .with("targets", json!({}))
            .with(
                "delegations",
                json!({"keys": key_table(keys, &Role::DELEGATED), "roles": roles}),
            )
    }

    pub(super) fn delegated(product: ProductId, version: u64, expires: WallTime, targets: Map<String, Value>) -> Self {
        Self::new("targets", Some(product), version, expires).with("targets", targets.into())
    }

    pub(super) fn snapshot(
        product: ProductId,
        version: u64,
        expires: WallTime,
        pins: &BTreeMap<String, Value>,
    ) -> Self {
        Self::new("snapshot", Some(product), version, expires).with("meta", json!(pins))
    }

    pub(super) fn timestamp(
        product: ProductId,
        version: u64,
        expires: WallTime,
        signed: WallTime,
        pin: &BTreeMap<String, Value>,
    ) -> Self {
        Self::new("timestamp", Some(product), version, expires)
            .with("meta", json!(pin))
            .with(SIGNED_AT_FIELD, signed.to_rfc3339().into())
    }

    /// The whole file, signed by each signer.
    pub(super) fn sign(self, signers: &[&dyn Signer]) -> Result<Vec<u8>, WriteError> {
        let signed = Value::Object(self.0);
        let message = canonical::encode(&signed)?;
        let mut signatures = BTreeMap::new();
        for signer in signers {
            let signature = data_encoding::HEXLOWER.encode(&signer.sign(&message)?);
            signatures.insert(signer.public().key_id(), signature);
        }
        let signatures: Vec<Value> = signatures
            .into_iter()
            .map(|(keyid, sig)| json!({"keyid": keyid, "sig": sig}))
            .collect();
        Ok(canonical::encode(&json!({"signatures": signatures, "signed": signed}))?)
    }
}

/// How a parent names a file: version, length, SHA-256.
pub(super) fn pin(file: &[u8]) -> Result<Value, WriteError> {
    let value: Value = canonical::decode_value(file, usize::MAX)?;
    Ok(json!({
        "version": value["signed"]["version"],
        "length": file.len(),
        "hashes": {"sha256": data_encoding::HEXLOWER.encode(&Sha256::digest(file))},
    }))
}

fn bind(keys: &RoleKeys, role: Role) -> Value {
    let (keys, threshold) = keys
        .get(&role)
        .map(|(keys, threshold)| (keys.as_slice(), *threshold))
        .unwrap_or_default();
    let mut ids: Vec<String> = keys.iter().map(crate::trust::key::PublicKey::key_id).collect();
    ids.sort();
    json!({"keyids": ids, "threshold": threshold})
}

fn key_table(keys: &RoleKeys, roles: &[Role]) -> Value {
    let keys = roles
        .iter()
        .filter_map(|role| keys.get(role))
        .flat_map(|(keys, _)| keys);
    keys.map(|key| (key.key_id(), key.tuf_key()))
        .collect::<Map<String, Value>>()
        .into()
}
