//! `samara config check FILE`: reads a node's configuration as `node run` would, looks at all that `node run` would
//! refuse, and prints what it means. Opens no socket and creates nothing.

use std::fmt;
use std::path::PathBuf;

use samara_protocol::units::show_bytes;
use serde::Serialize;

use crate::cli::node::preflight;
use crate::cli::{CliError, Context, ExitStatus, Printer};
use crate::config::Settings;
use crate::config::settings::{LimitSettings, ProductSettings, audience_name};

/// Check a file and print what it means.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's TOML file.
    file: PathBuf,
}

/// Prints the resolved settings.
///
/// # Errors
/// When the file is no good configuration, or a node with it would not start; nothing is printed then.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let settings = Settings::load(&args.file, context.home())?;
    for warning in preflight::look(&settings, context.now())?.warnings {
        printer.warn(warning);
    }
    printer.print(&Resolved {
        file: args.file.clone(),
        settings,
    })?;
    Ok(ExitStatus::Success)
}

#[derive(Serialize)]
struct Resolved {
    file: PathBuf,
    #[serde(flatten)]
    settings: Settings,
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            node,
            limits,
            store,
            products,
            metrics,
            log,
        } = &self.settings;
        writeln!(f, "role      {}", word(&node.role))?;
        writeln!(f, "home      {}", node.home.display())?;
        writeln!(f, "socket    {}", node.socket.display())?;
        writeln!(f, "listen    {}", list(&node.listen, "nowhere, this node only dials"))?;
        writeln!(f, "external  {}", list(&node.external, "as listened on"))?;
        writeln!(f, "region    {}", node.region.as_deref().unwrap_or("none"))?;
        writeln!(f, "proxy     {}", or(node.proxy.as_ref(), "none"))?;
        show_limits(limits, f)?;
        let quota = store.quota.map(show_bytes);
        writeln!(f, "store     {}", store.dir.display())?;
        writeln!(
            f,
            "quota     {}, {} of the disk are left free",
            or(quota, "none"),
            show_bytes(store.reserve)
        )?;
        products.iter().try_for_each(|product| show_product(product, f))?;
        writeln!(f, "metrics   {}", or(metrics.as_ref(), "off"))?;
        write!(f, "log       {}, {}", word(&log.level), word(&log.format))
    }
}

fn show_limits(limits: &LimitSettings, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "up        {}", or(limits.up, "no limit"))?;
    writeln!(f, "down      {}", or(limits.down, "no limit"))?;
    writeln!(f, "upload    {}", audience_name(limits.upload))?;
    match limits.origin_copies_max {
        Some(copies) => writeln!(f, "copies    at most {copies} from an origin"),
        None => Ok(()),
    }
}

fn show_product(product: &ProductSettings, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "product   {}: ", product.name)?;
    match product.follow.as_slice() {
        [] => f.write_str("follows no channel (an origin has every release)")?,
        channels => write!(f, "follows {}, keeps {}", list(channels, ""), product.keep)?,
    }
    match &product.platforms {
        Some(platforms) => writeln!(f, ", platforms {}", list(platforms, "none"))?,
        None => writeln!(f, ", all platforms")?,
    }
    match &product.signer {
        Some(signer) => writeln!(f, "signer    {}", signer.display()),
        None => Ok(()),
    }
}

fn or<T: fmt::Display>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn list<T: fmt::Display>(values: &[T], none: &str) -> String {
    if values.is_empty() {
        return none.to_owned();
    }
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The word that JSON has for it.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::Format;
    use crate::cli::printer::memory::Memory;

    fn check(text: &str, format: Format) -> (Result<ExitStatus, CliError>, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("node.toml");
        std::fs::write(&file, text).expect("written");
        let context = Context::at(PathBuf::from("/home"));
        let (mut printer, memory) = Memory::printer(format);
        let result = run(&Args { file }, &context, &mut printer);
        (result, memory.out())
    }

    #[test]
    fn a_good_file_prints_what_it_means() {
        let (result, out) = check("[limits]\nup = \"50mbit\"\n", Format::Human);
        assert_eq!(result, Ok(ExitStatus::Success));
        assert!(
            out.contains("up        50.0 Mbit/s\ndown      no limit\nupload    tenant\n"),
            "{out}"
        );
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_refused_with_its_key() {
        let long = format!("/run/{}/node.sock", "x".repeat(120));
        for (text, key) in [
            ("[node]\nhome = \"/dev/null\"\n", "node.home"),
            ("[store]\ndir = \"/dev/null/store\"\n", "store.dir"),
            (&format!("[node]\nsocket = \"{long}\"\n"), "node.socket"),
        ] {
            let (result, out) = check(text, Format::Human);
            let error = result.expect_err(text);
            assert_eq!(
                (error.status(), error.culprit(), out.as_str()),
                (ExitStatus::Usage, key, "")
            );
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn the_same_as_json_has_schema_file_and_base_units() {
        let (_, out) = check("[limits]\nup = \"50mbit\"\n", Format::Json);
        assert!(out.starts_with("{\"schema\":1,\"file\":"), "{out}");
        let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(json["limits"]["up"], 6_250_000);
        assert_eq!(json["node"]["socket"], "/home/node.sock");
    }

    #[test]
    fn a_signer_without_its_keys_is_refused() {
        let keys = tempfile::tempdir().expect("a directory");
        let dir = keys.path().display();
        let text = |dir: &dyn fmt::Display| {
            format!("[node]\nrole = \"origin\"\n[[product]]\nname = \"acme/app\"\nsigner = \"{dir}\"\n")
        };
        for (wrong, missing) in [(format!("{dir}/none"), "none"), (dir.to_string(), "snapshot.key")] {
            let (result, out) = check(&text(&wrong), Format::Human);
            let error = result.expect_err("nobody would seal");
            assert_eq!((error.status(), out.as_str()), (ExitStatus::Usage, ""));
            assert!(error.what().starts_with("`product.signer`: "), "{error}");
            assert!(error.what().contains(missing), "{error}");
            assert!(error.hint().is_some_and(|way| way.contains("vendor init")), "{error}");
        }
        for name in ["snapshot.key", "timestamp.key"] {
            std::fs::write(keys.path().join(name), "a key").expect("written");
        }
        let (result, _) = check(&text(&dir), Format::Human);
        let error = result.expect_err("the keys are there, the product is not");
        assert_eq!(error.culprit(), "acme/app", "{error}");
    }

    #[test]
    fn a_bad_file_is_a_usage_error_and_prints_nothing() {
        let (result, out) = check("[limits]\nup = \"50\"\n", Format::Json);
        let error = result.expect_err("no unit");
        assert_eq!(error.status(), ExitStatus::Usage);
        assert!(error.culprit().ends_with("node.toml:2"), "{error}");
        assert!(
            error.what().starts_with("`limits.up`: `50` has no known unit"),
            "{error}"
        );
        assert_eq!(out, "");
    }
}
