//! The points as documents: `POLICY.md` as a file, and the reference in `docs/declaration.md`.

use std::fmt::Write;

use its_el2::SubjectPolicy;

use crate::points::{POINTS, Point};

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
        let about = point.about.iter().map(|line| format!("#{line}\n"));
        text.extend(about);
        let others = point.values.iter().skip(1).map(|(value, _)| format!(", or {value:?}"));
        let others: String = others.collect();
        let _ = writeln!(text, "{} = {value} # {}{others}", point.name, point.policy);
    }
    text
}

impl Point {
    /// Whether its values are names.
    fn is_choice(&self) -> bool {
        self.values.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Returns the reference of all points, in Markdown.
    fn document() -> String {
        let mut text = String::new();
        let mut section = "";
        for point in POINTS {
            if point.section != section {
                section = point.section;
                text += &format!("\n### `[{section}]`\n");
            }
            let head = format!("- `{}` ({}).", point.name, point.policy);
            text += &format!("\n{}", item("", &head, point.about));
            for (value, meaning) in point.values {
                let shown = if point.is_choice() { format!("{value:?}") } else { (*value).into() };
                text += &item("  ", &format!("- `{shown}`:"), meaning);
            }
        }
        text
    }

    /// An item of a list, as long as lines of the documents may be.
    fn item(indent: &str, head: &str, lines: &[&str]) -> String {
        let mut text = String::new();
        let mut line = format!("{indent}{head}");
        for word in lines.iter().flat_map(|line| line.split_whitespace()) {
            if line.len() + 1 + word.len() > 100 {
                text += &format!("{line}\n");
                line = format!("{indent} ");
            }
            line += &format!(" {word}");
        }
        text + &line + "\n"
    }

    fn repository(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    #[test]
    fn the_documentation_lists_every_point() {
        let path = repository("docs/declaration.md");
        let page = std::fs::read_to_string(&path).unwrap();
        const START: &str = "\n## Points\n";
        let (head, rest) = page.split_once(START).unwrap();
        if std::env::var_os("ITSDIFF_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{head}{START}{}", document())).unwrap();
            return;
        }
        assert_eq!(rest, document(), "write it with ITSDIFF_WRITE_DOCS=1 cargo test");
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
