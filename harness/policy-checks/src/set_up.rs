//! S1 to S9: each check of `__pkvm_init_its_emulation`, by the errno in x1.

use crate::Seen::{Abort, Does, Read, Returned};
use crate::{CLOSING, OPEN, Row, lines, row};

/// The same with a device that is live at set-up: DeviceID 0, Size 4, ITT at `itt[0]`.
const LIVE: &str = "boot stage=deprivileged queue-pages=1 live-devices=1";
const FINALIZE: &str = "finalize; finalize cpu=1";
const SET_UP: &str = "set-up private=private[0] descriptor=descriptor[0] private-pages=1";
/// The last check of all fails: the last pending table is a private page.
const LATE_FAILURE: &str = "set-up private=pending[16] descriptor=descriptor[0] private-pages=1";
/// The host gives the ITS a third table of a page of 64 KiB, at `host[32]`.
const THIRD_TABLE: &str = "disable; quiesce; write-baser 2 flip=0x80000000802a0000; enable";
/// The descriptor says so too, but for the value of GITS_BASER2.
const THIRD_DESCRIBED: &str = "store-address descriptor[0]+0x80 of=host[32]; \
                               store descriptor[0]+0x98 value=0x1000000000004";
/// The host stops the ITS, whose queue and tables it may then write.
const STOP: &str = "disable; quiesce";

/// A row of the steps before the set-up, which returns `errno` or succeeds.
fn returns(check: &'static str, errno: &'static str, fails: &[&str], holds: &[&str]) -> Row {
    let with_call = |steps: &[&str]| lines(&[&lines(steps), SET_UP]);
    let fails = (with_call(fails), Returned(errno));
    row(check, fails, (with_call(holds), Returned("0")))
}

/// The same of the whole scenario.
fn calls(check: &'static str, errno: &'static str, fails: &[&str], holds: &[&str]) -> Row {
    row(check, (lines(fails), Returned(errno)), (lines(holds), Returned("0")))
}

/// The same of set-ups with other arguments.
fn arguments(check: &'static str, errno: &'static str, fails: &str, holds: &str) -> Row {
    calls(check, errno, &[CLOSING, fails], &[CLOSING, holds])
}

/// S7: the descriptor is written after the driver wrote it right.
fn described(check: &'static str, fails: &str, holds: &str) -> Row {
    returns(check, "-EINVAL", &[CLOSING, fails], &[CLOSING, holds])
}

/// The same of what describes a live device, which is true where the check holds.
fn listed(check: &'static str, fails: &str) -> Row {
    returns(check, "-EINVAL", &[LIVE, fails], &[LIVE])
}

/// EPERM, whatever the n-th change of page ownership returned that fails.
fn primitive(check: &'static str, boot: &str, change: &str, nth: u8) -> Row {
    let fails = |nth: u8| format!("fail {change} nth={nth}");
    returns(check, "-EPERM", &[boot, &fails(nth)], &[boot, &fails(255)])
}

pub(crate) fn rows() -> Vec<Row> {
    let sections = [who_calls(), arguments_of_the_call(), first_pages(), queue(), tables()];
    let more = [live_devices(), running(), records(), donated(), borrowed(), redistributors()];
    sections.into_iter().chain(more).chain([undo(), order(), other_calls()]).flatten().collect()
}

fn who_calls() -> Vec<Row> {
    let two = "boot stage=deprivileged queue-pages=1 its=2";
    let five = "boot stage=deprivileged queue-pages=1 its=5";
    let of_third = "set-up private=private3[0] descriptor=descriptor3[0] private-pages=1";
    let of_fourth = "set-up private=private4[0] descriptor=descriptor4[0] private-pages=1";
    let second =
        "select-its 1; set-up private=private1[0] descriptor=descriptor1[0] private-pages=1";
    let wrong_frame = "set-up private=private[0] descriptor=descriptor[0] private-pages=1 \
                       device-flip=0x10000";
    vec![
        returns(
            "S1: protected mode is on",
            "-EOPNOTSUPP",
            &[OPEN, "describe"],
            &[OPEN, "describe", FINALIZE],
        ),
        returns(
            "S2: every online CPU is finalized",
            "-EBUSY",
            &[OPEN, "describe; finalize"],
            &[OPEN, "describe; finalize; finalize cpu=1"],
        ),
        returns(
            "S4: no GITS_BASER<n> of Type 2 is Valid",
            "-EOPNOTSUPP",
            &["boot stage=probed queue-pages=1 baser2=vpes", "describe", THIRD_TABLE, FINALIZE],
            &["boot stage=probed queue-pages=1 baser2=vpes", "describe", STOP, "enable", FINALIZE],
        ),
        arguments("S3: x1 is a control frame", "-ENODEV", wrong_frame, SET_UP),
        calls(
            "S3: EL2 knows the ITS: it is one of four",
            "-ENODEV",
            &[five, "select-its 4", of_fourth],
            &[five, "select-its 3", of_third],
        ),
        calls(
            "S4: the ITS is not guarded yet",
            "-EOPNOTSUPP",
            &[two, SET_UP, SET_UP],
            &[two, SET_UP, second],
        ),
    ]
}

fn arguments_of_the_call() -> Vec<Row> {
    const E: &str = "-EINVAL";
    let set_up = |private: &str, descriptor: &str, pages: &str| {
        format!("set-up private={private} descriptor={descriptor} private-pages={pages}")
    };
    // x1 is the control frame. A physical address is not in the linear map.
    let raw = |private: &str, descriptor: &str| {
        format!("raw-hypercall x0=0xc6000021 x1=0x8080000 x2={private} x3={descriptor}")
    };
    // The last page before the hole is 0x800af000.
    let of_private = |place: &str, pages: &str| set_up(place, "descriptor[0]", pages);
    let of_descriptor = |place: &str| set_up("private[0]", place, "1");
    let with_extra = "boot stage=deprivileged queue-pages=1 private-pages=5";
    let check = |check, fails: String, holds: String| arguments(check, E, &fails, &holds);
    vec![
        check(
            "S5: private pages are page-aligned",
            of_private("private[0]+0x8", "1"),
            of_private("private[0]", "1"),
        ),
        check(
            "S5: private pages are in the linear map",
            raw("0x800a8000", "0xfff00000800ac000"),
            raw("0xfff00000800a8000", "0xfff00000800ac000"),
        ),
        check(
            "S5: private pages are in one region of memory",
            of_private("0x800af000", "2"),
            of_private("0x800ae000", "2"),
        ),
        check(
            "S5: private pages are memory",
            of_private("hole[0]", "1"),
            of_private("0x800af000", "1"),
        ),
        check(
            "S5: the descriptor is page-aligned",
            of_descriptor("descriptor[0]+0x8"),
            of_descriptor("descriptor[0]"),
        ),
        check(
            "S5: the descriptor is in the linear map",
            raw("0xfff00000800a8000", "0x800ac000"),
            raw("0xfff00000800a8000", "0xfff00000800ac000"),
        ),
        check(
            "S5: the descriptor is in one region of memory",
            of_descriptor("hole[0]"),
            of_descriptor("descriptor[0]"),
        ),
        check(
            "S5: private pages and descriptor are apart",
            of_private("private[3]", "2"),
            of_private("private[3]", "1"),
        ),
        calls(
            "S5: x4 is at most 1024",
            E,
            &[with_extra, &of_private("records[0]", "1025")],
            &[with_extra, &of_private("records[0]", "1024")],
        ),
        check("S5: x4 = 0 means 1", of_private("0x800af000", "2"), of_private("0x800af000", "0")),
    ]
}

fn first_pages() -> Vec<Row> {
    const E: &str = "-EPERM";
    let two_pages = "set-up private=private[0] descriptor=descriptor[0] private-pages=2";
    let list = |place: &str| format!("store-address descriptor[0]+0x20 of={place}");
    let dirty = "store private[0] value=0x5";
    let wrong_length = "store descriptor[0]+0x10 value=0x2000";
    let misaligned = "set-up private=private[0] descriptor=descriptor[0]+0x8 private-pages=1";
    // One device more than a page lists; the first entry is the driver's.
    let entry = "store 0x800af000 value=0x400000000; store-address 0x800af008 of=itt[0] physical";
    let at_the_end = lines(&[entry, &list("0x800af000")]);
    let more = "store descriptor[0]+0x18 value=0x101";
    vec![
        returns(
            "S6: private pages can be donated",
            E,
            &[CLOSING, "share private[0]"],
            &[CLOSING, "share private[1]"],
        ),
        calls(
            "S6: all private pages can be donated",
            E,
            &[CLOSING, "share private[1]", two_pages],
            &[CLOSING, "share private[2]", two_pages],
        ),
        row(
            "S6: private pages are zeroed once they are donated",
            (lines(&[CLOSING, dirty, wrong_length, SET_UP, "load private[0]"]), Read(0)),
            (lines(&[CLOSING, dirty, misaligned, "load private[0]"]), Read(5)),
        ),
        returns(
            "S6: the descriptor can be donated",
            E,
            &[CLOSING, "share descriptor[0]"],
            &[CLOSING, "share live-list[0]"],
        ),
        returns(
            "S6: the list can be borrowed",
            E,
            &[LIVE, &list("el2[0]")],
            &[LIVE, "share live-list[0]"],
        ),
        returns(
            "S6: a list of no devices is not borrowed",
            E,
            &[LIVE, &list("el2[0]")],
            &[CLOSING, &list("el2[0]")],
        ),
        returns(
            "S6: the list is page-aligned",
            E,
            &[LIVE, &list("live-list[0]+0x8")],
            &[LIVE, &list("live-list[0]")],
        ),
        returns(
            "S6: the list is in the linear map",
            E,
            &[LIVE, "store descriptor[0]+0x20 value=0x800ad000"],
            &[LIVE, "store descriptor[0]+0x20 value=0xfff00000800ad000"],
        ),
        returns(
            "S6: all of the list is memory",
            E,
            &[LIVE, &at_the_end, more],
            &[LIVE, &at_the_end],
        ),
        primitive("S6: EPERM whatever a donation returned", CLOSING, "donate", 1),
        primitive("S6: EPERM whatever a donation of the descriptor returned", CLOSING, "donate", 2),
        primitive("S6: EPERM whatever a pin of the list returned", LIVE, "pin", 1),
        row(
            "S6: the list is given back",
            (lines(&[LIVE, SET_UP, "unshare live-list[0]"]), Returned("-EPERM")),
            (lines(&[LIVE, "share live-list[0]", SET_UP, "unshare live-list[0]"]), Returned("0")),
        ),
    ]
}

fn queue() -> Vec<Row> {
    const E: &str = "-EINVAL";
    let start = "write its0 CWRITER 0x0; enable";
    let two_pages = "boot stage=deprivileged queue-pages=2";
    let copy = |place: &str| format!("store-address descriptor[0]+0x8 of={place}");
    let moved = |flip: &str, queue: &str| {
        let cbaser = format!("write-cbaser flip={flip}");
        let described = format!("store-address descriptor[0] of={queue}");
        lines(&[OPEN, "describe", STOP, &cbaser, start, &described, FINALIZE])
    };
    vec![
        returns(
            "S7: CBASER is Valid",
            E,
            &[&moved("0x8000000000000000", "queue[0]")],
            &[&moved("0x0", "queue[0]")],
        ),
        returns(
            "S7: the queue is 64 KiB aligned",
            E,
            &[&moved("0x1000", "queue[1]")],
            &[&moved("0x0", "queue[0]")],
        ),
        described(
            "S7: the queue's address is CBASER's",
            "store-address descriptor[0] of=queue[1]",
            "store-address descriptor[0] of=queue[0]",
        ),
        described(
            "S7: the queue's address is in the linear map",
            "store descriptor[0] value=0x80000000",
            "store descriptor[0] value=0xfff0000080000000",
        ),
        described(
            "S7: the queue's length is CBASER's",
            "store descriptor[0]+0x10 value=0x2000",
            "store descriptor[0]+0x10 value=0x1000",
        ),
        described(
            "S7: the queue's length is in bytes",
            "store descriptor[0]+0x10 value=0x1001",
            "store descriptor[0]+0x10 value=0x1000",
        ),
        described(
            "S7: the copy of the queue is page-aligned",
            &copy("queue-copy[0]+0x20"),
            &copy("queue-copy[1]"),
        ),
        described(
            "S7: the copy of the queue is in the linear map",
            "store descriptor[0]+0x8 value=0x80070000",
            "store descriptor[0]+0x8 value=0xfff0000080070000",
        ),
        returns(
            "S7: the copy of the queue is in one region for its whole length",
            E,
            &[two_pages, &copy("0x800af000")],
            &[two_pages, &copy("0x800ae000")],
        ),
    ]
}

/// `GITS_BASER<n>` as the driver left it: a device table of two levels, a flat collection table.
const BASERS: [u64; 2] = [0xf907_0000_8001_0600, 0xbc07_0000_8003_0600];

/// What the descriptor says of table n, but for some bits of one of its words.
fn table(n: u64, offset: u64, right: u64, flip: u64) -> String {
    format!("store descriptor[0]+{:#x} value={:#x}", 0x40 + 0x20 * n + offset, right ^ flip)
}

fn tables() -> Vec<Row> {
    let rows = [agreed_values(), agreed_sizes(), level1_copies(), aligned_tables()];
    rows.into_iter().flatten().chain(third_tables()).collect()
}

/// The descriptor agrees with GITS_BASER2 in each.
fn third_tables() -> Vec<Row> {
    let third = |check, kind: &str, value: &str| {
        let boot = format!("boot stage=probed queue-pages=1 baser2={kind}");
        let shown = format!("store descriptor[0]+0x90 value={value}");
        let fails = [&boot, "describe", THIRD_TABLE, THIRD_DESCRIBED, &shown, FINALIZE];
        let holds = [&boot, "describe", STOP, "enable", THIRD_DESCRIBED, FINALIZE];
        returns(check, "-EINVAL", &fails, &holds)
    };
    vec![
        third("S7: at most one table of Type 1", "devices", "0x8107000000000000"),
        third("S7: at most one table of Type 4", "collections", "0x8407000000000000"),
        third("S7: a Valid table has Type 1 or 4", "reserved", "0x8707000000000000"),
    ]
}

fn agreed_values() -> Vec<Row> {
    let value = |n: u64, flip: u64| {
        let right = BASERS.get(n as usize).copied().unwrap_or(0);
        table(n, 0x10, right, flip)
    };
    let check = |check, n, fails, holds| described(check, &value(n, fails), &value(n, holds));
    let (valid, indirect, inner_cache) = (1 << 63, 1 << 62, 1 << 61);
    let (type_bit, entry_size, outer_cache) = (1 << 58, 1 << 52, 1 << 53);
    vec![
        check("S7: Valid of table 0 agrees", 0, valid, inner_cache),
        check("S7: Valid of table 1 agrees", 1, valid, inner_cache),
        check("S7: Valid of table 2 agrees", 2, valid, inner_cache),
        check("S7: Valid of table 3 agrees", 3, valid, inner_cache),
        check("S7: Valid of table 4 agrees", 4, valid, inner_cache),
        check("S7: Valid of table 5 agrees", 5, valid, inner_cache),
        check("S7: Valid of table 6 agrees", 6, valid, inner_cache),
        check("S7: Valid of table 7 agrees", 7, valid, inner_cache),
        check("S7: Indirect of table 0 agrees", 0, indirect, inner_cache),
        check("S7: Indirect of table 1 agrees", 1, indirect, inner_cache),
        check("S7: Type of table 0 agrees", 0, type_bit, 1 << 59),
        check("S7: Type of table 1 agrees", 1, 1 << 56, outer_cache << 2),
        check("S7: Entry_Size of table 0 agrees", 0, entry_size, outer_cache),
        check("S7: Entry_Size of table 1 agrees", 1, 1 << 48, 1 << 47),
    ]
}

fn agreed_sizes() -> Vec<Row> {
    let base = |n: u64, flip| table(n, 0, 0xfff0_0000_8001_0000 + 0x2_0000 * n, flip);
    let sizes = |n, flip| table(n, 0x18, 0x1_0000_0000_0004, flip);
    let page_size = |flip: u64| flip << 32;
    vec![
        described("S7: base of table 0 agrees", &base(0, 0x1000), &base(0, 0)),
        described(
            "S7: base of table 0 agrees above 2^48",
            "store-address descriptor[0]+0x40 of=high[16]",
            "store-address descriptor[0]+0x40 of=device-table[0]",
        ),
        described(
            "S7: the queue's address agrees above 2^48",
            "store-address descriptor[0] of=high[0]",
            "store-address descriptor[0] of=queue[0]",
        ),
        described("S7: base of table 1 agrees", &base(1, 0x1_0000), &base(1, 0)),
        described("S7: base of table 0 is in the linear map", &base(0, 1 << 52), &base(0, 0)),
        described("S7: 2^order pages of table 0 are its bytes", &sizes(0, 1), &sizes(0, 0)),
        described("S7: 2^order pages of table 1 are its bytes", &sizes(1, 4), &sizes(1, 0)),
        described("S7: an order has 32 bits", &sizes(0, 0x40), &sizes(0, 0)),
        described(
            "S7: ITS page size of table 0 agrees",
            &sizes(0, page_size(0x1_4000)),
            &sizes(0, 0),
        ),
        described(
            "S7: ITS page size of table 1 agrees",
            &sizes(1, page_size(0x1_1000)),
            &sizes(1, 0),
        ),
    ]
}

fn level1_copies() -> Vec<Row> {
    let copy = |n: u64, place: &str| {
        format!("store-address descriptor[0]+{:#x} of={place}", 0x48 + 0x20 * n)
    };
    let of_pages =
        |n: u8| format!("its0 page-size=4K; boot stage=deprivileged queue-pages=1 table-pages={n}");
    let collections = "its0 two-level-collections=yes; \
                       boot stage=deprivileged queue-pages=1 collections=two-level";
    let linear = |value: &str| format!("store descriptor[0]+0x48 value={value}");
    vec![
        described(
            "S7: the copy of a level-1 table is page-aligned",
            &copy(0, "device-table-copy[0]+0x8"),
            &copy(0, "device-table-copy[1]"),
        ),
        described(
            "S7: a flat table has no copy",
            &copy(0, "device-table-copy[0]+0x8"),
            &copy(1, "collection-table-copy[0]+0x8"),
        ),
        described(
            "S7: the copy of a level-1 table is in the linear map",
            &linear("0x80080000"),
            &linear("0xfff0000080080000"),
        ),
        returns(
            "S7: the copy of a level-1 table of collections is page-aligned",
            "-EINVAL",
            &[collections, &copy(1, "collection-table-copy[0]+0x8")],
            &[collections, &copy(1, "collection-table-copy[0]")],
        ),
        returns(
            "S7: the copy of a level-1 table is in one region for its whole length",
            "-EINVAL",
            &[&of_pages(2), &copy(0, "0x800af000")],
            &[&of_pages(2), &copy(0, "0x800ae000")],
        ),
    ]
}

fn aligned_tables() -> Vec<Row> {
    // Nobody says what an ITS does that is enabled with such a table. So it is off, and S8 fails
    // where S7 holds.
    let moved = |n: u8, flip: &str| {
        let baser = format!("write-baser {n} flip={flip}");
        let boot = "its0 page-size=16K; boot stage=probed queue-pages=1";
        lines(&[boot, "describe", STOP, &baser, FINALIZE, SET_UP])
    };
    let check = |check, n| {
        let fails = (moved(n, "0x1000"), Returned("-EINVAL"));
        row(check, fails, (moved(n, "0x0"), Returned("-EBUSY")))
    };
    vec![
        check("S7: the device table has no address bits below its ITS page size", 0),
        check("S7: the collection table has no address bits below its ITS page size", 1),
    ]
}

fn live_devices() -> Vec<Row> {
    const E: &str = "-EINVAL";
    let two = "boot stage=deprivileged queue-pages=1 live-devices=2";
    let first = |value: &str| format!("store live-list[0] value={value}");
    // The host spoils the address, after so many words that EL2 read of the list.
    let tampered = |after: u8| format!("tamper live-list[0]+0x8 after={after} value=0x80140080");
    let mapped = |its: &str, device: &str, bits: &str| {
        let map = format!("map-device device={device} event-id-bits={bits} itt=itt[0]");
        lines(&[its, OPEN, &map, "describe", FINALIZE])
    };
    let (narrow, flat) = ("its0 device-id-bits=4", "its0 two-level=no page-size=4K");
    let (few_events, many_events) = ("its0 event-id-bits=6", "its0 event-id-bits=20");
    let [last, last_in_table] = [mapped(narrow, "0xf", "5"), mapped(flat, "0x1ff", "5")];
    let [widest, sixteen] = [mapped(few_events, "0x0", "6"), mapped(many_events, "0x0", "16")];
    let check = |check, true_list: &str, entry: &str| {
        returns(check, E, &[true_list, &first(entry)], &[true_list])
    };
    vec![
        check("S7: a live DeviceID is below 2^(Devbits+1)", &last, "0x400000010"),
        check("S7: a live DeviceID is within the device table", &last_in_table, "0x400000200"),
        check("S7: a live device's Size is at most ID_bits", &widest, "0x600000000"),
        check("S7: a live device's Size is at most 15", &sixteen, "0x1000000000"),
        listed("S7: a live device's Size has 32 bits", &first("0x10400000000")),
        listed("S7: a live ITT is 256-byte aligned", "store live-list[0]+0x8 value=0x80140080"),
        listed("S7: a live ITT is below 2^52", "store live-list[0]+0x8 value=0x10000080140000"),
        returns(
            "S7: each word of the list is read once",
            E,
            &[LIVE, &tampered(1)],
            &[LIVE, &tampered(2)],
        ),
        returns(
            "S7: no two live devices have the same DeviceID",
            E,
            &[two, "store live-list[0]+0x10 value=0x400000000"],
            &[two, "store live-list[0]+0x10 value=0x400000001"],
        ),
    ]
}

fn running() -> Vec<Row> {
    const E: &str = "-EBUSY";
    let slow = "its0 pace=never; boot stage=probed queue-pages=1";
    let sync = "command SYNC rdbase=redistributor0";
    let stalled = "stall 1; write-cwriter; poll 1; rewind 1";
    vec![
        returns(
            "S8: Enabled is 1",
            E,
            &[OPEN, "describe; disable", FINALIZE],
            &[OPEN, "describe; disable; enable", FINALIZE],
        ),
        returns(
            "S8: CREADR is CWRITER",
            E,
            &[slow, sync, "describe; write-cwriter", FINALIZE],
            &[slow, sync, "describe; write-cwriter; advance 1", FINALIZE],
        ),
        returns(
            "S8: the ITS is not stalled",
            E,
            &[OPEN, sync, stalled, "write-cwriter; describe", FINALIZE],
            &[OPEN, sync, stalled, "write-cwriter retry; describe", FINALIZE],
        ),
    ]
}

fn records() -> Vec<Row> {
    // A page carries 256 devices. The list goes on into a page that nobody uses.
    let mapped = "map-devices device=0x0 count=256 stride=0x1 event-id-bits=1 itt=itt[0]";
    let full = lines(&["boot stage=probed", mapped, "describe", FINALIZE]);
    vec![returns(
        "S9: there is a record for every live device",
        "-ENOSPC",
        &[&full, "store descriptor[0]+0x18 value=0x101"],
        &[&full],
    )]
}

fn donated() -> Vec<Row> {
    const E: &str = "-EPERM";
    let small = "its0 page-size=4K; boot stage=deprivileged queue-pages=1";
    let two_pages = "boot stage=deprivileged queue-pages=2";
    let level2 = |entry: &str| {
        let store = format!("store device-table[0]+0x8 value={entry}");
        lines(&[OPEN, &store, "describe", FINALIZE])
    };
    let collections = |entry: &str| {
        let its = "its0 two-level-collections=yes";
        let boot = "boot stage=probed queue-pages=1 collections=two-level";
        let store = format!("store collection-table[0]+0x8 value={entry}");
        lines(&[its, boot, &store, "describe", FINALIZE])
    };
    let check = |check, fails: &[&str], holds: &[&str]| returns(check, E, fails, holds);
    vec![
        check("S9.1: the queue", &[CLOSING, "share queue[0]"], &[CLOSING, "share queue[1]"]),
        check(
            "S9.1: all of the queue",
            &[two_pages, "share queue[1]"],
            &[two_pages, "share queue[2]"],
        ),
        primitive("S9.1: EPERM whatever a donation returned", CLOSING, "donate", 3),
        check(
            "S9.1: flat tables",
            &[small, "share collection-table[0]"],
            &[small, "share collection-table[1]"],
        ),
        check(
            "S9.1: level-1 tables",
            &[small, "share device-table[0]"],
            &[small, "share device-table[1]"],
        ),
        check(
            "S9.1: all of a level-1 table",
            &[CLOSING, "share device-table[15]"],
            &[CLOSING, "share device-table[16]"],
        ),
        check(
            "S9.1: level-2 tables that a valid entry names",
            &[&level2("0x80000000800d0000"), "share level2[16]"],
            &[&level2("0x800d0000"), "share level2[16]"],
        ),
        check(
            "S9.1: all of a level-2 table",
            &[&level2("0x80000000800d0000"), "share level2[31]"],
            &[&level2("0x80000000800d0000"), "share level2[32]"],
        ),
        check(
            "S9.1: level-2 tables of collections",
            &[&collections("0x80000000800d0000"), "share level2[16]"],
            &[&collections("0x800d0000"), "share level2[16]"],
        ),
        check(
            "S9.1: a valid entry has no other bit",
            &[&level2("0x80000000800d0001")],
            &[&level2("0x80000000800d0000")],
        ),
        check(
            "S9.1: a valid entry's address is aligned to the ITS page",
            &[&level2("0x80000000800d1000")],
            &[&level2("0x80000000800d0000")],
        ),
        check(
            "S9.1: a valid entry names memory",
            &[&level2("0x80000000800b0000")],
            &[&level2("0x80000000800d0000")],
        ),
        calls(
            "S9.1: private pages are not on the queue",
            E,
            &[CLOSING, "set-up private=queue[0] descriptor=descriptor[0] private-pages=1"],
            &[CLOSING, "set-up private=queue[1] descriptor=descriptor[0] private-pages=1"],
        ),
    ]
}

fn borrowed() -> Vec<Row> {
    const E: &str = "-EPERM";
    let small = "its0 page-size=4K; boot stage=deprivileged queue-pages=1";
    let queue_copy = |place: &str| format!("store-address descriptor[0]+0x8 of={place}");
    let table_copy = |place: &str| format!("store-address descriptor[0]+0x48 of={place}");
    let itt = |place: &str| format!("store-address live-list[0]+0x8 of={place} physical");
    let check = |check, fails: &[&str], holds: &[&str]| returns(check, E, fails, holds);
    vec![
        check(
            "S9.2: the copy of the queue",
            &[CLOSING, &queue_copy("el2[0]")],
            &[CLOSING, "share queue-copy[0]"],
        ),
        primitive("S9.2: EPERM whatever a share returned", LIVE, "share", 2),
        primitive("S9.2: EPERM whatever a pin returned", LIVE, "pin", 2),
        check(
            "S9.2: the copy of the queue is not on a table",
            &[small, &queue_copy("collection-table[0]")],
            &[small, &queue_copy("collection-table[1]")],
        ),
        check(
            "S9.2: the copy of a level-1 table",
            &[small, &table_copy("el2[0]")],
            &[small, "share device-table-copy[0]"],
        ),
        check(
            "S9.2: the copy of a level-1 table is not on the queue",
            &[small, &table_copy("queue[0]")],
            &[small, &table_copy("queue[1]")],
        ),
        check(
            "S9.2: two copies may share a page",
            &[small, &table_copy("queue[0]")],
            &[small, &table_copy("queue-copy[0]")],
        ),
        check("S9.2: an ITT that is EL2's", &[LIVE, &itt("el2[0]")], &[LIVE, &itt("itt[0]")]),
        check("S9.2: an ITT outside memory", &[LIVE, &itt("hole[0]")], &[LIVE, &itt("itt[0]")]),
        check("S9.2: an ITT on the queue", &[LIVE, &itt("queue[0]")], &[LIVE, &itt("itt[0]")]),
        check(
            "S9.2: an ITT on a table",
            &[LIVE, &itt("device-table[15]")],
            &[LIVE, &itt("itt[0]")],
        ),
        row(
            "S9.2: the ITT of a live device is pinned",
            (lines(&[LIVE, SET_UP, "unshare itt[0]"]), Returned("-EBUSY")),
            (lines(&[CLOSING, SET_UP, "unshare itt[0]"]), Returned("-EPERM")),
        ),
    ]
}

fn redistributors() -> Vec<Row> {
    let private =
        |place: &str| format!("set-up private={place} descriptor=descriptor[0] private-pages=1");
    let check = |check, fails, holds| arguments(check, "-EPERM", &private(fails), &private(holds));
    let with_lpis = |cpu: &str| {
        let init = format!("init-cpu cpu={cpu}");
        lines(&["boot stage=reset queue-pages=1; probe", &init, "describe", FINALIZE])
    };
    let narrow = "boot stage=deprivileged queue-pages=1 intid-bits=14";
    let no_lpi = lines(&[
        "boot stage=reset queue-pages=1; probe; write redistributor0 PROPBASER 0x8004078c",
        "write redistributor0 PENDBASER 0x4000000080050780; write redistributor0 CTLR 0x1",
        "describe",
        FINALIZE,
    ]);
    let two = "boot stage=deprivileged queue-pages=1 its=2";
    let wrong = "store descriptor[0]+0x10 value=0x2000";
    let late = LATE_FAILURE;
    vec![
        check("S9.3: the configuration table", "configuration[13]", "configuration[14]"),
        check("S9.3: the pending table", "pending[1]", "pending[2]"),
        check("S9.3: the pending table of each redistributor", "pending[17]", "pending[18]"),
        calls(
            "S9.3: the configuration table is as long as IDbits says",
            "-EPERM",
            &[narrow, &private("configuration[1]")],
            &[narrow, &private("configuration[2]")],
        ),
        calls(
            "S9.3: a redistributor with EnableLPIs",
            "-EPERM",
            &[&with_lpis("1"), &private("pending[16]")],
            &[&with_lpis("0"), &private("pending[16]")],
        ),
        calls(
            "S9.3: with IDbits below 13 the pending table alone",
            "-EPERM",
            &[&no_lpi, &private("pending[0]")],
            &[&no_lpi, &private("configuration[0]")],
        ),
        row(
            "S9.3: borrowed by a set-up that succeeds",
            (lines(&[CLOSING, SET_UP, "unshare pending[0]"]), Returned("-EBUSY")),
            (lines(&[CLOSING, wrong, SET_UP, "unshare pending[0]"]), Returned("-EPERM")),
        ),
        row(
            "S9.3: borrowed by the next set-up after one that failed",
            (lines(&[CLOSING, late, SET_UP, "unshare pending[0]"]), Returned("-EBUSY")),
            (lines(&[CLOSING, late, "unshare pending[0]"]), Returned("-EPERM")),
        ),
        row(
            "S9.3: borrowed by the first set-up for all ITSs",
            (lines(&[two, "share pending[2]", SET_UP, "unshare pending[0]"]), Returned("-EBUSY")),
            (lines(&[two, "share pending[2]", SET_UP, "unshare pending[2]"]), Returned("0")),
        ),
    ]
}

fn undo() -> Vec<Row> {
    const GO_BACK: &[&str] = &[
        "own: donate pending[16] = 0",
        "EL2 zeroes pending[16]",
        "EL2 zeroes pending[16]",
        "EL2 cleans pending[16] (0x1000 bytes)",
        "own: reclaim pending[16] = 0",
    ];
    let late = LATE_FAILURE;
    let after = |check, then: &'static str, failed, succeeded| {
        let steps = |call| lines(&[LIVE, call, then]);
        row(check, (steps(late), failed), (steps(SET_UP), succeeded))
    };
    let free = Returned("0");
    let is_el2s = Returned("-EPERM");
    vec![
        after("Set-up fails: the queue is the host's", "share queue[0]", free, is_el2s),
        after("Set-up fails: the tables are the host's", "share device-table[0]", free, is_el2s),
        after("Set-up fails: level-2 tables are the host's", "share level2[0]", free, is_el2s),
        after("Set-up fails: the descriptor is the host's", "share descriptor[0]", free, is_el2s),
        after("Set-up fails: the copies are not shared", "share queue-copy[0]", free, is_el2s),
        after("Set-up fails: ITTs are not shared", "share itt[0]", free, is_el2s),
        after(
            "Set-up fails: redistributors' tables are not shared",
            "share configuration[0]",
            free,
            is_el2s,
        ),
        row(
            "Set-up fails: private pages are zeroed and cleaned before they go back",
            (lines(&[LIVE, late]), Does(GO_BACK)),
            (lines(&[LIVE, SET_UP]), Returned("0")),
        ),
        row(
            "Set-up fails: the list is given back",
            (lines(&[LIVE, late, "unshare live-list[0]"]), Returned("-EPERM")),
            (lines(&[LIVE, "share live-list[0]", late, "unshare live-list[0]"]), Returned("0")),
        ),
        row(
            "Set-up succeeds: private pages stay EL2's",
            (lines(&[CLOSING, SET_UP, "load private[0]"]), Abort),
            (lines(&[CLOSING, SET_UP, "load private[1]"]), Read(0)),
        ),
        row(
            "Set-up succeeds: the descriptor page stays EL2's",
            (lines(&[CLOSING, SET_UP, "load descriptor[0]"]), Abort),
            (lines(&[CLOSING, SET_UP, "load live-list[0]"]), Read(0)),
        ),
        calls(
            "Set-up fails: the next one can succeed",
            "-EPERM",
            &[LIVE, late],
            &[LIVE, late, SET_UP],
        ),
    ]
}

/// Two checks fail: the first of them has its errno. Without it the second has.
fn order() -> Vec<Row> {
    let wrong_frame = "set-up private=private[0] descriptor=descriptor[0] private-pages=1 \
                       device-flip=0x10000";
    let misaligned = "set-up private=private[0] descriptor=descriptor[0]+0x8 private-pages=1";
    let shared = "share private[0]";
    let length = "store descriptor[0]+0x10 value=0x2000";
    let stopped = lines(&[OPEN, "describe; disable", FINALIZE]);
    let mapped = "map-devices device=0x0 count=256 stride=0x1 event-id-bits=1 itt=itt[0]";
    let full = lines(&["boot stage=probed", mapped, "describe", FINALIZE, "share queue[0]"]);
    let check = |check, first: &[&str], errno, second: &[&str], next| {
        row(check, (lines(first), Returned(errno)), (lines(second), Returned(next)))
    };
    vec![
        check(
            "S2 comes before S3",
            &[OPEN, "describe; finalize", wrong_frame],
            "-EBUSY",
            &[CLOSING, wrong_frame],
            "-ENODEV",
        ),
        check(
            "S3 comes before S4",
            &[CLOSING, SET_UP, wrong_frame],
            "-ENODEV",
            &[CLOSING, SET_UP, SET_UP],
            "-EOPNOTSUPP",
        ),
        check(
            "S4 comes before S5",
            &[CLOSING, SET_UP, misaligned],
            "-EOPNOTSUPP",
            &[CLOSING, misaligned],
            "-EINVAL",
        ),
        check(
            "S5 comes before S6",
            &[CLOSING, shared, misaligned],
            "-EINVAL",
            &[CLOSING, shared, SET_UP],
            "-EPERM",
        ),
        check(
            "S6 comes before S7",
            &[CLOSING, shared, length, SET_UP],
            "-EPERM",
            &[CLOSING, length, SET_UP],
            "-EINVAL",
        ),
        check(
            "S7 comes before S8",
            &[&stopped, length, SET_UP],
            "-EINVAL",
            &[&stopped, SET_UP],
            "-EBUSY",
        ),
        check(
            "S8 comes before S9",
            &[&stopped, "share queue[0]", SET_UP],
            "-EBUSY",
            &[CLOSING, "share queue[0]", SET_UP],
            "-EPERM",
        ),
        check(
            "S9: records come before pages",
            &[&full, "store descriptor[0]+0x18 value=0x101", SET_UP],
            "-ENOSPC",
            &[&full, SET_UP],
            "-EPERM",
        ),
    ]
}

fn other_calls() -> Vec<Row> {
    const E: &str = "-EOPNOTSUPP";
    let guarded = "boot queue-pages=1";
    let finalize = "finalize";
    let check = |check, stage: &str, call: &str, then: &str| {
        calls(check, E, &[stage, call], &[stage, call, then])
    };
    let share = "share host[0]";
    vec![
        check("Set-up of redistributors in Open", OPEN, "set-up-redistributors", finalize),
        check("Set-up of redistributors in Closing", CLOSING, "set-up-redistributors", SET_UP),
        check("Set-up of redistributors in Guarded", guarded, "set-up-redistributors", share),
        check("End in Open", OPEN, "tear-down", finalize),
        check("End in Closing", CLOSING, "tear-down", SET_UP),
        check("End in Guarded", guarded, "tear-down", share),
    ]
}
