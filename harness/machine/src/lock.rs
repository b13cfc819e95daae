//! Names of the locks at EL2.

/// Which lock: the order of the variants is the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockName {
    /// One set-up at a time, over all ITSs.
    SetUp,
    /// The set-up of redistributors.
    Redistributors,
    /// The state of one ITS.
    Its(u8),
    /// The n-th lock that the emulation names by its address. The harness does not know what it
    /// protects.
    Other(u8),
    /// Page ownership: pKVM's host and hyp locks.
    Memory,
}
