//! `samara grant`: a request file in, a join file out.

mod former;

use std::fmt;
use std::path::PathBuf;

use samara_protocol::time::WallTime;
use samara_protocol::trust::dsse::{Envelope, SignStatementError};
use samara_protocol::trust::grant::{ChannelName, Grant, Reseed, Rights, SiteId, TenantId};
use samara_protocol::trust::join::{JoinFile, JoinProduct};
use samara_protocol::trust::key::PublicKey;
use samara_protocol::trust::request::{Request, RequestKind};
use samara_protocol::trust::role::Role;
use serde::Serialize;

use self::former::{Former, Remarks};
use super::input::{self, ProductName, Until};
use super::vendor::{HomeArgs, hand_over};
use super::{CliError, Context, ExitStatus, Printer};
use crate::access::entropy;
use crate::access::vendor::{RegisteredSite, RegisteredTenant, Vendor, VendorProduct};

/// Grants a site one product, or makes a node an origin of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `samara site init` or `samara request origin` made; `-` for stdin.
    #[arg(value_name = "REQUEST")]
    pub request: PathBuf,
    /// Which product.
    #[arg(long, value_name = "VENDOR/PRODUCT")]
    pub product: ProductName,
    /// What you call the customer; the name stays here [default for an origin: vendor].
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// What you call the installation; the name stays here [default for an origin: from its key].
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// Channels whose releases it may have; may be given several times.
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    pub channel: Vec<ChannelName>,
    /// To whom it may pass on what it holds: none (itself alone), own (the tenant's sites), all.
    #[arg(long, value_name = "none|own|all", default_value = "own", value_parser = reseed)]
    pub reseed: Reseed,
    /// How long it is good, or until when.
    #[arg(long, value_name = "TIME", default_value = "1y")]
    pub until: Until,
    /// Where the join file goes; `-` for stdout.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over that file when it is there and holds something else.
    #[arg(long)]
    pub replace: bool,
    /// Where the keys are.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Granted {
    product: String,
    tenant: String,
    tenant_id: String,
    site: String,
    site_id: String,
    key: String,
    kind: &'static str,
    channels: Vec<String>,
    reseed: Reseed,
    until: String,
    file: String,
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.channels.join(", ");
        write!(
            f,
            "{} {}/{} may have {} ({channels}) until {}; send it {}",
            self.kind, self.tenant, self.site, self.product, self.until, self.file
        )
    }
}

fn reseed(text: &str) -> Result<Reseed, String> {
    match text {
        "none" => Ok(Reseed::None),
        "own" => Ok(Reseed::Own),
        "all" => Ok(Reseed::All),
        _ => Err("write none, own or all".to_owned()),
    }
}

/// Runs it.
///
/// # Errors
/// When the request is not one, the site is registered with another key, the output is there and something else, or the
/// `grants` key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let vendor = args.home.vendor(context);
    let culprit = args.request.display();
    let (request, contact) = input::request(&args.request)?;
    let origin = match request.kind {
        RequestKind::Site => false,
        RequestKind::Origin => true,
        RequestKind::Node | RequestKind::Host => {
            let what = format!(
                "it asks to be let in as a {}, which the site does, not the vendor",
                request.kind.as_str()
            );
            let way_out = "run `samara site enrol` where the site key is, or make the request with `samara site init`";
            return Err(CliError::usage(culprit, what).way_out(way_out));
        }
    };
    let names = names(args, &request)?;
    let (mut product, _turn) = hand_over::open_in_turn(context, &vendor, &args.product.0)?;
    let not_after = args.until.from(context.now(), "--until")?;
    let former = Former::of(&product.register, &names, request.key);
    let grant = terms(args, &mut product, &request, &names, not_after)?;
    let envelope = sign(&vendor, &grant)?;
    record(&mut product, &names, &grant, &vendor, &envelope)?;
    if let Some((contact, envelope)) = contact.filter(|_| origin) {
        product.register.origins.retain(|known| {
            samara_protocol::trust::contact::Contact::open(known).is_ok_and(|known| known.node != contact.node)
        });
        product.register.origins.push(envelope);
    }
    let file = JoinFile {
        schema: 0,
        kind: request.kind,
        key: request.key,
        products: vec![JoinProduct::new(
            &args.product.0,
            &product.trust,
            envelope,
            product.register.origins.clone(),
        )],
        enrolments: Vec::new(),
        site_revocations: None,
    };
    let file = file.encode();
    input::may_write(&args.output, args.replace, "--replace", file.len(), |there| {
        there == file
    })?;
    product.save_register()?;
    input::write(&args.output, &file, printer)?;
    report(
        args,
        &request,
        &names,
        &grant,
        product.register.origins.is_empty(),
        printer,
    )?;
    let Remarks { notes, warnings } = former.remarks(&names, &args.product.0, &grant, product.trust.documents());
    notes.iter().for_each(|note| printer.note(note));
    warnings.iter().for_each(|warning| printer.warn(warning));
    Ok(ExitStatus::Success)
}

struct Names {
    tenant: String,
    site: String,
}

fn names(args: &Args, request: &Request) -> Result<Names, CliError> {
    let origin = request.kind == RequestKind::Origin;
    let need = |given: &Option<String>, flag: &str, default: String| match given {
        Some(name) if name.is_empty() || name.len() > 200 => Err(CliError::usage(flag, "a name has 1 to 200 bytes")),
        Some(name) => Ok(name.clone()),
        None if origin => Ok(default),
        None => Err(CliError::usage(flag, "is needed to tell your customers apart")
            .way_out(format!("give {flag} NAME; the name stays in your register"))),
    };
    let key = request.key.to_string();
    Ok(Names {
        tenant: need(&args.tenant, "--tenant", "vendor".to_owned())?,
        site: need(&args.site, "--site", format!("origin-{}", &key[..8]))?,
    })
}

/// The grant; ids are those of an earlier grant to the same site, else new.
fn terms(
    args: &Args,
    product: &mut VendorProduct,
    request: &Request,
    names: &Names,
    not_after: WallTime,
) -> Result<Grant, CliError> {
    let tenant = product.register.tenants.get(&names.tenant);
    let known = tenant
        .and_then(|tenant| tenant.sites.get(&names.site))
        .filter(|site| !site.revoked);
    if let Some(site) = known.filter(|site| site.key != request.key) {
        let what = format!(
            "{}/{} is registered with another key, {}",
            names.tenant, names.site, site.key
        );
        let way_out =
            "if it has a new key, `samara revoke` the old one first; if it is another site, name it otherwise";
        return Err(CliError::new(ExitStatus::Conflict, "--site", what).way_out(way_out));
    }
    let mut channels = args.channel.clone();
    channels.sort();
    channels.dedup();
    let origin = request.kind == RequestKind::Origin;
    if origin {
        // What is shown of it; it is offered all channels, also later ones.
        channels.extend(product.trust.documents().channels.keys().cloned());
        channels.sort();
        channels.dedup();
    }
    Ok(Grant {
        schema: 0,
        product: product.id(),
        tenant: tenant.map_or_else(|| TenantId(entropy::random_id()), |tenant| tenant.id),
        site: known.map_or_else(|| SiteId(entropy::random_id()), |site| site.id),
        site_key: request.key,
        channels,
        rights: Rights {
            fetch: true,
            reseed: if origin { Reseed::All } else { args.reseed },
            publish: origin,
            origin,
        },
        not_before: None,
        not_after,
    })
}

fn sign(vendor: &Vendor, grant: &Grant) -> Result<Envelope, CliError> {
    let key = vendor.key(Role::Grants)?;
    Envelope::sign(grant, &[&key]).map_err(|error| match error {
        SignStatementError::Statement(error) => CliError::usage("grant", error),
        SignStatementError::Signer(error) => CliError::failure("grant", error),
    })
}

fn record(
    product: &mut VendorProduct,
    names: &Names,
    grant: &Grant,
    vendor: &Vendor,
    envelope: &Envelope,
) -> Result<(), CliError> {
    let authority = product.trust.grant_authority();
    // The consumer's own check: a vendor's key that the product does not name signs nothing of use.
    let opened = authority.map(|authority| authority.open(envelope));
    let Some(Ok((_, id))) = opened else {
        let what = "it is not the key that the product names for `grants`";
        return Err(CliError::new(
            ExitStatus::Denied,
            vendor.key_path(Role::Grants).display(),
            what,
        ));
    };
    let tenants = &mut product.register.tenants;
    let tenant = tenants.entry(names.tenant.clone()).or_insert_with(|| RegisteredTenant {
        id: grant.tenant,
        sites: std::collections::BTreeMap::new(),
    });
    let before = tenant.sites.get(&names.site).filter(|site| site.id == grant.site);
    let mut grants = before.map(|site| site.grants.clone()).unwrap_or_default();
    if !grants.contains(&id) {
        grants.push(id);
    }
    let site = RegisteredSite {
        id: grant.site,
        key: grant.site_key,
        channels: grant.channels.clone(),
        rights: grant.rights,
        not_after: grant.not_after.to_rfc3339(),
        grants,
        revoked: false,
    };
    if let Some(old) = tenant
        .sites
        .insert(names.site.clone(), site)
        .filter(|old| old.id != grant.site)
    {
        // Kept for `report` and the auditor, under a name that no grant can have.
        tenant.sites.insert(format!("{} (revoked {})", names.site, old.id), old);
    }
    Ok(())
}

fn report(
    args: &Args,
    request: &Request,
    names: &Names,
    grant: &Grant,
    no_origins: bool,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let granted = Granted {
        product: args.product.0.clone(),
        tenant: names.tenant.clone(),
        tenant_id: grant.tenant.to_string(),
        site: names.site.clone(),
        site_id: grant.site.to_string(),
        key: shown(request.kind, request.key),
        kind: request.kind.as_str(),
        channels: grant.channels.iter().map(ToString::to_string).collect(),
        reseed: grant.rights.reseed,
        until: grant.not_after.to_rfc3339(),
        file: args.output.display().to_string(),
    };
    if args.output == std::path::Path::new("-") {
        printer.note(granted);
    } else {
        printer.print(&granted)?;
    }
    if request.kind == RequestKind::Site {
        match grant.rights.reseed {
            Reseed::None => printer.note("reseed none: the origin sends every release once to this site"),
            Reseed::Own => printer.note("reseed own: the origin sends every release about once to this tenant's sites"),
            Reseed::All => {
                printer
                    .note("reseed all: sites that take it too feed each other, the origin sends about one copy to all");
            }
        }
        if no_origins {
            printer.warn("no origin with an address is known: the file names none to dial; grant a request made by `samara request origin --address HOST:PORT` first, then grant this again");
        }
    }
    Ok(())
}

fn shown(kind: RequestKind, key: PublicKey) -> String {
    match kind {
        RequestKind::Site => key.to_string(),
        _ => samara_protocol::id::NodeId::from(key).to_string(),
    }
}
