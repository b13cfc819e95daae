//! What a host may expect of its ITSs, whatever EL2 does in between.
//!
//! [`Service`] keeps an account of what the host's driver did, on the reference of the
//! architecture: its stores, its accesses to registers, MSIs, and the interrupts that its CPUs
//! take. A command counts as completed when CREADR, as the host reads it, has left it behind. The
//! rules of the family SVC follow from this account. `legal` says which traffic has a promise.
//!
//! The runner feeds it once EL2 guards the ITSs. It must not know what EL2 does, which policy EL2
//! follows, or what EL2 makes of the hardware: only which LPIs are then pending.
//!
//! The first thing that has no promise ends the account ([`Unpromised`]), as an emulation may then
//! do to the ITS what its policy says.
#![deny(clippy::unwrap_used, clippy::panic, clippy::todo)]

mod legal;
mod race;
mod service;
#[cfg(test)]
mod tests;

pub use legal::Unpromised;
pub use service::{Entrusted, Service};
