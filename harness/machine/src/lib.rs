//! The vocabulary of a machine with ITSs: what it is, what can be done to it, what happens in it.
//!
//! - [`Machine`] and the [`ItsConfiguration`] of each ITS, with the options that it takes of each
//!   [`freedom`] of the architecture
//! - [`Area`] and [`Place`]: the memory map, by names
//! - [`Action`] and [`Outcome`]: what the host, a device or time does, and what comes back
//! - [`Event`]: what EL2 and hardware did during an action, in order. Judges read these events,
//!   never the state of an emulation
//! - [`View`]: what can be seen of the hardware without changing it
//! - [`Turn`] and [`Part`]: several agents at once
//! - [`text`]: all of it for people
//!
//! Everybody but the emulator speaks it: the board and QEMU report in these words, the references
//! and the oracles judge them, scenarios are made of them. It knows none of them and decides
//! nothing.
#![no_std]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

mod access;
mod action;
mod area;
mod barrier;
mod coherence;
mod errno;
mod event;
pub mod freedom;
mod its;
mod lock;
mod machine;
mod page;
mod place;
mod race;
pub mod text;
mod view;

pub use access::{AccessSize, Direction, Frame};
pub use action::{Action, Hypercall, Outcome, SMCCC_HOST_CALL};
pub use area::{Area, AreaKind, EXTRA_MEMORY, LOW_MEMORY};
pub use barrier::Barrier;
pub use coherence::{Coherence, Snooping};
pub use errno::Errno;
pub use event::{CommandError, Event, Misconduct, PageChange};
pub use freedom::{Choices, Freedom, Freedoms};
pub use its::{ItsConfiguration, Pace};
pub use lock::LockName;
pub use machine::{
    ITS_FRAMES, LINEAR_MAP, MAX_CPUS, MAX_ITS, Machine, REDISTRIBUTOR_FRAMES, Topology,
};
pub use page::{El2Side, HostSide, PageState};
pub use place::Place;
pub use race::{AGENTS, Part, RACING_CPUS, Turn, Until, WORLD};
pub use view::{Exposure, Purpose, Reach, Translation, View};
