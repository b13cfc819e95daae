//! The reference: what a machine with an ITS under EL2 must do.
//!
//! [`Model`] is given every [`Action`](its_el2::Action) done to a machine, with its
//! [`Outcome`](its_el2::Outcome) and the [`Event`](its_el2::Event)s that it caused, and says which of them
//! were wrong. It is a value: maps and sets, `Clone`, deterministic. It never sees the machine itself or the
//! emulation, only these lists. A runner feeds it and turns its [`Judgement`]s into findings.
//!
//! Two layers, and the ledgers they share:
//!
//! | module | says |
//! | --- | --- |
//! | `hardware`, `commands` | the architecture: registers, the twelve commands, interrupts |
//! | `trap`, `queue`, `set_up`, `hypercall` | the policy: what EL2 must do (P1 to P14, S1 to S9) |
//! | `ghost` | whose each page *is*, by pKVM's transitions |
//! | `ledger` | whose each page *should be*, by the policy |
//! | `memory` | what was written to memory |
//!
//! What the architecture leaves open is [`Expected::Unknown`]; whatever then depends on it poisons the rest
//! of the case ([`Judgement::poisoned`]). Where a document leaves EL2 a choice, both are accepted and
//! the comment there says so.
#![deny(clippy::unwrap_used, clippy::panic, clippy::todo)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod commands;
mod ghost;
mod hardware;
mod hypercall;
mod judgement;
mod ledger;
mod memory;
mod model;
mod queue;
mod set_up;
mod trap;

#[cfg(test)]
mod testing;

pub use judgement::{Disagreement, Expected, Judgement, Kind, Phase};
pub use model::{Model, Position};
