//! Level-2 growth (P8).

use its_el2::El2;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Table};

use crate::judge::Level2;
use crate::memory::{self, Span};

/// The level-2 table that a level-1 entry names, `None` where the entry is not valid.
/// `Some(Err)`: its bits are not those of an aligned address alone.
pub(crate) fn level2_of(entry: Level1Entry, table: Table) -> Option<Result<Span, Malformed>> {
    if !entry.is_valid() {
        return None;
    }
    if entry.other_bits(table.page_size) != 0 {
        return Some(Err(Malformed));
    }
    Some(Ok(Span { address: entry.address(table.page_size), bytes: table.page_size.bytes() }))
}

/// A level-1 entry with bits that have no meaning at this page size.
pub(crate) struct Malformed;

/// Makes sure that a level-2 table is there. If EL2's level-1 entry is not valid, reads the host's
/// once and makes the page that it names EL2's. False: there is none, and nothing changed.
pub(crate) fn grow<E: El2>(el2: &E, needed: Level2) -> bool {
    let table = needed.table.table();
    let own = table.address.wrapping_add(needed.offset);
    if Level1Entry(el2.read_word(own)).is_valid() {
        return true;
    }
    let host = needed.table.shadow.wrapping_add(needed.offset);
    let Some(Ok(level2)) = level2_of(Level1Entry(el2.read_word(host)), table) else {
        return false;
    };
    if !el2.is_memory(level2.address, level2.bytes) || memory::donate(el2, level2).is_err() {
        return false;
    }
    level2.pages().iter().for_each(|page| el2.zero_page(page));
    el2.clean(level2.address, level2.bytes);
    // The ITS may follow the entry as soon as it sees it.
    el2.order();
    el2.write_word(own, Level1Entry::valid(level2.address).0);
    el2.clean(own, LEVEL1_ENTRY_BYTES);
    true
}
