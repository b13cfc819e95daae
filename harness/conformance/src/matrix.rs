//! The matrix: what each requirement came to on each subject.

use its_el2::Freedom;
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
    /// The production emulator, as a deprivileged host sees it.
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
    /// Why.
    Fail(String),
    /// It does otherwise, by a number of its policy: number and reason.
    Refused(String, String),
    /// Why it makes no sense there.
    NotApplicable(String),
    /// It is one of several things that an ITS may do; this one does this.
    Freedom(String),
    /// It does otherwise; the difference of this id was looked into and settled.
    Settled(String),
}

impl Cell {
    /// The word for it.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Refused(..) => "refused",
            Self::NotApplicable(_) => "not-applicable",
            Self::Freedom(_) => "freedom",
            Self::Settled(_) => "settled",
        }
    }

    /// What more there is to say.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Pass => None,
            Self::Refused(by, reason) => Some(format!("{by}: {reason}")),
            Self::Fail(text)
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

/// Plays requirements on subjects. Without QEMU it has no column.
pub fn play(requirements: Vec<Requirement>, mut qemu: Option<QemuSubject>) -> Vec<Row> {
    let row = |requirement: Requirement| {
        let mut cells = vec![
            (Subject::Model, ours(&requirement, reference::run)),
            (Subject::PhysicalIts, ours(&requirement, run_physical)),
        ];
        if let Some(qemu) = &mut qemu {
            cells.push((Subject::Qemu, qemu.cell(&requirement)));
        }
        let emulator = ours(&requirement, run_emulator);
        cells.push((Subject::Emulator, claimed(&requirement.emulator, emulator)));
        Row { requirement, cells }
    };
    requirements.into_iter().map(row).collect()
}

/// Every case on a subject of ours, which takes whatever options a case asks for.
fn ours(requirement: &Requirement, run: impl Fn(&Script, bool) -> Played) -> Cell {
    let free = requirement.freedom.is_some();
    let played = requirement.cases.iter().map(|case| {
        let script = Script {
            scenario: with_options(case),
            ..case.script.clone()
        };
        run(&script, free)
    });
    summed(numbered(played))
}

fn with_options(case: &Case) -> Scenario {
    let mut scenario = case.script.scenario.clone();
    for character in &mut scenario.characters {
        for (freedom, option) in &case.options {
            character.choices = character.choices.with_number(*freedom, *option);
        }
    }
    scenario
}

fn numbered(played: impl Iterator<Item = Played>) -> Vec<Played> {
    let within = |(number, played): (usize, Played)| match played {
        Played::Fail(why) => Played::Fail(format!("case {}, {why}", number + 1)),
        other => other,
    };
    played.enumerate().map(within).collect()
}

/// The cell of all cases: the first failure, else a pass, else why nothing could be asked.
fn summed(played: Vec<Played>) -> Cell {
    let mut cell = None;
    for one in played {
        match (one, &cell) {
            (Played::Fail(why), _) => return Cell::Fail(why),
            (Played::Pass, _) => cell = Some(Cell::Pass),
            (Played::NotApplicable(why), None) => cell = Some(Cell::NotApplicable(why)),
            (Played::NotApplicable(_), Some(_)) => {}
        }
    }
    cell.unwrap_or(Cell::NotApplicable("there is no case for it".into()))
}

/// A claim about a subject that does otherwise must be true.
pub(crate) fn claimed(claim: &Claim, cell: Cell) -> Cell {
    let stale = |what: &str| Cell::Fail(format!("{what}, and yet it does what is expected"));
    match (claim, cell) {
        (Claim::Holds, cell) => cell,
        (Claim::NotApplicable { reason }, _) => Cell::NotApplicable(reason.clone()),
        (Claim::Refused { by, reason }, Cell::Fail(_)) => Cell::Refused(by.clone(), reason.clone()),
        (Claim::Refused { by, .. }, Cell::Pass) => stale(&format!("refused by {by}")),
        (Claim::Settled { difference }, Cell::Fail(_)) => Cell::Settled(difference.clone()),
        (Claim::Settled { difference }, Cell::Pass) => stale(&format!("settled as {difference}")),
        (_, cell) => cell,
    }
}

/// `freedom=option`.
pub(crate) fn option_text(freedom: Freedom, option: u64) -> String {
    let facts = freedom.facts();
    let option = facts.options.get(option as usize).copied();
    format!("{}={}", facts.name, option.unwrap_or("?"))
}
