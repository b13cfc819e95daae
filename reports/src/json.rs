//! The form of the JSON that tools and people's scripts read.

use serde::Serialize;
use serde_json::Result;

/// The version. A change that a reader must know of raises it: a field that is gone or means
/// something else, not one that is new.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    body: T,
}

/// Returns an object with the version of its form as JSON, on one line.
///
/// # Errors
/// It is no object, or cannot be serialized.
pub fn json_line(body: impl Serialize) -> Result<String> {
    serde_json::to_string(&Versioned { format: FORMAT, body })
}

/// Returns the same as JSON that people can read.
///
/// # Errors
/// As [`json_line`].
pub fn pretty_json(body: impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(&Versioned { format: FORMAT, body })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_comes_first() {
        let text = super::json_line(serde_json::json!({ "cases": 3 }));
        assert_eq!(text.unwrap(), r#"{"format":1,"cases":3}"#);
    }
}
