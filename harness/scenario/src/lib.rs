//! Scenarios: what is done to a board, as values, as text and as bytes.
//!
//! A [`Scenario`] is the [`ItsConfiguration`](its_machine::ItsConfiguration) of each ITS of a
//! board, a [`Boot`] plan and a list of [`Operation`]s. One run of one scenario is a case, and
//! everything that decides its outcome is in the scenario.
//!
//! - **Text** ([`Scenario::parse`], `Display`) is what engineers read and write, and what is
//!   stored.
//! - **Bytes** ([`Scenario::decode`], [`Scenario::encode`]) are what fuzzing engines mutate. Any
//!   bytes are a scenario.
//! - **Simplification** ([`Scenario::without`], [`Scenario::plainer`]) takes single steps towards
//!   nothing.
//! - The **fix-up** ([`Scenario::fix_up`]) makes any scenario playable. All of the above leave a
//!   fixed-up scenario, and both forms keep one without loss. [`Scenario::fit`] leaves what means
//!   something to a [`FuzzTarget`].
//! - **Numbers** ([`numbers`]) are scenarios for who draws or changes them.
//!
//! The driver and the runner play scenarios, the command line and the requirements read them, and
//! `its-generate` draws them. This crate knows what can be written down. It must not know what any
//! of it does (no board, no emulator, no model), nor what is worth trying. Addresses are symbolic
//! ([`Place`](its_machine::Place)); the areas' lengths are those of the board.
//!
//! `docs/scenarios.md` lists the operations.
//!
//! Lines `its0` to `its7` (the configuration of an ITS) and `boot` before them name what differs
//! from [`ItsConfiguration::DEFAULT`](its_machine::ItsConfiguration::DEFAULT) and
//! [`Boot::default`]:
//!
//! ```
//! let text = "\
//! itsdiff 2
//! its0 page-size=4K pace=late
//! boot live-devices=1 queue-pages=1
//! command MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid
//! write-cwriter
//! poll 4
//! ";
//! let scenario = its_scenario::Scenario::parse(text)?;
//! assert_eq!(scenario.operations[1].name(), "write-cwriter");
//! assert_eq!(scenario.to_string(), text);
//! assert_eq!(its_scenario::Scenario::decode(&scenario.encode()), scenario);
//! # Ok::<(), its_scenario::ParseError>(())
//! ```
//!
//! # How it is made
//!
//! One table (`operation`) gives each operation its number, its name, its fields with their ranges
//! and its documentation; another (`header`) does the same for the fields of configurations and the
//! boot plan. Text, bytes, fix-up and mutation work on the numbers that the tables make of them. A
//! new operation is a row there, and what the driver does for it.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod argument;
mod binary;
mod fewer;
mod fixup;
mod fuzz_target;
mod header;
mod operation;
mod record;
mod rename;
mod scenario;
mod simplify;
mod table;
mod target;
mod text;
mod turns;
mod upgrade;

pub use binary::{BINARY_VERSION, MAX_BYTES, RECORD_BYTES};
pub use fixup::Most;
pub use fuzz_target::{FuzzTarget, MOST_IN_A_RUN};
pub use header::{Boot, Stage};
pub use operation::{HostCommand, Operation, Rdbase};
pub use scenario::{DRAWN_OPERATIONS, LIVE_EVENT_ID_BITS, LiveDevice, MAX_OPERATIONS, Scenario};
pub use target::Target;
pub use text::{MAX_TEXT_BYTES, ParseError, TEXT_VERSION, reference};
pub use turns::Turns;
pub use upgrade::upgrade;

/// Operations, configurations and boot plans as numbers: every field is a 64-bit word of a known
/// [`Shape`](numbers::Shape).
pub mod numbers {
    pub use crate::argument::{Argument, Shape, Word};
    pub use crate::header::Header;
    pub use crate::operation::{ARGUMENTS, Kind};
    pub use crate::record::Record;
    pub use crate::target::{FRAMES, SIZES, registers};
}
