//! The file of a stored finding: comments that say what it was found with, how to replay it and
//! what was broken, and the scenario that shows it.

use std::fmt::{self, Display, Formatter};

use its_rules::Finding;

/// Keys of the lines that say where a finding comes from.
const ORIGIN: [&str; 4] = ["# subject:", "# target:", "# engine:", "# seed:"];

/// The key of the line with the command that replays it.
const REPLAY: &str = "# replay:";

/// Says what a run finds with. As text it begins the file of a finding, up to the name of the file.
pub struct Origin<'a> {
    pub subject: &'a str,
    pub target: &'a str,
    pub engine: &'a str,
    pub seed: u32,
    /// The command that replays the file, up to its name.
    pub replay: &'a str,
}

impl Display for Origin<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { subject, target, engine, seed, replay } = self;
        write!(
            f,
            "# subject:  {subject}\n# target:   {target}\n# engine:   {engine}\n\
             # seed:     {seed}\n{REPLAY}   {replay}"
        )
    }
}

/// Returns a finding and its scenario: comments and then the scenario, so that it is one as it
/// stands.
pub fn report(finding: &Finding, scenario: &impl Display) -> String {
    let comment = |text: &str| text.replace('\n', "\n#           ");
    let Finding { rule, signature, operation, .. } = finding;
    format!(
        "# rule:     {} ({})\n# holds:    {}\n# signature: {signature}\n# operation: {operation}\n\
         # where:    {}\n# expected: {}\n# seen:     {}\n{scenario}",
        rule.id,
        rule.severity.name(),
        comment(rule.holds),
        comment(&finding.place()),
        comment(&finding.expected),
        comment(&finding.seen),
    )
}

/// Returns a report that becomes a regression: its first line says on which subject it was found,
/// by which version.
pub fn regression(subject: &str, version: &str, report: &str) -> String {
    format!("# subject:  {subject}, {version}\n{}\n", report.trim_end())
}

/// Holds what is read at the head of a file; empty for what is no such file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The name of the subject that it was found on.
    pub subject: Option<String>,
    pub signature: Option<String>,
    pub target: Option<String>,
}

impl Header {
    /// Reads the lines `# key: value` of a file's text, wherever they are.
    pub fn parse(text: &str) -> Self {
        let field = |key: &str| {
            let value = lines(text).find_map(|line| line.strip_prefix(key))?;
            Some(value.trim().to_owned())
        };
        Self {
            subject: field("# subject:").map(|text| text.split(',').next().unwrap_or("").into()),
            signature: field("# signature:"),
            target: field("# target:"),
        }
    }
}

/// Returns a scenario that was made of the file `old`, with what the head of that says of its
/// origin. `to` is where it is written, if that has a name.
pub fn inherit(old: &str, scenario: &str, to: Option<&str>) -> String {
    // A regression names its subject by itself, in its first line.
    let names_subject = scenario.starts_with(ORIGIN[0]);
    let end = scenario.find('\n').map_or(scenario.len(), |end| end + 1);
    let (first, rest) = scenario.split_at(if names_subject { end } else { 0 });
    let keys = &ORIGIN[usize::from(names_subject)..];
    let mut head = first.to_owned();
    for line in lines(old).filter(|line| keys.iter().any(|key| line.starts_with(key))) {
        head.push_str(&format!("{line}\n"));
    }
    let replay = lines(old).find_map(|line| shlex::split(line.strip_prefix(REPLAY)?));
    if let (Some(mut words), Some(to)) = (replay, to) {
        words.pop();
        words.push(to.into());
        let words: Vec<String> = words.iter().map(|word| crate::quoted(word)).collect();
        head.push_str(&format!("{REPLAY}   {}\n", words.join(" ")));
    }
    head + rest
}

/// Returns the lines of a file. Some editors begin it with a byte order mark.
fn lines(text: &str) -> std::str::Lines<'_> {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_inherited() {
        let rest = "# target:   its_cmdq\n# engine:   afl\n# seed:     7\n";
        let subject = "# subject:  x\n";
        let origin = Origin {
            subject: "x",
            target: "its_cmdq",
            engine: "afl",
            seed: 7,
            replay: "cargo xtask replay --bug x a.its",
        };
        let old = format!("\u{feff}{origin}\nold\n");
        assert_eq!(inherit(&old, "new\n", None), format!("{subject}{rest}new\n"));
        let replay = "# replay:   cargo xtask replay --bug x '/b c.its'\n";
        let moved = Some("/b c.its");
        assert_eq!(inherit(&old, "new\n", moved), format!("{subject}{rest}{replay}new\n"));
        let kept = regression("x", "itsdiff 2", "new\n");
        let whole = format!("# subject:  x, itsdiff 2\n{rest}{replay}new\n");
        assert_eq!(inherit(&old, &kept, moved), whole);
        assert_eq!(inherit("", "new\n", None), "new\n");
    }

    #[test]
    fn fields_are_found_wherever_they_are() {
        let finding = Finding::broken(&its_rules::catalogue::DIV_PINS, "pins", "a page", "0\n1");
        let text = report(&finding.at((3, "write-cwriter"), "CWRITER"), &"itsdiff 2");
        let header = Header::parse(&regression("queue-not-ordered", "itsdiff 0.1.0 (abc)", &text));
        assert_eq!(header.subject.as_deref(), Some("queue-not-ordered"));
        assert_eq!(header.signature.as_deref(), Some("DIV-PINS.write-cwriter.CWRITER.pins"));
        assert_eq!(Header::parse("itsdiff 2\n"), Header::default());
    }
}
