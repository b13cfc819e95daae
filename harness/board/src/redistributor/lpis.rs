//! Pending LPIs of a redistributor and their configuration.
//!
//! While LPIs are on, what is pending is held inside, and the pending table in memory means
//! nothing. Configuration always comes from memory, at the latest when an LPI is weighed for
//! delivery; a redistributor that keeps it (`lpi-cache`) may have an old byte until it must
//! forget it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use its_gic::redistributor::{
    FIRST_LPI, LpiConfiguration, configuration_address, intids, pending_address,
};
use its_machine::freedom::choice::{EqualPriority, LpiCache, PendingTable};
use its_machine::{Choices, Coherence, Machine};

use super::Redistributor;
use crate::memory::Memory;

#[derive(Clone)]
pub(super) struct Lpis {
    choices: Choices,
    coherence: Coherence,
    /// How many INTIDs the GIC has.
    all: u64,
    /// Address of the configuration table that is in use.
    table: u64,
    /// The first INTID that cannot be pending here; 0 while LPIs are off.
    limit: u64,
    pending: BTreeSet<u32>,
    /// Configuration bytes by INTID that are kept.
    kept: BTreeMap<u32, u8>,
}

impl Lpis {
    pub(super) fn new(machine: &Machine) -> Self {
        Self {
            choices: machine.configuration(0).choices,
            coherence: machine.coherence,
            all: intids(machine.intid_bits.saturating_sub(1)),
            table: 0,
            limit: 0,
            pending: BTreeSet::new(),
            kept: BTreeMap::new(),
        }
    }

    /// LPIs are on from now on, configured by the table at `table`.
    pub(super) fn start(&mut self, table: u64, id_bits: u8) {
        self.table = table;
        self.limit = intids(id_bits).min(self.all);
    }

    /// Takes what is pending from the table at `address`.
    pub(super) fn load(&mut self, address: u64, memory: &Memory) {
        for first in self.words() {
            let (byte, _) = pending_address(address, first);
            let word = memory.fetch_by(self.coherence.pendbaser, byte).value;
            let set = (0..64).filter(|bit| word >> bit & 1 == 1);
            for intid in set.map(|bit| first + bit) {
                self.set_pending(intid, memory);
            }
        }
    }

    /// LPIs are off from now on. What was pending goes into the table at `address`, or nowhere.
    pub(super) fn stop(&mut self, address: u64, memory: &mut Memory) {
        if self.choices.picks(PendingTable::Written) {
            for first in self.words() {
                let (byte, _) = pending_address(address, first);
                let bits = self.pending.range(first..first + 64);
                let word = bits.fold(0, |word, intid| word | 1_u64 << (intid - first));
                if memory.fetch_by(self.coherence.pendbaser, byte).value != word {
                    memory.write_by_device(self.coherence.pendbaser, byte, word);
                }
            }
        }
        self.limit = 0;
        self.pending.clear();
        self.kept.clear();
    }

    /// The first INTID of each word of the pending table that holds LPIs.
    fn words(&self) -> impl Iterator<Item = u32> + use<> {
        (u64::from(FIRST_LPI)..self.limit).step_by(64).map(|first| first as u32)
    }

    fn set_pending(&mut self, intid: u32, memory: &Memory) {
        if intid >= FIRST_LPI && u64::from(intid) < self.limit {
            self.pending.insert(intid);
            self.keep(intid, memory);
        }
    }

    /// The byte in memory, as the redistributor sees it.
    fn fetch(&self, intid: u32, memory: &Memory) -> u8 {
        let address = configuration_address(self.table, intid);
        let word = memory.fetch_by(self.coherence.propbaser, address & !7).value;
        (word >> ((address & 7) * 8)) as u8
    }

    fn keep(&mut self, intid: u32, memory: &Memory) {
        if self.choices.picks(LpiCache::Kept) && !self.kept.contains_key(&intid) {
            let byte = self.fetch(intid, memory);
            self.kept.insert(intid, byte);
        }
    }

    /// How the redistributor would treat an LPI now.
    fn configuration(&self, intid: u32, memory: &Memory) -> LpiConfiguration {
        let kept = self.kept.get(&intid).copied();
        LpiConfiguration::from_bits(kept.unwrap_or_else(|| self.fetch(intid, memory)))
    }

    fn offered(&self, memory: &Memory) -> Option<u32> {
        let enabled = self.pending.iter().filter_map(|intid| {
            let configuration = self.configuration(*intid, memory);
            configuration.enabled().then_some((configuration.priority(), *intid))
        });
        let chosen = match self.choices.get() {
            EqualPriority::Lowest => enabled.min(),
            EqualPriority::Highest => {
                enabled.min_by_key(|(priority, intid)| (*priority, Reverse(*intid)))
            }
        };
        chosen.map(|(_, intid)| intid)
    }
}

impl Redistributor {
    /// Makes an LPI pending, if LPIs are on and it is one.
    pub(crate) fn set_pending(&mut self, intid: u32, memory: &Memory) {
        self.lpis.set_pending(intid, memory);
    }

    /// Clears the pending state; returns whether it was pending.
    pub(crate) fn clear_pending(&mut self, intid: u32) -> bool {
        self.lpis.pending.remove(&intid)
    }

    /// Takes all pending LPIs away, and what is known of them.
    pub(crate) fn take_pending(&mut self) -> BTreeSet<u32> {
        let taken = std::mem::take(&mut self.lpis.pending);
        for intid in &taken {
            self.forget(*intid);
        }
        taken
    }

    pub(crate) fn pending(&self) -> &BTreeSet<u32> {
        &self.lpis.pending
    }

    /// The LPI that it offers its CPU: pending, enabled, the most urgent.
    pub(crate) fn offered(&self, memory: &Memory) -> Option<u32> {
        self.lpis.offered(memory)
    }

    /// Its CPU takes what it is offered. Everything pending was weighed for it, so its
    /// configuration may be kept.
    pub(crate) fn acknowledge(&mut self, memory: &Memory) -> Option<u32> {
        for intid in self.lpis.pending.clone() {
            self.lpis.keep(intid, memory);
        }
        let taken = self.lpis.offered(memory)?;
        self.lpis.pending.remove(&taken);
        Some(taken)
    }

    /// Reads the configuration of an LPI anew when it is needed next.
    pub(crate) fn forget(&mut self, intid: u32) {
        self.lpis.kept.remove(&intid);
    }

    pub(crate) fn forget_all(&mut self) {
        self.lpis.kept.clear();
    }
}
