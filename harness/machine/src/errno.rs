//! Error numbers as Linux has them.

/// Why a service or a hypercall failed. The number is Linux's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Errno {
    /// Operation not permitted.
    Eperm = 1,
    /// Out of memory.
    Enomem = 12,
    /// Device or resource busy.
    Ebusy = 16,
    /// No such device.
    Enodev = 19,
    /// Invalid argument.
    Einval = 22,
    /// No space left on device.
    Enospc = 28,
    /// Operation not supported.
    Eopnotsupp = 95,
}

impl Errno {
    /// What a hypercall returns in x1: 0, or the number negated.
    pub fn result(result: Result<(), Self>) -> i64 {
        match result {
            Ok(()) => 0,
            Err(errno) => (errno as i64).wrapping_neg(),
        }
    }

    /// The name as C writes it, for the number that a hypercall returned.
    pub const fn name(result: i64) -> &'static str {
        match result {
            0 => "0",
            -1 => "-EPERM",
            -12 => "-ENOMEM",
            -16 => "-EBUSY",
            -19 => "-ENODEV",
            -22 => "-EINVAL",
            -28 => "-ENOSPC",
            -95 => "-EOPNOTSUPP",
            _ => "an unlisted errno",
        }
    }
}
