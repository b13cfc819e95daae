//! The matrix: what each requirement came to on each subject.

use its_driver::machine;
use its_machine::Freedom;
use its_runner::Make;
use its_scenario::Scenario;

use crate::board::{run_emulator, run_physical};
use crate::play::Played;
use crate::qemu::QemuSubject;
use crate::reference;
use crate::requirement::{Case, Claim, Requirement};
use crate::script::Script;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The reference.
    Model,
    /// The board's ITS, as a host that owns it sees it.
    PhysicalIts,
    /// QEMU's ITS, where it is installed.
    Qemu,
    /// The emulator that this program was built with, as a deprivileged host sees it.
    Emulator,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Model, Self::PhysicalIts, Self::Qemu, Self::Emulator];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::PhysicalIts => "physical-its",
            Self::Qemu => "qemu",
            Self::Emulator => "emulator",
        }
    }
}

/// What a requirement came to on a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Pass,
    /// What could be seen was as expected: how much that was, and why not the rest.
    Partial(String),
    /// Why.
    Fail(String),
    /// The subject itself did not work; why.
    Broken(String),
    /// It does otherwise, by a number of its policy: number and reason.
    Refused(String, String),
    /// Why it makes no sense there.
    NotApplicable(String),
    /// It asks for one of several things that an ITS may do; this one is known to do this.
    Freedom(String),
    /// It does otherwise; the difference of this id was looked into and settled.
    Settled(String),
    /// It fails, and the file of known findings lists it: the failure, and the file's reason.
    Known(String, String),
}

impl Cell {
    /// The word for it.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial(_) => "partial",
            Self::Broken(_) => "broken",
            Self::Fail(_) => "fail",
            Self::Refused(..) => "refused",
            Self::NotApplicable(_) => "not-applicable",
            Self::Freedom(_) => "freedom",
            Self::Settled(_) => "settled",
            Self::Known(..) => "known",
        }
    }

    /// What more there is to say.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Pass => None,
            Self::Refused(by, reason) => Some(format!("{by}: {reason}")),
            Self::Known(why, reason) => Some(format!("{reason}: {why}")),
            Self::Partial(text)
            | Self::Fail(text)
            | Self::Broken(text)
            | Self::NotApplicable(text)
            | Self::Freedom(text)
            | Self::Settled(text) => Some(text.clone()),
        }
    }
}

/// A requirement and its cells.
#[derive(Clone, Debug)]
pub struct Row {
    pub requirement: Requirement,
    pub cells: Vec<(Subject, Cell)>,
}

/// Plays requirements on subjects; the emulator is what `make` makes. Without QEMU it has no
/// column.
pub fn play(requirements: Vec<Requirement>, mut qemu: Option<QemuSubject>, make: Make) -> Vec<Row> {
    let is_external = make(&machine(&Scenario::default())).is_external();
    let row = |requirement: Requirement| {
        let mut cells = vec![
            (Subject::Model, ours(&requirement, reference::run)),
            (Subject::PhysicalIts, ours(&requirement, |case, free| run_physical(case, free, make))),
        ];
        if let Some(qemu) = &mut qemu {
            cells.push((Subject::Qemu, qemu.cell(&requirement)));
        }
        let emulator = ours(&requirement, |case, free| run_emulator(case, free, make));
        let claim = &requirement.emulator;
        let emulator =
            if is_external { excused(claim, emulator) } else { claimed(claim, emulator) };
        cells.push((Subject::Emulator, emulator));
        Row { requirement, cells }
    };
    requirements.into_iter().map(row).collect()
}

/// Every case on a subject of ours, which takes whatever options a case asks for.
fn ours(requirement: &Requirement, run: impl Fn(&Script, bool) -> Played) -> Cell {
    let free = requirement.freedom.is_some();
    let played = requirement.cases.iter().map(|case| {
        let script = Script { scenario: with_options(case), ..case.script.clone() };
        run(&script, free)
    });
    summed((1..).zip(played).map(|(number, played)| cell(number, played)))
}

fn with_options(case: &Case) -> Scenario {
    let mut scenario = case.script.scenario.clone();
    for configuration in &mut scenario.configurations {
        for (freedom, option) in &case.options {
            configuration.choices = configuration.choices.with_number(*freedom, *option);
        }
    }
    scenario
}

/// The cell of one case, by its number from 1.
pub(crate) fn cell(number: usize, played: Played) -> Cell {
    match played {
        Played::Pass => Cell::Pass,
        Played::Partly(seen, all, why) => {
            Cell::Partial(format!("{seen} of {all} expectations; not: {why}"))
        }
        Played::Fail(why) => Cell::Fail(format!("case {number}, {why}")),
        Played::NotApplicable(why) => Cell::NotApplicable(why),
        Played::Broken(why) => Cell::Broken(format!("case {number}, {why}")),
    }
}

/// The cell of all cases: the one that says the most.
pub(crate) fn summed(cells: impl Iterator<Item = Cell>) -> Cell {
    let rank = |cell: &Cell| match cell {
        Cell::Broken(_) => 0,
        Cell::Fail(_) | Cell::Known(..) => 1,
        Cell::Partial(_) => 2,
        Cell::Pass => 3,
        Cell::Freedom(_) => 4,
        Cell::NotApplicable(_) | Cell::Refused(..) | Cell::Settled(_) => 5,
    };
    let most = cells.min_by_key(rank);
    most.unwrap_or(Cell::NotApplicable("there is no case for it".into()))
}

/// A claim about a subject that does otherwise must be true.
pub(crate) fn claimed(claim: &Claim, cell: Cell) -> Cell {
    let (otherwise, what) = match claim {
        Claim::Holds => return cell,
        Claim::NotApplicable { reason } => return Cell::NotApplicable(reason.clone()),
        Claim::Refused { by, reason } => {
            (Cell::Refused(by.clone(), reason.clone()), format!("refused by {by}"))
        }
        Claim::Settled { difference } => {
            (Cell::Settled(difference.clone()), format!("settled as {difference}"))
        }
    };
    match cell {
        Cell::Fail(_) => otherwise,
        Cell::Pass | Cell::Partial(_) => {
            Cell::Fail(format!("{what}, and yet it does what is expected"))
        }
        cell => cell,
    }
}

/// What the production emulator's policy refuses another emulation may refuse, or do.
fn excused(claim: &Claim, cell: Cell) -> Cell {
    match (claim, cell) {
        (Claim::Refused { by, reason }, Cell::Fail(_)) => Cell::Refused(by.clone(), reason.clone()),
        (Claim::NotApplicable { reason }, Cell::Fail(_)) => Cell::NotApplicable(reason.clone()),
        (_, cell) => cell,
    }
}

/// `freedom=option`.
pub(crate) fn option_text(freedom: Freedom, option: u64) -> String {
    let facts = freedom.facts();
    let option = facts.options.get(option as usize).copied();
    format!("{}={}", facts.name, option.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail() -> Cell {
        Cell::Fail("why".into())
    }

    #[test]
    fn a_claim_must_be_true() {
        let refused = Claim::Refused { by: "P8".into(), reason: "so".into() };
        assert_eq!(claimed(&refused, fail()).verdict(), "refused");
        assert_eq!(claimed(&refused, Cell::Pass).verdict(), "fail");
        let settled = Claim::Settled { difference: "QEMU-X".into() };
        assert_eq!(claimed(&settled, fail()).verdict(), "settled");
        assert_eq!(claimed(&settled, Cell::Pass).verdict(), "fail");
        // A subject that does not work is nobody's claim.
        let broken = || Cell::Broken("it died".into());
        for claim in [&refused, &settled, &Claim::Holds] {
            assert_eq!(claimed(claim, broken()), broken());
        }
        assert_eq!(claimed(&Claim::Holds, fail()), fail());
    }

    #[test]
    fn another_emulation_may_do_what_production_refuses() {
        let refused = Claim::Refused { by: "P8".into(), reason: "so".into() };
        assert_eq!(excused(&refused, fail()).verdict(), "refused");
        assert_eq!(excused(&refused, Cell::Pass), Cell::Pass);
        assert_eq!(excused(&Claim::Holds, fail()), fail());
    }

    #[test]
    fn a_failure_outweighs_what_passes() {
        let partial = Cell::Partial("1 of 2".into());
        let nothing = Cell::NotApplicable("no".into());
        let sum = |cells: &[Cell]| summed(cells.iter().cloned());
        assert_eq!(sum(&[Cell::Pass, fail(), nothing.clone()]), fail());
        assert_eq!(sum(&[Cell::Pass, partial.clone()]), partial);
        assert_eq!(sum(&[nothing.clone(), Cell::Pass]), Cell::Pass);
        assert_eq!(sum(std::slice::from_ref(&nothing)), nothing);
        assert_eq!(sum(&[]).verdict(), "not-applicable");
    }
}
