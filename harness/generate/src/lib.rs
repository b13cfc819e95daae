//! Draws scenarios, and changes them: all choices come from bytes or from a seed.
//!
//! - **Drawing** ([`numbered`], [`generate`], [`generate_for`]) makes scenarios that are legal
//!   enough to get deep, and wrong in one to four places.
//! - **Mutation** ([`mutate`], [`crossover`]) changes one a little, or makes one of two;
//!   [`vary_stored`] makes one of several, whatever their targets.
//! - The **dictionary** ([`dictionary`]) has words for engines that mutate bytes.
//!
//! All that comes out is fit for a [`FuzzTarget`](its_scenario::FuzzTarget) and can be played. What
//! was drawn is not kept: the scenario is.
//!
//! The runner's campaigns, the command line and tests draw from it. This crate knows what scenarios
//! can say and what is worth trying. It must not know what comes of it: no board, no emulator, no
//! model. A phrase that depends on earlier operations goes by what these should have led to
//! (`expected`).
//!
//! # How it is made
//!
//! A scenario starts on a board (`boards`) with what the driver does until EL2 guards its ITSs
//! (`opening`). Then it is a sequence of *phrases*, each a few operations that belong together:
//! `legal` and `hostile` for an emulation at EL2, `limits` and `histories` for numbers and orders
//! that are seldom met, `mmio`, `hvc` and `tables` with more of one kind for emulations of several
//! ITSs, `race` for several agents at once, `arch` for hosts that own their ITS. [`circumstances`]
//! says what all of them meet. How often a phrase comes is drawn anew for each scenario (swarm
//! testing): one fills the queue, another suspends again and again, a third does a little of all. A
//! new phrase is a function, and a row in the table of the targets that draw it.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod arch;
mod boards;
pub mod circumstances;
mod dictionary;
mod draft;
mod expected;
mod histories;
mod hostile;
mod hvc;
mod ids;
mod legal;
mod limits;
mod mmio;
mod mutate;
mod opening;
mod race;
mod scenario;
mod several;
mod steps;
mod tables;
mod words;

pub use dictionary::{DictionaryWord, dictionary};
pub use mutate::{crossover, mutate, vary_stored};
pub use scenario::{Temper, generate, generate_for, numbered};

#[cfg(test)]
mod tests;
