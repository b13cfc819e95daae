//! The reference of the architecture: ITSs and redistributors as software sees them (IHI 0069).
//!
//! [`Architecture`] is given every [`Action`](its_machine::Action) done to a machine whose host
//! owns its ITSs, with its [`Outcome`](its_machine::Outcome) and the [`Event`](its_machine::Event)s
//! that it caused, and judges what hardware did. It is a value: maps and sets, `Clone`,
//! deterministic. It can also stand in for an ITS: [`Architecture::carry_out`] does what it says
//! (`exemplar`), or follow an ITS whose hardware is not seen (`expectation`).
//!
//! The reference of the policy is built on it. The conformance suite and the comparison with other
//! devices use it alone. It knows of memory, of register accesses, of commands that an ITS took; it
//! must not know of EL2.
//!
//! | module | says |
//! | --- | --- |
//! | `judge` | what was wrong with an action; what must be so after it |
//! | `registers` | the control frame: writes, reads, when commands may be fetched |
//! | `commands`, `fault` | the twelve commands: checks in order, effects; errors |
//! | `outcome` | what the ITS did about one, held against all ways in which it could go |
//! | `tables` | where entries are and what they hold; where events go |
//! | `lpi` | LPIs: pending, configuration, what a CPU is offered |
//! | `cells`, `memory` | what ITSs wrote, what CPUs wrote |
//! | `host_stores` | what the host wrote that no device sees yet |
//! | `path`, `possible` | all ways in which something can go; values that are open |
//!
//! Each freedom of the architecture ([`its_machine::Freedom`]) is asked for by name where it
//! matters, so that a verdict names the option that it saw. `Freedoms::ALL` allows every option; a
//! board's own configuration allows one of each.
//!
//! Where the architecture says nothing more the rest of the case is poisoned
//! ([`Judgement::poisoned`]).
#![deny(clippy::unwrap_used, clippy::panic, clippy::todo)]

mod architecture;
mod cells;
mod commands;
mod exemplar;
mod expectation;
mod fault;
mod host_stores;
mod judge;
mod judgement;
mod lpi;
mod memory;
mod names;
mod outcome;
mod path;
mod possible;
mod registers;
mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use architecture::{Architecture, Partial};
pub use exemplar::CarriedOut;
use its_rules::catalogue as rules;
pub use judge::{Before, NO_INTERRUPT, value_of};
pub use judgement::Judgement;
pub use names::{its_at, name, overlap, redistributor_at, redistributor_register};
pub use path::Undefined;
pub use possible::{Possible, Truth};
pub use registers::{RETRY, Registers, STALLED};
