//! The points as documents: the reference in `docs/declaration.md`, and `POLICY.md` as a file.

use std::fmt::Write;

use its_el2::SubjectPolicy;

use crate::points::{POINTS, Point};

/// Returns the reference of all points, in Markdown.
pub fn document() -> String {
    let mut text = String::new();
    let mut section = "";
    for point in POINTS {
        if point.section != section {
            section = point.section;
            let _ = write!(text, "\n### `[{section}]`\n");
        }
        let about = sentence(point.about);
        let _ = writeln!(text, "\n- `{}` ({}). {about}", point.name, point.policy);
        for (value, meaning) in point.values {
            let shown = if point.is_choice() { format!("{value:?}") } else { (*value).into() };
            let _ = writeln!(text, "  - `{shown}`: {}", sentence(meaning));
        }
    }
    text
}

/// Returns a file in which every point has `POLICY.md`'s value.
pub fn example(numbers: SubjectPolicy) -> String {
    let SubjectPolicy { records_per_page, commands_in_flight, commands_per_trap, .. } = numbers;
    let SubjectPolicy { event_id_bits, private_pages, .. } = numbers;
    let mut text = format!(
        "# What POLICY.md promises, as a declaration. Each point has the policy's value, which it\n\
         # has where it is left out too. docs/declaration.md explains them.\n\
         version = 1\n\n\
         [numbers]\n\
         records-per-page = {records_per_page} # P7\n\
         commands-in-flight = {commands_in_flight} # the queue\n\
         commands-per-trap = {commands_per_trap} # P13\n\
         event-id-bits = {event_id_bits} # P6\n\
         private-pages = {private_pages} # S5\n"
    );
    let mut section = "";
    for point in POINTS {
        if point.section != section {
            section = point.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let value = point.values[0].0;
        let value = match value {
            "[]" => value.into(),
            _ if point.is_choice() => format!("{value:?}"),
            _ => "0".into(),
        };
        let _ = writeln!(text, "{} = {value} # {}", point.name, point.policy);
    }
    text
}

impl Point {
    /// Whether its values are names.
    fn is_choice(&self) -> bool {
        self.values.len() > 1
    }
}

/// Lines of a comment as one line.
fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Declaration, File};

    /// The production emulator's.
    const NUMBERS: SubjectPolicy = SubjectPolicy {
        records_per_page: 256,
        commands_in_flight: 64,
        commands_per_trap: 64,
        event_id_bits: 16,
        private_pages: 1024,
        guarded_its: 4,
        its: u32::MAX,
        redistributors: u32::MAX,
    };

    fn repository(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    fn writes() -> bool {
        std::env::var_os("ITSDIFF_WRITE_DOCS").is_some()
    }

    #[test]
    fn the_documentation_lists_every_point() {
        let path = repository("docs/declaration.md");
        let page = std::fs::read_to_string(&path).unwrap();
        const START: &str = "\n## Points\n";
        let (head, rest) = page.split_once(START).unwrap();
        if writes() {
            std::fs::write(&path, format!("{head}{START}{}", document())).unwrap();
            return;
        }
        assert_eq!(rest, document(), "write it with ITSDIFF_WRITE_DOCS=1 cargo test");
    }

    #[test]
    fn the_production_emulator_s_file_is_policy_md() {
        let path = repository("harness/emulator/subject.toml");
        if writes() {
            std::fs::write(&path, example(NUMBERS)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, example(NUMBERS), "write it with ITSDIFF_WRITE_DOCS=1 cargo test");
        let file = File::read("subject.toml", &text).unwrap();
        let declared = file.declaration("subject.toml", NUMBERS).unwrap();
        assert_eq!(declared, Declaration::of(NUMBERS));
    }

    /// Where a point says that POLICY.md has it, it has.
    #[test]
    fn policy_md_has_every_point() {
        let policy = std::fs::read_to_string(repository("harness/emulator/POLICY.md")).unwrap();
        let is_there = |place: &str| match place {
            "register table" => policy.contains("| register | write | read |"),
            "command table" => policy.contains("| command | judged by |"),
            "registers, sizes" => policy.contains("An access of another size"),
            "S1 to S9" => policy.contains("| S1 |") && policy.contains("| S9 |"),
            "redistributors" => policy.contains("**Redistributors**"),
            _ => place.split(", ").all(|place| policy.contains(place)),
        };
        for Point { section, name, policy, .. } in POINTS {
            assert!(is_there(policy), "{section}.{name}: {policy}");
        }
    }
}
