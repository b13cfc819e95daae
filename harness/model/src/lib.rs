//! The reference: what a machine with an ITS under EL2 must do.
//!
//! [`Model`] is given every [`Action`](its_machine::Action) done to a machine, with its
//! [`Outcome`](its_machine::Outcome) and the [`Event`](its_machine::Event)s that it caused, and says which
//! of them were wrong. It is a value: maps and sets, `Clone`, deterministic. It never sees the
//! machine itself or the emulation, only these lists. A runner feeds it and turns its
//! [`Judgement`]s into findings.
//!
//! Two layers, and the ledgers they share:
//!
//! | module | says |
//! | --- | --- |
//! | `architecture` | ITSs and redistributors as software sees them: registers, commands, tables, LPIs |
//! | `policy`: `trap`, `queue`, `set_up`, `hypercall` | what EL2 must do (P1 to P14, S1 to S9) |
//! | `policy`: `ghost` | whose each page *is*, by pKVM's transitions |
//! | `policy`: `ledger` | whose each page *should be*, by the policy |
//!
//! It can also stand in for an ITS: [`Model::carry_out`] does what the architecture layer says
//! (`exemplar`).
//!
//! Where the architecture leaves a choice each option is allowed, by name ([`its_machine::Freedom`]);
//! where it says nothing more the rest of the case is poisoned ([`Judgement::poisoned`]). A host
//! that owns its ITS needs the first layer only; nothing in it knows of EL2. Where a document
//! leaves EL2 a choice, both are accepted and the comment there says so.
#![deny(clippy::unwrap_used, clippy::panic, clippy::todo)]

mod architecture;
mod exemplar;
mod judgement;
mod model;
mod policy;
mod race;

#[cfg(test)]
mod testing;

pub use architecture::Partial;
pub use exemplar::CarriedOut;
use its_rules::{Rule, catalogue as rules};
pub use judgement::{Expected, Judgement, Phase};
pub use model::{Model, Position};
