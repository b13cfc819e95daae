//! Findings, and what makes two of them the same.
//!
//! A signature is `rule.operation.subject.class`: the rule's id; the kind of scenario operation
//! (`boot` and `end` for what is around them); the register, command or hypercall of the action
//! that broke it (`several` in a race); the oracle's class of outcome. No address, value, count or
//! index is part of it, so that it is the same in every build and survives minimizing.

use its_el2::{Action, Hypercall};
use its_gic::geometry::Pages;
use its_gic::redistributor::FRAMES_BYTES;
use its_gic::register::FRAME_BYTES;
use its_gic::{Command, Register};
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

/// The register, command or hypercall of an action: a word without numbers.
pub fn subject(action: &Action) -> &'static str {
    match *action {
        Action::Device { address, .. } => device(address),
        Action::Load { .. } => "load",
        Action::Store { .. } => "store",
        Action::StoreCommand { words, .. } => Command::decode(words).name(),
        Action::Hypercall { x0, .. } => {
            Hypercall::from_function_id(x0).map_or("unknown-call", Hypercall::name)
        }
        Action::Msi { .. } => "msi",
        Action::Acknowledge { .. } => "acknowledge",
        Action::PowerLoss { .. } => "power",
        Action::Advance { .. } => "hardware",
    }
}

fn device(address: u64) -> &'static str {
    let within = |start: u64, bytes: u64| Pages::under(start, bytes).contains(address >> 12);
    let its = its_board::layout::ITS;
    if let Some(its) = its.into_iter().find(|its| within(*its, FRAME_BYTES)) {
        return register_name(Register::at(address - its));
    }
    let redistributors = its_board::layout::REDISTRIBUTORS;
    if redistributors.iter().any(|base| within(*base, FRAMES_BYTES)) {
        return "redistributor";
    }
    "translation-frame"
}

/// The architecture's name of a register, without an index.
pub(crate) const fn register_name(register: Register) -> &'static str {
    match register {
        Register::Ctlr => "CTLR",
        Register::Iidr => "IIDR",
        Register::Typer => "TYPER",
        Register::Mpamidr => "MPAMIDR",
        Register::Partidr => "PARTIDR",
        Register::Mpidr => "MPIDR",
        Register::Statusr => "STATUSR",
        Register::Umsir => "UMSIR",
        Register::Cbaser => "CBASER",
        Register::Cwriter => "CWRITER",
        Register::Creadr => "CREADR",
        Register::Baser(_) => "BASER",
        Register::Identification(_) => "identification",
        Register::Reserved(_) => "reserved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_el2::{AccessSize, Direction};

    fn signature(path: &str, address: u64, operation: usize) -> String {
        let breach = Breach {
            rule: &rules::DIV_REGISTER,
            class: "value",
            path: path.into(),
            expected: path.into(),
            seen: path.into(),
        };
        let action =
            Action::Device { cpu: 1, address, size: AccessSize::Word, direction: Direction::Read };
        Finding::new(breach, (operation, "poll"), subject(&action)).signature
    }

    #[test]
    fn a_signature_has_no_address_value_or_index() {
        let its = its_board::layout::ITS[0];
        assert_eq!(signature("a", its + 0x100, 3), "DIV-REGISTER.poll.BASER.value");
        assert_eq!(signature("b", its + 0x10c, 9), "DIV-REGISTER.poll.BASER.value");
        assert_eq!(signature("c", its + 0x1_0040, 0), "DIV-REGISTER.poll.translation-frame.value");
        assert_eq!(signature("d", its + 0x2_0070, 0), "DIV-REGISTER.poll.redistributor.value");
    }
}
