//! Findings, and what makes two of them the same.
//!
//! A signature is `rule.operation.subject.class`: the rule's id; the kind of scenario operation
//! (`boot` and `end` for what is around them); the register, command or hypercall of the action
//! that broke it (`several` in a race); the oracle's class of outcome. No address, value, count or
//! index is part of it, so that it is the same in every build and survives minimizing.

use its_oracles::{Breach, Rule, rules};
use serde::Serialize;

use crate::trace::Line;

/// A rule broken at an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static Rule,
    pub signature: String,
    /// Index of the operation; the number of operations for what comes after the last.
    pub operation: usize,
    /// Where, as a path into the machine's state.
    pub path: String,
    pub expected: String,
    pub seen: String,
}

/// A finding as summaries and the findings file have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Record {
    pub rule: String,
    pub signature: String,
    pub severity: String,
    /// The scenario that shows it.
    pub file: String,
}

impl Finding {
    pub(crate) fn new(breach: Breach, operation: (usize, &'static str), subject: &str) -> Self {
        let (index, kind) = operation;
        Self {
            signature: format!("{}.{kind}.{subject}.{}", breach.rule.id, breach.class),
            rule: breach.rule,
            operation: index,
            path: breach.path,
            expected: breach.expected,
            seen: breach.seen,
        }
    }

    /// What was played twice did not go the same: the first lines of the traces that differ.
    pub(crate) fn unsteady((first, second): (Line, Line)) -> Self {
        let breach = Breach {
            rule: &rules::EL2_STEADY,
            class: "twice",
            path: "the trace of the same scenario, played again".into(),
            expected: first.text,
            seen: second.text,
        };
        let operation = first.step.or(second.step).unwrap_or(0);
        Self::new(breach, (operation, "case"), "all")
    }

    /// The bits in which a register's value is not as expected; `None` where it is not about one
    /// value.
    pub fn differing_bits(&self) -> Option<u64> {
        let number = |text: &str| {
            let digits = text.split_whitespace().next()?.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(number(&self.expected)? ^ number(&self.seen)?)
    }

    /// For summaries, with the file that it was written to.
    pub fn record(&self, file: String) -> Record {
        Record {
            rule: self.rule.id.into(),
            signature: self.signature.clone(),
            severity: self.rule.severity.name().into(),
            file,
        }
    }
}
