//! What a rule is judged by: what EL2 calls and the machine shows, or also the loads and stores
//! that EL2 makes.

use crate::rules::{self, Family, Rule};

/// What must be seen of EL2 so that a rule can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Calls, register accesses and what becomes of the machine.
    Calls,
    /// The same, but there are ways of breaking it that only loads and stores show.
    Partly,
    /// Loads and stores.
    Accesses,
}

/// What is seen of stores without being told of them is what EL2 cleans.
const PARTLY: [&Rule; 13] = [
    &rules::EL2_ACCESS,
    &rules::EL2_HELD,
    &rules::EL2_UNLOCKED,
    &rules::EL2_WORK,
    &rules::PTR_ALIGN,
    &rules::PTR_COLLECTION,
    &rules::PTR_DEVICE,
    &rules::PTR_ITT,
    &rules::PTR_OPCODE,
    &rules::PTR_RESERVED,
    &rules::PTR_SIZE,
    &rules::PTR_TARGET,
    &rules::UNDO_IGNORED,
];

const ACCESSES: [&Rule; 16] = [
    &rules::EL2_BARRIER,
    &rules::EL2_BATCH,
    &rules::EL2_CLEAN,
    &rules::EL2_FENCE,
    &rules::EL2_FETCH,
    &rules::EL2_LEVEL2,
    &rules::EL2_POSTED,
    &rules::EL2_RELEASE,
    &rules::EL2_REREAD,
    // Which changes of pages belong to one command is told by its copy.
    &rules::EL2_SECTION,
    &rules::EL2_STORE,
    &rules::EL2_ZERO,
    &rules::PTR_KEPT,
    &rules::UNDO_CLEAN,
    &rules::UNDO_COMMAND,
    &rules::UNDO_CONTENTS,
];

impl Rule {
    /// What it is judged by. The reference follows every load of EL2.
    pub fn evidence(&self) -> Evidence {
        if self.family == Family::Div || ACCESSES.contains(&self) {
            return Evidence::Accesses;
        }
        match PARTLY.contains(&self) {
            true => Evidence::Partly,
            false => Evidence::Calls,
        }
    }
}

/// The ids of the rules that are judged by this.
pub fn judged_by(evidence: Evidence) -> impl Iterator<Item = &'static str> {
    let all = rules::ALL.iter().copied();
    all.filter(move |rule| rule.evidence() == evidence).map(|rule| rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_judged_by_one_thing() {
        let count = |evidence| judged_by(evidence).count();
        let [calls, partly, accesses] =
            [Evidence::Calls, Evidence::Partly, Evidence::Accesses].map(count);
        assert_eq!(calls + partly + accesses, rules::ALL.len());
        assert_eq!(partly, PARTLY.len());
        let div = rules::ALL.iter().filter(|rule| rule.family == Family::Div);
        assert_eq!(accesses, ACCESSES.len() + div.count());
    }
}
