//! What comments at the head of a stored finding say of it.

use std::fs;
use std::path::Path;

/// The head of a file; empty for what is no such file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it broke: `production`, or a known bug.
    pub(crate) subject: Option<String>,
    pub(crate) signature: Option<String>,
}

impl Header {
    pub(crate) fn read(path: &Path) -> Self {
        // An engine's artifact is no text.
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(value.trim().to_owned())
        };
        Self {
            subject: field("# subject:").map(|text| text.split(',').next().unwrap_or("").into()),
            signature: field("# signature:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_wherever_they_are() {
        let header = Header::parse(
            "# subject:  queue-not-ordered, itsdiff 0.1.0 (abc)\n# rule: x\n# signature: A.b.c.d\nitsdiff 1\n",
        );
        assert_eq!(header.subject.as_deref(), Some("queue-not-ordered"));
        assert_eq!(header.signature.as_deref(), Some("A.b.c.d"));
        assert_eq!(Header::parse("itsdiff 1\n"), Header::default());
    }
}
