//! The seat of an ITS that a host owns and somebody plays: our physical ITS, QEMU's, another.
//!
//! A [`Device`] is an ITS with its redistributors and memory. A case is a list of [`Step`]s, known
//! beforehand; the device plays all of it from reset and gives one [`Answer`] for each. A device
//! need not show everything: it says what it cannot do, and [`Seen`] holds what can be seen of it.
//!
//! The conformance suite plays requirements and comparisons on devices. The board and QEMU
//! implement the trait. This crate must not know who plays, who judges, or what a scenario is.

use std::collections::BTreeMap;

use its_gic::Register;
use its_machine::{Action, Event, Machine, Outcome, Translation};

/// One step of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Do this.
    Act(Action),
    /// Look at the device, which changes nothing.
    Look,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The action was done: what came back, and what happened meanwhile, as far as it can be seen.
    Acted { outcome: Outcome, events: Vec<Event> },
    /// The device cannot do it, or not as it is meant; why, for people. Nothing was done.
    NotActed(&'static str),
    /// What was seen.
    Seen(Seen),
}

/// What can be seen of the first ITS and of the redistributors between two actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Registers of the control frame, as read.
    pub registers: Vec<(Register, u64)>,
    /// Every event that is mapped, by DeviceID and EventID, whether the ITS is enabled or not.
    pub translations: BTreeMap<(u32, u32), Translation>,
    /// Pending LPIs by redistributor, ascending; empty while its EnableLPIs is 0.
    pub pending: Vec<Vec<u32>>,
    /// The LPI that each CPU is offered; empty where that cannot be seen.
    pub offered: Vec<Option<u32>>,
}

/// Registers that a look shows, where the device has them.
pub const SHOWN: [Register; 9] = [
    Register::Ctlr,
    Register::Iidr,
    Register::Typer,
    Register::Cbaser,
    Register::Cwriter,
    Register::Creadr,
    Register::Baser(0),
    Register::Baser(1),
    Register::Baser(2),
];

impl Seen {
    /// Returns what a register reads; 0 for one that is not shown.
    pub fn register(&self, register: Register) -> u64 {
        let found = self.registers.iter().find(|(of, _)| *of == register);
        found.map_or(0, |(_, value)| *value)
    }
}

/// An ITS that a host owns, with its redistributors and memory.
pub trait Device {
    /// Why a case could not be played to its end.
    type Error;

    /// Returns why a device on this machine cannot do an action, for people; `None`: it can.
    fn cannot(_action: &Action, _machine: &Machine) -> Option<&'static str> {
        None
    }

    /// Plays one case from reset. Returns one answer for each step.
    ///
    /// # Errors
    /// The device is gone. It is of no more use.
    fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Self::Error>;
}
