//! The reference: what a machine with ITSs under EL2 must do.
//!
//! [`Policy`] is given every [`Action`](its_machine::Action) done to a machine, with its
//! [`Outcome`](its_machine::Outcome) and the [`Event`](its_machine::Event)s that it caused, and
//! says which of them were wrong. It is a value: maps and sets, `Clone`, deterministic. It never
//! sees the machine itself or the emulation, only these lists.
//!
//! It is built on the reference of the architecture ([`Policy::hardware`]), and adds what EL2 does:
//!
//! | module | says |
//! | --- | --- |
//! | `guarded`, `queue`, `mappings` | a guarded ITS: registers, queue, tables and ITTs (P5 to P11) |
//! | `trap`, `hypercall`, `set_up` | what the host asks of EL2, and must get (P1 to P3, S1 to S9) |
//! | `account` | what EL2 writes in one action |
//! | `ghost` | whose each page *is*, by pKVM's transitions |
//! | `ledger` | whose each page *should be*, by the policy |
//! | `race` | several agents at once |
//!
//! The runner feeds it and turns its [`Judgement`](its_architecture::Judgement)s into findings.
//! Where a document leaves EL2 a choice, both are accepted and the comment there says so.
#![deny(clippy::unwrap_used, clippy::panic, clippy::todo)]

mod account;
mod ghost;
mod guarded;
mod hypercall;
mod ledger;
mod mappings;
mod moment;
mod policy;
mod queue;
mod race;
mod set_up;
mod tear_down;
#[cfg(test)]
mod testing;
mod timeout;
mod trap;

use its_rules::{Rule, catalogue as rules};
pub use policy::{Phase, Policy};
