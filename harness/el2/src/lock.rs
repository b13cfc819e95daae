//! Locks that somebody outside can watch.

use its_machine::LockName;

/// A family of locks, so that whoever runs an emulation chooses what its locks are made of.
pub trait Locks {
    /// A lock around a `T`.
    type Lock<T>;

    /// A free lock.
    fn lock<T>(name: LockName, value: T) -> Self::Lock<T>;

    /// A free lock around a copy of what `lock` protects now. Nobody holds `lock`.
    fn copy<T: Clone>(lock: &Self::Lock<T>) -> Self::Lock<T>;
}
