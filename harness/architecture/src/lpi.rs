//! LPIs: where they are pending, how they are configured, and what a CPU is offered.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::Part;
use its_gic::redistributor::{
    self as gicr, FIRST_LPI, LpiConfiguration, Pendbaser, Propbaser, RedistributorCtlr, intids,
};
use its_machine::freedom::choice::{
    BusyLpiWrite, EnableLpis, EqualPriority, LpiCache, PendingTable, PendingTableZero,
};
use its_machine::{Coherence, Freedoms, Machine};

use crate::memory::Memory;
use crate::path::Undefined;
use crate::possible::Truth;
use crate::registers::{Partial, not_shareable};

const PROPBASER: u64 = 0x070f_ffff_ffff_ff9f;
const PENDBASER: u64 = 0x070f_ffff_ffff_0f80;
/// InnerCache, Shareability and OuterCache of both: what of it sticks is the redistributor's.
const ATTRIBUTES: u64 = 7 << 7 | 3 << 10 | 7 << 56;
/// PENDBASER.PTZ, which reads 0.
const PTZ: u64 = 1 << 62;
/// GICR_TYPER.VLPIS, Dirty and RVPEID, of GICv4: RES0.
const GICV4: u64 = 1 << 1 | 1 << 2 | 1 << 7;
/// GICR_TYPER.Last.
const LAST: u64 = 1 << 4;
/// Reads of GICR_CTLR that may show RWP as 1. The architecture gives no number; the board shows it
/// in one read.
const READS_UNDER_WAY: u8 = 3;
/// IDbits below this: no LPIs (GICR_PROPBASER).
const LEAST_ID_BITS: u8 = 13;

/// Which LPIs are pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Those that are not surely not.
    lpis: BTreeMap<u32, Truth>,
    /// Nothing is known.
    pub(crate) unknown: bool,
}

impl Pending {
    pub(crate) fn get(&self, intid: u32) -> Truth {
        if self.unknown {
            Truth::Maybe
        } else {
            self.lpis.get(&intid).copied().unwrap_or(Truth::No)
        }
    }

    pub(crate) fn set(&mut self, intid: u32, truth: Truth) {
        match truth {
            Truth::No => self.lpis.remove(&intid),
            _ => self.lpis.insert(intid, truth),
        };
    }

    /// INTIDs that may be pending, as far as they are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Truth)> {
        self.lpis.iter().map(|(intid, truth)| (*intid, *truth))
    }

    /// All pending LPIs, if that is not open.
    pub(crate) fn known(&self) -> Option<Vec<u32>> {
        let sure = !self.unknown && self.lpis.values().all(|truth| *truth == Truth::Yes);
        sure.then(|| self.lpis.keys().copied().collect())
    }

    /// Whether these can be all pending LPIs; else which must be.
    pub(crate) fn check(&self, seen: impl Iterator<Item = u32>) -> Result<(), String> {
        if self.unknown {
            return Ok(());
        }
        let with = |wanted| {
            let own = self.iter().filter(move |(_, truth)| *truth == wanted);
            own.map(|(intid, _)| intid).collect::<Vec<u32>>()
        };
        let surely = with(Truth::Yes);
        let mut missing = surely.clone();
        let mut stray = false;
        for intid in seen {
            stray |= self.get(intid) == Truth::No;
            missing.retain(|other| *other != intid);
        }
        let maybe = with(Truth::Maybe);
        if missing.is_empty() && !stray {
            return Ok(());
        }
        let also = if maybe.is_empty() { String::new() } else { format!(", and maybe {maybe:?}") };
        Err(format!("{surely:?}{also}"))
    }

    fn or(&self, other: &Self) -> Self {
        let all: BTreeSet<u32> = self.lpis.keys().chain(other.lpis.keys()).copied().collect();
        let mut joined = Self { lpis: BTreeMap::new(), unknown: self.unknown || other.unknown };
        for intid in all {
            joined.set(intid, self.get(intid).or(other.get(intid)));
        }
        joined
    }
}

#[derive(Clone, Debug)]
pub struct Redistributor {
    /// Of the CPU, which is its affinity.
    number: u8,
    processor_number: u8,
    is_last: bool,
    intid_bits: u8,
    coherence: Coherence,
    pub(crate) propbaser: Partial,
    pendbaser: Partial,
    /// EnableLPIs, which is open once software tried to clear it.
    pub on: Truth,
    /// So many reads may show GICR_CTLR.RWP as 1.
    reads_under_way: u8,
    /// PTZ was written before LPIs were on: whether the table is still zero is not known.
    zero_then: bool,
    pub(crate) pending: Pending,
    /// What it wrote into the pending table at this address when LPIs were disabled.
    left: Option<(u64, Pending)>,
    /// What cached configuration may still say, by INTID.
    stale: BTreeMap<u32, BTreeSet<u8>>,
}

impl Redistributor {
    pub(crate) fn new(number: u8, machine: &Machine) -> Self {
        Self {
            number,
            processor_number: machine.processor_number(number),
            is_last: usize::from(number) + 1 == machine.redistributors.len(),
            intid_bits: machine.intid_bits,
            coherence: machine.coherence,
            propbaser: Partial { value: 0, known: not_shareable(machine.coherence.propbaser) },
            pendbaser: Partial { value: 0, known: not_shareable(machine.coherence.pendbaser) },
            on: Truth::No,
            reads_under_way: 0,
            zero_then: false,
            pending: Pending::default(),
            left: None,
            stale: BTreeMap::new(),
        }
    }

    /// `register` is CTLR, PROPBASER, PENDBASER, INVLPIR or INVALLR; `refused`: the hardware says
    /// that this write must not be made.
    pub(crate) fn write(
        &mut self,
        register: u64,
        (part, value): (Part, u64),
        refused: bool,
        memory: &Memory,
        freedoms: &Freedoms,
    ) -> Result<(), Undefined> {
        // GICR_PROPBASER, GICR_PENDBASER: UNPREDICTABLE while EnableLPIs or RWP is 1.
        let is_busy = self.on == Truth::Yes || refused;
        match register {
            gicr::CTLR if value & 1 != 0 => self.enable(memory, freedoms),
            gicr::CTLR => self.disable(memory, freedoms),
            gicr::INVLPIR if part != Part::High => self.forget(Some(&[value as u32])),
            gicr::INVALLR if part != Part::High => self.forget(None),
            gicr::PROPBASER | gicr::PENDBASER if is_busy && freedoms.allow(BusyLpiWrite::Taken) => {
                return Err("PROPBASER or PENDBASER was written while EnableLPIs or RWP");
            }
            gicr::PROPBASER | gicr::PENDBASER if is_busy => {}
            gicr::PROPBASER => {
                let fixed = not_shareable(self.coherence.propbaser);
                self.propbaser.write(part, value, PROPBASER & !fixed);
            }
            gicr::PENDBASER => {
                let fixed = not_shareable(self.coherence.pendbaser);
                self.pendbaser.write(part, value, (PENDBASER | PTZ) & !fixed);
                self.zero_then = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// GICR_CTLR: pending state comes from the table; PTZ says that this is zero.
    fn enable(&mut self, memory: &Memory, freedoms: &Freedoms) {
        if self.on == Truth::Yes {
            return;
        }
        let zero = Pendbaser::from_bits(self.pendbaser.value).ptz() && self.pendbaser.knows(PTZ);
        let trusted = zero && freedoms.allow(PendingTableZero::Trusted);
        let looked_at = !zero || self.zero_then || freedoms.allow(PendingTableZero::Ignored);
        let mut read = match (trusted, looked_at) {
            (true, false) => Pending::default(),
            (true, true) => Pending::default().or(&self.pending_table(memory)),
            (false, _) => self.pending_table(memory),
        };
        read.lpis.retain(|intid, _| self.takes(*intid));
        self.pending = match self.on {
            Truth::No => read,
            _ => self.pending.or(&read),
        };
        self.on = Truth::Yes;
    }

    /// What the pending table says, beyond IDbits too: as software or this redistributor wrote it.
    fn pending_table(&self, memory: &Memory) -> Pending {
        let table = Pendbaser::from_bits(self.pendbaser.value).address();
        if let Some((address, left)) = &self.left
            && *address == table
        {
            return left.clone();
        }
        let mut pending = Pending::default();
        for (address, word) in memory.words(table, self.most_bytes()) {
            let first = ((address - table) * 8) as u32;
            let set = (0..64).filter(|bit| word >> bit & 1 == 1);
            let lpis = set.map(|bit| first + bit).filter(|intid| *intid >= FIRST_LPI);
            pending.lpis.extend(lpis.map(|intid| (intid, Truth::Yes)));
        }
        pending
    }

    /// Address and bytes of the pending table that it wrote when LPIs were disabled.
    pub(crate) fn written(&self) -> Option<(u64, u64)> {
        let (address, _) = self.left.as_ref()?;
        Some((*address, self.most_bytes()))
    }

    /// Bytes of a pending table for all INTIDs that the GIC has.
    fn most_bytes(&self) -> u64 {
        Pendbaser::bytes(self.intid_bits - 1)
    }

    /// GICR_CTLR.CES: whether EnableLPIs can be cleared.
    fn disable(&mut self, memory: &Memory, freedoms: &Freedoms) {
        if self.on == Truth::No || !freedoms.allow(EnableLpis::Clearable) {
            return;
        }
        let before = self.pending_table(memory);
        let mut written = before.clone();
        written.lpis.retain(|intid, _| !self.takes(*intid));
        written.lpis.extend(self.pending.iter());
        written.unknown |= self.pending.unknown;
        let left = match (freedoms.allow(PendingTable::Written), freedoms.allow(PendingTable::Lost))
        {
            (true, false) => written,
            (false, true) => before,
            _ => written.or(&before),
        };
        self.left = Some((Pendbaser::from_bits(self.pendbaser.value).address(), left));
        (self.reads_under_way, self.zero_then) = (READS_UNDER_WAY, true);
        let none = Pending::default();
        (self.on, self.pending) = if freedoms.allow(EnableLpis::Fixed) {
            (Truth::Maybe, self.pending.or(&none))
        } else {
            (Truth::No, none)
        };
    }

    /// What a read returns. Learns from `seen` what is not known.
    pub(crate) fn read(&mut self, register: u64, seen: u64, freedoms: &Freedoms) -> Partial {
        let (affinity, processor) = (u64::from(self.number), u64::from(self.processor_number));
        let last = if self.is_last { LAST } else { 0 };
        match register {
            gicr::CTLR => self.ctlr(seen, freedoms),
            // PLPIS, Last, Processor_Number and Affinity.
            gicr::TYPER => Partial {
                value: 1 | last | processor << 8 | affinity << 32,
                known: 1 | GICV4 | LAST | 0xffff << 8 | 0xffff_ffff << 32,
            },
            gicr::PROPBASER => {
                let fixed = not_shareable(self.coherence.propbaser);
                Partial { known: self.propbaser.known & (!ATTRIBUTES | fixed), ..self.propbaser }
            }
            gicr::PENDBASER => {
                let fixed = not_shareable(self.coherence.pendbaser);
                Partial {
                    value: self.pendbaser.value & !PTZ,
                    known: (self.pendbaser.known | PTZ) & (!ATTRIBUTES | fixed),
                }
            }
            // Every invalidation is done when it was asked for, or not seen to be under way.
            gicr::SYNCR => Partial { value: 0, known: !1 },
            _ => Partial::default(),
        }
    }

    fn ctlr(&mut self, seen: u64, freedoms: &Freedoms) -> Partial {
        let seen = RedistributorCtlr::from_bits(seen as u32);
        if self.on == Truth::Maybe && seen.enable_lpis() {
            (self.on, self.left, self.reads_under_way) = (Truth::Yes, None, 0);
        } else if self.on == Truth::Maybe {
            (self.on, self.pending) = (Truth::No, Pending::default());
        }
        let could_wait = self.reads_under_way > 0;
        self.reads_under_way = if seen.rwp() { self.reads_under_way.saturating_sub(1) } else { 0 };
        let bits = |ctlr: RedistributorCtlr| u64::from(ctlr.into_bits());
        let clearable = freedoms.allow(EnableLpis::Clearable);
        let both = clearable && freedoms.allow(EnableLpis::Fixed);
        let new = RedistributorCtlr::new;
        let mut known = bits(new().with_enable_lpis(true));
        known |= bits(new().with_ces(!both).with_rwp(!could_wait));
        let value = new().with_enable_lpis(self.on == Truth::Yes).with_ces(clearable);
        Partial { value: bits(value), known }
    }

    /// Whether both tables were written since reset.
    pub(crate) fn is_programmed(&self) -> bool {
        self.propbaser.knows(PROPBASER) && self.pendbaser.knows(PENDBASER)
    }

    fn id_bits(&self) -> u8 {
        Propbaser::from_bits(self.propbaser.value).id_bits()
    }

    /// Address and bytes of the configuration and the pending table.
    pub fn tables(&self) -> [(u64, u64); 2] {
        let configuration = Propbaser::from_bits(self.propbaser.value);
        let pending = Pendbaser::from_bits(self.pendbaser.value);
        [
            (configuration.address(), configuration.bytes()),
            (pending.address(), Pendbaser::bytes(configuration.id_bits())),
        ]
    }

    /// Whether an INTID is an LPI of this redistributor: within IDbits and what the GIC has.
    pub(crate) fn takes(&self, intid: u32) -> bool {
        let limit = intids(self.id_bits()).min(1 << self.intid_bits);
        self.id_bits() >= LEAST_ID_BITS && intid >= FIRST_LPI && u64::from(intid) < limit
    }

    /// An LPI arrives.
    pub(crate) fn pend(&mut self, intid: u32, truth: Truth) {
        if !self.takes(intid) || self.on == Truth::No {
            return;
        }
        self.pending.set(intid, self.pending.get(intid).max(truth.min(self.on)));
    }

    // ---- configuration

    /// Memory is about to change.
    pub(crate) fn remember(
        &mut self,
        memory: &Memory,
        address: u64,
        bytes: u64,
        freedoms: &Freedoms,
    ) {
        let (table, size) = self.tables()[0];
        if self.on == Truth::No || !freedoms.allow(LpiCache::Kept) {
            return;
        }
        let end = address.saturating_add(bytes).min(table.saturating_add(size));
        for at in address.max(table)..end {
            let intid = (at - table) as u32 + FIRST_LPI;
            self.stale.entry(intid).or_default().insert(memory.byte(at));
        }
    }

    /// Memory has changed: what was written to a pending table there is what software says.
    pub(crate) fn reread(&mut self, memory: &Memory, address: u64, bytes: u64) {
        let size = self.most_bytes();
        let Some((table, left)) = &mut self.left else {
            return;
        };
        let end = address.saturating_add(bytes).min(table.saturating_add(size));
        for at in address.max(*table)..end {
            for bit in 0..8 {
                let intid = ((at - *table) * 8) as u32 + bit;
                let set = memory.byte(at) >> bit & 1 == 1 && intid >= FIRST_LPI;
                left.set(intid, if set { Truth::Yes } else { Truth::No });
            }
        }
    }

    /// Cached configuration of these LPIs, or of all, is forgotten.
    pub(crate) fn forget(&mut self, intids: Option<&[u32]>) {
        match intids {
            None => self.stale.clear(),
            Some(intids) => self.stale.retain(|intid, _| !intids.contains(intid)),
        }
    }

    /// What may be taken for the configuration of an LPI.
    fn configurations(
        &self,
        intid: u32,
        memory: &Memory,
    ) -> impl Iterator<Item = LpiConfiguration> {
        let address = gicr::configuration_address(self.tables()[0].0, intid);
        let stale = self.stale.get(&intid).into_iter().flatten().copied();
        let all = stale.chain([memory.byte(address)]);
        all.map(LpiConfiguration::from_bits)
    }

    /// What the CPU may be offered; `None`: nobody knows.
    pub(crate) fn offers(&self, memory: &Memory, freedoms: &Freedoms) -> Option<Vec<Option<u32>>> {
        if self.on == Truth::No {
            return Some(vec![None]);
        }
        if self.pending.unknown || self.on == Truth::Maybe {
            return None;
        }
        let mut offers = Vec::new();
        // INTID, its most and least urgent priority.
        let (mut may, mut must) = (Vec::new(), Vec::new());
        for (intid, truth) in self.pending.iter() {
            let all: Vec<_> = self.configurations(intid, memory).collect();
            let enabled = all.iter().filter(|one| one.enabled());
            let priorities = enabled.map(|one| one.priority());
            let Some(urgent) = priorities.clone().min() else {
                continue;
            };
            may.push((intid, urgent));
            if truth == Truth::Yes && all.iter().all(|one| one.enabled()) {
                must.push((intid, priorities.max().unwrap_or(urgent)));
            }
        }
        if must.is_empty() {
            offers.push(None);
        }
        let before = |one: &(u32, u8), other: &(u32, u8)| match one.1.cmp(&other.1) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal if one.0 < other.0 => freedoms.allow(EqualPriority::Lowest),
            std::cmp::Ordering::Equal => freedoms.allow(EqualPriority::Highest),
        };
        let first = |one: &&(u32, u8)| {
            let mut others = must.iter().filter(|other| other.0 != one.0);
            others.all(|other| before(one, other))
        };
        offers.extend(may.iter().filter(first).map(|one| Some(one.0)));
        Some(offers)
    }
}
