//! What software may expect of an ITS whose hardware it does not see: commands complete as CREADR
//! says, and what cannot be known of pending LPIs is open.

use its_gic::Command;
use its_gic::command::Words;
use its_gic::geometry::{Level1Entry, itt_bytes};
use its_machine::{Action, Event, Freedoms, Outcome};

use crate::architecture::{Architecture, Its};
use crate::path::{Undefined, explore};
use crate::possible::Truth;
use crate::tables::{COLLECTIONS, DEVICES};

impl Architecture {
    /// Allows each ITS more than it did before.
    pub fn allow(&mut self, wider: impl Fn(Freedoms) -> Freedoms) {
        for its in &mut self.its {
            its.freedoms = wider(its.freedoms);
        }
    }

    /// Returns whether the commands from CREADR to CWRITER are not all carried out.
    pub fn has_commands(&self, its: usize) -> bool {
        let registers = &self.its[its].registers;
        registers.writer() != Some(registers.offset())
    }

    /// Returns the words of the command at CREADR.
    pub fn next_command(&self, its: usize) -> Words {
        let registers = &self.its[its].registers;
        self.memory.command(registers.queue().slot(registers.offset()))
    }

    /// Returns the commands from CREADR up to an offset of the queue.
    pub fn commands_until(&self, its: usize, end: u64) -> impl Iterator<Item = Command> {
        let registers = &self.its[its].registers;
        let (queue, first) = (registers.queue(), registers.offset());
        let offsets = std::iter::successors(Some(first), move |at| Some(queue.after(*at)));
        let slots = queue.distance(first, end) as usize;
        offsets.take(slots).map(move |at| Command::decode(self.memory.command(queue.slot(at))))
    }

    /// Returns whether an ITS must carry out a command, whatever it chooses.
    pub fn must_execute(&self, its: usize, command: Command) -> bool {
        let ways = self.ways(its, command);
        ways.is_ok_and(|ways| ways.iter().all(|(_, result)| result.is_ok()))
    }

    /// Returns the redistributor that a collection is mapped to, if that is known.
    pub fn collection(&self, its: usize, icid: u16) -> Option<u8> {
        let tables = self.tables(its);
        let found =
            explore(&self.its[its].freedoms, |path| tables.collection_of(icid, path)).ok()?;
        match found[..] {
            [(_, Ok(redistributor))] => redistributor,
            _ => None,
        }
    }

    /// Carries out the command at CREADR, which the ITS must carry out.
    ///
    /// # Errors
    ///
    /// Where the architecture no longer says what must happen, or the ITS does not run.
    pub fn execute_next(&mut self, its: usize) -> Result<(), Undefined> {
        let words = self.next_command(its);
        let offset = self.its[its].registers.offset();
        let number = its as u8;
        let time = Action::Advance { its: number, commands: 1 };
        let done = Event::Consumed { its: number, offset, words, error: None };
        let judgement = self.judge(&time, &Outcome::Done, &[done]);
        match judgement.poisoned {
            None if judgement.findings.is_empty() => Ok(()),
            why => Err(why.unwrap_or("the ITS does not run")),
        }
    }

    /// Returns address and bytes of the pending tables of redistributors whose LPIs may be on.
    pub fn pending_tables(&self) -> impl Iterator<Item = (u64, u64)> {
        let on = self.redistributors.iter().filter(|one| one.on.possible());
        on.map(|one| one.tables()[1])
    }

    /// Returns the word of memory at an address that is a multiple of 8.
    pub fn word(&self, address: u64) -> u64 {
        self.memory.word(address)
    }

    /// Returns the words of memory in a range that are not zero, with their addresses.
    pub fn words(&self, address: u64, bytes: u64) -> impl Iterator<Item = (u64, u64)> {
        self.memory.words(address, bytes)
    }

    /// Returns address and bytes of the level-2 tables that valid level-1 entries name.
    pub fn level2_tables(&self) -> impl Iterator<Item = (u64, u64)> {
        let both = |its: &Its| [its.registers.table(DEVICES), its.registers.table(COLLECTIONS)];
        let tables = self.its.iter().flat_map(both).flatten().filter(|table| table.indirect);
        tables.flat_map(|table| {
            let entries = self.memory.words(table.address, table.bytes);
            let valid = entries.map(|(_, entry)| Level1Entry(entry)).filter(|one| one.is_valid());
            valid.map(move |entry| (entry.address(table.page_size), table.page_size.bytes()))
        })
    }

    /// Returns address and bytes of the ITTs of devices that may be mapped.
    pub fn itts(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.its.len()).flat_map(|its| {
            let entry_bytes = self.its[its].typer.itt_entry_bytes();
            let devices = self.devices(its).into_iter();
            devices.map(move |(_, itt, size)| (itt, itt_bytes(size, entry_bytes)))
        })
    }

    /// Returns the LPIs that may be pending at a redistributor, as far as they are known.
    pub fn pending_lpis(&self, redistributor: u8) -> impl Iterator<Item = (u32, Truth)> {
        self.redistributors[usize::from(redistributor)].pending.iter()
    }

    /// Returns whether an LPI is pending at a redistributor.
    pub fn is_pending(&self, redistributor: u8, intid: u32) -> Truth {
        self.redistributors[usize::from(redistributor)].pending.get(intid)
    }

    /// Forgets whether an LPI is pending at a redistributor.
    pub fn open_pending(&mut self, redistributor: u8, intid: u32) {
        self.redistributors[usize::from(redistributor)].pending.set(intid, Truth::Maybe);
    }

    /// Forgets whether the LPI of an event is pending, wherever an MSI may go.
    pub fn open_event(&mut self, event: (usize, u32, u32)) {
        let Some(targets) = self.msi(event) else {
            return self.lose_pending();
        };
        for (redistributor, intid) in targets.into_iter().flatten() {
            self.open_pending(redistributor, intid);
        }
    }
}
