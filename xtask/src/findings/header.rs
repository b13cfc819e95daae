//! The comments at the head of a stored finding: what it was found with, and how to replay it.

use std::path::Path;

use fs_err as fs;

use crate::engines::{Engine, Plan};
use crate::subjects::{self, PRODUCTION};
use crate::workspace;

/// The head of a file; empty for what is no such file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it was found on: `production`, a known bug, or what `--subject` was given.
    pub(crate) subject: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) target: Option<String>,
}

/// What comes before the name of a subject's file, which is given without its folder.
pub(crate) const FILE: &str = "file:";

/// What kind of subject a head names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Production,
    Bug,
    Example,
    /// A file outside of the project.
    File,
}

impl Origin {
    pub(crate) fn of(subject: &str) -> Self {
        match subject {
            PRODUCTION => Self::Production,
            _ if subject.starts_with("example:") => Self::Example,
            _ if subject.starts_with(FILE) => Self::File,
            _ => Self::Bug,
        }
    }
}

impl Header {
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&text(path))
    }

    /// Reads the lines `# key: value`, wherever they are.
    fn parse(text: &str) -> Self {
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(value.trim().to_owned())
        };
        Self {
            subject: field("# subject:").map(|text| text.split(',').next().unwrap_or("").into()),
            signature: field("# signature:"),
            target: field("# target:"),
        }
    }
}

/// Keys of the lines that say where a finding comes from.
const ORIGIN: [&str; 4] = ["# subject:", "# target:", "# engine:", "# seed:"];

/// The key of the line with the command that replays it.
const REPLAY: &str = "# replay:";

/// Returns the first lines of what a run finds, up to the name of the file in `folder`.
pub(crate) fn origin(plan: &Plan, engine: Engine, folder: &Path) -> String {
    let (subject, target) = (&plan.program.subject, plan.target.name);
    let (seed, option) = (plan.seed, subjects::option(subject));
    let folder = workspace::quoted(&workspace::shown(folder));
    format!(
        "# subject:  {subject}\n# target:   {target}\n# engine:   {engine}\n# seed:     {seed}\n\
         {REPLAY}   cargo xtask replay{option} {folder}/"
    )
}

/// Copies what the head of a file says of its origin to a scenario that was made of it and is
/// written to `to`, if that has a name.
pub(crate) fn inherit(from: &Path, scenario: &str, to: Option<&str>) -> String {
    let old = text(from);
    // A regression names its subject by itself, in its first line.
    let names_subject = scenario.starts_with(ORIGIN[0]);
    let end = scenario.find('\n').map_or(scenario.len(), |end| end + 1);
    let (first, rest) = scenario.split_at(if names_subject { end } else { 0 });
    let keys = &ORIGIN[usize::from(names_subject)..];
    let mut head = first.to_owned();
    for line in old.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))) {
        head.push_str(&format!("{line}\n"));
    }
    let replay = old.lines().find_map(|line| shlex::split(line.strip_prefix(REPLAY)?));
    if let (Some(mut words), Some(to)) = (replay, to) {
        words.pop();
        words.push(to.into());
        let words: Vec<String> = words.iter().map(|word| workspace::quoted(word)).collect();
        head.push_str(&format!("{REPLAY}   {}\n", words.join(" ")));
    }
    head + rest
}

/// An engine's artifact is no text. Some editors begin one with a byte order mark.
fn text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text)
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
            ("file:mine.o", Origin::File),
        ];
        for (subject, origin) in all {
            assert_eq!(Origin::of(subject), origin, "{subject}");
        }
    }

    #[test]
    fn the_origin_is_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.its");
        let rest = "# target:   its_cmdq\n# engine:   afl\n# seed:     7\n";
        let subject = "# subject:  x\n";
        let old =
            format!("\u{feff}{subject}{rest}# replay:   cargo xtask replay --bug x a.its\nold\n");
        fs::write(&file, old).unwrap();
        assert_eq!(inherit(&file, "new\n", None), format!("{subject}{rest}new\n"));
        let replay = "# replay:   cargo xtask replay --bug x '/b c.its'\n";
        let moved = "/b c.its";
        let whole = format!("{subject}{rest}{replay}new\n");
        assert_eq!(inherit(&file, "new\n", Some(moved)), whole);
        let regression = format!("# subject:  x, itsdiff 2\n{rest}{replay}new\n");
        assert_eq!(inherit(&file, "# subject:  x, itsdiff 2\nnew\n", Some(moved)), regression);
        assert_eq!(inherit(Path::new("/nowhere"), "new\n", None), "new\n");
    }

    #[test]
    fn fields_are_found_wherever_they_are() {
        let header = Header::parse(
            "# subject:  queue-not-ordered, itsdiff 0.1.0 (abc)\n# rule: x\n# signature: A.b.c.d\nitsdiff 2\n",
        );
        assert_eq!(header.subject.as_deref(), Some("queue-not-ordered"));
        assert_eq!(header.signature.as_deref(), Some("A.b.c.d"));
        assert_eq!(Header::parse("itsdiff 2\n"), Header::default());
    }
}
