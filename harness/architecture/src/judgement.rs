//! What a reference says about one action.

use std::fmt::Display;

use its_machine::Freedom;
use its_rules::{Finding, Rule};

/// What a reference says about one action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What EL2 broke (family DIV), and what the hardware broke (family ARCH). Where EL2 stands
    /// between the host and the ITS the latter are contradictions of the harness.
    pub findings: Vec<Finding>,
    /// What the machine under EL2 did that it cannot do: contradictions of the harness.
    pub defects: Vec<String>,
    /// The architecture no longer says what must happen: nothing after this can be judged.
    pub poisoned: Option<&'static str>,
    /// The oracles do not judge what comes after either.
    pub is_over: bool,
    /// Commands that EL2 had to judge, refused ones included.
    pub judged: u32,
    /// Commands that EL2 had to refuse.
    pub refused: u32,
    /// Commands that the physical ITS stalled on.
    pub stalled: u32,
    /// Commands that the physical ITS took or stalled on.
    pub fetched: u32,
    /// Of these, command errors.
    pub errors: u32,
    /// Options that the physical ITS was seen to take, where the architecture leaves a choice.
    pub choices: Vec<(Freedom, &'static str)>,
}

impl Judgement {
    /// EL2 broke a rule. `source`: the policy number, check, command or register that says so.
    pub fn disagree(
        &mut self,
        rule: &'static Rule,
        source: &'static str,
        path: impl Display,
        expected: impl Display,
        seen: impl Display,
    ) {
        let expected = format!("{expected} ({source})");
        let finding = Finding::new(rule, rule.class, path.to_string(), expected, seen.to_string());
        self.findings.push(finding);
    }

    /// The hardware broke a rule.
    pub fn hardware(
        &mut self,
        rule: &'static Rule,
        class: &'static str,
        source: &'static str,
        path: impl Display,
        expected: impl Display,
        seen: impl Display,
    ) {
        // What hardware does once nothing more is said of it is nobody's mistake.
        if self.poisoned.is_some() {
            return;
        }
        let expected = format!("{expected} ({source})");
        let finding = Finding::new(rule, class, path.to_string(), expected, seen.to_string());
        self.findings.push(finding);
    }

    /// pKVM did with a page what it cannot do.
    pub fn contradict(&mut self, path: impl Display, expected: impl Display, seen: impl Display) {
        if self.poisoned.is_none() {
            self.defects.push(format!("{path}: expected {expected}, seen {seen} (pKVM)"));
        }
    }

    /// Returns all that was not as it must be, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn all(&self) -> Vec<Finding> {
        let contradiction =
            |defect: &String| Finding::new(&crate::testing::PKVM, "pkvm", defect.as_str(), "", "");
        let defects = self.defects.iter().map(contradiction);
        self.findings.iter().cloned().chain(defects).collect()
    }

    /// The first reason stays.
    pub fn poison(&mut self, why: &'static str) {
        self.poisoned.get_or_insert(why);
    }

    /// The same where EL2 cannot know what the ITS follows: nobody judges what comes after.
    pub fn end(&mut self, why: &'static str) {
        self.poison(why);
        self.is_over = true;
    }
}
