//! The physical ITS: works from memory as hardware does, in a format of its own, and decides all
//! validity itself.
//!
//! - `registers`: the control frame
//! - `queue`: fetching commands, at its pace
//! - `commands`: what each command is checked for; `mapping` and `interrupts` carry it out
//! - `effects`: MSIs that still go the way from before a command
//! - `tables`: where entries are; `cache`: what is held of them; `scan`: all that memory and caches
//!   hold
//! - `reach`: the account of every pointer that the ITS can follow
//! - `power`: what is left after power was lost
//! - `format`: what entries look like

mod cache;
mod commands;
mod effects;
mod format;
mod interrupts;
mod mapping;
mod power;
mod queue;
mod reach;
mod registers;
mod scan;
mod tables;
#[cfg(test)]
mod tests;

use core::num::NonZeroU16;

use its_gic::register::BASER_COUNT;
use its_gic::{Baser, Cbaser};
use its_machine::{Choices, Coherence, Event, ItsConfiguration, Machine};

use crate::memory::Memory;
use crate::ownership::Ownership;
use crate::redistributor::Redistributor;
use cache::Cache;
use effects::Unsettled;
use reach::Account;
pub(crate) use reach::exposure;

pub(crate) struct Bus<'a> {
    pub machine: &'a Machine,
    pub memory: &'a mut Memory,
    pub ownership: &'a Ownership,
    pub redistributors: &'a mut [Redistributor],
    pub events: &'a mut Vec<Event>,
    pub stores: &'a mut Vec<Stored>,
    /// Somebody only looks at the ITS: caches stay as they are.
    pub looking: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Stored {
    /// Physical address, 8-byte aligned.
    pub address: u64,
    /// The account of the ITS that stored it has it already.
    pub accounted: bool,
}

/// Where the device table is among the BASERs, and the collection table.
pub(crate) const DEVICES: usize = 0;
pub(crate) const COLLECTIONS: usize = 1;

/// DeviceID and EventID.
type EventKey = (u32, u32);

#[derive(Clone)]
pub(crate) struct PhysicalIts {
    index: u8,
    configuration: ItsConfiguration,
    coherence: Coherence,
    enabled: bool,
    /// Enabled was cleared with work left, and it has not ended yet.
    stopping: bool,
    /// Power was lost while Enabled was 1, and nobody wrote GITS_CTLR since.
    lost_at_work: bool,
    /// Reads of CTLR for which Quiescent is still 0 after it ended.
    late_reads: u8,
    statusr: u64,
    cbaser: Cbaser,
    /// GITS_CBASER as it was written last with Valid set. A loss of power does not change it.
    written_cbaser: Cbaser,
    /// GITS_CWRITER.Offset as it was last written, in range or not.
    cwriter: u64,
    /// The reserved bits of GITS_CWRITER, where they are kept.
    cwriter_reserved: u64,
    creadr: u64,
    stalled: bool,
    /// The scenario wants the ITS to stall at the command that it fetches so many fetches from now;
    /// 1 is the next.
    pub(crate) stall_at: Option<NonZeroU16>,
    basers: [Baser; BASER_COUNT as usize],
    /// RDbase of each collection that is held without memory.
    collections: Vec<Option<u64>>,
    cache: Cache,
    unsettled: Unsettled,
    account: Account,
}

impl PhysicalIts {
    pub(crate) fn new(index: u8, machine: &Machine) -> Self {
        let configuration = machine.configuration(index);
        Self {
            index,
            configuration,
            coherence: machine.coherence,
            enabled: false,
            stopping: false,
            lost_at_work: false,
            late_reads: 0,
            statusr: 0,
            cbaser: Cbaser::new(),
            written_cbaser: Cbaser::new(),
            cwriter: 0,
            cwriter_reserved: 0,
            creadr: 0,
            stalled: false,
            stall_at: None,
            basers: machine.reset_basers(index),
            collections: vec![None; configuration.hardware_collections.into()],
            cache: Cache::default(),
            unsettled: Unsettled::default(),
            account: Account::default(),
        }
    }

    /// All ITSs of a machine, as they are after reset.
    pub(crate) fn all(machine: &Machine) -> Vec<Self> {
        let numbers = (0..=u8::MAX).take(machine.its.len());
        numbers.map(|number| Self::new(number, machine)).collect()
    }

    fn choices(&self) -> Choices {
        self.configuration.choices
    }
}
