//! One line of the log, as the database holds it.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Longer texts are cut, in bytes.
const TEXT_MAX: usize = 8 * 1024;
/// Fields of more than this together are left out, in bytes.
const DATA_MAX: usize = 64 * 1024;
/// The field that holds the message itself.
const MESSAGE: &str = "message";

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// −8 trace, −4 debug, 0 info, 4 warn, 8 error.
    pub(super) level: i64,
    pub(super) message: String,
    /// The fields, as a JSON object.
    pub(super) data: String,
    /// In UTC, with nanoseconds.
    pub(super) created: String,
}

impl Record {
    pub(super) fn new(level: Level, message: String, data: &Map<String, Value>) -> Self {
        let mut data = Value::from(data.clone()).to_string();
        if data.len() > DATA_MAX {
            data = r#"{"truncated":true}"#.to_owned();
        }
        Self {
            level: number(level),
            message,
            data,
            created: format!("{:.9}", jiff::Timestamp::now()),
        }
    }
}

impl From<&Event<'_>> for Record {
    fn from(event: &Event<'_>) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = event.metadata().target();
        fields.insert("target", Value::from(target));
        Self::new(*event.metadata().level(), fields.message, &fields.data)
    }
}

fn number(level: Level) -> i64 {
    match level {
        Level::TRACE => -8,
        Level::DEBUG => -4,
        Level::INFO => 0,
        Level::WARN => 4,
        Level::ERROR => 8,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    data: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
    }

    fn text(&mut self, field: &Field, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_MAX)];
        if field.name() == MESSAGE {
            text.clone_into(&mut self.message);
        } else {
            self.insert(field.name(), Value::from(text));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
