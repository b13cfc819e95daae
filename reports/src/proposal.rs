//! What an emulation may want to declare, from what was seen of it.

use std::fmt::Write;

use its_rules::Finding;

/// A point that an emulation seems to have otherwise than POLICY.md.
pub struct Proposed {
    /// The section of the file, and the line there.
    pub section: String,
    pub line: String,
    /// A scenario in which it matters, and what that breaks without the line.
    pub file: String,
    pub finding: Finding,
}

/// Returns a file `subject.toml` in which each line stands commented out below its reason. `all`
/// may be in any order. Lists of one point become one.
pub fn text(subject: &str, mut all: Vec<Proposed>) -> String {
    all.sort_by(|one, other| (&one.section, &one.line).cmp(&(&other.section, &other.line)));
    let mut text = format!(
        "# Proposed from what was seen of {subject}. Remove the # before the lines that you mean,\n\
         # and put them into subject.toml beside the object (docs/declaration.md).\nversion = 1\n"
    );
    let mut section = "";
    for (n, Proposed { section: of, line, file, finding }) in all.iter().enumerate() {
        if of != section {
            section = of;
            let _ = write!(text, "\n[{section}]\n");
        }
        let Finding { rule, expected, seen, .. } = finding;
        let _ = writeln!(text, "# {} is broken: expected {expected}, seen {seen}", rule.id);
        let _ = writeln!(text, "# ({file})");
        // Reasons of a list come before its one line.
        let is_last = all.get(n + 1).is_none_or(|next| key(next) != key(&all[n]));
        if is_last {
            let _ = writeln!(text, "# {}", joined(line, &all));
        }
    }
    text
}

fn key(one: &Proposed) -> (&str, &str) {
    (&one.section, one.line.split(' ').next().unwrap_or_default())
}

/// A line, with the items of all lists that are proposed for the same point.
fn joined(line: &str, all: &[Proposed]) -> String {
    let Some((key, _)) = line.split_once(" = [") else {
        return line.into();
    };
    let same = all.iter().filter_map(|one| one.line.strip_prefix(key)?.strip_prefix(" = ["));
    let items: Vec<&str> = same.map(|items| items.trim_end_matches(']')).collect();
    format!("{key} = [{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use its_rules::catalogue::{DIV_COMMAND, DIV_CREADR, DIV_ZERO};

    use super::*;

    #[test]
    fn each_line_stands_below_its_reason() {
        let one = |section: &str, line: &str, rule, expected: &str, seen: &str| Proposed {
            section: section.into(),
            line: line.into(),
            file: format!("points/{section}.its"),
            finding: Finding::new(rule, "value", "its0", expected, seen),
        };
        let all = vec![
            one("traps", "unknown-registers = \"hardware\"", &DIV_ZERO, "0x0 (STATUSR)", "0x1"),
            one("queue", "refusal = \"silent\"", &DIV_CREADR, "0xc1 (P10)", "0xc0"),
            one("queue", "left-to-hardware = [\"icid\"]", &DIV_COMMAND, "refused", "accepted"),
            one("queue", "left-to-hardware = [\"rdbase\"]", &DIV_COMMAND, "refused", "accepted"),
        ];
        insta::assert_snapshot!(text("mine.o", all));
    }
}
