//! Findings, and what makes two of them the same.
//!
//! A signature is `rule.operation.subject.class`: the rule's id; the kind of scenario operation
//! (`boot` and `end` for what is around them); the register, command or hypercall of the action
//! that broke it (`several` in a race); the class of what broke it. No address, value, count or
//! index is part of it, so that it is the same in every build and survives minimizing.

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::catalogue;
use crate::layer::Layer;
use crate::rule::{Evidence, Family, Rule, Severity};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    #[serde(flatten, deserialize_with = "rule")]
    pub rule: &'static Rule,
    /// What kind of thing broke it: a word without addresses or counts, part of the signature.
    #[serde(skip)]
    pub class: &'static str,
    /// The subject of the action that broke it, where several actions were under way; else empty.
    #[serde(skip)]
    pub about: &'static str,
    /// The edges of its code that the subject took in the entry that broke it, as a number; 0 where
    /// they are not known. They are no part of the signature.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub edges: u64,
    /// Empty until [`Finding::at`].
    pub signature: String,
    /// Index of the operation; the number of operations for what comes after the last.
    #[serde(default)]
    pub operation: usize,
    /// Where, as a path into the machine's state.
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub expected: String,
    #[serde(default)]
    pub seen: String,
    /// The event that broke it, by its number among those of its action.
    #[serde(skip)]
    pub event: Option<usize>,
    /// The file and line of the subject that made this event, `file.c:123`, where they are known.
    /// No part of the signature: it is another with each change of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

/// A finding and the scenario that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFinding {
    #[serde(flatten)]
    pub finding: Finding,
    /// Path of the scenario's file.
    pub file: String,
}

impl Finding {
    /// Returns a finding about one thing that was not as it must be.
    pub fn new(
        rule: &'static Rule,
        class: &'static str,
        path: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        let (path, expected, seen) = (path.into(), expected.into(), seen.into());
        Self {
            rule,
            class,
            about: "",
            edges: 0,
            signature: String::new(),
            operation: 0,
            path,
            expected,
            seen,
            event: None,
            source_line: None,
        }
    }

    /// Returns a finding where what is expected is the rule itself.
    pub fn broken(
        rule: &'static Rule,
        class: &'static str,
        path: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self::new(rule, class, path, rule.holds, seen)
    }

    /// Returns the same at an operation, by its index and name, in an action about `subject`, where
    /// it does not know better.
    pub fn at(self, (index, name): (usize, &str), subject: &str) -> Self {
        let subject = if self.about.is_empty() { subject } else { self.about };
        let signature = format!("{}.{name}.{subject}.{}", self.rule.id, self.class);
        Self { signature, operation: index, ..self }
    }

    /// Returns the same, broken by an event unless it names one already.
    pub fn by(self, event: usize) -> Self {
        Self { event: self.event.or(Some(event)), ..self }
    }

    /// Returns what broke it, with the line of the source where that is known.
    pub fn place(&self) -> String {
        self.source_line.as_ref().map_or(self.path.clone(), |at| format!("{}, at {at}", self.path))
    }

    /// Returns the bits in which a register's value is not as expected; `None` where it is not
    /// about one value.
    pub fn differing_bits(&self) -> Option<u64> {
        let number = |text: &str| {
            let digits = text.split_whitespace().next()?.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(number(&self.expected)? ^ number(&self.seen)?)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_unknown(edges: &u64) -> bool {
    *edges == 0
}

/// Reads a rule by its id. One that this version does not know is another version's.
fn rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Rule, D::Error> {
    #[derive(Deserialize)]
    struct Id {
        rule: String,
    }
    let Id { rule } = Id::deserialize(deserializer)?;
    Ok(catalogue::find(&rule).unwrap_or_else(|| {
        Box::leak(Box::new(Rule {
            id: rule.leak(),
            family: Family::Div,
            layer: Layer::Policy,
            severity: Severity::Conformance,
            holds: "The rule is another version's of itsdiff.",
            why: "",
            source: "",
            evidence: Evidence::Calls,
            class: "",
            split_from: None,
        }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::DIV_REGISTER;

    fn finding() -> Finding {
        let made = Finding::new(&DIV_REGISTER, "value", "its0.creadr", "0x40", "0x60");
        made.at((3, "poll"), "CREADR")
    }

    #[test]
    fn a_signature_has_no_address_value_or_index() {
        assert_eq!(finding().signature, "DIV-REGISTER.poll.CREADR.value");
        assert_eq!(finding().differing_bits(), Some(0x20));
    }

    #[test]
    fn a_finding_is_read_as_it_was_written() {
        let text = serde_json::to_string(&finding()).unwrap();
        assert!(text.contains("\"severity\":\"conformance\""), "{text}");
        let read: Finding = serde_json::from_str(&text).unwrap();
        assert_eq!(Finding { class: "value", ..read }, finding());
    }

    /// Lines of older runs have fewer fields, and rules that are gone.
    #[test]
    fn an_old_line_is_read() {
        let line = r#"{"rule":"OLD-RULE","signature":"OLD-RULE.post.CWRITER.x","severity":"hardening","file":"a.its"}"#;
        let stored: StoredFinding = serde_json::from_str(line).unwrap();
        assert_eq!((stored.finding.rule.id, &*stored.file), ("OLD-RULE", "a.its"));
    }
}
