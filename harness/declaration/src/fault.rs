//! What is wrong with a file, and where.

use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// Says why a file cannot be used.
#[derive(Debug, Error)]
pub enum Malformed {
    #[error("{file}: {error}")]
    Syntax { file: String, error: Box<toml::de::Error> },
    #[error("{file}: line {line}, column {column}: {what}")]
    Value { file: String, line: usize, column: usize, what: String },
}

/// What is wrong with a value.
pub(crate) struct Fault {
    /// The keys that lead to it; a number is an index.
    at: String,
    what: String,
}

impl Fault {
    pub(crate) fn new(at: impl Into<String>, what: String) -> Self {
        Self { at: at.into(), what }
    }

    /// Makes it an error that names the place in the file.
    pub(crate) fn in_file(self, file: &str, text: &str) -> Malformed {
        let before = &text[..place(text, &self.at)];
        let start_of_line = before.rfind('\n').map_or(0, |end| end + 1);
        Malformed::Value {
            file: file.into(),
            line: 1 + before.matches('\n').count(),
            column: 1 + before[start_of_line..].chars().count(),
            what: self.what,
        }
    }
}

/// Where the value that keys lead to starts, in bytes; 0 where it is not there.
fn place(text: &str, keys: &str) -> usize {
    let Ok(table) = DeTable::parse(text) else {
        return 0;
    };
    let (mut start, mut value) = (0, DeValue::Table(table.into_inner()));
    for key in keys.split('.') {
        let next = match value {
            DeValue::Table(mut table) => table.remove(key),
            DeValue::Array(array) => key.parse().ok().and_then(|n| array.into_iter().nth(n)),
            _ => None,
        };
        let Some(next) = next else {
            return start;
        };
        (start, value) = (next.span().start, next.into_inner());
    }
    start
}
