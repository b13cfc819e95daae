//! What an emulation offers whoever runs it.

use its_machine::{AccessSize, Direction, Errno, Frame};

use crate::service::El2;

/// One access of a finalized CPU to a trapped region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The CPU that made the access.
    pub cpu: u8,
    pub frame: Frame,
    /// Bytes from the start of the frame. Not necessarily aligned to `size`.
    pub offset: u64,
    pub size: AccessSize,
    pub direction: Direction,
}

/// The numbers that an emulation declares about itself, by which references and oracles judge it.
/// Those of the production emulator stand in its POLICY.md. The default is for a subject that does
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubjectPolicy {
    /// Devices that one private page carries (P7).
    pub records_per_page: u32,
    /// The most commands between the hardware's CREADR and CWRITER.
    pub commands_in_flight: u32,
    /// The most commands that one trap judges, and the most that it takes as consumed (P13).
    pub commands_per_trap: u32,
    /// The most EventID bits of an ITT (P6).
    pub event_id_bits: u32,
    /// The most private pages of a set-up (S5).
    pub private_pages: u32,
    /// The most ITSs that it guards. The rest stays in Closing, and its set-up is ENODEV (P2).
    pub guarded_its: u32,
    /// The most ITSs of a board that it is played on, 1 or more. A larger board is cut to this.
    pub its: u32,
    /// The most redistributors of a board that it is played on, likewise.
    pub redistributors: u32,
}

/// An ITS emulation at EL2.
///
/// Each method is one entry from the host, on one CPU, and returns without waiting. Several CPUs
/// may be inside at once; an emulation protects its state with [`El2::locked`].
pub trait Subject<E: El2> {
    /// What it declares about itself.
    fn policy(&self) -> SubjectPolicy;

    /// Returns whether the subject reports every load and store to the machine. If it does not, a
    /// missing report is no proof that an access was not made.
    fn is_observed(&self) -> bool {
        true
    }

    /// Whether it is written elsewhere. What such a subject keeps outside of its state is not
    /// known.
    fn is_external(&self) -> bool {
        false
    }

    /// Returns the file and line of its source at a [place](crate::Mapped::set_place) of its code,
    /// `file.c:123`; `None` where it is not known.
    fn source(&self, _place: u64) -> Option<&'static str> {
        None
    }

    /// Returns a number for the edges of its code that the last entry from the host took, in any
    /// order; 0 where they are not known. It tells apart what comes of the same rule.
    fn edges(&self) -> u64 {
        0
    }

    /// The hypercall `__pkvm_init_its_emulation` with x1 to x4 as the host gave them. Returns what
    /// goes into x1: 0 or a negative errno.
    fn set_up(&self, el2: &E, arguments: [u64; 4]) -> i64;

    /// The hypercall `__pkvm_init_redistributor_emulation` with x1 to x4 as the host gave them.
    /// Returns what goes into x1: EOPNOTSUPP where set-up of an ITS guards redistributors.
    fn set_up_redistributors(&self, _el2: &E, _arguments: [u64; 4]) -> i64 {
        Errno::result(Err(Errno::Eopnotsupp))
    }

    /// The hypercall `__pkvm_fini_its_emulation` with x1 to x4 as the host gave them. Returns what
    /// goes into x1: EOPNOTSUPP where an emulation does not end.
    fn tear_down(&self, _el2: &E, _arguments: [u64; 4]) -> i64 {
        Errno::result(Err(Errno::Eopnotsupp))
    }

    /// Whether it does something when a CPU is finalized.
    fn awaits_finalize(&self) -> bool {
        false
    }

    /// The calling CPU was just finalized; called where it [waits for that](Self::awaits_finalize).
    fn finalized(&self, _el2: &E) {}

    /// An access of a finalized CPU to an ITS or a redistributor. Returns the value read; for a
    /// write the return value means nothing.
    fn trap(&self, el2: &E, trap: Trap) -> u64;

    /// Whether the host may give a page away by hypercall, to a guest or to EL2; called once a CPU
    /// is finalized.
    fn allows_donation(&self, el2: &E) -> bool;
}
