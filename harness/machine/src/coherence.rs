//! Whether ITSs and redistributors see what is in the caches of CPUs.

/// How a device reads one kind of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Snooping {
    /// It reads what was cleaned alone, and its register does not say so: Shareability sticks.
    /// Firmware alone says it (`dma-noncoherent` in a device tree).
    #[default]
    Unsaid,
    /// It reads what was cleaned alone, and Shareability of its register reads 0.
    No,
    /// It reads what CPUs stored, cleaned or not. Shareability sticks.
    Yes,
}

impl Snooping {
    /// Returns whether the device sees a store that nobody cleaned.
    pub const fn sees_stores(self) -> bool {
        matches!(self, Self::Yes)
    }

    /// Returns whether Shareability reads back as it was written.
    pub const fn is_shareable(self) -> bool {
        !matches!(self, Self::No)
    }
}

/// How the devices of a board read memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Coherence {
    /// Of the ITSs: command queues (GITS_CBASER).
    pub queue: Snooping,
    /// Of the ITSs: tables (`GITS_BASER<n>`), and ITTs, which have no register.
    pub tables: Snooping,
    /// Of the redistributors: LPI configuration (GICR_PROPBASER).
    pub propbaser: Snooping,
    /// Of the redistributors: pending tables (GICR_PENDBASER).
    pub pendbaser: Snooping,
    /// Whether what the host stores stays in caches until it is cleaned, as what EL2 stores does:
    /// see [`Coherence::caches_host`].
    pub host_stores_cached: bool,
}

impl Coherence {
    /// Returns what firmware says of the ITSs: they see what CPUs stored, or registers say which
    /// of it they do not see. If not, it says `dma-noncoherent`.
    pub fn is_its_coherent(self) -> bool {
        ![self.queue, self.tables].contains(&Snooping::Unsaid)
    }

    /// Returns whether what the host stores stays in caches until it is cleaned. Where some device
    /// snoops, every device sees what the host stores at once.
    pub fn caches_host(self) -> bool {
        let all = [self.queue, self.tables, self.propbaser, self.pendbaser];
        self.host_stores_cached && !all.into_iter().any(Snooping::sees_stores)
    }

    /// No device sees a store that nobody cleaned, and no register says so.
    pub const UNSAID: Self = Self {
        queue: Snooping::Unsaid,
        tables: Snooping::Unsaid,
        propbaser: Snooping::Unsaid,
        pendbaser: Snooping::Unsaid,
        host_stores_cached: false,
    };
}
