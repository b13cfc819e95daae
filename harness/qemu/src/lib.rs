//! QEMU's ITS as an outside reference: a QEMU process whose GICv3 ITS is given the same
//! [`Action`](its_machine::Action)s as the board, and what can be seen of it, as data.
//!
//! [`find()`] finds QEMU, [`Qemu::start`] starts one; it is a [`Device`](its_device::Device).
//! Nothing of QEMU is needed to build this.
//!
//! QEMU's CPUs never run. The registers of its machine are accessed over qtest, its memory is a
//! file that is shared with it. Its ITS works through commands inside of the register writes that
//! post them, so that what happened is known once a write is answered; but a command that it
//! ignored looks like one that it executed.
//!
//! - `find`, `process`: the program, and one process of it
//! - `facts`: addresses and the configuration of its ITS
//! - `connection`, `qtest`: the pipes and the line protocol
//! - `memory`, `tables`: memory, and what tables in it say
//! - `actions`: what an action becomes
//! - `queue`: events, from the queue's registers before and after a write
//! - `look`: what is seen
//! - `play`: cases
//!
//! Its users compare QEMU with the reference. It knows the seam and nothing else: not the board,
//! the model or a scenario. The addresses of the board come from the
//! [`Machine`](its_machine::Machine) that it is given.

mod actions;
mod connection;
mod error;
mod facts;
mod find;
mod look;
mod memory;
mod play;
mod process;
mod qtest;
mod queue;
mod tables;

pub use error::Error;
pub use facts::{configuration, is_memory};
pub use find::{Installed, Missing, find};
pub use play::Qemu;
