//! How a log line looks: one line each, for people or as a JSON object. The fields of an event, which travel as one JSON
//! text, become fields of the object.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::fact::now;
use crate::config::settings::LogFormat;

/// The version of the JSON lines.
const SCHEMA: u32 = 1;

/// Writes lines of one format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let mut spans = Vec::new();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let fields = span
                .extensions()
                .get::<FormattedFields<N>>()
                .map(|fields| fields.fields.clone());
            spans.push((span.name(), fields.unwrap_or_default()));
        }
        match self.0 {
            LogFormat::Human => human(writer, event, &said, &spans),
            LogFormat::Json => json(writer, event, said, spans),
        }
    }
}

fn human(mut writer: Writer<'_>, event: &Event<'_>, said: &Said, spans: &[(&'static str, String)]) -> fmt::Result {
    let level = *event.metadata().level();
    let (on, off) = if writer.has_ansi_escapes() {
        (colour(level), "\x1b[0m")
    } else {
        ("", "")
    };
    write!(writer, "{} {on}{level:<5}{off} {}", now(), said.message)?;
    // An event's message says it all; a free line has its fields besides.
    if said.event.is_none() {
        for (name, value) in &said.fields {
            match value {
                Value::String(text) => write!(writer, " {name}={text}")?,
                other => write!(writer, " {name}={other}")?,
            }
        }
    }
    for (name, fields) in spans {
        write!(writer, " [{name} {fields}]")?;
    }
    writer.write_char('\n')
}

fn json(mut writer: Writer<'_>, event: &Event<'_>, said: Said, spans: Vec<(&'static str, String)>) -> fmt::Result {
    let mut line = Map::new();
    line.insert("schema".to_owned(), SCHEMA.into());
    line.insert("at".to_owned(), now().into());
    line.insert(
        "level".to_owned(),
        event.metadata().level().as_str().to_lowercase().into(),
    );
    line.insert("target".to_owned(), event.metadata().target().into());
    line.insert("event".to_owned(), said.event.map_or(Value::Null, Into::into));
    line.insert("message".to_owned(), said.message.into());
    line.insert("fields".to_owned(), said.fields.into());
    let spans = spans.into_iter().map(|(name, fields)| {
        let mut span: Map<String, Value> = serde_json::from_str(&fields).unwrap_or_default();
        span.insert("name".to_owned(), name.into());
        Value::Object(span)
    });
    line.insert("spans".to_owned(), spans.collect::<Vec<_>>().into());
    writeln!(writer, "{}", Value::Object(line))
}

/// What a line says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    event: Option<String>,
    fields: Map<String, Value>,
}

impl Said {
    fn keep(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "event" => self.event = Some(value.to_owned()),
            "fields" => match serde_json::from_str(value) {
                Ok(Value::Object(fields)) => self.fields.extend(fields),
                _ => self.keep(field, value.into()),
            },
            _ => self.keep(field, value.into()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Free lines may hold anything: what could move a cursor or end the line is escaped.
        let text: String = format!("{value:?}").chars().flat_map(harmless).collect();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.keep(field, text.into());
        }
    }
}

fn harmless(character: char) -> Vec<char> {
    if character.is_control() {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}
