//! What the model says about one action.

use std::fmt::Display;

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
    /// The machine, not EL2: the physical ITS or pKVM's page books did not do what they should.
    Hardware,
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
