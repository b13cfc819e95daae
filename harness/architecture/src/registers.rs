//! The control frame of one ITS: what a write does and what a read returns.

use its_gic::geometry::{PageSize, Queue, Table};
use its_gic::register::{Baser, Cbaser, Ctlr, OFFSET_MASK, TableType};
use its_gic::{Part, Register};
use its_machine::freedom::choice::{
    BusyWrite, CwriterBeyond, PageSizeField, QueueLowBits, QuiescentEnabled, ReservedBits, Statusr,
    UnreadyEnable,
};
use its_machine::{Coherence, Freedoms, ItsConfiguration, Machine, Snooping};

use crate::path::Undefined;
use crate::possible::Truth;
use crate::tables::COLLECTIONS;

/// GITS_CREADR.Stalled.
pub const STALLED: u64 = 1;
/// GITS_CWRITER.Retry.
pub const RETRY: u64 = 1;
/// `GITS_BASER<n>`.Page_Size.
const PAGE_SIZE: u64 = 0x300;
const INDIRECT: u64 = 1 << 62;
/// Address bits of CBASER that a queue aligned to 64 KiB leaves zero.
const QUEUE_LOW: u64 = 0xf000;
/// InnerCache, OuterCache and Shareability of CBASER and BASER: what of it sticks is the ITS's.
const ATTRIBUTES: u64 = 7 << 59 | 7 << 53 | 3 << 10;
const SHAREABILITY: u64 = 3 << 10;
/// Fields of STATUSR up to Syndrome.
const STATUSR: u64 = 0x3ff;
/// RRD, WRD, RWOD and WROD of STATUSR, which wrong accesses set; MSIs may set the others.
const WRONG_ACCESSES: u64 = 0xf;
/// Address bits of BASER below a page of 16 KiB.
const TABLE_LOW: u64 = 0x3000;

/// A register, some of whose bits are UNKNOWN until they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    pub value: u64,
    /// Bits of `value` that must be so.
    pub known: u64,
}

impl Partial {
    pub const fn all(value: u64) -> Self {
        let known = u64::MAX;
        Self { value, known }
    }

    pub(crate) fn write(&mut self, part: Part, value: u64, writable: u64) {
        let bits = part.insert(0, u64::MAX) & writable;
        self.value = (self.value & !bits) | (part.insert(0, value) & bits);
        self.known |= bits;
    }

    /// Written bits that the hardware may have dropped are as it shows them.
    fn learn(&mut self, part: Part, seen: u64, bits: u64) {
        let dropped = part.insert(0, !seen) & part.insert(0, u64::MAX) & self.known & bits;
        self.value &= !dropped;
    }

    pub(crate) fn knows(&self, bits: u64) -> bool {
        self.known & bits == bits
    }
}

/// Bits of Page_Size that a write does not change.
fn fixed_page_size(configuration: &ItsConfiguration) -> u64 {
    if configuration.choices.picks(PageSizeField::Writable) { 0 } else { PAGE_SIZE }
}

/// Bits of a base register that read 0 whatever is written.
pub(crate) const fn not_shareable(snooping: Snooping) -> u64 {
    if snooping.is_shareable() { 0 } else { SHAREABILITY }
}

/// The registers of one ITS.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    configuration: ItsConfiguration,
    coherence: Coherence,
    pub enabled: bool,
    /// Power was lost while Enabled was 1, and nobody wrote GITS_CTLR since.
    lost_at_work: bool,
    /// Enabled was cleared in this action: a command in flight may still complete.
    stopping: bool,
    /// While Enabled is 0.
    quiescent: Truth,
    pub cbaser: Partial,
    pub cwriter: Partial,
    /// As read: the offset, and Stalled.
    pub creadr: u64,
    creadr_known: bool,
    /// Retry was written in this action.
    retried: bool,
    /// Whether Stalled is set is not known: the stall and a Retry came in one action.
    stall_in_doubt: bool,
    pub baser: [Partial; 8],
    /// Bits of STATUSR that software cleared, and that nothing can have set since.
    statusr_clear: u64,
}

/// What a write brings about outside the register file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Nothing,
    Enabled,
    Disabled,
    /// Valid of a table was cleared.
    TableGone(usize),
}

impl Registers {
    pub(crate) fn new(machine: &Machine, its: u8) -> Self {
        let (configuration, coherence) = (machine.configuration(its), machine.coherence);
        let fixed = fixed_page_size(&configuration) | not_shareable(coherence.tables);
        // Type and Entry_Size are fixed, Page_Size and Shareability may be; Valid resets to 0.
        let baser = machine.reset_basers(its).map(|baser| match baser.table_type() {
            TableType::Unimplemented => Partial::all(0),
            _ => {
                Partial { value: baser.into_bits(), known: !Baser::WRITABLE | fixed | Baser::VALID }
            }
        });
        let unknown = Partial::default();
        let known = !Cbaser::WRITABLE | Cbaser::VALID | not_shareable(coherence.queue);
        Self {
            configuration,
            coherence,
            enabled: false,
            lost_at_work: false,
            stopping: false,
            quiescent: Truth::Yes,
            cbaser: Partial { value: 0, known },
            cwriter: unknown,
            creadr: 0,
            creadr_known: false,
            retried: false,
            stall_in_doubt: false,
            baser,
            statusr_clear: 0,
        }
    }

    pub(crate) fn start_action(&mut self) {
        self.stopping = false;
        self.retried = false;
    }

    /// Everything is as after a reset. `restored`: firmware wrote queue and tables again.
    pub(crate) fn lose_power(&mut self, machine: &Machine, its: u8, restored: bool) {
        let before = *self;
        *self = Self::new(machine, its);
        self.lost_at_work = before.enabled;
        if restored {
            self.cbaser = before.cbaser;
            self.cwriter = before.cwriter;
            self.baser = before.baser;
            self.creadr_known = true;
        }
    }

    /// Whether somebody else enables the ITS: power was lost at work, queue and tables are Valid
    /// again, and no command is left.
    pub(crate) fn can_be_enabled_by_other(&self) -> bool {
        let is_done = self.creadr_known && self.writer() == Some(self.creadr);
        self.lost_at_work && self.is_ready() && is_done
    }

    /// Returns where commands are.
    pub fn queue(&self) -> Queue {
        Queue::new(Cbaser::from_bits(self.cbaser.value))
    }

    /// Where the queue can be.
    pub(crate) fn queues(&self, freedoms: &Freedoms) -> impl Iterator<Item = Queue> + use<> {
        let used = self.queue();
        let zero = Queue { address: used.address & !QUEUE_LOW, ..used };
        let first = Some(used).filter(|_| freedoms.allow(QueueLowBits::Used));
        let second = Some(zero).filter(|zero| first != Some(*zero));
        let second = second.filter(|_| freedoms.allow(QueueLowBits::Zero));
        first.into_iter().chain(second)
    }

    fn has_baser(&self, n: u8) -> bool {
        self.baser(n.into()).table_type() != TableType::Unimplemented
    }

    pub fn baser(&self, n: usize) -> Baser {
        Baser::from_bits(self.baser[n].value)
    }

    /// A valid table.
    pub(crate) fn table(&self, n: usize) -> Option<Table> {
        let baser = self.baser(n);
        baser.valid().then(|| Table::new(baser))
    }

    /// CWRITER.Offset, unless it is UNKNOWN or beyond the queue.
    pub fn writer(&self) -> Option<u64> {
        let offset = self.cwriter.value & OFFSET_MASK;
        (self.cwriter.knows(OFFSET_MASK) && offset < self.queue().bytes).then_some(offset)
    }

    /// Whether the ITS may fetch the command at CREADR.
    pub(crate) fn can_fetch(&self, freedoms: &Freedoms) -> bool {
        let valid = Cbaser::from_bits(self.cbaser.value).valid();
        let runs = (self.enabled || self.stopping) && valid;
        let stalled = self.creadr & STALLED != 0 && !self.stall_in_doubt;
        let work = match self.writer() {
            Some(writer) => writer != self.offset(),
            None => freedoms.allow(CwriterBeyond::Wrap),
        };
        runs && !stalled && work
    }

    /// CREADR.Offset.
    pub fn offset(&self) -> u64 {
        self.creadr & OFFSET_MASK
    }

    /// The command at CREADR was taken, or stalled on.
    pub(crate) fn advance(&mut self, stalled: bool) {
        self.stall_in_doubt = stalled && self.retried;
        self.creadr =
            if stalled { self.offset() | STALLED } else { self.queue().after(self.offset()) };
    }

    /// Whether a write must not be made now: CBASER and BASERs while Enabled or not Quiescent,
    /// Enabled before Quiescent.
    pub fn forbids(&self, register: Register, value: u64) -> Truth {
        let busy = match (self.enabled, self.quiescent) {
            (true, _) => Truth::Yes,
            (_, Truth::Yes) => Truth::No,
            _ => Truth::Maybe,
        };
        match register {
            Register::Cbaser => busy,
            Register::Baser(n) if self.has_baser(n) => busy,
            Register::Ctlr if value & 1 != 0 && !self.enabled => busy,
            _ => Truth::No,
        }
    }

    /// `refused`: the hardware says that this write must not be made.
    pub(crate) fn write(
        &mut self,
        register: Register,
        (part, value): (Part, u64),
        refused: bool,
        freedoms: &Freedoms,
    ) -> Result<Wake, Undefined> {
        self.lost_at_work &= register != Register::Ctlr;
        match register {
            // GITS_STATUSR: bits are cleared by writing 1.
            Register::Statusr => {
                self.statusr_clear |= part.insert(0, value) & WRONG_ACCESSES;
            }
            Register::Ctlr | Register::Cbaser | Register::Cwriter | Register::Baser(_) => {}
            _ => self.note_wrong_access(),
        }
        let forbidden = self.forbids(register, value);
        let unready =
            register == Register::Ctlr && value & 1 != 0 && !self.enabled && !self.is_ready();
        // Refused as the ITS is not quiescent, or as it is not ready.
        let is_taken = unready && forbidden != Truth::Yes && freedoms.allow(UnreadyEnable::Taken);
        let is_sure = forbidden == Truth::No && !freedoms.allow(UnreadyEnable::Ignored);
        // Without a valid queue there is nothing to fetch.
        if is_taken && !(is_sure && self.has_tables()) {
            return Err("Enabled was set without a valid queue or a table that is needed");
        }
        if forbidden == Truth::Yes || forbidden == Truth::Maybe && refused {
            return if freedoms.allow(BusyWrite::Taken) {
                Err("a register was written that must not be written now")
            } else {
                Ok(Wake::Nothing)
            };
        }
        if unready && !is_taken {
            return Ok(Wake::Nothing);
        }
        match register {
            Register::Ctlr => return self.write_ctlr(value & 1 != 0),
            // GITS_CBASER: each write, of a half too, resets CREADR and leaves CWRITER.
            Register::Cbaser => {
                let fixed = not_shareable(self.coherence.queue);
                self.cbaser.write(part, value, Cbaser::WRITABLE & !fixed);
                (self.creadr, self.creadr_known, self.stall_in_doubt) = (0, true, false);
            }
            // GITS_CWRITER: Retry restarts a stalled queue.
            Register::Cwriter => {
                self.cwriter.write(part, value, OFFSET_MASK);
                if part.insert(0, value) & RETRY != 0 {
                    self.creadr &= !STALLED;
                    self.stall_in_doubt = false;
                    self.retried = true;
                }
            }
            Register::Baser(n) if self.has_baser(n) => {
                return self.write_baser(usize::from(n), part, value);
            }
            _ => {}
        }
        Ok(Wake::Nothing)
    }

    fn write_ctlr(&mut self, enable: bool) -> Result<Wake, Undefined> {
        if enable == self.enabled {
            return Ok(Wake::Nothing);
        }
        if enable {
            self.check_written()?;
        }
        self.stopping = !enable;
        self.enabled = enable;
        self.quiescent = Truth::Maybe;
        Ok(if enable { Wake::Enabled } else { Wake::Disabled })
    }

    /// Whether queue and tables are there.
    fn is_ready(&self) -> bool {
        Cbaser::from_bits(self.cbaser.value).valid() && self.has_tables()
    }

    fn has_tables(&self) -> bool {
        let collections = self.configuration.hardware_collections > 0 || self.baser(1).valid();
        self.baser(0).valid() && collections
    }

    /// GITS_CTLR: queue and tables were written, and tables are aligned.
    fn check_written(&self) -> Result<(), Undefined> {
        let written = self.cwriter.knows(OFFSET_MASK) && self.cbaser.knows(Cbaser::WRITABLE);
        let tables = [0, 1].map(|n| !self.baser(n).valid() || self.baser[n].knows(u64::MAX));
        if !written || tables != [true; 2] {
            return Err("Enabled was set with queue or tables never written");
        }
        let low =
            |n| self.baser(n).page_size() == PageSize::K16 && self.baser[n].value & TABLE_LOW != 0;
        if [0, 1].into_iter().any(low) {
            return Err("a table is not aligned to its page size");
        }
        Ok(())
    }

    /// `GITS_BASER<n>`: Type and Entry_Size are fixed, Page_Size and Indirect by configuration.
    fn write_baser(&mut self, n: usize, part: Part, value: u64) -> Result<Wake, Undefined> {
        let indirect = match n {
            0 => self.configuration.two_level,
            _ => self.configuration.two_level_collections,
        };
        let fixed = fixed_page_size(&self.configuration)
            | not_shareable(self.coherence.tables)
            | if indirect { 0 } else { INDIRECT };
        let before = self.baser(n);
        self.baser[n].write(part, value, Baser::WRITABLE & !fixed);
        self.baser[n].known |= fixed;
        let gone = before.valid() && !self.baser(n).valid() && n <= COLLECTIONS;
        Ok(if gone { Wake::TableGone(n) } else { Wake::Nothing })
    }

    /// An access that is not for a register, or the wrong way: STATUSR may say so.
    pub(crate) fn note_wrong_access(&mut self) {
        self.statusr_clear = 0;
    }

    /// What a read by software says. Whether it says that the ITS came to rest.
    pub(crate) fn learn(&mut self, register: Register, part: Part, seen: u64) -> bool {
        match register {
            Register::Reserved(_)
            | Register::Identification(_)
            | Register::Mpamidr
            | Register::Partidr
            | Register::Mpidr
            | Register::Umsir => self.note_wrong_access(),
            Register::Creadr if part != Part::High && self.stall_in_doubt => {
                self.creadr = self.offset() | seen & STALLED;
                self.stall_in_doubt = false;
            }
            // Address bits that the ITS drops read back as it uses them.
            Register::Cbaser => self.cbaser.learn(part, seen, QUEUE_LOW),
            Register::Baser(n) if self.has_baser(n) => {
                let n = usize::from(n);
                if self.baser(n).page_size() == PageSize::K16 {
                    self.baser[n].learn(part, seen, TABLE_LOW);
                }
            }
            Register::Ctlr if !self.enabled => {
                let quiescent = Ctlr::from_bits(seen as u32).quiescent();
                let news = quiescent && self.quiescent != Truth::Yes;
                // What was not so yet may be so by now.
                self.quiescent = if quiescent { Truth::Yes } else { Truth::Maybe };
                return news;
            }
            _ => {}
        }
        false
    }

    /// What a read returns and which bits of it are known.
    pub(crate) fn read(&self, register: Register, freedoms: &Freedoms) -> Partial {
        match register {
            Register::Ctlr => self.ctlr(freedoms),
            Register::Typer => Partial::all(self.configuration.typer().into_bits()),
            // RES0: [23:20].
            Register::Iidr => Partial { value: 0, known: 0xf0_0000 },
            Register::Cbaser => self.read_cbaser(freedoms),
            Register::Cwriter => {
                let known = if self.writer().is_some() { u64::MAX } else { !OFFSET_MASK };
                let kept = freedoms.allow(ReservedBits::Kept);
                let mask = if kept { OFFSET_MASK | RETRY } else { u64::MAX };
                Partial { value: self.cwriter.value, known: known & mask }
            }
            Register::Creadr => Partial {
                value: self.creadr,
                known: match (self.creadr_known, self.stall_in_doubt) {
                    (false, _) => !(OFFSET_MASK | STALLED),
                    (true, true) => !STALLED,
                    (true, false) => u64::MAX,
                },
            },
            Register::Baser(n) => self.read_baser(usize::from(n & 7)),
            // Fields are RES0 above Syndrome.
            Register::Statusr => Partial {
                value: 0,
                known: if freedoms.allow(Statusr::Present) {
                    !STATUSR | self.statusr_clear
                } else {
                    u64::MAX
                },
            },
            // TYPER.MPAM, UMSI = 0, and not GICv4.1: RES0.
            Register::Mpamidr | Register::Partidr | Register::Mpidr | Register::Umsir => {
                Partial::all(0)
            }
            // GITS_PIDR2.ArchRev: 3, GICv3.
            Register::Identification(0xffe8) => Partial { value: 0x30, known: 0xf0 },
            Register::Identification(_) => Partial::default(),
            // IMPLEMENTATION DEFINED.
            Register::Reserved(0x20..=0x3c | 0xc000..=0xffcc) => Partial::default(),
            Register::Reserved(_) => Partial::all(0),
        }
    }

    fn read_cbaser(&self, freedoms: &Freedoms) -> Partial {
        let mut cbaser = self.cbaser;
        cbaser.known &= !ATTRIBUTES | not_shareable(self.coherence.queue);
        if freedoms.allow(ReservedBits::Kept) {
            cbaser.known &= Cbaser::WRITABLE;
        }
        if !freedoms.allow(QueueLowBits::Used) {
            cbaser.value &= !QUEUE_LOW;
        } else if freedoms.allow(QueueLowBits::Zero) {
            cbaser.known &= !(cbaser.value & QUEUE_LOW);
        }
        cbaser
    }

    fn read_baser(&self, n: usize) -> Partial {
        let mut baser = self.baser[n];
        if self.has_baser(n as u8) {
            baser.known &= !ATTRIBUTES | not_shareable(self.coherence.tables);
        }
        // The reserved Page_Size is taken for 64 KiB: as written, or that.
        if baser.value & PAGE_SIZE == PAGE_SIZE {
            baser.known &= !PAGE_SIZE;
        }
        // Address bits below the page size: zero or as written.
        if Baser::from_bits(baser.value).page_size() == PageSize::K16 {
            baser.known &= !(baser.value & TABLE_LOW);
        }
        baser
    }

    fn ctlr(&self, freedoms: &Freedoms) -> Partial {
        // GITS_CTLR: GICv4 fields are RES0.
        let value = Ctlr::new().with_enabled(self.enabled);
        let quiescent = Ctlr::new().with_quiescent(true).into_bits();
        let always = |value: Ctlr| Partial::all(value.into_bits().into());
        let unknown = Partial { known: !u64::from(quiescent), ..always(value) };
        if !self.enabled {
            return match self.quiescent {
                Truth::Yes => always(value.with_quiescent(true)),
                Truth::No | Truth::Maybe => unknown,
            };
        }
        let zero = freedoms.allow(QuiescentEnabled::Zero);
        let one = freedoms.allow(QuiescentEnabled::One);
        match (zero, one, freedoms.allow(QuiescentEnabled::Idle)) {
            (true, false, false) => always(value),
            (false, true, false) => always(value.with_quiescent(true)),
            _ => unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::machine;

    #[test]
    fn shareability_is_free_unless_the_device_says_that_it_does_not_snoop() {
        for (snooping, known) in
            [(Snooping::Unsaid, 0), (Snooping::No, SHAREABILITY), (Snooping::Yes, 0)]
        {
            let coherence = Coherence { queue: snooping, tables: snooping, ..Coherence::UNSAID };
            let mut registers = Registers::new(&Machine { coherence, ..machine() }, 0);
            for register in [Register::Cbaser, Register::Baser(0)] {
                let write = (Part::Whole, SHAREABILITY);
                registers.write(register, write, false, &Freedoms::ALL).unwrap();
            }
            for read in [registers.read_cbaser(&Freedoms::ALL), registers.read_baser(0)] {
                assert_eq!(read.known & SHAREABILITY, known, "{snooping:?}");
                assert_eq!(read.value & known, 0, "{snooping:?}");
            }
        }
    }
}
