//! Between the vendor's home and the origin beside it: what the origin sealed meanwhile comes first, and what a verb
//! signed goes to it at once, over its socket when it runs and into its home when it does not.
//!
//! Called by every verb that signs metadata, `publish` included. Keys stay in this process.

use std::io::Seek;
use std::os::fd::OwnedFd;

use super::super::{CliError, Context, Printer, blame};
use crate::access::Machine;
use crate::access::product::Turn;
use crate::access::vendor::{SealingKeys, Vendor, VendorError, VendorProduct};
use crate::admin::api::{Request, SignedFile};
use crate::admin::client::ANSWER_TIMEOUT;
use crate::admin::{AdminError, Client, RefusalKind, files};
use samara_protocol::trust::product::ProductTrust;
use samara_protocol::trust::writer::{Change, WriteError};

/// Opens a product as it stands now: the vendor's metadata and, when newer, that of the origin in this machine's home.
///
/// # Errors
/// When there is no such product, or the two contradict each other.
pub fn open(context: &Context, vendor: &Vendor, name: &str) -> Result<VendorProduct, CliError> {
    let mut product = vendor.product(name)?;
    let beside = Machine::at(context.home()).product(product.id());
    if let Some(origin) = beside.load()? {
        let newer = origin.files_newer_than(&product.trust.summary());
        if !newer.is_empty() {
            let (trust, _) = product.home.update(&newer, context.now())?;
            product.trust = trust;
        }
    }
    Ok(product)
}

/// Opens a product for one who is going to sign for it or to write its register: waits until nobody else does, and keeps others
/// waiting until the turn is dropped.
///
/// # Errors
/// As [`open`]; when the system refuses.
pub fn open_in_turn(context: &Context, vendor: &Vendor, name: &str) -> Result<(VendorProduct, Turn), CliError> {
    let turn = vendor.product(name)?.home.turn()?;
    Ok((open(context, vendor, name)?, turn))
}

/// Seals changes with the vendor's online keys, stores them, and hands them over to the origin on this machine.
///
/// # Errors
/// When the online keys are not here, a change is refused, or the origin does not take it.
pub fn commit(
    context: &Context,
    vendor: &Vendor,
    product: &mut VendorProduct,
    changes: Vec<Change>,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let keys: SealingKeys = vendor.sealing_keys()?;
    product.commit(&keys, changes, context.now())?;
    hand_over(context, product, printer)
}

/// As [`commit`], for what may have been said before: says whether it was. The origin is given all of it then too, because
/// an earlier try may have ended before that, with a new timestamp where the old one runs out.
///
/// # Errors
/// As [`commit`], and when there is no change for another reason.
pub fn commit_once(
    context: &Context,
    vendor: &Vendor,
    product: &mut VendorProduct,
    change: Result<Change, VendorError>,
    printer: &mut Printer,
) -> Result<bool, CliError> {
    match change {
        Ok(change) => commit(context, vendor, product, vec![change], printer).map(|()| false),
        Err(VendorError::Write(WriteError::NoChange(_))) => {
            if SealingKeys::are_due(&product.trust, context.now()) {
                commit(context, vendor, product, Vec::new(), printer)?;
            } else {
                hand_over(context, product, printer)?;
            }
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives the product's metadata to the origin on this machine, running or not.
///
/// # Errors
/// When the origin does not take it.
pub fn hand_over(context: &Context, product: &VendorProduct, printer: &mut Printer) -> Result<(), CliError> {
    match Client::connect(context.socket()) {
        Ok(mut client) => send(&mut client, product, printer).map_err(|error| blame::admin(&error, context.socket())),
        Err(AdminError::NotRunning { .. }) => {
            let beside = Machine::at(context.home()).product(product.id());
            if beside.membership()?.is_some() {
                beside.update(product.trust.files(), context.now())?;
                printer.detail("no node is running here; its home has the new metadata");
            } else {
                printer.detail("this machine has not joined the product as an origin; nothing was handed over");
            }
            Ok(())
        }
        Err(error) => Err(blame::admin(&error, context.socket())),
    }
}

/// Has the node of this machine, if one runs, read its home again.
///
/// # Errors
/// When it runs and refuses.
pub(in crate::cli) fn wake(context: &Context) -> Result<(), CliError> {
    match Client::connect(context.socket()) {
        Ok(mut client) => match client.ask(&Request::Reload, &[], ANSWER_TIMEOUT) {
            Ok(_) => Ok(()),
            Err(error) => Err(blame::admin(&error, context.socket())),
        },
        Err(AdminError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(blame::admin(&error, context.socket())),
    }
}

/// Gives newly sealed metadata to the origin of this machine that does not run.
///
/// # Errors
/// When its home cannot be written.
pub fn into_home(context: &Context, sealed: &ProductTrust) -> Result<(), CliError> {
    let beside = Machine::at(context.home()).product(sealed.product());
    if beside.membership()?.is_some() {
        beside.update(sealed.files(), context.now())?;
    }
    Ok(())
}

fn send(client: &mut Client, product: &VendorProduct, printer: &mut Printer) -> Result<(), AdminError> {
    let mut signed = Vec::new();
    let mut open: Vec<OwnedFd> = Vec::new();
    for (name, bytes) in product.trust.files().named() {
        let file = files::in_memory(&name, bytes).map_err(|source| AdminError::Io {
            path: name.clone().into(),
            source,
        })?;
        // The node gets this very cursor; writing has left it at the end.
        let rewound = file.try_clone().and_then(|file| std::fs::File::from(file).rewind());
        rewound.map_err(|source| AdminError::Io {
            path: name.clone().into(),
            source,
        })?;
        signed.push(SignedFile { name });
        open.push(file);
    }
    let import = Request::Import {
        product: Some(product.id()),
        signed,
    };
    match client.ask(&import, &open, ANSWER_TIMEOUT) {
        Ok(_) => Ok(()),
        Err(AdminError::Refused(refusal)) if refusal.reason == RefusalKind::Absent => {
            printer.warn("the node running here has not joined the product; its origin must get the new metadata");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
