//! A replay for people: what happened line by line, and each finding with what was expected next to
//! what was seen.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use its_rules::{Finding, Rule};
use its_runner::program::Told;
use its_runner::replay;
use its_runner::trace::{Kind, Line};

const STEP: Style = Style::new().bold();
const EL2: Style = AnsiColor::Cyan.on_default();
const ITS: Style = AnsiColor::Magenta.on_default();
const OWN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();

/// Columns of a value in the comparison.
const WIDTH: usize = 46;

/// What of a replay is shown.
#[derive(Default)]
pub(super) struct Choice {
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

/// Returns a replay with colours. Of a boot before operations only the length is shown, unless it
/// is asked for.
pub(super) fn render(played: &Told, choice: &Choice) -> String {
    let mut text = String::new();
    let in_boot = played.lines.iter().filter(|line| line.step.is_none()).count();
    let all_is_boot = in_boot == played.lines.len();
    if in_boot > 0 && !all_is_boot && !choice.boot && choice.step.is_none() {
        let _ = writeln!(text, "(boot: {in_boot} lines, shown with --boot)");
    }
    let is_shown = |line: &&Line| choice.takes(line) || all_is_boot;
    for line in played.lines.iter().filter(is_shown) {
        let style = style(line.kind);
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{style}{line}{style:#}");
    }
    let is_good = played.findings.is_empty() && played.defects.is_empty();
    let style = if is_good { GOOD } else { BAD };
    let _ = writeln!(text, "verdict: {style}{}{style:#}", played.verdict);
    if !played.observed {
        let _ = writeln!(text, "{}", replay::not_observed());
    }
    for defect in &played.defects {
        let _ = writeln!(text, "  {defect}");
    }
    for finding in &played.findings {
        text.push('\n');
        text.push_str(&describe(finding));
    }
    text
}

const fn style(kind: Kind) -> Style {
    match kind {
        Kind::Step => STEP,
        Kind::Host => Style::new(),
        Kind::El2 => EL2,
        Kind::Its => ITS,
        Kind::Own => OWN,
    }
}

fn describe(finding: &Finding) -> String {
    let Finding { rule, operation, path, signature, .. } = finding;
    let Rule { id, severity, holds, why, source, .. } = rule;
    let severity = severity.name();
    let columns = columns(["expected", "seen"], [&finding.expected, &finding.seen]);
    format!(
        "{BAD}{id}{BAD:#} ({severity}) at operation {operation}\n  {holds}\n  where:     {path}\n\
         {columns}  why:       {why}\n  source:    {source}\n  signature: {signature}\n"
    )
}

/// Returns two values in columns, with a mark before each line in which they differ.
pub(crate) fn columns([left, right]: [&str; 2], [expected, seen]: [&str; 2]) -> String {
    let mut text = format!("    {left:WIDTH$} | {right}\n");
    let lines = |value: &str| -> Vec<String> { value.lines().flat_map(wrapped).collect() };
    let (left, right) = (lines(expected), lines(seen));
    for index in 0..left.len().max(right.len()) {
        let [left, right] = [&left, &right].map(|side| side.get(index).map_or("", |line| line));
        let (mark, style) = if left == right { (' ', Style::new()) } else { ('!', BAD) };
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

    fn played() -> Told {
        let line = |step, kind, indent, text: &str| Line { step, kind, indent, text: text.into() };
        Told {
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
            findings: vec![
                Finding::new(
                    &its_rules::catalogue::DIV_PINS,
                    "pins",
                    "page 0x80143.pins",
                    "1 (P5), since the device that was mapped last has its ITT there",
                    "0",
                )
                .at((0, "write-cwriter"), "CWRITER"),
            ],
        }
    }

    fn plain(choice: &Choice) -> String {
        anstream::adapter::strip_str(&render(&played(), choice)).to_string()
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
    fn colours_tell_kinds_apart() {
        let text = render(&played(), &Choice::default());
        assert!(text.contains("\u{1b}[36m    EL2 locks Its(0)"), "{text:?}");
    }
}
