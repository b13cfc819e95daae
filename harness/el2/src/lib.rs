//! The seam between an ITS emulation at EL2 and everything that runs and judges it.
//!
//! Three groups of words, each used by several crates, none of which then needs to know another:
//!
//! - **what EL2 offers an emulation**: [`El2`], [`Locks`], [`Errno`]. The board implements it, the
//!   emulator calls it and knows nothing else of the world. [`Mapped`] is for emulations that
//!   follow pointers.
//! - **what an emulation offers**: [`Subject`], [`Trap`], [`SubjectPolicy`]. The emulator
//!   implements it, the board calls it.
//! - **what happened**: [`Machine`] and its [`Character`]s, the [`freedom`]s, [`Action`],
//!   [`Outcome`], [`Event`], [`View`], and [`Turn`] and [`Part`] where several agents act at once.
//!   The board reports in these words; model and oracles judge them; an emulation never sees them.
//!
//! Three decisions shape the rest:
//!
//! - **Locks** are an associated type, entered by closure ([`El2::locked`]). The board sees each
//!   acquire and release, so that it can tell a lock that is kept, taken twice or out of order, and
//!   a scheduler can switch CPUs there.
//! - **Events are data.** All that an emulation did and all that hardware did is a flat list of
//!   [`Event`]s in order. Model and oracles read that list, never the emulation's state.
//! - **Work is counted in calls.** Each call of [`El2`] is one unit; there is no call that waits. A
//!   board stops a subject that makes more calls than [`WORK_LIMIT`] in one trap.
//!
//! `no_std` without an allocator, so that an emulator may be linked where there is none.
#![no_std]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

mod action;
mod errno;
mod event;
pub mod freedom;
mod lock;
mod machine;
mod mapped;
mod page;
mod race;
mod service;
mod subject;
mod view;

pub use action::{Action, Hypercall, Outcome, SMCCC_HOST_CALL};
pub use errno::Errno;
pub use event::{CommandError, Event, Misconduct, PageChange};
pub use freedom::{Choices, Freedom, Freedoms};
pub use lock::{LockName, Locks};
pub use machine::{Character, MAX_ITS, Machine, Pace};
pub use mapped::{Mapped, PageWords};
pub use page::{El2Side, HostSide, PageState};
pub use race::{AGENTS, Part, Turn, Until, WORLD};
pub use service::{El2, LockOf, Redistributor, WORK_LIMIT};
pub use subject::{AccessSize, Direction, Frame, Subject, SubjectPolicy, Trap};
pub use view::{Exposure, Purpose, Reach, Translation, View};
