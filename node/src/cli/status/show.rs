//! A node's status for people. Programs get the same, field by field.

use std::fmt;
use std::time::Duration;

use samara_protocol::units::{ByteRate, show_bytes};
use serde::Serialize;

use crate::admin::api::Stage;
use crate::admin::status::{
    Dialable, LimitStatus, PartName, PeerStatus, ProductStatus, SourceBytes, Status, TransferStatus,
};
use crate::cli::columns::{Align, Columns};
use crate::cli::progress::in_words;

/// Shows itself.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(pub(super) Status);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status {
            node,
            limits,
            store,
            products,
            transfers,
            peers,
        } = &self.0;
        writeln!(f, "{} {}", node.role, node.peer)?;
        let up = in_words(Duration::from_secs(node.uptime_seconds));
        writeln!(f, "samara {}, running for {up}", node.version)?;
        writeln!(
            f,
            "listening on {}; {}",
            or_none(&node.listening),
            dialable(node.dialable)
        )?;
        if !node.external.is_empty() {
            writeln!(f, "reachable at {}", node.external.join(", "))?;
        }
        writeln!(f, "{}", limits_line(limits))?;
        let quota = store
            .quota_bytes
            .map_or_else(|| "no quota".to_owned(), |quota| format!("quota {}", show_bytes(quota)));
        let reserved = match store.reserved_bytes {
            0 => String::new(),
            bytes => format!(", {} promised to transfers", show_bytes(bytes)),
        };
        write!(
            f,
            "store {} used, {} free{reserved}, {quota}",
            show_bytes(store.used_bytes),
            show_bytes(store.free_bytes)
        )?;
        section(f, "products", &product_rows(products))?;
        section(f, "transfers", &transfer_rows(transfers))?;
        section(f, "peers", &peer_rows(peers))
    }
}

fn section(f: &mut fmt::Formatter<'_>, name: &str, rows: &Columns) -> fmt::Result {
    if rows.is_empty() {
        write!(f, "\n\nno {name}")
    } else {
        write!(f, "\n\n{rows}")
    }
}

fn limits_line(limits: &LimitStatus) -> String {
    let limit =
        |rate: Option<u64>| rate.map_or_else(|| "no limit".to_owned(), |rate| format!("limit {}", ByteRate(rate)));
    format!(
        "up {} ({}, upload to {}), down {} ({}); sent {}, received {}",
        ByteRate(limits.sending_bytes_per_second),
        limit(limits.up_bytes_per_second),
        limits.upload,
        ByteRate(limits.receiving_bytes_per_second),
        limit(limits.down_bytes_per_second),
        show_bytes(limits.sent_bytes),
        show_bytes(limits.received_bytes),
    )
}

fn product_rows(products: &[ProductStatus]) -> Columns {
    let mut rows = Columns::new(&[
        ("product", Align::Left),
        ("channel", Align::Left),
        ("release", Align::Left),
        ("state", Align::Left),
        ("metadata", Align::Left),
        ("credentials", Align::Left),
    ]);
    for product in products {
        let metadata = match (&product.metadata_at, product.stale) {
            (None, _) => "none yet".to_owned(),
            (Some(at), false) => format!("of {at}"),
            (Some(at), true) => format!("of {at}, STALE"),
        };
        let until = product.credentials_until.as_deref().unwrap_or_default();
        let credentials = match product.credentials.as_str() {
            "good" => format!("until {until}"),
            "ends_soon" => format!("END ON {until}"),
            "ended" => format!("EXPIRED {until}, see `samara doctor`"),
            other => format!("{}, see `samara doctor`", other.to_uppercase()),
        };
        if product.channels.is_empty() {
            rows.row([
                product.name.clone(),
                "none followed".to_owned(),
                String::new(),
                String::new(),
                metadata,
                credentials,
            ]);
            continue;
        }
        for channel in &product.channels {
            let version = channel
                .version
                .as_ref()
                .map_or_else(|| "none".to_owned(), ToString::to_string);
            let state = channel.stage.map_or("", stage).to_owned();
            rows.row([
                product.name.clone(),
                channel.name.clone(),
                version,
                state,
                metadata.clone(),
                credentials.clone(),
            ]);
        }
    }
    rows
}

fn transfer_rows(transfers: &[TransferStatus]) -> Columns {
    let mut rows = Columns::new(&[
        ("release", Align::Left),
        ("state", Align::Left),
        ("have", Align::Right),
        ("of", Align::Right),
        ("rate", Align::Right),
        ("eta", Align::Right),
        ("sent", Align::Right),
        ("from", Align::Left),
    ]);
    for transfer in transfers {
        let list = if transfer.part == PartName::Entries {
            " (list)"
        } else {
            ""
        };
        let eta = transfer
            .eta_seconds
            .map_or_else(String::new, |seconds| in_words(Duration::from_secs(seconds)));
        let rate = match transfer.bytes_per_second {
            0 => String::new(),
            rate => ByteRate(rate).to_string(),
        };
        let from = match &transfer.waiting_for {
            Some(what) => format!("waits for {what}"),
            None => sources(&transfer.sources),
        };
        rows.row([
            format!("{}@{}{list}", transfer.product, transfer.version),
            stage(transfer.stage).to_owned(),
            show_bytes(transfer.have_bytes),
            show_bytes(transfer.wanted_bytes),
            rate,
            eta,
            show_bytes(transfer.sent_bytes),
            from,
        ]);
    }
    rows
}

fn peer_rows(peers: &[PeerStatus]) -> Columns {
    let mut rows = Columns::new(&[
        ("peer", Align::Left),
        ("address", Align::Left),
        ("distance", Align::Left),
        ("dialled", Align::Left),
        ("for", Align::Right),
        ("received", Align::Right),
        ("sent", Align::Right),
    ]);
    for peer in peers {
        rows.row([
            peer.peer.to_string(),
            peer.address.clone(),
            peer.distance.name().to_owned(),
            if peer.dialled { "by us" } else { "by it" }.to_owned(),
            in_words(Duration::from_secs(peer.connected_seconds)),
            show_bytes(peer.received_bytes),
            show_bytes(peer.sent_bytes),
        ]);
    }
    rows
}

fn sources(sources: &[SourceBytes]) -> String {
    let some = sources.iter().filter(|source| source.bytes > 0);
    let texts: Vec<String> = some
        .map(|source| format!("{} {}", source.source.name(), show_bytes(source.bytes)))
        .collect();
    texts.join(", ")
}

fn or_none(addresses: &[String]) -> String {
    if addresses.is_empty() {
        "nothing".to_owned()
    } else {
        addresses.join(", ")
    }
}

const fn dialable(dialable: Dialable) -> &'static str {
    match dialable {
        Dialable::Yes => "others have dialled it",
        Dialable::Unknown => "nobody has dialled it yet",
        Dialable::No => "others cannot dial it",
    }
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Offered => "offered",
        Stage::Fetching => "fetching",
        Stage::Verified => "verified",
        Stage::Staged => "staged",
    }
}
