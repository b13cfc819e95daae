//! Ownership of a page, as pKVM keeps it: one view of the host, one of EL2, and a count of pins.

/// The host's view of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostSide {
    /// Exclusively the host's (`PKVM_PAGE_OWNED`).
    Owned,
    /// The host's, shared with EL2 (`PKVM_PAGE_SHARED_OWNED`).
    Shared,
    /// The host can load from it and no more (`PKVM_PAGE_RESTRICTED_PROT`).
    ReadOnly,
    /// Out of the host's reach (`PKVM_NOPAGE`): EL2's or a guest's.
    Nothing,
}

/// EL2's view of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum El2Side {
    /// Not EL2's (`PKVM_NOPAGE`).
    Nothing,
    /// Borrowed from the host (`PKVM_PAGE_SHARED_BORROWED`); mapped while pinned.
    Borrowed,
    /// Exclusively EL2's (`PKVM_PAGE_OWNED`).
    Owned,
}

/// What pKVM knows of a page. A page of a guest is `Nothing` on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageState {
    pub host: HostSide,
    pub el2: El2Side,
    /// How often EL2 pinned it; only a borrowed page can be.
    pub pins: u16,
}

impl PageState {
    /// The host's alone, as all memory is after boot.
    pub const HOST: Self = Self { host: HostSide::Owned, el2: El2Side::Nothing, pins: 0 };
    /// EL2's alone.
    pub const EL2: Self = Self { host: HostSide::Nothing, el2: El2Side::Owned, pins: 0 };
    /// EL2's, and the host can load from it.
    pub const SHOWN: Self = Self { host: HostSide::ReadOnly, el2: El2Side::Owned, pins: 0 };
    /// A guest's alone.
    pub const GUEST: Self = Self { host: HostSide::Nothing, el2: El2Side::Nothing, pins: 0 };

    /// Whether a deprivileged host can load from it.
    pub const fn host_can_load(self) -> bool {
        !matches!(self.host, HostSide::Nothing)
    }

    /// Whether a deprivileged host can store to it.
    pub const fn host_can_store(self) -> bool {
        matches!(self.host, HostSide::Owned | HostSide::Shared)
    }

    /// Whether EL2 has it mapped: its own, or borrowed and pinned.
    pub const fn el2_can_access(self) -> bool {
        match self.el2 {
            El2Side::Owned => true,
            El2Side::Borrowed => self.pins > 0,
            El2Side::Nothing => false,
        }
    }

    /// Whether it stays the host's and can go nowhere: shared and pinned.
    pub const fn is_held(self) -> bool {
        matches!((self.host, self.el2), (HostSide::Shared, El2Side::Borrowed)) && self.pins > 0
    }

    /// Whether no hypercall of the host can make it somebody else's: held, or EL2's.
    pub const fn stays(self) -> bool {
        self.is_held() || matches!(self.el2, El2Side::Owned)
    }
}
