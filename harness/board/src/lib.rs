//! The simulated machine: RAM with page ownership, one or two physical ITSs, redistributors, two
//! CPUs, hypercalls.
//!
//! A [`Board`] holds one [`Subject`](its_el2::Subject) at EL2 and nothing else of it than that.
//! From outside, one [`Action`](its_machine::Action) at a time is done to it; it answers with an
//! [`Outcome`](its_machine::Outcome) and the list of [`Event`](its_machine::Event)s, and never
//! judges.
//!
//! - `state`: all parts together: who is behind an address, and who hears of a store
//! - `flat`, `memory`: RAM; what EL2 wrote and did not clean is not yet seen by the ITS
//! - `ownership`: pKVM's page states, transitions and errno values
//! - `its`: a physical ITS, in a private format, with an account of every pointer that it can
//!   follow
//! - `redistributor`: as far as LPIs go
//! - `el2`: what EL2 offers the subject; each call is checked against ownership, counted and
//!   recorded
//! - `direct`: what a subject does to memory by pointers, reported in the same words as calls
//! - `race`: several agents at once, on a schedule
//! - `hypercall`: dispatch and pKVM's own calls
//!
//! The runner is its user. It must not know the production emulator, the model, or any rule.
//!
//! Deterministic: no clock, no thread, no randomness. [`Board::restore`] goes back to a
//! [`Snapshot`] by undoing the pages that were touched.

mod board;
mod device;
mod direct;
mod el2;
mod flat;
mod hypercall;
mod its;
mod lines;
mod memory;
mod ownership;
mod race;
mod redistributor;
mod state;
#[cfg(test)]
mod testing;

pub use board::{Board, BoardSubject, Failure, Progress, Snapshot, Tamper, subject_is_running};
pub use el2::{BoardLock, BoardLocks};
