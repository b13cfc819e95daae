//! The version of the JSON that tools and people's scripts read.

use serde::{Deserialize, Serialize};

/// The version. A change that a reader must know of raises it: a field that is gone or means
/// something else, not one that is new.
pub const FORMAT: u32 = 1;

/// A JSON object with the version of its form as the first field.
#[derive(Debug, Serialize, Deserialize)]
pub struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    body: T,
}

impl<T> Versioned<T> {
    /// Adds the version to an object.
    pub fn new(body: T) -> Self {
        Self { format: FORMAT, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_first() {
        let text = serde_json::to_string(&Versioned::new(std::collections::BTreeMap::from([(
            "cases", 3,
        )])));
        assert_eq!(text.unwrap(), r#"{"format":1,"cases":3}"#);
    }
}
