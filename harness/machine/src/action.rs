//! The smallest things that can be done to a machine from outside EL2.

use its_gic::command::Words;

use crate::access::{AccessSize, Direction};

/// The first function id of host hypercalls: SMCCC fast call, 64 bits, owner vendor hypervisor. A
/// call's id is this plus its number.
pub const SMCCC_HOST_CALL: u64 = 0xc600_0000;

/// Host hypercalls that the board dispatches. The number is the place in `host_hcall[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Hypercall {
    /// `__pkvm_prot_finalize()`: deprivileges the calling CPU. EPERM the second time.
    ProtFinalize = 7,
    /// `__pkvm_host_share_hyp(pfn)`
    HostShareHyp = 8,
    /// `__pkvm_host_unshare_hyp(pfn)`
    HostUnshareHyp = 9,
    /// `__pkvm_init_its_emulation(device, private, descriptor, private page count)`
    InitItsEmulation = 33,
    /// `__pkvm_host_donate_guest(pfn)`, to the one guest of the board.
    HostDonateGuest = 34,
    /// `__pkvm_reclaim_dying_guest_page(pfn)`: the guest's page becomes the host's again, zeroed.
    ReclaimGuestPage = 35,
    /// `__pkvm_init_redistributor_emulation()`, of all redistributors.
    InitRedistributorEmulation = 36,
    /// `__pkvm_fini_its_emulation(device)`
    FiniItsEmulation = 37,
}

impl Hypercall {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ProtFinalize,
        Self::HostShareHyp,
        Self::HostUnshareHyp,
        Self::InitItsEmulation,
        Self::HostDonateGuest,
        Self::ReclaimGuestPage,
        Self::InitRedistributorEmulation,
        Self::FiniItsEmulation,
    ];

    /// What x0 holds to make this call.
    pub const fn function_id(self) -> u64 {
        SMCCC_HOST_CALL | self as u64
    }

    /// The call that a value of x0 makes.
    pub fn from_function_id(x0: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.function_id() == x0)
    }

    /// pKVM's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtFinalize => "__pkvm_prot_finalize",
            Self::HostShareHyp => "__pkvm_host_share_hyp",
            Self::HostUnshareHyp => "__pkvm_host_unshare_hyp",
            Self::InitItsEmulation => "__pkvm_init_its_emulation",
            Self::HostDonateGuest => "__pkvm_host_donate_guest",
            Self::ReclaimGuestPage => "__pkvm_reclaim_dying_guest_page",
            Self::InitRedistributorEmulation => "__pkvm_init_redistributor_emulation",
            Self::FiniItsEmulation => "__pkvm_fini_its_emulation",
        }
    }
}

/// One thing done by a CPU of the host, a device or the physical ITS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The host accesses a device's registers: directly from a CPU that is not finalized, else by
    /// way of EL2. `address` is physical.
    Device { cpu: u8, address: u64, size: AccessSize, direction: Direction },
    /// The host loads a word of memory, 8-byte aligned.
    Load { cpu: u8, address: u64 },
    /// The host stores a word of memory, 8-byte aligned.
    Store { cpu: u8, address: u64, value: u64 },
    /// The host stores 32 bytes, 32-byte aligned.
    StoreCommand { cpu: u8, address: u64, words: Words },
    /// The host makes a hypercall with x0 and x1 to x4.
    Hypercall { cpu: u8, x0: u64, arguments: [u64; 4] },
    /// A device writes to GITS_TRANSLATER of the n-th ITS: 32 bits, or 16 bits, which leave the
    /// upper half of EventID zero. Writes of another size are not made.
    Msi { its: u8, device_id: u32, event_id: u32, size: AccessSize },
    /// A CPU takes the interrupt that it is offered (ICC_IAR1): the value is an INTID, or 1023 for
    /// none. Only LPIs are modelled; all of them are in an enabled group and pass the priority
    /// mask, and each is finished at once.
    Acknowledge { cpu: u8 },
    /// The n-th ITS loses power and gets it back; redistributors and memory keep theirs. Registers
    /// are UNKNOWN after it but for what resets. `restored`: firmware then writes CBASER, CWRITER
    /// and each `BASER<n>` as they were.
    PowerLoss { its: u8, restored: bool },
    /// Firmware sets Enabled of the n-th ITS, which lost power while Enabled was 1. It does so only
    /// where queue and tables are Valid and no command is left.
    EnabledByOther { its: u8 },
    /// The host cleans memory to the point of coherency and waits for it: DC CVAC, DSB.
    Clean { cpu: u8, address: u64, bytes: u64 },
    /// The cache line at a physical address arrives in memory, if it is dirty.
    WriteBack { address: u64 },
    /// The physical ITS gets time to work through at most this many commands.
    Advance { its: u8, commands: u16 },
}

/// What came back to whoever did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, nothing to return.
    Done,
    /// The value of a load or of a register read, or an INTID.
    Value(u64),
    /// The host's access was refused (an abort at EL1).
    Refused,
    /// A hypercall returned x0 (0, or -1 for "not supported") and x1.
    Returned { x0: i64, x1: i64 },
    /// EL2 did not return: see the last [`Misconduct`](crate::Misconduct) among the events.
    Stopped,
}
