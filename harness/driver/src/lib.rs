//! The host: a small imitation of the Linux ITS driver, and what operations of a scenario are in
//! actions.
//!
//! - [`Driver`] is the driver of one ITS. It holds what Linux's would hold and nothing of the
//!   machine. [`Driver::on`] lets it act by a CPU.
//! - [`Drivers`] has one for each ITS of a scenario's board, and does operations.
//! - [`Perform`] is whoever carries actions out: a board, QEMU, a reference.
//! - [`race`] lists what each agent of a race does.
//!
//! The runner and the conformance suite use it. It must not know who carries actions out, or what
//! comes of them beyond what a host sees.

mod commands;
mod driver;
mod events;
mod operate;
mod power;
mod probe;
pub mod race;
mod take_over;

use its_machine::{Action, Outcome};

pub use commands::DeviceRun;
pub use driver::{Acting, Driver};
pub use operate::{Armed, Drivers, Left, SetUps, machine};

/// Whoever carries out the host's actions.
pub trait Perform {
    /// Does one action.
    fn perform(&mut self, action: Action) -> Outcome;
}
