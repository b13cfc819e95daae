//! Plays a scenario on the board and the reference in lockstep, and says what broke.
//!
//! A [`Runner`] holds one board with one subject. [`Runner::play`] runs one case: boot, operations,
//! then enough looks that healthy hardware must be done. After every single
//! [`Action`](its_machine::Action) the reference judges what happened and the oracles look at the
//! machine; the first action with a [`Finding`](its_rules::Finding) ends the case.
//!
//! - `session`: how a scenario is played on a board while somebody looks on
//! - `lockstep`: looks on and judges, with the reference and the oracles
//! - [`Referee`]: an ITS that somebody else plays, judged by the reference
//! - `compare`: what is seen of an ITS, held against the reference
//! - [`trace`]: records what happened, for people
//! - [`minimize`]: the shortest scenario with the same finding
//! - [`observe`]: what a subject does that host and hardware see, judged by nobody, to compare two
//!   of them
//! - [`program`]: what a target does when no engine drives it
//! - [`campaign`]: many cases under a fuzzing engine, counted, one file a signature
//!
//! Targets and the command line are its users. This crate alone knows board, emulator, reference
//! and oracles.
//!
//! Deterministic: the same scenario gives the same trace, in every process.

pub mod campaign;
mod compare;
mod declared;
mod lockstep;
pub mod minimize;
pub mod observe;
mod play;
pub mod program;
mod referee;
pub mod replay;
mod session;
pub mod trace;

pub use declared::{DECLARATION, Declared};
pub use play::{Case, LAYERS, Make, Runner, Verdict};
pub use referee::Referee;
