//! What happened in one scenario: line by line, and each finding with what was expected and what
//! was seen.

use std::fmt::{self, Display, Formatter, Write};

use anstyle::{AnsiColor, Style};
use its_rules::{Evidence, Finding, Rule, judged_by};
use serde::{Deserialize, Serialize};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const PLAIN: Style = Style::new();

/// Columns of a value in the comparison.
const WIDTH: usize = 46;

/// Names who acts in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An operation of the scenario begins.
    Step,
    /// What the host, a device or time does, and what it gets.
    Host,
    /// EL2's accesses and locks.
    El2,
    /// What the physical ITS did.
    Its,
    /// A page changes hands, or comes within an ITS's reach.
    Own,
}

impl Kind {
    const fn style(self) -> Style {
        match self {
            Self::Step => PLAIN.bold(),
            Self::Host => PLAIN,
            Self::El2 => AnsiColor::Cyan.on_default(),
            Self::Its => AnsiColor::Magenta.on_default(),
            Self::Own => AnsiColor::Yellow.on_default(),
        }
    }
}

/// Describes one thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Index of the operation; `None` before the first. What comes after the last has the number of
    /// operations.
    pub step: Option<usize>,
    pub kind: Kind,
    /// 0 to 2.
    pub indent: usize,
    pub text: String,
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:width$}{}", "", self.text, width = 2 * self.indent)
    }
}

/// Holds what happened in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replayed {
    pub lines: Vec<Line>,
    /// The verdict, in words.
    pub verdict: String,
    /// Every load and store of the subject was seen. Else some rules were not judged.
    pub observed: bool,
    pub defects: Vec<String>,
    pub findings: Vec<Finding>,
}

/// Says what of a replay is shown.
#[derive(Default)]
pub struct Choice {
    /// Only this operation.
    pub step: Option<usize>,
    /// Only these kinds of lines; all if there are none.
    pub kinds: Vec<Kind>,
    /// What comes before the first operation too.
    pub boot: bool,
}

impl Choice {
    fn takes(&self, line: &Line) -> bool {
        let here = match (self.step, line.step) {
            (Some(step), at) => at == Some(step),
            (None, None) => self.boot,
            (None, Some(_)) => true,
        };
        let kinds = &self.kinds;
        here && (kinds.is_empty() || line.kind == Kind::Step || kinds.contains(&line.kind))
    }
}

impl Replayed {
    /// Returns all of it as plain text.
    pub fn text(&self) -> String {
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        lines
            + &self.result([PLAIN; 2], |Finding { expected, seen, .. }| {
                format!("  expected:  {expected}\n  seen:      {seen}\n")
            })
    }

    /// Returns what is chosen of it with colours, and expected and seen values in columns. Of a
    /// boot before operations only the length is shown, unless it is asked for.
    pub fn timeline(&self, choice: &Choice) -> String {
        let mut text = String::new();
        let in_boot = self.lines.iter().filter(|line| line.step.is_none()).count();
        let all_is_boot = in_boot == self.lines.len();
        if in_boot > 0 && !all_is_boot && !choice.boot && choice.step.is_none() {
            let _ = writeln!(text, "(boot: {in_boot} lines, shown with --boot)");
        }
        for line in self.lines.iter().filter(|line| choice.takes(line) || all_is_boot) {
            let style = line.kind.style();
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{style}{line}{style:#}");
        }
        text + &self.result([GOOD, BAD], |Finding { expected, seen, .. }| {
            columns(["expected", "seen"], [expected, seen])
        })
    }

    /// Returns the verdict, defects and findings; `values` shows what was expected and seen.
    fn result(&self, [good, bad]: [Style; 2], values: impl Fn(&Finding) -> String) -> String {
        let is_good = self.findings.is_empty() && self.defects.is_empty();
        let style = if is_good { good } else { bad };
        let mut text = format!("verdict: {style}{}{style:#}\n", self.verdict);
        if !self.observed {
            let _ = writeln!(text, "{}", not_observed());
        }
        for defect in &self.defects {
            let _ = writeln!(text, "  {defect}");
        }
        for finding in &self.findings {
            let (Finding { rule, operation, signature, .. }, path) = (finding, finding.place());
            let Rule { id, severity, holds, why, source, .. } = rule;
            let (severity, values) = (severity.name(), values(finding));
            let _ = writeln!(
                text,
                "\n{bad}{id}{bad:#} ({severity}) at operation {operation}\n  {holds}\n  \
                 where:     {path}\n{values}  why:       {why}\n  source:    {source}\n  \
                 signature: {signature}"
            );
        }
        text
    }
}

/// Returns what is not judged of a subject whose loads and stores are not seen.
pub fn not_observed() -> String {
    let list = |evidence| judged_by(evidence).filter(|id| !id.starts_with("DIV-"));
    let list = |evidence| list(evidence).collect::<Vec<_>>().join(", ");
    format!(
        "not observed: the subject's loads and stores are not seen, so that the reference is left \
         out\n  not judged: all of DIV, {}\n  only in part: {}",
        list(Evidence::Accesses),
        list(Evidence::Partly)
    )
}

/// Returns two values in columns, with a mark before each line in which they differ.
pub fn columns([left, right]: [&str; 2], [expected, seen]: [&str; 2]) -> String {
    let mut text = format!("    {left:WIDTH$} | {right}\n");
    let lines = |value: &str| -> Vec<String> { value.lines().flat_map(wrapped).collect() };
    let (left, right) = (lines(expected), lines(seen));
    for index in 0..left.len().max(right.len()) {
        let [left, right] = [&left, &right].map(|side| side.get(index).map_or("", |line| line));
        let (mark, style) = if left == right { (' ', PLAIN) } else { ('!', BAD) };
        let _ = writeln!(text, "  {mark} {GOOD}{left:WIDTH$}{GOOD:#} | {style}{right}{style:#}");
    }
    text
}

/// Returns a line in pieces that fit their column.
fn wrapped(line: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let last = pieces.last_mut().expect("there is one");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH {
            pieces.push(word.into());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed() -> Replayed {
        let line = |step, kind, indent, text: &str| Line { step, kind, indent, text: text.into() };
        Replayed {
            lines: vec![
                line(None, Kind::Host, 1, "cpu0 reads CTLR (32 bits)"),
                line(Some(0), Kind::Step, 0, "[0] post"),
                line(Some(0), Kind::Host, 1, "cpu0 writes CWRITER := 0x20"),
                line(Some(0), Kind::El2, 2, "EL2 locks Its(0)"),
                line(Some(0), Kind::Its, 2, "ITS consumes 0x0: SYNC rdbase: 0"),
                line(Some(0), Kind::Own, 2, "own: share itt[3]+0x0 = 0"),
                line(Some(1), Kind::Step, 0, "[end] the queue must come to rest"),
            ],
            verdict: "diverged".into(),
            observed: true,
            defects: Vec::new(),
            findings: vec![Finding {
                source_line: Some("its.c:12".into()),
                ..Finding::new(
                    &its_rules::catalogue::DIV_PINS,
                    "pins",
                    "page 0x80143.pins",
                    "1 (P5), since the device that was mapped last has its ITT there",
                    "0",
                )
                .at((0, "write-cwriter"), "CWRITER")
            }],
        }
    }

    fn plain(choice: &Choice) -> String {
        anstream::adapter::strip_str(&replayed().timeline(choice)).to_string()
    }

    #[test]
    fn the_whole_timeline() {
        insta::assert_snapshot!(plain(&Choice::default()));
    }

    #[test]
    fn one_step_and_some_of_it() {
        let text = plain(&Choice { step: Some(0), kinds: vec![Kind::El2, Kind::Own], boot: false });
        let lines: Vec<&str> =
            text.lines().take_while(|line| !line.starts_with("verdict")).collect();
        assert_eq!(lines, ["[0] post", "    EL2 locks Its(0)", "    own: share itt[3]+0x0 = 0"]);
    }

    #[test]
    fn each_kind_has_its_colour() {
        let text = replayed().timeline(&Choice::default());
        assert!(text.contains("\u{1b}[36m    EL2 locks Its(0)"), "{text:?}");
    }
}
