//! `samara site init`: the site key and its request file.

use std::fmt;
use std::path::PathBuf;

use samara_protocol::trust::request::{RequestFile, RequestKind};
use serde::Serialize;

use super::HomeArgs;
use crate::access::AccessError;
use crate::access::machine::signed_request;
use crate::cli::{CliError, Context, ExitStatus, Printer, input};

/// Makes the site key, and the request file that the vendor answers with a grant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the request file goes; `-` for stdout.
    #[arg(long, short, value_name = "FILE", default_value = "site.request")]
    pub output: PathBuf,
    /// Where the key goes.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Made {
    key: String,
    dir: String,
    request: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "site key {} in {}; send {} to the vendor",
            self.key, self.dir, self.request
        )
    }
}

/// Runs it. With a key there already it only writes the request file again.
///
/// # Errors
/// When the directory or file cannot be written.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let site = args.home.site(context);
    input::has_folder(&args.output)?;
    let key = match site.init() {
        Err(AccessError::Exists { path, way_out }) => match site.key()? {
            Some(key) => key,
            None => return Err(AccessError::Exists { path, way_out }.into()),
        },
        made => made?,
    };
    let request = signed_request(&key, RequestKind::Site).map_err(|error| CliError::failure("site key", error))?;
    let file = RequestFile { request, contact: None };
    input::write(&args.output, &file.encode(), printer)?;
    let made = Made {
        key: key.public().to_string(),
        dir: site.dir().display().to_string(),
        request: args.output.display().to_string(),
    };
    if args.output == std::path::Path::new("-") {
        printer.note(made);
    } else {
        printer.print(&made)?;
    }
    printer.note("next: samara join FILE with the vendor's answer, then samara site enrol REQUEST for each machine");
    Ok(ExitStatus::Success)
}
