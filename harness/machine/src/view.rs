//! Read-only views of the physical ITS and of page ownership.

use its_gic::Register;

/// Why the ITS follows a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// GITS_CBASER: the command queue. It reads.
    Queue,
    /// `GITS_BASER<n>`: a flat or level-1 table.
    Table(u8),
    /// A level-1 entry of `GITS_BASER<n>`, by its index: a level-2 table.
    Level2 { table: u8, index: u32 },
    /// A device table entry: the ITT of a DeviceID.
    Itt { device_id: u32 },
    /// GICR_PROPBASER of the n-th redistributor: LPI configuration.
    LpiConfiguration(u8),
    /// GICR_PENDBASER of the n-th redistributor: LPI pending state.
    LpiPending(u8),
}

/// Memory that the n-th ITS (or a redistributor) can read or write by a pointer that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    pub its: u8,
    pub purpose: Purpose,
    /// Physical address.
    pub address: u64,
    pub bytes: u64,
}

/// What is wrong about memory that the ITS can reach, at one moment. All false is what is wanted of
/// memory that EL2 owns; `host` alone is what is wanted of memory that EL2 borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exposure {
    /// Some byte is no memory.
    pub outside: bool,
    /// The host can store to some page of it.
    pub host: bool,
    /// Some page is neither shared and pinned nor EL2's.
    pub not_held: bool,
    /// Some page is a guest's, or was EL2's from boot.
    pub foreign: bool,
    /// Some byte is not zero.
    pub contents: bool,
}

/// Where an MSI goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Translation {
    pub intid: u32,
    pub icid: u16,
    /// Index of the redistributor, `None` while the collection is unmapped.
    pub redistributor: Option<u8>,
}

/// What oracles may look at: the machine as it is, whatever anybody believes about it.
pub trait View {
    /// All that the n-th ITS and the redistributors can reach, in ascending order.
    fn reach(&self, its: u8) -> impl Iterator<Item = (Reach, Exposure)>;
    /// How the n-th ITS would translate an event, from its memory and caches.
    fn translate(&self, its: u8, device_id: u32, event_id: u32) -> Option<Translation>;
    /// Pending LPIs of the n-th redistributor, ascending.
    fn pending(&self, redistributor: u8) -> impl Iterator<Item = u32>;
    /// What a register of the n-th ITS holds and a read would return; looking changes nothing.
    fn register(&self, its: u8, register: Register) -> u64;
    /// The LPI that the n-th redistributor offers its CPU: pending, enabled, and the most urgent.
    fn offered(&self, redistributor: u8) -> Option<u32>;
}
