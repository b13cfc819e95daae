//! The policy: what EL2 must do, by the numbers of the contract (P1 to P14, S1 to S9, table rows by
//! name).

pub(crate) mod ghost;
pub(crate) mod hypercall;
pub(crate) mod ledger;
pub(crate) mod queue;
pub(crate) mod set_up;
pub(crate) mod trap;
