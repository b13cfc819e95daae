//! Findings by cause: rule and class. The severest come first, of those the shortest.

use std::cmp::Reverse;

use its_rules::Finding;

/// A finding and a file that shows it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub finding: &'a Finding,
    pub file: &'a str,
    /// Operations of the scenario, as far as they are needed.
    pub operations: usize,
}

/// What findings have in common that may be one mistake.
pub struct Cause<'a> {
    rule: &'static str,
    class: &'a str,
    /// One for each signature, the shortest, and how many files show it; the shortest come first.
    pub signatures: Vec<(Shown<'a>, usize)>,
}

/// Returns findings by cause.
pub fn causes<'a>(all: impl IntoIterator<Item = Shown<'a>>) -> Vec<Cause<'a>> {
    let mut causes: Vec<Cause> = Vec::new();
    for shown in all {
        let (rule, class) = (shown.finding.rule.id, class(&shown.finding.signature));
        let same = causes.iter().position(|cause| (cause.rule, cause.class) == (rule, class));
        let index = same.unwrap_or_else(|| {
            causes.push(Cause { rule, class, signatures: Vec::new() });
            causes.len() - 1
        });
        causes[index].add(shown);
    }
    for cause in &mut causes {
        cause.signatures.sort_by_key(|(shown, _)| shown.operations);
    }
    causes.sort_by_key(Cause::order);
    causes
}

/// Returns the class of a finding, which ends its signature.
pub(crate) fn class(signature: &str) -> &str {
    signature.rsplit('.').next().unwrap_or_default()
}

impl<'a> Cause<'a> {
    fn add(&mut self, shown: Shown<'a>) {
        let mut known = self.signatures.iter_mut();
        match known.find(|(known, _)| known.finding.signature == shown.finding.signature) {
            Some((shortest, count)) => {
                *count += 1;
                if shown.operations < shortest.operations {
                    *shortest = shown;
                }
            }
            None => self.signatures.push((shown, 1)),
        }
    }

    fn order(&self) -> (Reverse<its_rules::Severity>, usize) {
        let (shortest, _) = self.signatures[0];
        (Reverse(shortest.finding.rule.severity), shortest.operations)
    }

    /// Returns the shortest finding.
    pub fn shortest(&self) -> Shown<'a> {
        self.signatures[0].0
    }

    /// Returns a line for the cause, and two for each signature.
    pub fn text(&self) -> String {
        let mut text = self.head();
        for (shown, count) in &self.signatures {
            let files = if *count > 1 { format!(", {count} files") } else { String::new() };
            text += &format!("\n      {}{files}\n        {}", shown.text(), shown.file);
        }
        text
    }

    /// Returns two lines: the cause, and the shortest of its signatures.
    pub fn brief(&self) -> String {
        let shown = self.shortest();
        format!("{}, {}\n      {}: {}", self.head(), self.files(), shown.file, shown.text())
    }

    fn head(&self) -> String {
        let severity = self.shortest().finding.rule.severity.name();
        format!("\n    {} {} ({severity})", self.rule, self.class)
    }

    fn files(&self) -> String {
        match self.signatures.iter().map(|(_, count)| count).sum::<usize>() {
            1 => "1 file".into(),
            files => format!("{files} files"),
        }
    }

    /// Returns a line: the cause, how many signatures it has, and what the rule demands.
    pub fn line(&self) -> String {
        format!("{}, {}: {}", self.head(), self.files(), self.shortest().finding.rule.holds)
    }
}

impl Shown<'_> {
    /// Returns the signature, and where it was broken.
    pub fn text(&self) -> String {
        let Finding { signature, operation, source_line, .. } = self.finding;
        let line = source_line.as_ref().map(|line| format!(", {line}")).unwrap_or_default();
        match signature.split('.').nth(1) {
            Some("boot") => format!("{signature} at boot{line}"),
            _ => format!("{signature} at operation {operation}{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use its_rules::catalogue::{DIV_PINS, DIV_REGISTER};

    use super::*;

    #[test]
    fn severe_ones_and_short_ones_come_first() {
        let at = |rule, operation, class| {
            Finding::broken(rule, class, "a page", "0").at((operation, "poll"), "CREADR")
        };
        let boot = Finding::broken(&DIV_PINS, "pins", "", "").at((0, "boot"), "a call");
        let all = [
            at(&DIV_REGISTER, 1, "value"),
            at(&DIV_PINS, 9, "pins"),
            at(&DIV_PINS, 4, "pins"),
            at(&DIV_PINS, 2, "others"),
            boot,
        ];
        let all = all.iter().map(|finding| Shown {
            finding,
            file: "a.its",
            operations: finding.operation,
        });
        let text: String = causes(all).iter().map(|cause| cause.text() + &cause.line()).collect();
        insta::assert_snapshot!(text);
    }
}
