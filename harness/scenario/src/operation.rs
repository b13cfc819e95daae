//! What a scenario can do: one [`Operation`] is one line of text.

use its_el2::{AccessSize, Direction, Frame, PageChange, Turn};
use its_gic::command::Words;

use crate::kind::Kind;
use crate::place::Place;
use crate::record::Record;
use crate::turns::Turns;

/// CPUs of the board, and its redistributors.
pub const CPUS: u8 = 2;

/// An RDbase field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rdbase {
    /// What names the n-th redistributor, as TYPER.PTA says; below [`CPUS`].
    Of(u8),
    /// The field's 36 bits.
    Raw(u64),
}

/// The twelve physical commands with symbolic addresses. Fields are as wide as the architecture
/// makes them, and unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCommand {
    Movi {
        device_id: u32,
        event_id: u32,
        icid: u16,
    },
    Int {
        device_id: u32,
        event_id: u32,
    },
    Clear {
        device_id: u32,
        event_id: u32,
    },
    Sync {
        rdbase: Rdbase,
    },
    Mapd {
        device_id: u32,
        /// EventID bits, minus 1: 0 to 31.
        size: u8,
        /// A multiple of 256.
        itt: Place,
        valid: bool,
    },
    Mapc {
        icid: u16,
        rdbase: Rdbase,
        valid: bool,
    },
    Mapti {
        device_id: u32,
        event_id: u32,
        intid: u32,
        icid: u16,
    },
    Mapi {
        device_id: u32,
        event_id: u32,
        icid: u16,
    },
    Inv {
        device_id: u32,
        event_id: u32,
    },
    Invall {
        icid: u16,
    },
    Movall {
        from: Rdbase,
        to: Rdbase,
    },
    Discard {
        device_id: u32,
        event_id: u32,
    },
}

/// How wide the access is that posts commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits, the low half, as Linux does.
    #[default]
    Word,
    /// 64 bits.
    Double,
}

/// One thing that a CPU of the host, a device, or the world does. `cpu` is below [`CPUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The host accesses a device's registers.
    Access {
        cpu: u8,
        frame: Frame,
        /// Bytes from the start of the frame, anything within it.
        offset: u32,
        size: AccessSize,
        direction: Direction,
    },
    /// The host loads a word; `at` is a multiple of 8.
    Load { cpu: u8, at: Place },
    /// The host stores a word; `at` is a multiple of 8.
    Store { cpu: u8, at: Place, value: u64 },
    /// The host stores the linear-map address of a place, or its `physical` one; `at` is a multiple
    /// of 8.
    StoreAddress { cpu: u8, at: Place, of: Place, physical: bool },
    /// The host writes the configuration byte of an LPI, and nothing else.
    Configure { cpu: u8, intid: u32, value: u8 },

    /// The host writes a command into the next slot of its queue copy; nothing is posted.
    Command { cpu: u8, command: HostCommand },
    /// The same with any four words.
    RawCommand { cpu: u8, words: Words },
    /// The host changes a word (0 to 3) of the slot that it wrote last: its value, XOR `flip`.
    FlipSlot { cpu: u8, word: u8, flip: u64 },
    /// The host's own write pointer goes back by this many slots (1 to 255), so that it writes them
    /// again.
    Rewind { slots: u8 },
    /// GITS_CWRITER := the host's write pointer.
    Post { cpu: u8, retry: bool, width: Width },
    /// Reads GITS_CREADR this many times, 1 to 255.
    Poll { cpu: u8, times: u8 },

    /// GITS_CBASER := its value at boot, XOR `flip`. The host's write pointer starts again at slot
    /// 0.
    WriteCbaser { cpu: u8, flip: u64 },
    /// `GITS_BASER<index>` := its value at boot, XOR `flip`; `index` is 0 to 7.
    WriteBaser { cpu: u8, index: u8, flip: u64 },
    /// A half of `GITS_BASER<register>`, or of GITS_CBASER if that is 8 := its value at boot, XOR
    /// `flip`; 32 bits.
    WriteHalf { cpu: u8, register: u8, high: bool, flip: u64 },
    /// GITS_CTLR.Enabled := `enabled`, the other bits as read.
    Enable { cpu: u8, enabled: bool },
    /// Reads GITS_CTLR until Quiescent, a bounded number of times.
    Quiesce { cpu: u8 },

    /// `__pkvm_host_share_hyp` of a page.
    Share { cpu: u8, page: Place },
    /// `__pkvm_host_unshare_hyp` of a page.
    Unshare { cpu: u8, page: Place },
    /// `__pkvm_host_donate_guest` of a page.
    DonateGuest { cpu: u8, page: Place },
    /// `__pkvm_reclaim_dying_guest_page` of a page.
    ReclaimGuest { cpu: u8, page: Place },
    /// `__pkvm_prot_finalize` on this CPU.
    Finalize { cpu: u8 },
    /// `__pkvm_init_its_emulation`. The places become addresses of the linear map.
    SetUp {
        cpu: u8,
        private: Place,
        descriptor: Place,
        /// x4, as it is.
        private_pages: u16,
        /// x1 := the address of the control frame, XOR this.
        device_flip: u64,
    },
    /// Any x0 and x1 to x4.
    RawHypercall { cpu: u8, x0: u64, arguments: [u64; 4] },

    /// The driver maps a device: a level-1 shadow entry if there is none, MAPD, post. It takes the
    /// first block of [`crate::Area::Level2`] that no entry names.
    MapDevice {
        cpu: u8,
        device_id: u32,
        /// 1 to 32; MAPD.Size is this minus 1.
        event_id_bits: u8,
        /// A multiple of 256.
        itt: Place,
    },
    /// The driver maps 1 to 1024 devices, and posts when it has written 64 commands.
    MapDevices {
        cpu: u8,
        /// Of the first.
        device_id: u32,
        count: u16,
        /// From one DeviceID to the next; they wrap at 32 bits.
        stride: u32,
        /// 1 to 32; MAPD.Size is this minus 1.
        event_id_bits: u8,
        /// Of the first, a multiple of 256; each next ITT is at the next such address after the
        /// last.
        itt: Place,
    },
    /// The driver maps an event: MAPTI, SYNC, post.
    MapEvent { cpu: u8, device_id: u32, event_id: u32, intid: u32, icid: u16 },
    /// The driver unmaps a device: DISCARD and SYNC for each event, MAPD V=0, post.
    UnmapDevice { cpu: u8, device_id: u32 },
    /// The host's level-1 shadow entry that covers `device_id` := a valid entry for `level2`, XOR
    /// `flip`.
    Grow {
        cpu: u8,
        device_id: u32,
        /// A page.
        level2: Place,
        flip: u64,
    },
    /// The host's level-1 shadow entry that covers a collection := a valid entry for `level2`, XOR
    /// `flip`.
    GrowCollection {
        cpu: u8,
        icid: u16,
        /// A page.
        level2: Place,
        flip: u64,
    },
    /// The driver makes ready for EL2: drains the queue, writes the descriptor and the list of the
    /// devices that it mapped, copies its level-1 tables, and goes on in the copies.
    Describe { cpu: u8 },
    /// The driver probes the ITS: programs queue and tables, enables it.
    Probe { cpu: u8 },
    /// The driver starts a CPU: its redistributor's LPIs, where they are off, and its collection.
    InitCpu { cpu: u8 },
    /// The driver enables an event's LPI: configuration byte, then INV and SYNC, or GICR_INVLPIR if
    /// `direct`.
    Unmask { cpu: u8, device_id: u32, event_id: u32, direct: bool },
    /// The driver disables it, the same way.
    Mask { cpu: u8, device_id: u32, event_id: u32, direct: bool },
    /// The driver moves an event to the collection of CPU `to`, below [`CPUS`]: MOVI, SYNC, post.
    MoveEvent { cpu: u8, device_id: u32, event_id: u32, to: u8 },
    /// The driver unmaps an event: DISCARD, SYNC, post.
    UnmapEvent { cpu: u8, device_id: u32, event_id: u32 },
    /// The driver suspends: disable, wait for Quiescent.
    Suspend { cpu: u8 },
    /// The driver resumes: CBASER, CWRITER := 0, tables, CTLR. The write pointer starts again at
    /// slot 0.
    Resume { cpu: u8 },

    /// A device writes EventID to GITS_TRANSLATER: 32 bits, or 16 if `half`, when EventID has no
    /// more.
    Msi { device_id: u32, event_id: u32, half: bool },
    /// The physical ITS gets time for this many commands, 1 to 65535.
    Advance { commands: u16 },
    /// The n-th such change of page ownership from now on fails; 1 is the next.
    Fail { change: PageChange, nth: u8 },
    /// In the next operation, after so many reads of shared memory by EL2, the host changes this
    /// word; `at` is a multiple of 8.
    Tamper { after: u8, at: Place, value: u64 },
    /// The CPU takes the interrupt that it is offered.
    Acknowledge { cpu: u8 },
    /// The ITS loses power and gets it back. `restored`: firmware then writes its registers as they
    /// were.
    PowerLoss { restored: bool },
    /// The host turns to this ITS, 0 or 1: what names no ITS by itself is for it, until the next of
    /// these. A scenario starts at ITS 0.
    Its { its: u8 },
    /// The next so many operations, 1 to 64, are done at once: those of each CPU in their order,
    /// and those that no CPU does by the world. CPU 0 begins; who goes on when is what the
    /// [`Turn`](its_el2::Turn)s say, eight a word (see [`Operation::turns`]). After the last turn
    /// each agent goes on to its end, the next in the ring after it.
    Race { operations: u8, turns: [u64; 4] },
}

impl Operation {
    /// The turns of a race; none of anything else.
    pub fn turns(&self) -> impl Iterator<Item = Turn> {
        let words = match *self {
            Self::Race { turns, .. } => turns,
            _ => [0; 4],
        };
        words.into_iter().flat_map(|word| Turns(word).iter())
    }

    /// Gives it to a CPU, if a CPU does it.
    pub(crate) fn set_cpu(&mut self, cpu: u8) {
        let record = Record::from(&*self);
        if record.kind.has_cpu() {
            *self = Record { cpu, ..record }.operation();
        }
    }

    /// The names of all kinds.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Kind::ALL.iter().map(|kind| kind.name())
    }

    /// The kind in kebab case, such as `map-device` or `command-mapd`. Stable: signatures are made
    /// of it.
    pub fn name(&self) -> &'static str {
        Record::from(self).kind.name()
    }
}
