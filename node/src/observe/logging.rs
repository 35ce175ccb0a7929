//! The process's log: lines for people or JSON, on stderr.

use std::ffi::OsString;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};

use super::lines::Lines;
use crate::config::env::Variable;
use crate::config::settings::{LogFormat, LogLevel, LogSettings};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("SAMARA_LOG: `{text}` is no log filter: {why}; write for example samara_node::net=debug")]
pub struct LoggingError {
    text: String,
    why: String,
}

/// Sets the log up, once per process; later calls change nothing. Each `-v` makes it a level finer. Libraries are heard
/// from `warn` on.
///
/// # Errors
/// When the directives in `SAMARA_LOG` cannot be read.
pub fn init(settings: LogSettings, verbosity: u8) -> Result<(), LoggingError> {
    let LogSettings { format, level } = settings;
    let level = (0..verbosity).fold(level, |level, _| finer(level));
    let filter = filter(level, Variable::SamaraLog.read())?;
    let colour = std::io::stderr().is_terminal() && Variable::NoColor.read().is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    // Fails when it is set up already, as in tests, and then stays as it is.
    let _ = match format {
        LogFormat::Human => builder
            .fmt_fields(DefaultFields::new())
            .event_format(Lines(format))
            .try_init(),
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(Lines(format))
            .try_init(),
    };
    Ok(())
}

fn filter(level: LogLevel, more: Option<OsString>) -> Result<EnvFilter, LoggingError> {
    let level = level_name(level);
    // That a peer was gone before its connection was closed is nobody's trouble.
    let own = format!("warn,yamux=error,samara={level},samara_node={level},samara_protocol={level}");
    let Some(more) = more else {
        return Ok(EnvFilter::new(own));
    };
    let text = more.to_string_lossy().into_owned();
    EnvFilter::try_new(format!("{own},{text}")).map_err(|error| LoggingError {
        text,
        why: error.to_string(),
    })
}

const fn finer(level: LogLevel) -> LogLevel {
    match level {
        LogLevel::Error => LogLevel::Warn,
        LogLevel::Warn => LogLevel::Info,
        LogLevel::Info => LogLevel::Debug,
        LogLevel::Debug | LogLevel::Trace => LogLevel::Trace,
    }
}

const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_names_the_variable_and_an_example() {
        let error = filter(LogLevel::Info, Some("samara_node::net=loud".into()))
            .expect_err("no level")
            .to_string();
        assert!(error.contains("SAMARA_LOG") && error.contains("=debug"), "{error}");
        assert!(filter(LogLevel::Info, Some("samara_node::net=debug".into())).is_ok());
    }
}
