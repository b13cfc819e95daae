//! Several agents at once: who they are, when each gives way, what they did.

use crate::action::{Action, Outcome};

/// CPUs that can act in a race: those with a lower number.
pub const RACING_CPUS: u8 = 2;

/// The agent that is no CPU: devices, time and power of the physical ITSs.
pub const WORLD: u8 = RACING_CPUS;

/// Who can act in a race: the racing CPUs by their number, and [`WORLD`].
pub const AGENTS: usize = WORLD as usize + 1;

/// When an agent of a race gives way: before its next step, which is the begin of an action or a
/// call of EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// It has made so many steps in this turn.
    Steps(u16),
    /// EL2 has given back so many locks for it in this turn.
    Unlocks(u16),
}

/// How long an agent of a race goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Turn {
    pub until: Until,
    /// The agent after the next goes on, not the next.
    pub skip: bool,
}

/// One action of a race, from its begin to its end. What other agents did meanwhile lies between
/// its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Below [`AGENTS`].
    pub agent: u8,
    pub action: Action,
    pub outcome: Outcome,
}

impl Action {
    /// Who does it in a race, where no CPU but the first two acts.
    pub fn agent(&self) -> u8 {
        self.cpu().unwrap_or(WORLD)
    }

    /// Which CPU does it.
    pub const fn cpu(&self) -> Option<u8> {
        match *self {
            Self::Device { cpu, .. }
            | Self::Load { cpu, .. }
            | Self::Store { cpu, .. }
            | Self::StoreCommand { cpu, .. }
            | Self::Clean { cpu, .. }
            | Self::Hypercall { cpu, .. }
            | Self::Acknowledge { cpu } => Some(cpu),
            Self::Msi { .. }
            | Self::PowerLoss { .. }
            | Self::EnabledByOther { .. }
            | Self::WriteBack { .. }
            | Self::Advance { .. } => None,
        }
    }
}
