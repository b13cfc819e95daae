//! Locks that somebody outside can watch.

/// Which lock: the order of the variants is the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockName {
    /// One set-up at a time, over all ITSs.
    SetUp,
    /// The state of one ITS.
    Its(u8),
    /// Page ownership: pKVM's host and hyp locks.
    Memory,
}

/// A family of locks, so that whoever runs an emulation chooses what its locks are made of.
pub trait Locks {
    /// A lock around a `T`.
    type Lock<T>;

    /// A free lock.
    fn lock<T>(name: LockName, value: T) -> Self::Lock<T>;

    /// A free lock around a copy of what `lock` protects now. Nobody holds `lock`.
    fn copy<T: Clone>(lock: &Self::Lock<T>) -> Self::Lock<T>;
}
