//! Barriers by kind, as devices that share memory with EL2 see them.

use core::fmt;

/// A DMB or a DSB, as the instruction encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// It is a DSB.
    pub is_dsb: bool,
    /// CRm, 4 bits: the shareability domain in the upper two, the types of accesses in the lower.
    pub option: u8,
}

/// The names of the options, by number. The others are no barriers of memory.
const OPTIONS: [&str; 16] = [
    "", "oshld", "oshst", "osh", "", "nshld", "nshst", "nsh", "", "ishld", "ishst", "ish", "",
    "ld", "st", "sy",
];

impl Barrier {
    /// Returns a barrier of this option; `None` where there is none.
    pub fn new(is_dsb: bool, option: u8) -> Option<Self> {
        let name = OPTIONS.get(usize::from(option)).copied().unwrap_or_default();
        (!name.is_empty()).then_some(Self { is_dsb, option })
    }

    /// `dsb sy`.
    pub const DSB_SY: Self = Self { is_dsb: true, option: 15 };

    /// Shareability domains that hold other CPUs: all but the non-shareable one.
    const fn is_shared(self) -> bool {
        self.option >> 2 != 0b01
    }

    const fn orders_loads_alone(self) -> bool {
        self.option & 3 == 0b01
    }

    /// Returns whether a device that snoops sees the stores before it no later than a register
    /// write after it. Registers are in the outer shareable domain, so a DMB of the inner one does
    /// not order them.
    pub const fn orders_stores(self) -> bool {
        let is_inner = self.option >> 2 == 0b10;
        self.is_shared() && !self.orders_loads_alone() && (self.is_dsb || !is_inner)
    }

    /// Returns whether cleans before it are complete after it: a DSB waits for cache maintenance
    /// only if it is one of loads and stores.
    pub const fn completes_cleans(self) -> bool {
        let is_of_one_type = matches!(self.option & 3, 0b01 | 0b10);
        self.is_dsb && self.is_shared() && !is_of_one_type
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_dsb { "dsb" } else { "dmb" };
        let option = OPTIONS.get(usize::from(self.option)).copied().unwrap_or_default();
        write!(f, "{name} {option}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    fn option(name: &str) -> u8 {
        OPTIONS.iter().position(|option| *option == name).unwrap() as u8
    }

    #[test]
    fn kinds_order_what_they_must() {
        for (is_dsb, name, stores, cleans) in [
            (true, "sy", true, true),
            (true, "ish", true, true),
            (true, "osh", true, true),
            (true, "ishst", true, false),
            (true, "st", true, false),
            (true, "ld", false, false),
            (true, "nsh", false, false),
            (false, "sy", true, false),
            (false, "oshst", true, false),
            (false, "oshld", false, false),
            (false, "ish", false, false),
            (false, "ishst", false, false),
            (false, "nsh", false, false),
        ] {
            let barrier = Barrier { is_dsb, option: option(name) };
            let shown = if is_dsb { "dsb " } else { "dmb " };
            assert_eq!(barrier.to_string().strip_prefix(shown), Some(name));
            assert_eq!((barrier.orders_stores(), barrier.completes_cleans()), (stores, cleans));
        }
    }
}
