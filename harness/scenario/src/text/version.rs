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

/// Returns a text of version 1 as one of the newest, with its comments; any other text as it is.
pub(crate) fn upgrade_text(text: &str) -> String {
    let mut is_old = false;
    let mut upgraded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let start = line.len().saturating_sub(line.trim_start().len());
        let (indent, rest) = line.split_at_checked(start).unwrap_or(("", line));
        let end = rest.find(|at: char| at.is_ascii_whitespace() || at == '#');
        let (word, rest) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
        let is_version = word == "itsdiff";
        is_old |= is_version && rest.split('#').next().is_some_and(|rest| rest.trim() == "1");
        upgraded.push_str(indent);
        if is_version && is_old {
            upgraded
                .push_str(&format!("{word}{}", rest.replacen('1', &TEXT_VERSION.to_string(), 1)));
        } else {
            let version = if is_old { 1 } else { TEXT_VERSION };
            upgraded.push_str(&format!("{}{rest}", renamed(version, word)));
        }
    }
    upgraded
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
        let new = upgrade_text(OLD);
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
        assert_eq!(upgrade_text(&new), new);
    }

    #[test]
    fn versions_do_not_mix() {
        let error = Scenario::parse("itsdiff 2\npost\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert!(Scenario::parse("itsdiff 1\npost\n").is_ok());
        assert!(Scenario::parse("itsdiff 3\n").is_err());
    }
}
