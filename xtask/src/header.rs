//! What comments at the head of a stored finding say of it.

use fs_err as fs;
use std::path::Path;

use crate::subject::PRODUCTION;

/// The head of a file; empty for what is no such file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it broke: `production`, a known bug, or what `--subject` was given.
    pub(crate) subject: Option<String>,
    pub(crate) signature: Option<String>,
}

/// What stands before the name of a subject's file: where it lies is nobody else's concern.
pub(crate) const FILE: &str = "file:";

/// What kind of subject a head names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Production,
    Bug,
    Example,
    /// A file of somebody's.
    Elsewhere,
}

impl Origin {
    pub(crate) fn of(subject: &str) -> Self {
        match subject {
            PRODUCTION => Self::Production,
            _ if subject.starts_with("example:") => Self::Example,
            _ if subject.starts_with(FILE) => Self::Elsewhere,
            _ => Self::Bug,
        }
    }
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
    fn subjects_are_told_apart() {
        let all = [
            ("production", Origin::Production),
            ("queue-not-ordered", Origin::Bug),
            ("example:naive", Origin::Example),
            ("file:mine.o", Origin::Elsewhere),
        ];
        for (subject, origin) in all {
            assert_eq!(Origin::of(subject), origin, "{subject}");
        }
    }

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
