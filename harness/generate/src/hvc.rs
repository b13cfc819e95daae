//! Phrases about hypercalls: how ITSs come to be guarded, and what is in the way.

use its_machine::ITS_FRAMES;

use super::{hostile, legal, several};
use crate::expected::RECORDS_PER_PAGE;
use crate::words::*;

/// Traffic next to it.
#[rustfmt::skip]
pub(super) const LEGAL: &[Phrase] = &[
    legal::map_device, legal::map_event, legal::interrupt, legal::unmap, legal::collection,
    several::other_its, several::other_its, legal::pages, legal::idle,
];

/// What is in the way, each with a set-up that meets it; then the driver's own set-up again.
#[rustfmt::skip]
pub(super) const HOSTILE: &[Phrase] = &[
    |draft| met(draft, overlapping), |draft| met(draft, overlapping),
    |draft| met(draft, straddling), |draft| met(draft, bad_field), |draft| met(draft, bad_field),
    |draft| met(draft, almost_right), |draft| met(draft, wrong_address),
    |draft| met(draft, wrong_address), |draft| met(draft, bad_live_device),
    |draft| met(draft, failing), |draft| met(draft, failing), |draft| met(draft, page_gone),
    |draft| met(draft, page_gone), hostile::page_life, early, again, |draft| met(draft, tampered),
    several::power_loss, hostile::bad_set_up, hostile::hypercalls, torn_down,
];

/// The host, while it still can, leaves the ITS at work or off for EL2 to find.
pub(super) fn busy(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    if draft.chance(1, 4) {
        draft.push(Operation::Disable { cpu });
        return;
    }
    let slots = u64::from(draft.expected.boot.queue_slots());
    let offset = draft.below(slots).saturating_mul(COMMAND_BYTES);
    // Reserved bits may be kept.
    let reserved = draft.pick(&[0, 0, 1 << 32, 1 << 20, 2], 0);
    if draft.chance(1, 2) {
        // Nothing is left to do.
        legal::reset_queue(draft);
        draft.write_cwriter(cpu, reserved);
    } else {
        draft.write_cwriter(cpu, offset | reserved);
    }
}

/// The host, while it still can, lets the ITS stall at the first slot. CWRITER says that nothing is
/// left.
pub(super) fn stalled(draft: &mut Draft<'_, '_>) {
    legal::reset_queue(draft);
    let cpu = draft.cpu();
    if draft.chance(1, 2) {
        draft.push(Operation::Stall { nth: 1 });
        draft.command(sync(0));
    } else {
        draft.command(HostCommand::Int { device_id: 3, event_id: 0 });
    }
    draft.post_and_poll();
    draft.maybe(3, 4, |draft| draft.write_cwriter(cpu, 0));
}

/// Offsets in the descriptor, in bytes: the length of the list of live devices, where that is, and
/// GITS_BASER2's table.
const LENGTH: u16 = 0x18;
const LIST: u16 = 0x20;
const DESCRIBES_BASER2: u16 = 0x80;

/// The host, while it still can, gives the ITS a third table, and describes it to EL2 or not.
pub(super) fn third_table(draft: &mut Draft<'_, '_>) {
    draft.rest();
    let cpu = draft.cpu();
    let memory = Place::page(Area::HOST, 32);
    draft.push(Operation::WriteBaser { cpu, index: 2, flip: Baser::VALID | memory.address() });
    draft.go_on();
    if draft.chance(1, 2) {
        return;
    }
    let page_bytes = draft.its().largest_page_size().bytes();
    let table_type = draft.expected.boot.baser2.field();
    let value = Baser::new().with_valid(true).with_type_field(table_type).with_entry_size(7);
    let of_table = |offset| {
        Place::at(draft.area(Area::DESCRIPTOR), 0, DESCRIBES_BASER2.saturating_add(offset))
    };
    let [base, shown, sizes] = [0, 0x10, 0x18].map(of_table);
    let order = (page_bytes / PAGE_BYTES).max(1).ilog2();
    draft.push_all([
        Operation::StoreAddress { cpu, at: base, of: memory, physical: false },
        Operation::Store { cpu, at: shown, value: value.into_bits() },
        Operation::Store { cpu, at: sizes, value: shape(order, page_bytes) },
    ]);
}

/// The host, while it still can, moves its queue or a table, and describes to EL2 where it is now.
pub(super) fn moved(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push_all([Operation::Disable { cpu }, Operation::Quiesce { cpu }]);
    let moved = draft.below(6);
    if moved < 4 {
        moved_queue(draft, cpu);
    }
    // Nothing is said of an ITS that is enabled with a table which is not aligned, or without one.
    let may_run = moved < 3 || moved_table(draft, cpu);
    if may_run && draft.chance(2, 3) {
        draft.push(Operation::Enable { cpu });
    }
}

/// Devices behind the first level-1 entries, while the driver can still map them; then an entry
/// behind those that is no level-2 table, or on one of them.
pub(super) fn bad_level1(draft: &mut Draft<'_, '_>) {
    let per_page = draft.its().largest_page_size().bytes() / 8;
    let entries = draft.between(1, 3);
    for entry in 0..entries {
        let device_id = entry.saturating_mul(per_page).saturating_add(1);
        let itt = Place::at(Area::ITT, 270_u16.saturating_add(entry as u16), 0);
        if device_id < draft.expected.device_ids() {
            let device_id = device_id as u32;
            draft.on_cpu(|cpu| Operation::MapDevice { cpu, device_id, event_id_bits: 1, itt });
        }
    }
    let behind = draft.between(0, entries).saturating_mul(8) as u16;
    let at = Place::at(draft.area(Area::DEVICE_TABLE), 0, behind);
    let bad = draft.bad_place().address() & !0xfff;
    let value = draft.pick(&[1 << 63, 1 << 63 | 1, 1 << 63 | bad], 1 << 63);
    draft.on_cpu(|cpu| Operation::Store { cpu, at, value });
}

/// Level-1 entries of the host that are not valid, and not zero either, before EL2 copies them.
pub(super) fn level1_with_contents(draft: &mut Draft<'_, '_>) {
    let devices = draft.expected.level1_index(0).map(|_| Area::DEVICE_TABLE);
    let here = draft.expected.here();
    let two_level = here.two_level_collections(draft.expected.boot);
    let collections = two_level.then_some(Area::COLLECTION_TABLE);
    let tables: Vec<Area> = devices.into_iter().chain(collections).collect();
    let Some(first) = tables.first() else { return };
    let table = draft.pick(&tables, *first);
    for _ in 0..draft.between(1, 3) {
        let behind = draft.between(1, 4).saturating_mul(8) as u16;
        let at = Place::at(draft.area(table), 0, behind);
        let value = (draft.word() & !Baser::VALID).max(1);
        draft.on_cpu(|cpu| Operation::Store { cpu, at, value });
        draft.clean(at);
    }
}

/// By pages that leave it aligned to 64 KiB, or not.
fn moved_queue(draft: &mut Draft<'_, '_>, cpu: u8) {
    let pages = draft.pick(&[1, 2, 4, 8, 15, 16, 32], 1);
    draft.push(Operation::WriteCbaser { cpu, flip: u64::from(pages).saturating_mul(PAGE_BYTES) });
    if draft.chance(7, 8) {
        // CREADR is 0 now.
        draft.write_cwriter(cpu, 0);
    }
    described_at(draft, cpu, 0x00, (Area::QUEUE, pages));
}

/// By ITS pages or less, or it is there no more. Whether the ITS can still run.
fn moved_table(draft: &mut Draft<'_, '_>, cpu: u8) -> bool {
    let index = draft.below(2) as u8;
    let area = if index == 0 { Area::DEVICE_TABLE } else { Area::COLLECTION_TABLE };
    let field = u16::from(index).saturating_mul(0x20).saturating_add(0x40);
    if draft.chance(1, 4) {
        draft.push(Operation::WriteBaser { cpu, index, flip: Baser::VALID });
        let at = Place::at(draft.area(Area::DESCRIPTOR), 0, field.saturating_add(0x10));
        draft.push(Operation::Store { cpu, at, value: 0 });
        return false;
    }
    let pages = draft.pick(&[1, 2, 3, 4, 8, 16], 1);
    let flip = u64::from(pages).saturating_mul(PAGE_BYTES);
    draft.push(Operation::WriteBaser { cpu, index, flip });
    draft.maybe(1, 3, |draft| described_at(draft, cpu, field, (area, pages)));
    let page_bytes = draft.its().largest_page_size().bytes();
    flip.is_multiple_of(page_bytes)
}

/// An address of the descriptor is so many pages into an area, if that has so many.
fn described_at(draft: &mut Draft<'_, '_>, cpu: u8, field: u16, (area, pages): (Area, u16)) {
    if pages >= area.pages() {
        return;
    }
    let at = Place::at(draft.area(Area::DESCRIPTOR), 0, field);
    let of = Place::page(draft.area(area), pages);
    draft.push(Operation::StoreAddress { cpu, at, of, physical: false });
}

fn call(
    draft: &mut Draft<'_, '_>,
    (private, descriptor): (Place, Place),
    private_pages: u16,
    device_flip: u64,
) {
    draft.on_cpu(|cpu| Operation::SetUp { cpu, private, descriptor, private_pages, device_flip });
}

/// The driver's set-up, which should fail.
fn fail(draft: &mut Draft<'_, '_>) {
    let before = draft.expected.here().guarded;
    legal::set_up(draft);
    draft.expected.set_up_failed(before);
}

/// Something in the way of a set-up, at an ITS that is not guarded; then it is written again, and
/// sometimes the set-up is made as the driver makes it. Where every ITS is guarded, traffic comes
/// instead, mostly: a set-up can only fail there.
fn met(draft: &mut Draft<'_, '_>, obstacle: Phrase) {
    if draft.expected.here().guarded {
        several::other_its(draft);
        if draft.expected.here().guarded && !draft.chance(1, 4) {
            return legal::map_device(draft);
        }
    }
    obstacle(draft);
    if draft.chance(1, 8) {
        return;
    }
    draft.on_cpu(|cpu| Operation::Describe { cpu });
    draft.maybe(1, 6, legal::set_up);
}

/// Private pages or descriptor over what something else is in, of this ITS or the other.
fn overlapping(draft: &mut Draft<'_, '_>) {
    let area = draft.pick(&draft.areas(), Area::QUEUE);
    let there = Place::page(area, draft.below(area.pages().min(4).into()) as u16);
    let pages = draft.pick(&[0, 1, 1, 2, 4, 16], 1);
    let [private, descriptor] = draft.own_places();
    let places = if draft.below(4) < 3 { (there, descriptor) } else { (private, there) };
    call(draft, places, pages, 0);
}

/// Across the end of a region, not aligned, too many, or at the wrong ITS.
fn straddling(draft: &mut Draft<'_, '_>) {
    let [private, descriptor] = draft.own_places();
    let pages = draft.pick(&[0, 1, 4, 5, 6, 1024, 1025, u16::MAX], 1);
    let offset = draft.pick(&[4, 8, 0x100, 0x800, 0xfff], 8);
    let flip = draft.word();
    // With its own address as a flip the first ITS's becomes 0.
    let flip = draft.pick(&[1 << 20, 0x1_0000, 0x9_0000, 0x1a_0000, 1, ITS_FRAMES[0], flip], 1);
    let anywhere = draft.word() & 0xf_ffff_ffff_ffff;
    let (places, pages, flip) = match draft.below(7) {
        0 => ((private, descriptor), pages, 0),
        1 => ((Place::page(Area::HIGH, 46), descriptor), pages, 0),
        2 => ((private, Place::page(Area::HOLE, 0)), 1, 0),
        3 => ((Place::at(draft.area(Area::PRIVATE), 0, offset), descriptor), 1, 0),
        4 => ((private, Place::at(draft.area(Area::DESCRIPTOR), 0, offset)), 1, 0),
        5 => ((private, Place::Absolute(anywhere)), 1, 0),
        _ => ((private, descriptor), 1, flip),
    };
    call(draft, places, pages, flip);
}

/// A word of the descriptor becomes another.
fn describe(draft: &mut Draft<'_, '_>, offset: u16, value: u64) {
    let at = Place::at(draft.area(Area::DESCRIPTOR), 0, offset);
    draft.on_cpu(|cpu| Operation::Store { cpu, at, value });
}

/// Offsets in the descriptor: of its head and of the tables.
fn field(draft: &mut Draft<'_, '_>) -> u16 {
    let table = draft.below(3).saturating_mul(0x20);
    let field = draft.pick(&[0x40, 0x48, 0x50, 0x58], 0x40);
    let of_table = table.saturating_add(field) as u16;
    draft.pick(&[0, 8, 0x10, 0x18, 0x20, of_table, of_table, of_table], 0)
}

/// A word of the descriptor is not as it should be.
fn bad_field(draft: &mut Draft<'_, '_>) {
    let offset = field(draft);
    let word = draft.word();
    let value = draft.pick(&[0, 1, 2, 257, 0x1000, 0x1_0000, 1 << 60, u64::MAX, word], 0);
    describe(draft, offset, value);
    fail(draft);
}

/// GITS_BASER<n>.Type.
const DEVICES: u8 = 1;
const COLLECTIONS: u8 = 4;

/// The descriptor is wrong in one field of a table: its shape, or its BASER where that counts.
fn almost_right(draft: &mut Draft<'_, '_>) {
    let configuration = draft.its();
    let page_bytes = configuration.largest_page_size().bytes();
    let (table, pages, type_field, entry_bytes) = if draft.chance(2, 3) {
        (0x40, draft.expected.boot.table_pages, DEVICES, configuration.device_entry_bytes)
    } else {
        (0x60, 1, COLLECTIONS, configuration.collection_entry_bytes)
    };
    let order = (page_bytes / PAGE_BYTES).saturating_mul(pages.into()).max(1).ilog2();
    let (field, value) = match draft.below(3) {
        0 => {
            let (next, last) = (order.saturating_add(1), order.saturating_sub(1));
            let other = [next, last, order | 32, order | 64, order | 0x100, order | 1 << 16];
            (0x18, shape(draft.pick(&other, order), page_bytes))
        }
        1 => {
            let other = [0x1000, 0x4000, 0x1_0000, 0x2_0000, 0, page_bytes | 1 << 31];
            (0x18, shape(order, draft.pick(&other, 0)))
        }
        _ => {
            let indirect = draft.chance(1, 2);
            let right = Baser::new()
                .with_valid(true)
                .with_indirect(indirect)
                .with_type_field(type_field)
                .with_entry_size(entry_bytes.saturating_sub(1));
            let bit = draft.pick(&[48, 50, 51, 56, 58, 62, 63], 62);
            (0x10, right.into_bits() ^ 1 << bit)
        }
    };
    describe(draft, table | field, value);
    fail(draft);
}

/// A table's order and the size of its ITS pages, as the descriptor has them in one word.
const fn shape(order: u32, page_bytes: u64) -> u64 {
    order as u64 | page_bytes << 32
}

/// An address in the descriptor is that of something else, the next page, or right but for a higher
/// bit.
fn wrong_address(draft: &mut Draft<'_, '_>) {
    let queue = (8, Area::QUEUE_COPY);
    let tables = [
        (0x40, Area::DEVICE_TABLE),
        (0x48, Area::DEVICE_TABLE_COPY),
        (0x60, Area::COLLECTION_TABLE),
        (0x68, Area::COLLECTION_TABLE_COPY),
    ];
    let table = draft.pick(&tables, queue);
    let fields = [(0, Area::QUEUE), queue, queue, (LIST, Area::LIVE_LIST), table, table];
    let (offset, right) = draft.pick(&fields, queue);
    let at = Place::at(draft.area(Area::DESCRIPTOR), 0, offset);
    let right = draft.area(right);
    let area = draft.pick(&draft.areas(), Area::QUEUE);
    let of = match draft.below(6) {
        0..=2 => draft.page_of(area),
        3 => draft.bad_place(),
        4 => Place::page(right, 1),
        _ => Place::of(draft.wrapped(right.address()) & 0xf_ffff_ffff_ffff),
    };
    let cpu = draft.cpu();
    let physical = draft.chance(1, 8);
    draft.push(Operation::StoreAddress { cpu, at, of, physical });
    fail(draft);
}

/// The list of live devices is wrong: a device twice, an ITT elsewhere, one device too many, or so
/// many that their bytes wrap around.
fn bad_live_device(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let list = draft.area(Area::LIVE_LIST);
    let devices = draft.expected.here().devices.len() as u64;
    let entry = draft.below(devices.max(1)).saturating_mul(16) as u16;
    let is_full = draft.expected.free_records() <= 16;
    let kind = if is_full && draft.chance(1, 2) { 4 } else { draft.below(5) };
    match kind {
        0 => {
            let (at, of) = (Place::at(list, 0, entry.saturating_add(8)), draft.bad_place());
            draft.push(Operation::StoreAddress { cpu, at, of, physical: true });
        }
        1 => {
            let (at, value) = (Place::at(list, 0, entry), draft.word());
            draft.push(Operation::Store { cpu, at, value });
        }
        2 if draft.chance(1, 2) => listed_twice(draft, cpu, devices),
        2 => listed_almost_right(draft, cpu, list),
        3 => list_before_a_page_in_use(draft),
        _ => {
            let at = Place::at(draft.area(Area::DESCRIPTOR), 0, LENGTH);
            let wrapped = draft.wrapped(devices);
            let others = draft.pick(&[0, 256, 257, 257, 512, 1024, 1025, wrapped, wrapped], 257);
            let next = draft.near(devices);
            let value = if is_full { draft.pick(&[next, next, others], next) } else { others };
            draft.push(Operation::Store { cpu, at, value });
        }
    }
    fail(draft);
}

/// As many devices are listed as there are records for, or some more. The page behind is shared,
/// or has an ITT of another ITS.
fn list_before_a_page_in_use(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let first = draft.below(4) as u16;
    let pages = u16::from(draft.expected.boot.private_pages);
    let behind = Place::page(Area::HOST, first.saturating_add(pages));
    if draft.chance(1, 3) {
        draft.push(Operation::Share { cpu, page: behind });
    } else {
        let its = draft.expected.current;
        several::other_its(draft);
        let device_id = draft.below(16) as u32;
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits: 5, itt: behind });
        draft.push(Operation::SelectIts { its });
    }
    let records = u64::from(pages).saturating_mul(RECORDS_PER_PAGE);
    let value = draft.near(records);
    let [length, list] = [LENGTH, LIST].map(|at| Place::at(draft.area(Area::DESCRIPTOR), 0, at));
    draft.push_all([
        Operation::StoreAddress {
            cpu,
            at: list,
            of: Place::page(Area::HOST, first),
            physical: false,
        },
        Operation::Store { cpu, at: length, value },
    ]);
}

/// A word of an entry is the driver's but for its Size, a higher bit, or its alignment.
fn listed_almost_right(draft: &mut Draft<'_, '_>, cpu: u8, list: Area) {
    let count = draft.expected.here().devices.len() as u64;
    let index = draft.below(count.max(1));
    let Some(device) = draft.expected.here().devices.get(index as usize) else { return };
    let device_id = u64::from(device.device_id);
    let size = u64::from(device.event_id_bits.saturating_sub(1));
    let itt = device.itt.address();
    let bits = u64::from(draft.its().event_id_bits);
    let (word, value) = match draft.below(4) {
        0 => (0, device_id | draft.near(bits).wrapping_shl(32)),
        1 => (0, draft.wrapped(device_id | size << 32)),
        2 => (8, draft.wrapped(itt)),
        _ => (8, itt.wrapping_add(draft.pick(&[1, 8, 0x20, 0x80], 0x80))),
    };
    let offset = (index.saturating_mul(16) as u16).saturating_add(word);
    draft.push(Operation::Store { cpu, at: Place::at(list, 0, offset), value });
}

/// One more entry of the list names a device that is in it, with an ITT elsewhere.
fn listed_twice(draft: &mut Draft<'_, '_>, cpu: u8, devices: u64) {
    let Some(device) = draft.some_device() else { return };
    let word =
        u64::from(device.device_id) | u64::from(device.event_id_bits.saturating_sub(1)) << 32;
    let of = draft.page_of(Area::ITT);
    let list = draft.area(Area::LIVE_LIST);
    let entry = Place::at(list, 0, 0).address().saturating_add(devices.saturating_mul(16));
    let itt = Place::of(entry.saturating_add(8));
    let number = Place::at(draft.area(Area::DESCRIPTOR), 0, LENGTH);
    draft.push_all([
        Operation::Store { cpu, at: number, value: devices.saturating_add(1) },
        Operation::Store { cpu, at: Place::of(entry), value: word },
        Operation::StoreAddress { cpu, at: itt, of, physical: true },
    ]);
}

/// A change of ownership fails somewhere in a set-up; the next one finds all as it was.
fn failing(draft: &mut Draft<'_, '_>) {
    use PageChange::{Donate, Pin, Reclaim, Share, Show, Unpin, Unshare};
    let changes = [Donate, Donate, Share, Pin, Unshare, Unpin, Reclaim, Show];
    let change = draft.pick(&changes, Donate);
    let most = draft.pick(&[4, 12, 60, 120], 12);
    let nth = draft.between(1, most) as u8;
    draft.push(Operation::Fail { change, nth });
    if draft.chance(1, 4) {
        // Undoing fails too.
        draft.fail(&changes, Pin, most);
    }
    fail(draft);
}

/// A page that set-up needs is shared, or a guest's; maybe it comes back.
fn page_gone(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let area = draft.pick(&draft.areas(), Area::PRIVATE);
    let page = Place::page(area, draft.below(area.pages().min(4).into()) as u16);
    let [gone, back] = legal::away(cpu, page, draft.chance(2, 3));
    draft.push(gone);
    fail(draft);
    draft.maybe(1, 2, legal::interrupt);
    draft.push(back);
}

/// Finalizing once more, a set-up that is too early, or one that names the other ITS.
fn early(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    match draft.below(4) {
        0 => draft.push(Operation::Finalize { cpu }),
        1 => legal::set_up(draft),
        2 => draft.push(Operation::SetUpRedistributors { cpu }),
        _ => {
            let swapped = draft.other_its();
            let other = |area: Area| Place::page(area.of_its(swapped), 0);
            call(draft, (other(Area::PRIVATE), other(Area::DESCRIPTOR)), 1, 0);
        }
    }
}

/// The emulation of an ITS may end, once that is at rest; or the host goes on.
pub(super) fn torn_down(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Disable { cpu });
    draft.maybe(7, 8, |draft| draft.push(Operation::Quiesce { cpu }));
    draft.push(Operation::TearDown { cpu });
    draft.maybe(3, 4, |draft| draft.push(Operation::Enable { cpu }));
}

/// A set-up that was made, with other pages or the same.
fn again(draft: &mut Draft<'_, '_>) {
    let [_, descriptor] = draft.own_places();
    legal::set_up(draft);
    let pages = draft.between(1, 4) as u16;
    call(draft, (Place::page(Area::HOST, 8), descriptor), pages, 0);
}

/// A word of descriptor or list, or a page's owner, changes between two reads of EL2.
fn tampered(draft: &mut Draft<'_, '_>) {
    let after = draft.below(40) as u8;
    let area = draft.pick(&[Area::DESCRIPTOR, Area::LIVE_LIST], Area::LIVE_LIST);
    let offset = if area == Area::DESCRIPTOR { field(draft) } else { draft.word_of(8) };
    let at = Place::at(draft.area(area), 0, offset);
    let value = draft.word();
    draft.push(Operation::Tamper { after, at, value });
    fail(draft);
}
