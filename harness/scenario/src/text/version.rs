//! Earlier versions of the text form: read as they are, and rewritten as the newest.

use crate::text::TEXT_VERSION;

/// What a line of version 1 started with, and what it starts with now.
const RENAMED: [(&str, &str); 4] = [
    ("character", "its0"),
    ("character1", "its1"),
    ("post", "write-cwriter"),
    ("its", "select-its"),
];

/// Returns the first word of a line of a version as the newest version has it.
pub(super) fn renamed(version: u64, word: &str) -> &str {
    let renamed = RENAMED.iter().find(|(old, _)| version == 1 && *old == word);
    renamed.map_or(word, |(_, new)| new)
}

/// What the line of a finding's head that names its signature starts with.
const SIGNATURE: &str = "# signature:";

/// Returns a text of version 1 as one of the newest, with its comments; `None` for any other. A
/// text is of the version that its first line says, comments and empty lines apart.
pub(crate) fn upgrade_text(text: &str) -> Option<String> {
    let says = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
    let first = text.trim_start_matches('\u{feff}').lines().find(says)?;
    let words = first.split('#').next()?.split_whitespace();
    words.eq(["itsdiff", "1"]).then(|| text.split_inclusive('\n').map(upgrade_line).collect())
}

fn upgrade_line(line: &str) -> String {
    if let Some(signature) = line.strip_prefix(SIGNATURE) {
        let parts = signature.split('.').enumerate();
        let parts: Vec<&str> =
            parts.map(|(n, part)| if n == 1 { renamed(1, part) } else { part }).collect();
        return format!("{SIGNATURE}{}", parts.join("."));
    }
    let start = line.len().saturating_sub(line.trim_start().len());
    let (indent, rest) = line.split_at_checked(start).unwrap_or(("", line));
    let end = rest.find(|at: char| at.is_ascii_whitespace() || at == '#');
    let (word, rest) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
    if word.trim_start_matches('\u{feff}') == "itsdiff" {
        return format!("{indent}{word}{}", rest.replacen('1', &TEXT_VERSION.to_string(), 1));
    }
    format!("{indent}{}{rest}", renamed(1, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    const OLD: &str = "\
# A post of one command.
 itsdiff 1 # 1
character page-size=4K
character1 pace=late
boot its=2 # post
its 1
  post retry # its 0
post
";

    #[test]
    fn version_1_reads_the_same_before_and_after() {
        let new = upgrade_text(OLD).unwrap();
        assert_eq!(
            new,
            "\
# A post of one command.
 itsdiff 2 # 1
its0 page-size=4K
its1 pace=late
boot its=2 # post
select-its 1
  write-cwriter retry # its 0
write-cwriter
"
        );
        assert_eq!(Scenario::parse(OLD), Scenario::parse(&new));
        assert_eq!(upgrade_text(&new), None);
        assert_eq!(upgrade_text("# itsdiff 1\nA post\n"), None);
        let marked = upgrade_text("\u{feff}# signature: A.post.B.c\nitsdiff 1\npost\n").unwrap();
        assert!(Scenario::parse(&marked).is_ok(), "{marked}");
        let head = upgrade_text("# signature: A.post.post.c\nitsdiff 1\n");
        assert_eq!(head.unwrap(), "# signature: A.write-cwriter.post.c\nitsdiff 2\n");
    }

    #[test]
    fn versions_do_not_mix() {
        let error = Scenario::parse("itsdiff 2\npost\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert!(Scenario::parse("itsdiff 1\npost\n").is_ok());
        assert!(Scenario::parse("itsdiff 3\n").is_err());
    }
}
