//! P4 to P8, P11 and P12 by the states of pages.
//!
//! A page tells its state: `unshare` returns -EBUSY if it is shared and pinned, 0 if it is shared,
//! and -EPERM if it is the host's own or EL2's. A load from what is EL2's is refused.

use crate::Seen::{Abort, Does, Read, Returned, Writes};
use crate::{BOOT, FLAT, POST, Row, lines, row};

/// A case in which the ITS has something to do.
const LOOKED: &str = "boot queue-pages=1; poll 1";
/// Tables of one level, and the ITS takes commands when the scenario says so.
const SLOW_FLAT: &str = "its0 two-level=no pace=never; boot queue-pages=1";
/// The ITS takes a command, and EL2 sees it.
const CONSUMED: &str = "advance 1; poll 1";

const PINNED: crate::Seen = Returned("-EBUSY");
const NOT_SHARED: crate::Seen = Returned("-EPERM");
const SHARED: crate::Seen = Returned("0");

fn mapd(device: u8, size: u8, place: &str) -> String {
    format!("command MAPD device={device:#x} size={size:#x} itt={place} valid; {POST}")
}

fn unmap(device: u8) -> String {
    format!("command MAPD device={device:#x} size=0x0 itt=itt[9]; {POST}")
}

/// A row of scenarios that end in the same question about a page.
fn page(
    check: &'static str,
    (one, is): (&[&str], crate::Seen),
    (other, is_not): (&[&str], crate::Seen),
    question: &str,
) -> Row {
    let text = |steps: &[&str]| lines(&[&lines(steps), question]);
    row(check, (text(one), is), (text(other), is_not))
}

/// A row of two places, with the same question about each.
fn places(
    check: &'static str,
    steps: &str,
    question: &str,
    (one, is): (&str, crate::Seen),
    (other, is_not): (&str, crate::Seen),
) -> Row {
    let text = |place: &str| lines(&[steps, &format!("{question} {place}")]);
    row(check, (text(one), is), (text(other), is_not))
}

pub(crate) fn rows() -> Vec<Row> {
    let sections = [owned(), growth(), borrowed_at_set_up(), touched(), pins(), marks()];
    let more = [submission(), consumption(), record_of_each(), in_flight(), undone(), bounds()];
    sections.into_iter().chain(more).flatten().collect()
}

/// P4: what is EL2's, and the page after it.
fn owned() -> Vec<Row> {
    let levels = "its0 page-size=4K two-level-collections=yes; \
                  boot queue-pages=1 live-devices=1 collections=two-level";
    let check = |check, one: &str, other: &str| {
        places(check, levels, "share", (one, NOT_SHARED), (other, SHARED))
    };
    let load = |check, one: &str, other: &str| {
        places(check, LOOKED, "load", (one, Abort), (other, Read(0)))
    };
    vec![
        load("P4: the queue is EL2's", "queue[0]", "queue[1]"),
        load("P4: a level-1 table is EL2's", "device-table[15]", "device-table[16]"),
        check("P4: a level-1 table of one page is EL2's", "device-table[0]", "device-table[1]"),
        check("P4: a level-1 table of collections", "collection-table[0]", "collection-table[1]"),
        check("P4: the first level-2 table", "level2[0]", "level2[2]"),
        check("P4: the second level-2 table", "level2[1]", "level2[3]"),
        check("P4: the descriptor is EL2's", "descriptor[0]", "live-list[0]"),
        check("P4: private pages are EL2's", "private[0]", "private[1]"),
    ]
}

/// P4 and P8: a level-2 table that joins later.
fn growth() -> Vec<Row> {
    const JOINS: &[&str] = &[
        "own: donate level2[16] and 15 more pages = 0",
        "EL2 zeroes level2[16]",
        "EL2 zeroes level2[31]",
        "EL2 cleans level2[16] (0x10000 bytes)",
        "EL2 orders memory",
        "EL2 stores device-table[0]+0x8 := 0x80000000800d0000",
        "EL2 cleans device-table[0]+0x8 (0x8 bytes)",
    ];
    let entry = "grow device=0x2000 level2=level2[16]";
    let other_entry = "grow device=0x2000 level2=level2[32]";
    // The host names another table, after so many of EL2's reads of what the host can write: the
    // command, then the entry.
    let tampered = |after: u8| {
        let value = "0x80000000800e0000";
        let command = "command MAPD device=0x2000 size=0x4 itt=itt[3] valid";
        let tamper = format!("tamper device-table-copy[0]+0x8 after={after} value={value}");
        lines(&[command, &tamper, POST])
    };
    let map = |device: &str| {
        lines(&[&format!("command MAPD device={device} size=0x4 itt=itt[3] valid"), POST])
    };
    let (first, second) = (map("0x2000"), map("0x2001"));
    let unmapped = lines(&["command MAPD device=0x2000 size=0x0 itt=itt[3]", POST, "poll 1"]);
    let is_read = Does(&["EL2 reads device-table[0]+0x8 = 0x80000000800d0000"]);
    vec![
        row(
            "P4: a level-2 table is donated, zeroed, cleaned and ordered before its entry",
            (lines(&[BOOT, entry, &first]), Does(JOINS)),
            (lines(&[BOOT, entry, &first, &second]), is_read),
        ),
        page(
            "P4: a level-2 table that joined is EL2's",
            (&[BOOT, entry, &first], Abort),
            (&[BOOT, entry, &map("0x4000")], Read(0)),
            "load level2[31]",
        ),
        page(
            "P4: a level-2 table that joined is not longer than an ITS page",
            (
                &["its0 page-size=16K", BOOT, "grow device=0x800 level2=level2[16]", &map("0x800")],
                Read(0),
            ),
            (&[BOOT, entry, &first], Abort),
            "load level2[20]",
        ),
        page(
            "P8: EL2 reads the host's entry once",
            (&[BOOT, entry, &tampered(1)], Read(0)),
            (&[BOOT, entry, &tampered(2)], Abort),
            "load level2[16]",
        ),
        page(
            "P8: V=0 never grows a table",
            (&[BOOT, entry, &unmapped], Read(0)),
            (&[BOOT, entry, &first], Abort),
            "load level2[16]",
        ),
        page(
            "P8: a level-2 table never goes back",
            (&[BOOT, entry, &first, &unmapped], Abort),
            (&[BOOT, entry, &unmapped], Read(0)),
            "load level2[16]",
        ),
        page(
            "P8: a valid entry of EL2's stays",
            (&[BOOT, entry, &first, other_entry, &second], Read(0)),
            (&[BOOT, other_entry, &second], Abort),
            "load level2[32]",
        ),
        page(
            "P8: the host's entry is one for an ITS page",
            (&[BOOT, "grow device=0x2000 level2=level2[16] flip=0x1", &first], Read(0)),
            (&[BOOT, entry, &first], Abort),
            "load level2[16]",
        ),
    ]
}

/// P5: what set-up borrowed, and the page after it.
fn borrowed_at_set_up() -> Vec<Row> {
    let check = |check, one: &str, other: &str| {
        places(check, BOOT, "unshare", (one, PINNED), (other, NOT_SHARED))
    };
    vec![
        check("P5: the copy of the queue", "queue-copy[0]", "queue-copy[1]"),
        check("P5: the copy of a level-1 table", "device-table-copy[15]", "device-table-copy[16]"),
        check("P5: the configuration table", "configuration[13]", "configuration[14]"),
        check("P5: the pending table of the first redistributor", "pending[1]", "pending[2]"),
        check("P5: the pending table of the second redistributor", "pending[17]", "pending[18]"),
    ]
}

/// P5: all pages that an ITT touches.
fn touched() -> Vec<Row> {
    let second_page = |check, (board, size, place): (&str, u8, &str), other: (&str, u8, &str)| {
        let text = |(board, size, place): (&str, u8, &str)| lines(&[board, &mapd(1, size, place)]);
        let (one, other) = (text((board, size, place)), text(other));
        page(check, (&[&one], PINNED), (&[&other], NOT_SHARED), "unshare itt[4]")
    };
    let wide = "its0 two-level=no itt-entry-bytes=16; boot queue-pages=1";
    let odd = "its0 two-level=no itt-entry-bytes=9; boot queue-pages=1";
    vec![
        second_page(
            "P5: an ITT touches pages by its Size",
            (FLAT, 5, "itt[3]+0xf00"),
            (FLAT, 4, "itt[3]+0xf00"),
        ),
        second_page(
            "P5: an ITT touches pages by its offset in the first",
            (FLAT, 5, "itt[3]+0xf00"),
            (FLAT, 4, "itt[3]+0xf00"),
        ),
        second_page(
            "P5: an ITT touches pages by ITT_entry_size",
            (wide, 4, "itt[3]+0xf00"),
            (FLAT, 4, "itt[3]+0xf00"),
        ),
        second_page("P5: an ITT entry may have 9 bytes", (odd, 8, "itt[3]"), (FLAT, 8, "itt[3]")),
        page(
            "P5: the page after an ITT of many pages is not borrowed",
            (&[FLAT, &mapd(1, 15, "itt[3]")], PINNED),
            (&[FLAT, &mapd(1, 14, "itt[3]")], NOT_SHARED),
            "unshare itt[130]",
        ),
    ]
}

/// P5: several structures on one page.
fn pins() -> Vec<Row> {
    let two = lines(&[&mapd(1, 4, "itt[3]"), &mapd(2, 4, "itt[3]+0x800")]);
    let same = lines(&[&mapd(1, 4, "itt[3]"), &mapd(2, 4, "itt[3]")]);
    let two_its = "its0 two-level=no; its1 two-level=no; boot queue-pages=1 its=2";
    let of_two = lines(&[two_its, &mapd(1, 4, "itt[3]"), "select-its 1", &mapd(1, 4, "itt[3]")]);
    let (one, other) = (lines(&[&unmap(1), "poll 1"]), lines(&[&unmap(2), "poll 1"]));
    let question = "unshare itt[3]";
    let unmapped = |count: u8| {
        let each: Vec<String> = (0..count).map(unmap).collect();
        lines(&[&each.join("; "), "poll 1"])
    };
    let sixteen = "map-devices device=0x0 count=16 stride=0x1 event-id-bits=5 itt=itt[3]";
    vec![
        page(
            "P5: two ITTs on one page",
            (&[FLAT, &two, &one], PINNED),
            (&[FLAT, &two, &one, &other], NOT_SHARED),
            question,
        ),
        page(
            "P5: two devices with one ITT",
            (&[FLAT, &same, &one], PINNED),
            (&[FLAT, &same, &one, &other], NOT_SHARED),
            question,
        ),
        page(
            "P5: sixteen ITTs on one page",
            (&[FLAT, sixteen, &unmapped(15)], PINNED),
            (&[FLAT, sixteen, &unmapped(16)], NOT_SHARED),
            question,
        ),
        page(
            "P5: ITTs of two ITSs on one page",
            (&[&of_two, &one], PINNED),
            (&[&of_two, &one, "select-its 0", &one], NOT_SHARED),
            question,
        ),
        row(
            "P5: an ITT on the page of a copy",
            (lines(&[FLAT, &mapd(1, 4, "queue-copy[0]"), &one, "unshare queue-copy[0]"]), PINNED),
            (
                lines(&[FLAT, &mapd(1, 4, "queue-copy[1]"), &one, "unshare queue-copy[1]"]),
                NOT_SHARED,
            ),
        ),
    ]
}

/// P5: who shared a page, and what the host may do with it meanwhile.
fn marks() -> Vec<Row> {
    let map = &mapd(1, 4, "itt[3]");
    let gone = &lines(&[&unmap(1), "poll 1"]);
    let (share, unshare) = ("share itt[3]", "unshare itt[3]");
    let fails = "fail unshare nth=1";
    vec![
        page(
            "P5: a page that the emulation shared is unshared with the last pin",
            (&[FLAT, map, gone], NOT_SHARED),
            (&[FLAT, share, map, gone], SHARED),
            unshare,
        ),
        page(
            "P5: the mark goes with the last pin",
            (&[FLAT, map, gone, map, gone], NOT_SHARED),
            (&[FLAT, map, gone, share, map, gone], SHARED),
            unshare,
        ),
        page(
            "P5: the mark stays for as long as there is a pin",
            (&[FLAT, map, &mapd(2, 4, "itt[3]"), gone, &unmap(2), "poll 1"], NOT_SHARED),
            (&[FLAT, share, map, &mapd(2, 4, "itt[3]"), gone, &unmap(2), "poll 1"], SHARED),
            unshare,
        ),
        page(
            "P5: a page that cannot be unshared stays as it is (P13)",
            (&[FLAT, map, gone], NOT_SHARED),
            (&[FLAT, map, fails, gone], SHARED),
            unshare,
        ),
        page(
            "P5: if unsharing fails, the mark goes all the same",
            (&[FLAT, map, gone, map, gone], NOT_SHARED),
            (&[FLAT, map, fails, gone, map, gone], SHARED),
            unshare,
        ),
        page(
            "P5: the host cannot share a borrowed page",
            (&[FLAT, map], NOT_SHARED),
            (&[FLAT, map, gone], SHARED),
            share,
        ),
        page(
            "P5: a borrowed page cannot be donated",
            (&[FLAT, map], NOT_SHARED),
            (&[FLAT, map, gone], SHARED),
            "donate-guest itt[3]",
        ),
        places(
            "P5: a borrowed page stays the host's",
            LOOKED,
            "load",
            ("device-table-copy[0]", Read(0)),
            ("device-table[0]", Abort),
        ),
    ]
}

/// P6: an ITT is borrowed at submission.
fn submission() -> Vec<Row> {
    let question = "unshare itt[3]";
    let written = "command MAPD device=0x1 size=0x4 itt=itt[3] valid";
    let refused = "command MAPD device=0x1 size=0x10 itt=itt[3] valid";
    let full = |count: usize| vec!["command SYNC rdbase=redistributor0"; count].join("; ");
    vec![
        page(
            "P6: an ITT is borrowed when its MAPD is submitted",
            (&[SLOW_FLAT, written, POST], PINNED),
            (&[SLOW_FLAT, written], NOT_SHARED),
            question,
        ),
        page(
            "P6: an ITT is borrowed only if its MAPD is accepted",
            (&[SLOW_FLAT, written, POST], PINNED),
            (&[SLOW_FLAT, refused, POST], NOT_SHARED),
            question,
        ),
        page(
            "P6: an ITT is not borrowed before its MAPD is judged",
            (&[SLOW_FLAT, &full(63), written, POST], PINNED),
            (&[SLOW_FLAT, &full(64), written, POST], NOT_SHARED),
            question,
        ),
    ]
}

/// P6 and P14: an ITT is given back when a later MAPD was consumed.
fn consumption() -> Vec<Row> {
    let mapped = &lines(&[SLOW_FLAT, &mapd(1, 4, "itt[3]"), CONSUMED]);
    let again = &mapd(1, 4, "itt[9]");
    let unmapped = &unmap(1);
    let of_first = |check, one: &[&str], other: &[&str]| {
        page(check, (one, PINNED), (other, NOT_SHARED), "unshare itt[3]")
    };
    vec![
        of_first(
            "P6: given back when MAPD V=0 was consumed",
            &[mapped, unmapped, "poll 1"],
            &[mapped, unmapped, CONSUMED],
        ),
        of_first(
            "P14: given back when that was seen",
            &[mapped, unmapped, "advance 1"],
            &[mapped, unmapped, CONSUMED],
        ),
        of_first(
            "P6: given back when a later MAPD V=1 was consumed",
            &[mapped, again, "poll 1"],
            &[mapped, again, CONSUMED],
        ),
        of_first(
            "P6: MAPD V=0 of another device gives nothing back",
            &[mapped, &unmap(2), CONSUMED],
            &[mapped, unmapped, CONSUMED],
        ),
        page(
            "P6: the later ITT of a device is held at once",
            (&[mapped, again], PINNED),
            (&[mapped], NOT_SHARED),
            "unshare itt[9]",
        ),
        page(
            "P6: the later ITT of a device stays",
            (&[mapped, again, CONSUMED], PINNED),
            (&[mapped, again, CONSUMED, unmapped, CONSUMED], NOT_SHARED),
            "unshare itt[9]",
        ),
        page(
            "MAPD V=0: the recorded ITT is given back, not the command's",
            (&[mapped, &mapd(2, 4, "itt[9]"), CONSUMED, unmapped, CONSUMED], PINNED),
            (&[mapped, &mapd(2, 4, "itt[9]"), CONSUMED, &unmap(2), CONSUMED], NOT_SHARED),
            "unshare itt[9]",
        ),
        of_first(
            "P9: nothing is released while Enabled is 0",
            &[mapped, unmapped, "disable; poll 1"],
            &[mapped, unmapped, "advance 1; disable; poll 1"],
        ),
    ]
}

/// P7: DeviceIDs that have bits in common.
fn record_of_each() -> Vec<Row> {
    let narrow = "its0 two-level=no pace=at-once; boot queue-pages=1";
    let full = "boot live-devices=255; map-device device=0x1000 event-id-bits=5 itt=itt[60]; \
                unmap-device device=0x1";
    let next = "map-device device=0x1001 event-id-bits=5 itt=itt[61]";
    let map =
        |device: &str, itt: &str| format!("map-device device={device} event-id-bits=0x5 itt={itt}");
    // Each DeviceID agrees with 0 in one bit more than the last.
    let path = (0..20).map(|bit| map(&format!("{:#x}", 1 << bit), "itt[3]"));
    let path: Vec<String> = path.chain([map("0x0", "itt[4]")]).collect();
    let deep = lines(&["its0 device-id-bits=20; boot queue-pages=1", &path.join("; ")]);
    let below = lines(&[
        narrow,
        &map("0x0", "itt[3]"),
        &map("0x2", "itt[4]"),
        &map("0x4", "itt[5]"),
        &map("0x6", "itt[6]"),
        "unmap-device device=0x0",
    ]);
    let check = |check, one: &str, other: &str| {
        let both = lines(&[narrow, &map(one, "itt[3]"), &map(other, "itt[9]")]);
        let gone = |device: &str| lines(&[&both, &format!("unmap-device device={device}")]);
        let (other_gone, one_gone) = (gone(other), gone(one));
        page(check, (&[&other_gone], PINNED), (&[&one_gone], NOT_SHARED), "unshare itt[3]")
    };
    vec![
        page(
            "P7: a record that was freed carries the next device",
            (&[full, next], PINNED),
            (&[full, next, "unmap-device device=0x1001"], NOT_SHARED),
            "unshare itt[61]",
        ),
        page(
            "P7: a path of 21 records",
            (&[&deep], PINNED),
            (&[&deep, "unmap-device device=0x0"], NOT_SHARED),
            "unshare itt[4]",
        ),
        page(
            "P7: a record with a single one below it",
            (&[&below], PINNED),
            (&[&below, "unmap-device device=0x6"], NOT_SHARED),
            "unshare itt[6]",
        ),
        check("P7: DeviceIDs that differ in the lowest bit", "0x0", "0x1"),
        check("P7: DeviceIDs that differ above the low byte", "0x1", "0x101"),
        check("P7: a record and one below it", "0x1000", "0x1800"),
        check("P7: a record and one above it", "0x1800", "0x1000"),
    ]
}

/// P11: what a CBASER write leaves borrowed.
fn in_flight() -> Vec<Row> {
    let mapped = &lines(&[SLOW_FLAT, &mapd(1, 4, "itt[3]"), CONSUMED]);
    let reset = "disable; advance 1; quiesce; write-cbaser";
    let resumed = "disable; advance 1; resume";
    let question = "unshare itt[3]";
    vec![
        page(
            "P11: an ITT that a command in flight would give back stays borrowed",
            (&[mapped, &unmap(1), reset], PINNED),
            (&[mapped, &unmap(1), CONSUMED, reset], NOT_SHARED),
            question,
        ),
        page(
            "P11: the records take commands in flight as done",
            (&[mapped, &mapd(1, 4, "itt[9]"), resumed, &unmap(1), CONSUMED], PINNED),
            (&[mapped, &mapd(1, 4, "itt[9]"), CONSUMED, resumed, &unmap(1), CONSUMED], NOT_SHARED),
            question,
        ),
    ]
}

/// P12: what fails leaves everything as it was.
fn undone() -> Vec<Row> {
    // The page after the copy of the device table is EL2's.
    let last = "device-table-copy[31]+0xf00";
    let two_pages = &mapd(1, 5, "itt[3]+0xf00");
    let fail = |change: &str, nth: u8| format!("fail {change} nth={nth}");
    let check = |check, change: &str| {
        let (one, other) = (fail(change, 2), fail(change, 3));
        page(
            check,
            (&[FLAT, &one, two_pages], NOT_SHARED),
            (&[FLAT, &other, two_pages], PINNED),
            "unshare itt[3]",
        )
    };
    vec![
        page(
            "P12: a refused MAPD leaves the pages before the one that refused",
            (&[FLAT, &mapd(1, 5, last)], NOT_SHARED),
            (&[FLAT, &mapd(1, 4, last)], PINNED),
            "unshare device-table-copy[31]",
        ),
        check("P12: a page that cannot be shared", "share"),
        check("P12: a page that cannot be pinned", "pin"),
        page(
            "P12: a refused MAPD leaves the host's share",
            (&[FLAT, "share itt[3]", &fail("pin", 2), two_pages], SHARED),
            (&[FLAT, "share itt[3]", &fail("pin", 3), two_pages], PINNED),
            "unshare itt[3]",
        ),
        page(
            "P12: a level-2 table that cannot be donated stays the host's",
            (
                &[
                    BOOT,
                    "fail donate nth=1; grow device=0x0 level2=level2[0]",
                    &mapd(1, 4, "itt[3]"),
                ],
                Read(0),
            ),
            (
                &[
                    BOOT,
                    "fail donate nth=2; grow device=0x0 level2=level2[0]",
                    &mapd(1, 4, "itt[3]"),
                ],
                Abort,
            ),
            "load level2[0]",
        ),
    ]
}

/// P13
fn bounds() -> Vec<Row> {
    let syncs = |count: usize| {
        lines(&[
            BOOT,
            &vec!["command SYNC rdbase=redistributor0"; count].join("; "),
            POST,
            "poll 1",
        ])
    };
    vec![row(
        "P13: a trap judges at most 64 commands",
        (syncs(65), Writes(&["CWRITER := 0x8e0"])),
        (syncs(64), Writes(&[])),
    )]
}
