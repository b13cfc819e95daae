//! What a scenario can do: one [`Operation`] is one line of text.

use its_gic::Command;
use its_machine::{AccessSize, Direction, Frame, PageChange, Place, Turn};

use crate::argument::{Argument, Shape, Word};
use crate::record::Record;
use crate::table::operations;
use crate::target::Target;
use crate::turns::Turns;

/// The most arguments that a kind has, `cpu` apart.
pub const ARGUMENTS: usize = 5;

/// An RDbase field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rdbase {
    /// What names the n-th redistributor of the board, as TYPER.PTA says; below
    /// [`MAX_CPUS`](its_machine::MAX_CPUS).
    Of(u8),
    /// The field's 36 bits.
    Raw(u64),
}

/// A command with symbolic addresses. The place of an ITT is a multiple of 256.
pub type HostCommand = Command<Place, Rdbase>;

const fn number(key: &'static str, max: u64) -> Argument {
    Argument::new(key, Shape::Number { max })
}

const fn count(key: &'static str, min: u64, max: u64) -> Argument {
    Argument::new(key, Shape::Count { min, max })
}

const fn place(key: &'static str, align: u16) -> Argument {
    Argument::new(key, Shape::Place { align })
}

const fn flag(key: &'static str) -> Argument {
    Argument::new(key, Shape::Flag)
}

const fn turns(key: &'static str) -> Argument {
    Argument::new(key, Shape::Turns).optional()
}

const TARGET: Argument = Argument::new("target", Shape::Target).bare();
const VALUE: Argument = number("value", u64::MAX);
const WORD_AT: Argument = place("at", 8).bare();
const PAGE: Argument = place("page", 4096).bare();
const ITT: Argument = place("itt", 256);
const DEVICE: Argument = number("device", u32::MAX as u64);
const EVENT: Argument = number("event", u32::MAX as u64);
const INTID: Argument = number("intid", u32::MAX as u64);
const ICID: Argument = number("icid", u16::MAX as u64);
const RDBASE: Argument = Argument::new("rdbase", Shape::Rdbase);
const VALID: Argument = flag("valid");
const TO_CPU: Argument = Argument::new("to", Shape::Cpu);
const ITS: Argument = Argument::new("its", Shape::Its).bare();
const CHANGE: Argument = Argument::new("change", Shape::Choice(PageChange::NAMES)).bare();
const EVENT_ID_BITS: Argument = count("event-id-bits", 1, 32);
const LEVEL2: Argument = place("level2", 4096);
const DIRECT: Argument = flag("direct");
const FLIP: Argument = number("flip", u64::MAX).optional();

operations! {
operations {
    /// The host reads a device's register.
    Read = 0x01 "read" [cpu] { target: Target = TARGET }
    /// The host writes a device's register.
    Write = 0x02 "write" [cpu] {
        target: Target = TARGET,
        /// Cut to the size of the access.
        value: u64 = VALUE.bare(),
    }
    /// The host loads 8 bytes.
    Load = 0x03 "load" [cpu] { at: Place = WORD_AT }
    /// The host stores 8 bytes.
    Store = 0x04 "store" [cpu] { at: Place = WORD_AT, value: u64 = VALUE }
    /// The driver writes the configuration byte of an LPI, without INV or GICR_INVLPIR.
    Configure = 0x05 "configure" [cpu] {
        intid: u32 = INTID,
        value: u8 = number("value", u8::MAX as u64),
    }
    /// The host stores the address of a place: that of the linear map, or the physical one.
    StoreAddress = 0x06 "store-address" [cpu] {
        at: Place = WORD_AT,
        of: Place = place("of", 1),
        physical: bool = flag("physical"),
    }

    /// The host's own write pointer goes back so many slots, so that it writes them again.
    Rewind = 0x11 "rewind" { slots: u8 = count("slots", 1, 255).bare() }
    /// GITS_CWRITER := the host's write pointer, in 32 bits as Linux does, or 64 (`double`).
    WriteCwriter = 0x12 "write-cwriter" [cpu] {
        retry: bool = flag("retry"),
        double: bool = flag("double"),
    }
    /// The host reads GITS_CREADR so often.
    Poll = 0x13 "poll" [cpu] { times: u8 = count("times", 1, 255).bare() }
    /// The host changes a word of the slot that it wrote last: its value, XOR `flip`.
    FlipSlot = 0x14 "flip-slot" [cpu] {
        word: u8 = count("word", 0, 3),
        flip: u64 = number("flip", u64::MAX),
    }

    /// GITS_CBASER := its value at boot, XOR `flip`. The host's write pointer starts again at 0.
    WriteCbaser = 0x30 "write-cbaser" [cpu] { flip: u64 = FLIP }
    /// GITS_BASER&lt;index&gt; := its value at boot, XOR `flip`.
    WriteBaser = 0x31 "write-baser" [cpu] {
        index: u8 = count("index", 0, 7).bare(),
        flip: u64 = FLIP,
    }
    /// GITS_CTLR.Enabled := 1, the other bits as read.
    Enable = 0x32 "enable" [cpu] {}
    /// GITS_CTLR.Enabled := 0, the other bits as read.
    Disable = 0x33 "disable" [cpu] {}
    /// The host reads GITS_CTLR until Quiescent, a bounded number of times.
    Quiesce = 0x34 "quiesce" [cpu] {}
    /// 32 bits of GITS_BASER&lt;register&gt;, or of GITS_CBASER if that is 8 := their value at
    /// boot, XOR `flip`.
    WriteHalf = 0x35 "write-half" [cpu] {
        register: u8 = count("register", 0, 8).bare(),
        high: bool = flag("high"),
        flip: u64 = FLIP,
    }

    /// `__pkvm_host_share_hyp` of a page.
    Share = 0x40 "share" [cpu] { page: Place = PAGE }
    /// `__pkvm_host_unshare_hyp` of a page.
    Unshare = 0x41 "unshare" [cpu] { page: Place = PAGE }
    /// `__pkvm_host_donate_guest` of a page.
    DonateGuest = 0x42 "donate-guest" [cpu] { page: Place = PAGE }
    /// `__pkvm_reclaim_dying_guest_page` of a page.
    ReclaimGuest = 0x43 "reclaim-guest" [cpu] { page: Place = PAGE }
    /// `__pkvm_prot_finalize` on this CPU.
    Finalize = 0x44 "finalize" [cpu] {}
    /// `__pkvm_init_its_emulation` of the ITS that the host is at. Places become linear addresses.
    SetUp = 0x45 "set-up" [cpu] {
        private: Place = place("private", 1),
        descriptor: Place = place("descriptor", 1),
        /// x4, as it is.
        private_pages: u16 = count("private-pages", 0, 65535),
        /// x1 := the address of the control frame, XOR this.
        device_flip: u64 = number("device-flip", u64::MAX).optional(),
    }
    /// `__pkvm_init_redistributor_emulation`.
    SetUpRedistributors = 0x47 "set-up-redistributors" [cpu] {}
    /// `__pkvm_fini_its_emulation` of the ITS.
    TearDown = 0x48 "tear-down" [cpu] {}
    /// The host cleans memory to the point of coherency and waits for it.
    Clean = 0x07 "clean" [cpu] { at: Place = WORD_AT, bytes: u16 = count("bytes", 1, 65535) }
    /// The cache line at a place arrives in memory, if it is dirty.
    WriteBack = 0x08 "write-back" { at: Place = WORD_AT }
    /// Any hypercall.
    RawHypercall = 0x46 "raw-hypercall" [cpu] {
        x0: u64 = number("x0", u64::MAX),
        x1: u64 = number("x1", u64::MAX).optional(),
        x2: u64 = number("x2", u64::MAX).optional(),
        x3: u64 = number("x3", u64::MAX).optional(),
        x4: u64 = number("x4", u64::MAX).optional(),
    }

    /// The driver maps a device: a level-1 entry if there is none, MAPD, CWRITER.
    MapDevice = 0x50 "map-device" [cpu] {
        device_id: u32 = DEVICE,
        /// MAPD.Size is this minus 1.
        event_id_bits: u8 = EVENT_ID_BITS,
        itt: Place = ITT,
    }
    /// The driver maps an event: MAPTI, SYNC, CWRITER.
    MapEvent = 0x51 "map-event" [cpu] {
        device_id: u32 = DEVICE,
        event_id: u32 = EVENT,
        intid: u32 = INTID,
        icid: u16 = ICID,
    }
    /// The driver unmaps a device: DISCARD and SYNC for each event, MAPD V=0, CWRITER.
    UnmapDevice = 0x52 "unmap-device" [cpu] { device_id: u32 = DEVICE }
    /// The host's level-1 entry that covers a device := a valid one for `level2`, XOR `flip`.
    Grow = 0x53 "grow" [cpu] { device_id: u32 = DEVICE, level2: Place = LEVEL2, flip: u64 = FLIP }
    /// The driver suspends: disables, waits for Quiescent.
    Suspend = 0x54 "suspend" [cpu] {}
    /// The driver resumes: CBASER, CWRITER := 0, tables, CTLR. Its write pointer starts again at 0.
    Resume = 0x55 "resume" [cpu] {}
    /// The driver probes the ITS: programs queue and tables, enables it.
    Probe = 0x56 "probe" [cpu] {}
    /// The driver starts a CPU: its redistributor's LPIs, where they are off, and its collection.
    InitCpu = 0x57 "init-cpu" [cpu] {}
    /// The driver enables an event's LPI: configuration byte, then INV and SYNC, or GICR_INVLPIR if
    /// `direct`.
    Unmask = 0x58 "unmask" [cpu] {
        device_id: u32 = DEVICE,
        event_id: u32 = EVENT,
        direct: bool = DIRECT,
    }
    /// The driver disables an event's LPI, the same way.
    Mask = 0x59 "mask" [cpu] {
        device_id: u32 = DEVICE,
        event_id: u32 = EVENT,
        direct: bool = DIRECT,
    }
    /// The driver moves an event to the collection of CPU `to`: MOVI, SYNC, CWRITER.
    MoveEvent = 0x5a "move-event" [cpu] {
        device_id: u32 = DEVICE,
        event_id: u32 = EVENT,
        to: u8 = TO_CPU,
    }
    /// The driver unmaps an event: DISCARD, SYNC, CWRITER.
    UnmapEvent = 0x5b "unmap-event" [cpu] { device_id: u32 = DEVICE, event_id: u32 = EVENT }
    /// The host's level-1 entry that covers a collection := a valid one for `level2`, XOR `flip`.
    GrowCollection = 0x5c "grow-collection" [cpu] {
        icid: u16 = ICID,
        level2: Place = LEVEL2,
        flip: u64 = FLIP,
    }
    /// The driver makes ready for EL2: drains the queue, writes the descriptor and the list of the
    /// devices that it mapped, copies its level-1 tables, and goes on in the copies.
    Describe = 0x5d "describe" [cpu] {}
    /// The driver maps many devices, and writes CWRITER after every 64 commands.
    MapDevices = 0x5e "map-devices" [cpu] {
        /// Of the first.
        device_id: u32 = DEVICE,
        count: u16 = count("count", 1, 4096),
        /// From one DeviceID to the next; they wrap at 32 bits.
        stride: u32 = number("stride", u32::MAX as u64),
        event_id_bits: u8 = EVENT_ID_BITS,
        /// Of the first; each next ITT is at the next multiple of 256 after the last.
        itt: Place = ITT,
    }

    /// A device writes EventID to GITS_TRANSLATER: 32 bits, or 16 if `half`.
    Msi = 0x60 "msi" {
        device_id: u32 = DEVICE,
        /// 16 bits if `half`.
        event_id: u32 = EVENT,
        half: bool = flag("half"),
    }
    /// The physical ITS gets time for so many commands.
    Advance = 0x61 "advance" { commands: u16 = count("commands", 1, 65535).bare() }
    /// The n-th such change of page ownership from now on fails; 1 is the next.
    Fail = 0x62 "fail" { change: PageChange = CHANGE, nth: u8 = count("nth", 1, 255) }
    /// The ITS stalls at the n-th command that it fetches from now on, whatever the command is; 1
    /// is the next. A command that the ITS stalled at had no effect.
    Stall = 0x6a "stall" { nth: u16 = count("nth", 1, 65535).bare() }
    /// After so many reads of shared memory by EL2 in the next operation the host changes a word.
    Tamper = 0x63 "tamper" {
        at: Place = WORD_AT,
        after: u8 = count("after", 0, 255),
        value: u64 = VALUE,
    }
    /// While EL2 waits in the next operation, the physical ITS gets time for so many commands: once
    /// EL2 has read registers so many times, a microsecond of delay counting as a read.
    Progress = 0x6b "progress" {
        after: u16 = count("after", 0, 2000),
        commands: u16 = count("commands", 1, 65535),
    }
    /// The CPU takes the interrupt that it is offered.
    Acknowledge = 0x64 "acknowledge" [cpu] {}
    /// The ITS loses power and gets it back; firmware may restore its registers.
    PowerLoss = 0x65 "power-loss" { restored: bool = flag("restored") }
    /// Firmware sets Enabled of the ITS. It does so only where power was lost while Enabled was 1,
    /// queue and tables are Valid, and no command is left.
    EnableByOther = 0x6f "enable-by-other" {}
    /// The host turns to this ITS: what names no ITS by itself is for it, until the next of these.
    /// A scenario starts at ITS 0.
    SelectIts = 0x66 "select-its" { its: u8 = ITS }
    /// The next so many operations are done at once: those of CPU 0 and of CPU 1 in their order,
    /// and those that no CPU does by the world. No other CPU is in a race. CPU 0 begins. A turn
    /// says how long an agent goes on: so many steps, or `u` and so many locks given back; after
    /// `+` the next agent is skipped. After the last turn each agent goes on to its end, the next
    /// in the ring after it.
    Race = 0x70 "race" {
        operations: u8 = count("operations", 1, 64).bare(),
        turns: Turns = turns("turns"),
        turns2: Turns = turns("turns2"),
        turns3: Turns = turns("turns3"),
        turns4: Turns = turns("turns4"),
    }
}
// 0x20 + opcode.
commands {
    Movi = 0x21 "command-movi" { device_id = DEVICE, event_id = EVENT, icid = ICID }
    Int = 0x23 "command-int" { device_id = DEVICE, event_id = EVENT }
    Clear = 0x24 "command-clear" { device_id = DEVICE, event_id = EVENT }
    Sync = 0x25 "command-sync" { rdbase = RDBASE }
    Mapd = 0x28 "command-mapd" {
        device_id = DEVICE,
        size = number("size", 31),
        itt_address = ITT,
        valid = VALID,
    }
    Mapc = 0x29 "command-mapc" { icid = ICID, rdbase = RDBASE, valid = VALID }
    Mapti = 0x2a "command-mapti" { device_id = DEVICE, event_id = EVENT, intid = INTID, icid = ICID }
    Mapi = 0x2b "command-mapi" { device_id = DEVICE, event_id = EVENT, icid = ICID }
    Inv = 0x2c "command-inv" { device_id = DEVICE, event_id = EVENT }
    Invall = 0x2d "command-invall" { icid = ICID }
    Movall = 0x2e "command-movall" {
        from_rdbase = Argument::new("from", Shape::Rdbase),
        to_rdbase = Argument::new("to", Shape::Rdbase),
    }
    Discard = 0x2f "command-discard" { device_id = DEVICE, event_id = EVENT }
}
}

/// Numbers and names that are kept for operations to come, with what they will do. Nothing else
/// takes them.
pub(crate) const RESERVED: &[(u8, &str, &str)] = &[
    (0x09, "barrier", "the host orders its accesses, by the kind of the barrier"),
    (0x0a, "drain", "the store buffer of a CPU empties"),
    (0x5f, "take-over", "another driver takes over: a second probe, kexec, kdump"),
    (0x67, "expect", "an interrupt is taken, or none"),
    (0x68, "cpu-on", "a CPU comes late"),
    (0x69, "cpu-off", "a CPU goes"),
    (0x6c, "fail-late", "a change of page ownership fails after it began"),
    (0x6d, "power-off", "an ITS loses power until power-on; memory may change in between"),
    (0x6e, "power-on", "an ITS gets power back"),
];

impl Operation {
    /// Returns the turns of a race; none of anything else.
    pub fn turns(&self) -> impl Iterator<Item = Turn> {
        let words = match *self {
            Self::Race { turns, turns2, turns3, turns4, .. } => [turns, turns2, turns3, turns4],
            _ => [Turns::NONE; 4],
        };
        words.into_iter().flat_map(Turns::iter)
    }

    /// Returns GITS_CTLR.Enabled := `enabled`.
    pub const fn enable(cpu: u8, enabled: bool) -> Self {
        if enabled { Self::Enable { cpu } } else { Self::Disable { cpu } }
    }

    /// Returns an access to a register: offset and size within its frame.
    pub const fn access(
        cpu: u8,
        frame: Frame,
        (offset, size): (u32, AccessSize),
        direction: Direction,
    ) -> Self {
        let target = Target { frame, offset, size };
        match direction {
            Direction::Read => Self::Read { cpu, target },
            Direction::Write(value) => Self::Write { cpu, target, value },
        }
    }

    /// Gives it to a CPU, if a CPU does it.
    pub fn set_cpu(&mut self, cpu: u8) {
        let record = Record::from(&*self);
        if record.kind.has_cpu() {
            *self = Record { cpu, ..record }.operation();
        }
    }

    /// Returns the names of all kinds.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Kind::ALL.iter().map(|kind| kind.name())
    }

    /// Returns the kind in kebab case, such as `map-device` or `command-mapd`. Stable: signatures
    /// are made of it.
    pub fn name(&self) -> &'static str {
        Record::from(self).kind.name()
    }
}

impl Kind {
    /// Returns the kind of a number; a number without one gets one of them too.
    pub(crate) fn wrapping(number: u8) -> Self {
        if let Some(kind) = Self::ALL.iter().find(|kind| **kind as u8 == number) {
            return *kind;
        }
        let index = usize::from(number).checked_rem(Self::ALL.len());
        let kind = index.and_then(|index| Self::ALL.get(index));
        kind.copied().unwrap_or(Self::Read)
    }

    /// Returns the kind of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::Presence;

    #[test]
    fn numbers_and_names_lead_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
            assert_eq!(Kind::wrapping(*kind as u8), *kind);
        }
    }

    #[test]
    fn what_is_reserved_is_free() {
        for (number, name, _) in RESERVED {
            assert!(Kind::ALL.iter().all(|kind| *kind as u8 != *number), "{name}");
            assert_eq!(Kind::named(name), None);
        }
    }

    /// These numbers are in binary inputs out there.
    #[test]
    fn numbers_are_frozen() {
        let mut numbers: Vec<_> = Kind::ALL.iter().map(|kind| *kind as u8).collect();
        numbers.sort();
        assert_eq!(
            numbers,
            [
                0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x10, 0x11, 0x12, 0x13, 0x14, 0x21,
                0x23, 0x24, 0x25, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32,
                0x33, 0x34, 0x35, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x50, 0x51,
                0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x60,
                0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x6a, 0x6b, 0x6f, 0x70
            ]
        );
    }

    #[test]
    fn arguments_fit_a_record_and_differ() {
        for kind in Kind::ALL {
            let arguments = kind.arguments();
            assert!(arguments.len() <= ARGUMENTS, "{kind:?}");
            for (index, argument) in arguments.iter().enumerate() {
                let twin = arguments.iter().skip(index + 1);
                let keyed = argument.presence != Presence::Bare;
                assert!(!keyed || twin.into_iter().all(|other| other.key != argument.key));
                assert!(argument.key != "cpu" && !argument.key.contains('='));
            }
        }
    }
}
