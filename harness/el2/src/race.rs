//! Several agents at once.

use crate::action::{Action, Outcome};

/// Who can act in a race: two CPUs by their number, and [`WORLD`].
pub const AGENTS: usize = 3;

/// The agent that is no CPU: devices, time and power of the physical ITSs.
pub const WORLD: u8 = 2;

/// One action of a race, from its begin to its end. What other agents did meanwhile lies between its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Below [`AGENTS`].
    pub agent: u8,
    pub action: Action,
    pub outcome: Outcome,
}

impl Action {
    /// Who does it.
    pub const fn agent(&self) -> u8 {
        match *self {
            Self::Device { cpu, .. }
            | Self::Load { cpu, .. }
            | Self::Store { cpu, .. }
            | Self::StoreCommand { cpu, .. }
            | Self::Hypercall { cpu, .. }
            | Self::Acknowledge { cpu } => cpu,
            Self::Msi { .. } | Self::PowerLoss { .. } | Self::Advance { .. } => WORLD,
        }
    }
}
