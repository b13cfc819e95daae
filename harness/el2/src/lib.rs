//! The seam between EL2 and an ITS emulation that runs there.
//!
//! - **What EL2 offers an emulation**: [`El2`], [`Locks`], [`Errno`]. The board implements it. The
//!   emulator calls it and knows nothing else of the world. [`Mapped`] is for emulations that
//!   follow pointers.
//! - **What an emulation offers EL2**: [`Subject`], [`Trap`], [`SubjectPolicy`]. The emulator
//!   implements it, the board calls it.
//!
//! Two decisions shape it:
//!
//! - **Locks** are an associated type, entered by closure ([`El2::locked`]). The board sees each
//!   acquire and release, so that it can report a lock that is kept, taken twice or out of order,
//!   and a scheduler can switch CPUs there.
//! - **Work is counted in calls.** Each call of [`El2`] is one unit; no call waits. A board stops a
//!   subject that makes more calls than [`WORK_LIMIT`] in one trap.
//!
//! `no_std` without an allocator, so that an emulator may be linked where there is none. It must
//! not know who runs an emulation or who judges it.
#![no_std]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

mod lock;
mod mapped;
mod service;
mod subject;

pub use its_machine::{AccessSize, Direction, Errno, Frame, LockName};
pub use lock::Locks;
pub use mapped::{Mapped, PageWords};
pub use service::{El2, LockOf, Redistributor, WORK_LIMIT};
pub use subject::{Subject, SubjectPolicy, Trap};
