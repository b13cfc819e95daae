//! The command table: which commands are accepted, in which words, and what they need first.
//! Decides, does nothing.

use its_gic::Command;
use its_gic::geometry::Location;
use its_gic::register::TableType;

use crate::guarded::{Facts, GuardedTable};
use crate::records::Itt;

/// The most EventID bits of an ITT, minus 1 (P6).
pub(crate) const LARGEST_SIZE: u8 = 15;

#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    /// As the hardware gets it: reserved bits and fields without meaning cleared.
    pub(crate) command: Command,
    /// What must be present before.
    pub(crate) level2: Option<Level2>,
    /// What must be borrowed before.
    pub(crate) itt: Option<Itt>,
}

/// A level-2 table, by its place in the level-1 table.
#[derive(Clone, Copy)]
pub(crate) struct Level2 {
    pub(crate) table: GuardedTable,
    /// Bytes from the start of the level-1 table.
    pub(crate) offset: u64,
}

enum Entry {
    /// In a flat table or in the ITS itself.
    Present,
    Behind(Level2),
}

impl Entry {
    fn level2(self) -> Option<Level2> {
        match self {
            Self::Present => None,
            Self::Behind(level2) => Some(level2),
        }
    }
}

/// Judges one command. `known` says whether an RDbase names a redistributor.
pub(crate) fn judge(
    facts: &Facts,
    command: Command,
    known: impl Fn(u64) -> bool,
) -> Option<Accepted> {
    let plain = |command| Accepted { command, level2: None, itt: None };
    match command {
        Command::Mapd { device_id, size, itt_address: address, valid: true } => {
            let entry = device_entry(facts, device_id)?;
            let fits = size <= facts.typer.id_bits().min(LARGEST_SIZE);
            fits.then_some(Accepted {
                command,
                level2: entry.level2(),
                itt: Some(Itt { address, size }),
            })
        }
        Command::Mapd { device_id, .. } => {
            device_entry(facts, device_id)?;
            Some(plain(Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }))
        }
        Command::Mapc { icid, rdbase, valid: true } => {
            let entry = collection_entry(facts, icid)?;
            known(rdbase).then_some(Accepted { command, level2: entry.level2(), itt: None })
        }
        Command::Mapc { icid, .. } => {
            collection_entry(facts, icid)?;
            Some(plain(Command::Mapc { icid, rdbase: 0, valid: false }))
        }
        Command::Sync { rdbase } => known(rdbase).then_some(plain(command)),
        Command::Movall { from_rdbase, to_rdbase } => {
            (known(from_rdbase) && known(to_rdbase)).then_some(plain(command))
        }
        Command::Mapti { .. }
        | Command::Mapi { .. }
        | Command::Movi { .. }
        | Command::Discard { .. }
        | Command::Int { .. }
        | Command::Clear { .. }
        | Command::Inv { .. }
        | Command::Invall { .. } => Some(plain(command)),
        Command::Raw { .. } => None,
    }
}

/// `None`: DeviceID out of range, of what the ITS has or of its table.
fn device_entry(facts: &Facts, device_id: u32) -> Option<Entry> {
    if u64::from(device_id) >= facts.typer.device_ids() {
        return None;
    }
    table_entry(facts.table(TableType::Devices)?, device_id)
}

/// `None`: ICID out of range, of what the ITS has or, from HCC on, of its table.
fn collection_entry(facts: &Facts, icid: u16) -> Option<Entry> {
    if u64::from(icid) >= facts.typer.collection_ids() {
        return None;
    }
    if icid < u16::from(facts.typer.hcc()) {
        return Some(Entry::Present);
    }
    table_entry(facts.table(TableType::Collections)?, u32::from(icid))
}

fn table_entry(table: GuardedTable, id: u32) -> Option<Entry> {
    let shape = table.table();
    if u64::from(id) >= shape.capacity() {
        return None;
    }
    Some(match shape.locate(id) {
        Location::Flat(_) => Entry::Present,
        Location::Indirect { level1_entry, .. } => {
            Entry::Behind(Level2 { table, offset: level1_entry.wrapping_sub(shape.address) })
        }
    })
}

#[cfg(test)]
mod tests {
    use its_gic::{Baser, Typer};

    use super::*;

    /// 2^9 DeviceIDs and ICIDs, 2^10 EventIDs, 4 collections in the ITS itself, and flat tables of
    /// one page.
    fn facts(entry_bytes: u8) -> Facts {
        let table = |table_type| GuardedTable {
            recorded: Baser::new()
                .with_valid(true)
                .with_type_field(table_type)
                .with_entry_size(entry_bytes - 1),
            valid: true,
            shadow: 0,
        };
        let typer = Typer::new().with_devbits(8).with_id_bits(9).with_cil(true);
        Facts {
            typer: typer.with_cidbits(8).with_hcc(4),
            tables: core::array::from_fn(|n| match n {
                1 => table(1),
                2 => table(4),
                _ => table(0),
            }),
        }
    }

    fn is_accepted(facts: &Facts, command: Command) -> bool {
        judge(facts, command, |rdbase| rdbase == 7).is_some()
    }

    fn mapd(device_id: u32, size: u8, valid: bool) -> Command {
        Command::Mapd { device_id, size, itt_address: 0, valid }
    }

    fn mapc(icid: u16, rdbase: u64, valid: bool) -> Command {
        Command::Mapc { icid, rdbase, valid }
    }

    #[test]
    fn ids_are_bounded_by_what_the_its_has_and_by_the_table() {
        // 2^9 ids, and tables for 1024, 512 and 256 of them.
        for (entry_bytes, ids) in [(4, 512), (8, 512), (16, 256)] {
            let facts = facts(entry_bytes);
            for (id, accepted) in [(ids - 1, true), (ids, false)] {
                for valid in [false, true] {
                    assert_eq!(is_accepted(&facts, mapd(id, 9, valid)), accepted);
                    assert_eq!(is_accepted(&facts, mapc(id as u16, 7, valid)), accepted);
                }
            }
        }
    }

    #[test]
    fn without_a_table_only_collections_of_the_its_itself_are_left() {
        let mut facts = facts(8);
        for table in &mut facts.tables {
            table.recorded.set_valid(false);
        }
        let commands = [mapd(0, 0, true), mapd(0, 0, false), mapc(3, 7, true), mapc(4, 7, true)];
        let accepted = commands.map(|command| is_accepted(&facts, command));
        assert_eq!(accepted, [false, false, true, false]);
    }

    #[test]
    fn sizes_are_bounded_by_the_its_and_by_16_bits() {
        let mut facts = facts(8);
        assert!(!is_accepted(&facts, mapd(0, 10, true)));
        facts.typer.set_id_bits(31);
        assert!(is_accepted(&facts, mapd(0, 15, true)));
        assert!(!is_accepted(&facts, mapd(0, 16, true)));
    }

    #[test]
    fn targets_exist_and_fields_without_meaning_are_cleared() {
        let movall = |from_rdbase, to_rdbase| Command::Movall { from_rdbase, to_rdbase };
        let unmap = Command::Mapd { device_id: 1, size: 31, itt_address: 0xff00, valid: false };
        let invall = Command::Invall { icid: 0xffff };
        for (given, written) in [
            (unmap, Some(mapd(1, 0, false))),
            (mapc(1, 99, false), Some(mapc(1, 0, false))),
            (mapc(1, 7, true), Some(mapc(1, 7, true))),
            (mapc(1, 1 << 32 | 7, true), None),
            (movall(7, 7), Some(movall(7, 7))),
            (movall(7, 8), None),
            (movall(8, 7), None),
            (Command::Sync { rdbase: 8 }, None),
            (invall, Some(invall)),
            // VMAPP, and no command at all.
            (Command::Raw { words: [0x29, 0, 0, 0] }, None),
            (Command::Raw { words: [0xff, 1, 2, 3] }, None),
        ] {
            let accepted = judge(&facts(8), given, |rdbase| rdbase == 7);
            assert_eq!(accepted.map(|accepted| accepted.command), written, "{given:?}");
        }
    }
}
