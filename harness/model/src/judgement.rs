//! What the model says about one action.

use std::fmt::Display;

use its_el2::Freedom;

/// A value that must be so, or one that the architecture leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<T> {
    Known(T),
    Unknown,
}

/// The phase of one ITS (P1 to P3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No CPU is finalized (P1).
    Open,
    /// Some CPU is finalized, set-up has not succeeded (P2).
    Closing,
    /// Set-up succeeded (P3).
    Guarded,
}

/// What kind of thing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The value of a register that the host read.
    Register,
    /// x0 or x1 of a hypercall.
    Hypercall,
    /// A command wrongly judged or not judged, or other words passed on; a look that was left out.
    Command,
    /// A hardware register written that must not be, or not written that must be, or another value.
    Forward,
    /// At the end of the action a page is not whose it should be, or pinned more or less often.
    Ownership,
    /// A level-1 entry written or left out wrongly.
    Growth,
    /// A host load or store wrongly refused or allowed.
    Access,
    /// pKVM's page books did not do what they should.
    Books,
    /// The value of a hardware register.
    Value,
    /// The physical ITS took a command that it must not take now, or took other words for it.
    Fetch,
    /// A command of the physical ITS was an error, was none, or had another number than is allowed.
    Outcome,
    /// A CPU was offered another interrupt than it must be.
    Offered,
}

impl Kind {
    /// Whether it is about the machine below EL2.
    pub const fn is_hardware(self) -> bool {
        match self {
            Self::Books | Self::Value | Self::Fetch | Self::Outcome | Self::Offered => true,
            Self::Register
            | Self::Hypercall
            | Self::Command
            | Self::Forward
            | Self::Ownership
            | Self::Growth
            | Self::Access => false,
        }
    }
}

/// One thing that was not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub kind: Kind,
    /// What it is about, such as `its0.creadr` or `page 0x80012.pins`.
    pub path: String,
    pub expected: String,
    pub seen: String,
    /// The policy number, check, command or register that says so: `P9`, `S7`, `MAPD`, `CTLR`.
    pub source: &'static str,
}

/// What the model says about one action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub disagreements: Vec<Disagreement>,
    /// The architecture no longer says what must happen: nothing after this can be judged.
    pub poisoned: Option<&'static str>,
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
    pub(crate) fn disagree(
        &mut self,
        kind: Kind,
        source: &'static str,
        path: impl Display,
        expected: impl Display,
        seen: impl Display,
    ) {
        // What hardware does once nothing more is said of it is nobody's mistake.
        if kind.is_hardware() && self.poisoned.is_some() {
            return;
        }
        self.disagreements.push(Disagreement {
            kind,
            path: path.to_string(),
            expected: expected.to_string(),
            seen: seen.to_string(),
            source,
        });
    }

    /// The first reason stays.
    pub(crate) fn poison(&mut self, why: &'static str) {
        self.poisoned.get_or_insert(why);
    }
}
