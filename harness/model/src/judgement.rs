//! What the model says about one action.

use std::fmt::Display;

use its_machine::Freedom;

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
    /// The value of a register that the host read, where it is none of the next two.
    Register,
    /// CREADR that the host read.
    Creadr,
    /// Something else than zero was read where there is no register for the host.
    Zero,
    /// x0 or x1 of a hypercall other than set-up.
    Hypercall,
    /// A set-up succeeded or failed wrongly.
    SetUp,
    /// A set-up that must fail had another errno.
    Errno,
    /// A command that must be refused was passed on.
    Command,
    /// A command that must be passed on was refused.
    Refused,
    /// Other words were passed on than were judged.
    Bytes,
    /// A look at the hardware was left out.
    Look,
    /// A slot was not judged, or not afresh.
    Unjudged,
    /// Slots were written that must not be.
    Beside,
    /// EL2 did not ask whether the ITS is at rest.
    Rest,
    /// The hardware's CWRITER was written and must not be, or was not and must be, or with another
    /// value.
    Forward,
    /// The same of CTLR.
    ForwardCtlr,
    /// The same of CBASER and BASER.
    ForwardBase,
    /// The same of a register of a redistributor.
    ForwardRedistributor,
    /// A register of an ITS was written that never is.
    Stray,
    /// At the end of the action a page is not whose it should be.
    Ownership,
    /// At the end of the action a page is pinned more or less often than it should be.
    Pins,
    /// At the end of the action a page of the host's is shared with EL2 and should not be, or the
    /// reverse.
    Sharing,
    /// A level-1 entry was written or left out wrongly.
    Growth,
    /// A level-1 entry was written with another value.
    Entry,
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
        matches!(self, Self::Books | Self::Value | Self::Fetch | Self::Outcome | Self::Offered)
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
