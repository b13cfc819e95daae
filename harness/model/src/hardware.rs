//! The physical ITSs and redistributors as software sees them (IHI 0069): registers, MSIs, pending LPIs.

use std::collections::{BTreeMap, BTreeSet};

use its_el2::{Character, Machine, Translation};
use its_gic::geometry::{Level1Entry, Location, Queue, Table, itt_bytes};
use its_gic::redistributor::{self as gicr, FIRST_LPI, Pendbaser, Propbaser, intids};
use its_gic::register::{self as gits, Baser, Cbaser, OFFSET_MASK};
use its_gic::{Part, Register, Typer};

use crate::judgement::Expected;
use crate::memory::Memory;

/// Why the architecture no longer says what happens.
pub(crate) type Undefined = &'static str;

/// GITS_CREADR.Stalled.
pub(crate) const STALLED: u64 = 1;
/// GITS_CWRITER.Retry.
pub(crate) const RETRY: u64 = 1;

/// A register, some of whose bits are UNKNOWN until they are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partial {
    pub(crate) value: u64,
    pub(crate) known: u64,
}

impl Partial {
    fn write(&mut self, part: Part, value: u64, writable: u64) {
        let bits = part.insert(0, u64::MAX) & writable;
        self.value = (self.value & !bits) | (part.insert(0, value) & bits);
        self.known |= bits;
    }
}

/// A device that MAPD mapped.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// EventID bits, minus 1.
    pub(crate) size: u8,
    pub(crate) itt: u64,
    /// INTID and ICID by EventID.
    pub(crate) events: BTreeMap<u32, Expected<(u32, u16)>>,
    /// What its ITT holds is not known.
    pub(crate) unknown: bool,
}

/// The registers of one ITS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) enabled: bool,
    /// Enabled was cleared in this action: a command in flight may still complete.
    pub(crate) stopping: bool,
    pub(crate) cbaser: Partial,
    pub(crate) cwriter: Partial,
    /// As read: the offset, and Stalled.
    pub(crate) creadr: u64,
    /// Retry was written in this action.
    pub(crate) retried: bool,
    /// Whether Stalled is set is not known: the stall and a Retry came in one action.
    pub(crate) stall_in_doubt: bool,
    pub(crate) baser: [Partial; 8],
}

#[derive(Clone, Debug)]
pub(crate) struct PhysicalIts {
    pub(crate) registers: Registers,
    pub(crate) devices: BTreeMap<u32, Device>,
    /// Redistributor by ICID.
    pub(crate) collections: BTreeMap<u16, u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Redistributor {
    pub(crate) propbaser: Partial,
    pub(crate) pendbaser: Partial,
    /// EnableLPIs; unknown once software tried to clear it (GICR_CTLR.CES).
    pub(crate) enabled: Expected<bool>,
    pub(crate) pending: BTreeSet<u32>,
    /// The set is not known.
    pub(crate) unknown: bool,
}

/// All of the hardware, and the memory that it works from.
#[derive(Clone, Debug)]
pub(crate) struct Hardware {
    pub(crate) machine: Machine,
    pub(crate) typer: Typer,
    pub(crate) memory: Memory,
    pub(crate) its: Vec<PhysicalIts>,
    pub(crate) redistributors: Vec<Redistributor>,
    /// Address and bytes of ITTs that were unmapped with events in them.
    pub(crate) used_itts: Vec<(u64, u64)>,
    /// Translations that this action may have changed.
    pub(crate) touched: Vec<(u8, u32, u32)>,
}

impl Registers {
    fn new(character: Character) -> Self {
        let table = |kind, entry_bytes: u8| Partial {
            value: Baser::new()
                .with_type_field(kind)
                .with_entry_size(entry_bytes - 1)
                .with_page_size_field(character.page_size.field())
                .into_bits(),
            // Type, Entry_Size and Page_Size are fixed, Valid resets to 0.
            known: !Baser::WRITABLE | 0x300 | Baser::VALID,
        };
        let absent = Partial {
            value: 0,
            known: u64::MAX,
        };
        let mut baser = [absent; 8];
        baser[0] = table(1, character.device_entry_bytes);
        baser[1] = table(4, character.collection_entry_bytes);
        Self {
            enabled: false,
            stopping: false,
            cbaser: Partial {
                value: 0,
                known: !Cbaser::WRITABLE | Cbaser::VALID,
            },
            cwriter: Partial::default(),
            creadr: 0,
            retried: false,
            stall_in_doubt: false,
            baser,
        }
    }

    pub(crate) fn queue(&self) -> Queue {
        Queue::new(Cbaser::from_bits(self.cbaser.value))
    }

    pub(crate) fn baser(&self, n: usize) -> Baser {
        Baser::from_bits(self.baser[n].value)
    }

    /// CWRITER.Offset, unless it is UNKNOWN or beyond the queue (either choice of CWRITER is allowed).
    pub(crate) fn writer(&self) -> Option<u64> {
        let offset = self.cwriter.value & OFFSET_MASK;
        let known = self.cwriter.known & OFFSET_MASK == OFFSET_MASK;
        (known && self.queue().contains(offset)).then_some(offset)
    }

    /// Whether the ITS may fetch the command at CREADR.
    pub(crate) fn can_fetch(&self) -> bool {
        let valid = Cbaser::from_bits(self.cbaser.value).valid();
        let runs = (self.enabled || self.stopping) && valid;
        let stalled = self.creadr & STALLED != 0 && !self.stall_in_doubt;
        runs && !stalled && self.writer() != Some(self.offset())
    }

    /// CREADR.Offset.
    pub(crate) fn offset(&self) -> u64 {
        self.creadr & OFFSET_MASK
    }

    /// `in_use`: devices, collections are mapped in memory.
    fn write(
        &mut self,
        it: Character,
        in_use: [bool; 2],
        register: Register,
        (part, value): (Part, u64),
    ) -> Maybe {
        match register {
            Register::Ctlr => {
                let enable = value & 1 != 0;
                if enable && !self.enabled {
                    self.may_enable(it)?;
                }
                self.stopping = self.enabled && !enable;
                self.enabled = enable;
            }
            // GITS_CBASER, GITS_BASER<n>: writing these while Enabled is UNPREDICTABLE.
            Register::Cbaser if self.enabled => return Err("CBASER was written while Enabled"),
            Register::Baser(n) if self.enabled && n < 2 => {
                return Err("BASER was written while Enabled");
            }
            // GITS_CBASER: each write, of a half too, resets CREADR and leaves CWRITER.
            Register::Cbaser => {
                self.cbaser.write(part, value, Cbaser::WRITABLE);
                self.creadr = 0;
                self.stall_in_doubt = false;
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
            Register::Baser(n) => self.write_baser(it, in_use, n, (part, value))?,
            _ => {}
        }
        Ok(())
    }

    /// GITS_CTLR: needs a queue and tables; CWRITER resets to UNKNOWN.
    fn may_enable(&self, it: Character) -> Maybe {
        let collections = it.hardware_collections > 0 || self.baser(1).valid();
        if !Cbaser::from_bits(self.cbaser.value).valid() || !self.baser(0).valid() || !collections {
            return Err("Enabled was set without queue or tables");
        }
        if self.cwriter.known & OFFSET_MASK != OFFSET_MASK {
            return Err("Enabled was set with CWRITER never written");
        }
        Ok(())
    }

    /// `GITS_BASER<n>`: Type and Entry_Size are fixed; which Page_Size and Indirect stick is the ITS's character.
    fn write_baser(
        &mut self,
        it: Character,
        in_use: [bool; 2],
        n: u8,
        (part, value): (Part, u64),
    ) -> Maybe {
        let indirect = n == 0 && it.two_level;
        let writable = match n {
            0 | 1 => Baser::WRITABLE & !0x300 & !(u64::from(!indirect) << 62),
            _ => return Ok(()),
        };
        let n = usize::from(n);
        let before = self.baser(n);
        self.baser[n].write(part, value, writable);
        self.baser[n].known |= 1 << 62;
        if in_use[n] && Table::new(before) != Table::new(self.baser(n)) {
            return Err("a table in use was moved");
        }
        Ok(())
    }

    /// A read of CREADR tells whether the ITS stalled.
    pub(crate) fn learn(&mut self, creadr: u64) {
        if self.stall_in_doubt {
            self.creadr = self.offset() | creadr & STALLED;
            self.stall_in_doubt = false;
        }
    }

    /// What a read returns and which bits of it are known.
    pub(crate) fn read(&self, typer: Typer, register: Register) -> Partial {
        let all = |value| Partial {
            value,
            known: u64::MAX,
        };
        match register {
            Register::Ctlr => Partial {
                value: u64::from(self.enabled),
                known: 1,
            },
            Register::Typer => all(typer.into_bits()),
            Register::Cbaser => self.cbaser,
            Register::Cwriter if self.writer().is_some() => all(self.cwriter.value),
            Register::Creadr => all(self.creadr),
            Register::Baser(n) => {
                let mut baser = self.baser[usize::from(n & 7)];
                // `GITS_BASER<n>`: address bits below the page size: zero or as written.
                let low = Baser::from_bits(baser.value).page_size().field() == 1;
                baser.known &= if low { !0x3000 } else { u64::MAX };
                baser
            }
            _ => Partial::default(),
        }
    }
}

type Maybe = Result<(), Undefined>;

impl Redistributor {
    const PROPBASER: u64 = 0x070f_ffff_ffff_ff9f;
    const PENDBASER: u64 = 0x070f_ffff_ffff_0f80;
    /// PENDBASER.PTZ, which reads 0.
    const PTZ: u64 = 1 << 62;

    fn write(&mut self, memory: &Memory, offset: u64, part: Part, value: u64) -> Maybe {
        match offset {
            gicr::CTLR if value & 1 != 0 => {
                if self.enabled != Expected::Known(true) {
                    self.enable(memory);
                }
            }
            gicr::CTLR if self.enabled == Expected::Known(false) => {}
            gicr::CTLR => self.enabled = Expected::Unknown,
            // GICR_PROPBASER, GICR_PENDBASER: UNPREDICTABLE while EnableLPIs is 1.
            _ if self.enabled != Expected::Known(false) => {
                return Err("PROPBASER or PENDBASER was written while EnableLPIs");
            }
            gicr::PROPBASER => self.propbaser.write(part, value, Self::PROPBASER),
            _ => self
                .pendbaser
                .write(part, value, Self::PENDBASER | Self::PTZ),
        }
        Ok(())
    }

    /// GICR_CTLR: pending state comes from the table, unless PTZ says that this is zero.
    fn enable(&mut self, memory: &Memory) {
        let table = Pendbaser::from_bits(self.pendbaser.value);
        let bytes = Pendbaser::bytes(Propbaser::from_bits(self.propbaser.value).id_bits());
        self.unknown |= self.enabled == Expected::Unknown;
        self.unknown |= !memory.is_zero(table.address(), bytes);
        self.enabled = Expected::Known(true);
    }

    /// Address and bytes of the configuration and the pending table.
    pub(crate) fn tables(&self) -> [(u64, u64); 2] {
        let configuration = Propbaser::from_bits(self.propbaser.value);
        let pending = Pendbaser::from_bits(self.pendbaser.value);
        [
            (configuration.address(), configuration.bytes()),
            (pending.address(), Pendbaser::bytes(configuration.id_bits())),
        ]
    }

    pub(crate) fn takes(&self, intid: u32) -> bool {
        let id_bits = Propbaser::from_bits(self.propbaser.value).id_bits();
        intid >= FIRST_LPI && u64::from(intid) < intids(id_bits)
    }
}

/// Where the entry of an id is in memory.
pub(crate) enum EntryAt {
    /// The id is beyond the table.
    Beyond,
    /// Its level-2 table is absent.
    Absent,
    /// The ITS holds it itself.
    Inside,
    Memory(u64),
}

impl Hardware {
    pub(crate) fn new(machine: Machine) -> Self {
        let redistributor = Redistributor {
            propbaser: Partial::default(),
            pendbaser: Partial::default(),
            enabled: Expected::Known(false),
            pending: BTreeSet::new(),
            unknown: false,
        };
        let its = PhysicalIts {
            registers: Registers::new(machine.character),
            devices: BTreeMap::new(),
            collections: BTreeMap::new(),
        };
        Self {
            machine,
            typer: machine.character.typer(),
            memory: Memory::default(),
            its: vec![its; machine.its.len()],
            redistributors: vec![redistributor; machine.redistributors.len()],
            used_itts: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) fn start_action(&mut self) {
        self.touched.clear();
        for its in &mut self.its {
            its.registers.stopping = false;
            its.registers.retried = false;
        }
    }

    pub(crate) fn write_its(
        &mut self,
        its: usize,
        register: Register,
        part: Part,
        v: u64,
    ) -> Maybe {
        let character = self.machine.character;
        let physical = &mut self.its[its];
        let in_memory = |icid: &u16| *icid >= u16::from(character.hardware_collections);
        let in_use = [
            !physical.devices.is_empty(),
            physical.collections.keys().any(in_memory),
        ];
        physical
            .registers
            .write(character, in_use, register, (part, v))
    }

    /// `offset` is CTLR, PROPBASER or PENDBASER of a redistributor, or anything else, which has no effect.
    pub(crate) fn write_redistributor(
        &mut self,
        n: usize,
        offset: u64,
        bytes: u64,
        v: u64,
    ) -> Maybe {
        match redistributor_register(offset, bytes) {
            Some((register, part)) => self.redistributors[n].write(&self.memory, register, part, v),
            None => Ok(()),
        }
    }

    /// What a read of a redistributor's register returns. Learns EnableLPIs from `seen` where it is unknown.
    pub(crate) fn read_redistributor(&mut self, n: usize, offset: u64, seen: u64) -> Partial {
        let redistributor = &mut self.redistributors[n];
        match offset {
            gicr::CTLR => {
                if redistributor.enabled == Expected::Unknown {
                    redistributor.enabled = Expected::Known(seen & 1 != 0);
                }
                Partial {
                    value: u64::from(redistributor.enabled == Expected::Known(true)),
                    known: 1,
                }
            }
            gicr::PROPBASER => redistributor.propbaser,
            gicr::PENDBASER => Partial {
                known: redistributor.pendbaser.known & !Redistributor::PTZ,
                ..redistributor.pendbaser
            },
            _ => Partial::default(),
        }
    }

    /// Where the entry of an id in the table of `GITS_BASER<n>` is.
    pub(crate) fn entry(&self, its: usize, n: usize, id: u32) -> Result<EntryAt, Undefined> {
        let baser = self.its[its].registers.baser(n);
        if n == 1 && id < u32::from(self.machine.character.hardware_collections) {
            return Ok(EntryAt::Inside);
        }
        if !baser.valid() {
            return Ok(EntryAt::Beyond);
        }
        let table = Table::new(baser);
        let address = match table.locate(id) {
            None => return Ok(EntryAt::Beyond),
            Some(Location::Flat(address)) => address,
            Some(Location::Indirect {
                level1_entry,
                offset,
            }) => {
                let entry = Level1Entry(self.memory.word(level1_entry));
                if !entry.is_valid() {
                    return Ok(EntryAt::Absent);
                }
                entry.address(table.page_size) + offset
            }
        };
        if !self.machine.is_memory(address, table.entry_bytes) {
            return Err("a table is no memory");
        }
        Ok(EntryAt::Memory(address))
    }

    /// GITS_TRANSLATER: an MSI arrives; `Some` is the redistributor and INTID that it makes pending.
    pub(crate) fn msi(&self, its: usize, device_id: u32, event_id: u32) -> Target {
        if !self.its[its].registers.enabled {
            return Ok(None);
        }
        self.signal(its, device_id, event_id)
    }

    /// The same by INT.
    pub(crate) fn signal(&self, its: usize, device_id: u32, event_id: u32) -> Target {
        let target = self.target(its, device_id, event_id)?;
        let Some((redistributor, intid)) = target else {
            return Ok(None);
        };
        let to = &self.redistributors[usize::from(redistributor)];
        match to.enabled {
            Expected::Unknown => Err("EnableLPIs is not known"),
            Expected::Known(on) => Ok(target.filter(|_| on && to.takes(intid))),
        }
    }

    /// The redistributor and INTID that an event is mapped to, whether that can take it or not.
    pub(crate) fn target(&self, its: usize, device_id: u32, event_id: u32) -> Target {
        match self.translate(its, device_id, event_id) {
            Expected::Unknown => Err("the event's mapping is not known"),
            Expected::Known(None) => Ok(None),
            Expected::Known(Some(to)) => Ok(to.redistributor.map(|index| (index, to.intid))),
        }
    }

    pub(crate) fn translate(
        &self,
        its: usize,
        device_id: u32,
        event_id: u32,
    ) -> Expected<Option<Translation>> {
        let registers = &self.its[its].registers;
        let Some(device) = self.its[its].devices.get(&device_id) else {
            return Expected::Known(None);
        };
        // `GITS_BASER<n>`: without its table the ITS knows no device.
        if !registers.baser(0).valid() {
            return Expected::Known(None);
        }
        if u64::from(event_id) >= 2_u64 << device.size {
            return Expected::Known(None);
        }
        if device.unknown {
            return Expected::Unknown;
        }
        match device.events.get(&event_id) {
            None => Expected::Known(None),
            Some(Expected::Unknown) => Expected::Unknown,
            Some(Expected::Known((_, icid))) if !self.holds_collection(its, *icid) => {
                Expected::Unknown
            }
            Some(Expected::Known((intid, icid))) => Expected::Known(Some(Translation {
                intid: *intid,
                icid: *icid,
                redistributor: self.its[its].collections.get(icid).copied(),
            })),
        }
    }

    /// Whether the ITS has memory, or none needed, for a collection.
    fn holds_collection(&self, its: usize, icid: u16) -> bool {
        let held = icid < u16::from(self.machine.character.hardware_collections);
        held || self.its[its].registers.baser(1).valid()
    }

    /// The host, tampering or zeroing changed `bytes` at `address`; those of ITTs make their events unknown, those of table
    /// entries in use leave nothing known.
    pub(crate) fn overwrote(&mut self, address: u64, bytes: u64) -> Maybe {
        let hit = |start: u64, size: u64| overlap((start, size), (address, bytes));
        for its in 0..self.its.len() {
            let entry_bytes = self.typer.itt_entry_bytes();
            for device in self.its[its].devices.values_mut() {
                device.unknown |= hit(device.itt, itt_bytes(device.size, entry_bytes));
            }
            let physical = &self.its[its];
            // Disabled or not: with TYPER.INV = 0 nothing says when the ITS forgets what it read.
            if !physical.registers.baser(0).valid() {
                continue;
            }
            let table = Table::new(physical.registers.baser(0));
            if table.indirect && hit(table.address, table.bytes) && !self.is_disjoint(its) {
                return Err("a level-2 table lies on memory in use");
            }
            for device_id in physical.devices.keys() {
                let level1 = match table.locate(*device_id) {
                    Some(Location::Indirect { level1_entry, .. }) => hit(level1_entry, 8),
                    _ => false,
                };
                if level1 || self.entry_hit(its, 0, *device_id, hit)? {
                    return Err("a device table in use was overwritten");
                }
            }
            for icid in physical.collections.keys() {
                if self.entry_hit(its, 1, u32::from(*icid), hit)? {
                    return Err("a collection table in use was overwritten");
                }
            }
        }
        Ok(())
    }

    /// Address and bytes of queue, flat, level-1 and level-2 tables.
    pub(crate) fn structures(&self, its: usize) -> Vec<(u64, u64)> {
        let registers = &self.its[its].registers;
        let queue = registers.queue();
        let mut structures = vec![(queue.address, queue.bytes)];
        for baser in [0, 1].map(|n| registers.baser(n)) {
            if !baser.valid() {
                continue;
            }
            let table = Table::new(baser);
            structures.push((table.address, table.bytes));
            if table.indirect {
                let entries = self.memory.words(table.address, table.bytes);
                let valid = entries
                    .map(|(_, entry)| Level1Entry(entry))
                    .filter(|entry| entry.is_valid());
                structures.extend(
                    valid.map(|entry| (entry.address(table.page_size), table.page_size.bytes())),
                );
            }
        }
        structures
    }

    /// Whether no structure lies on another or on an ITT.
    fn is_disjoint(&self, its: usize) -> bool {
        let entry_bytes = self.typer.itt_entry_bytes();
        let devices = self.its.iter().flat_map(|its| its.devices.values());
        let itts = devices.map(|device| (device.itt, itt_bytes(device.size, entry_bytes)));
        let itts: Vec<_> = itts.collect();
        let all = self.structures(its);
        all.iter().enumerate().all(|(index, one)| {
            let others = all[index + 1..].iter().chain(&itts);
            others.copied().all(|other| !overlap(*one, other))
        })
    }

    fn entry_hit(
        &self,
        its: usize,
        n: usize,
        id: u32,
        hit: impl Fn(u64, u64) -> bool,
    ) -> Result<bool, Undefined> {
        let bytes = self.its[its].registers.baser(n).entry_bytes();
        Ok(match self.entry(its, n, id)? {
            EntryAt::Memory(entry) => hit(entry, bytes),
            EntryAt::Beyond | EntryAt::Absent | EntryAt::Inside => false,
        })
    }
}

/// Whether two ranges, each an address and bytes, share a byte.
pub(crate) fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// A redistributor and an INTID, or nothing, or nobody knows.
pub(crate) type Target = Result<Option<(u8, u32)>, Undefined>;

/// CTLR, PROPBASER or PENDBASER where an access of `bytes` at `offset` names one or a half of one.
pub(crate) fn redistributor_register(offset: u64, bytes: u64) -> Option<(u64, Part)> {
    match (offset, bytes) {
        (gicr::CTLR, 4) | (gicr::PROPBASER | gicr::PENDBASER, 8) => Some((offset, Part::Whole)),
        (gicr::PROPBASER | gicr::PENDBASER, 4) => Some((offset, Part::Low)),
        (0x74 | 0x7c, 4) => Some((offset - 4, Part::High)),
        _ => None,
    }
}

/// Which ITS, and the offset in its control and translation frames, an address belongs to.
pub(crate) fn its_at(machine: &Machine, address: u64) -> Option<(usize, u64)> {
    at(machine.its, 2 * gits::FRAME_BYTES, address)
}

/// Which redistributor, and the offset in its frames, an address belongs to.
pub(crate) fn redistributor_at(machine: &Machine, address: u64) -> Option<(usize, u64)> {
    at(machine.redistributors, gicr::FRAMES_BYTES, address)
}

fn at(bases: &[u64], bytes: u64, address: u64) -> Option<(usize, u64)> {
    let offset = |base: &u64| address.checked_sub(*base).filter(|offset| *offset < bytes);
    bases
        .iter()
        .enumerate()
        .find_map(|(index, base)| Some((index, offset(base)?)))
}

/// The register at an address: its row in the register table, and a path such as `its0.creadr`.
pub(crate) fn name(machine: &Machine, address: u64) -> (&'static str, String) {
    if let Some((its, offset)) = its_at(machine, address) {
        let row = row(offset);
        return (row, format!("its{its}.{}", row.to_lowercase()));
    }
    match redistributor_at(machine, address) {
        Some((n, offset)) => ("redistributors", format!("redistributor{n}+{offset:#x}")),
        None => ("no register", format!("{address:#x}")),
    }
}

fn row(offset: u64) -> &'static str {
    if offset >= gits::FRAME_BYTES {
        return "translation frame";
    }
    match Register::at(offset) {
        Register::Ctlr => "CTLR",
        Register::Cbaser => "CBASER",
        Register::Cwriter => "CWRITER",
        Register::Creadr => "CREADR",
        Register::Baser(_) => "BASER",
        Register::Typer => "TYPER",
        Register::Iidr => "IIDR",
        Register::Identification(_) => "identification",
        Register::Mpidr | Register::Mpamidr | Register::Umsir => "MPIDR MPAMIDR UMSIR",
        Register::Statusr | Register::Partidr | Register::Reserved(_) => "reserved",
    }
}
