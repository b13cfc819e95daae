//! The command table and P6 to P10, by whether a command is refused or forwarded.
//!
//! The driver of two CPUs has written six commands at boot, so that the first of a scenario has the
//! offset 0xc0.

use crate::Seen::{Does, Forwarded, Read, Refused, Returned, Untouched, Writes};
use crate::{BOOT, FLAT, POST, Row, SLOW, SYNC, lines, row};

/// Tables of one level and one page, with 512 entries.
const SMALL: &str = "its0 two-level=no page-size=4K; boot queue-pages=1";
const FIRST: u64 = 0xc0;
const BAD_SYNC: &str = "command SYNC rdbase=0x2";
/// A MAPD V=1 that is accepted.
const MAPD: &str = "command MAPD device=0x1 size=0x4 itt=itt[3] valid";

/// A row of two commands, each the first of a scenario, or of steps before the last command.
fn judged(check: &'static str, board: &str, fails: &str, holds: &str) -> Row {
    boards(check, (board, fails), (board, holds))
}

/// The same on two boards.
fn boards(check: &'static str, fails: (&str, &str), holds: (&str, &str)) -> Row {
    let text = |(board, command): (&str, &str)| lines(&[board, command, POST, "poll 1"]);
    row(check, (text(fails), Refused(FIRST)), (text(holds), Forwarded(FIRST)))
}

pub(crate) fn rows() -> Vec<Row> {
    let sections = [device_ids(), sizes(), itts(), record_of_its_own(), level2(), unmapping()];
    let more = [collections(), targets(), opcodes(), looks(), judging()];
    sections.into_iter().chain(more).chain([stalls(), retries()]).flatten().collect()
}

fn mapd(device: &str, size: &str, itt: &str) -> String {
    format!("command MAPD device={device} size={size} itt={itt} valid")
}

fn device_ids() -> Vec<Row> {
    let narrow = "its0 two-level=no device-id-bits=4; boot queue-pages=1";
    let wide = "its0 device-id-bits=20 device-entry-bytes=16 page-size=4K; boot queue-pages=1";
    let of = |device: &str| mapd(device, "0x4", "itt[3]");
    // 512 level-1 entries of 256 devices each.
    let last = lines(&["grow device=0x1ffff level2=level2[16]", &of("0x1ffff")]);
    vec![
        judged("MAPD V=1: DeviceID is below 2^(Devbits+1)", narrow, &of("0x10"), &of("0xf")),
        judged("MAPD V=1: DeviceID is within a flat table", SMALL, &of("0x200"), &of("0x1ff")),
        judged("MAPD V=1: DeviceID is within a two-level table", wide, &of("0x20000"), &last),
        judged(
            "MAPD V=0: DeviceID is below 2^(Devbits+1)",
            narrow,
            "command MAPD device=0x10 size=0x0 itt=itt[3]",
            "command MAPD device=0xf size=0x0 itt=itt[3]",
        ),
        judged(
            "MAPD V=0: DeviceID is within the device table",
            SMALL,
            "command MAPD device=0x200 size=0x0 itt=itt[3]",
            "command MAPD device=0x1ff size=0x0 itt=itt[3]",
        ),
    ]
}

fn sizes() -> Vec<Row> {
    let few = "its0 two-level=no event-id-bits=5; boot queue-pages=1";
    let many = "its0 two-level=no event-id-bits=20; boot queue-pages=1";
    let of = |size: &str| mapd("0x1", size, "itt[0]");
    vec![
        judged("MAPD V=1: Size is at most ID_bits", few, &of("0x5"), &of("0x4")),
        judged("MAPD V=1: Size is at most 15 (P6)", many, &of("0x10"), &of("0xf")),
    ]
}

/// An ITT of Size n has 2^(n+1) entries of 8 bytes.
fn itts() -> Vec<Row> {
    let of = |size: &str, place: &str| mapd("0x1", size, place);
    // The page before the hole, and the page before EL2's: the last of a copy that is not used.
    let (before_hole, before_el2) = ("0x800aff00", "device-table-copy[31]+0xf00");
    let given = |page: &str| lines(&[&format!("donate-guest {page}"), &of("0x5", "itt[3]+0xf00")]);
    vec![
        judged(
            "MAPD V=1: the ITT is memory",
            FLAT,
            &of("0x4", "hole[0]"),
            &of("0x4", "0x800aff00"),
        ),
        judged(
            "MAPD V=1: the ITT is inside one region of memory",
            FLAT,
            &of("0x5", before_hole),
            &of("0x4", before_hole),
        ),
        judged(
            "P5: a page of the ITT is EL2's",
            FLAT,
            &of("0x5", before_el2),
            &of("0x4", before_el2),
        ),
        judged("P5: a page of the ITT is a guest's", FLAT, &given("itt[4]"), &given("itt[5]")),
        judged(
            "P5: a page that the host shares can be borrowed",
            FLAT,
            &lines(&["donate-guest itt[3]", MAPD]),
            &lines(&["share itt[3]", MAPD]),
        ),
        judged("P4: an ITT on the queue", FLAT, &of("0x4", "queue[0]"), &of("0x4", "queue[1]")),
        judged(
            "P4: an ITT on a table",
            SMALL,
            &of("0x4", "collection-table[0]"),
            &of("0x4", "collection-table[1]"),
        ),
        judged(
            "P4: an ITT on the descriptor",
            FLAT,
            &of("0x4", "descriptor[0]"),
            &of("0x4", "live-list[0]"),
        ),
        judged(
            "P4: an ITT on the private pages",
            FLAT,
            &of("0x4", "private[0]"),
            &of("0x4", "private[1]"),
        ),
    ]
}

/// P7: one private page carries 256 devices.
fn record_of_its_own() -> Vec<Row> {
    // Each live device took MAPD, MAPTI and SYNC at boot.
    let offset = |live: u64, commands: u64| 0x20 * (6 + 3 * live + commands);
    let boot = |live: u64| format!("boot live-devices={live}");
    let refused = |live, commands: &[&str]| {
        let last = offset(live, commands.len() as u64 - 1);
        let text = lines(&[&boot(live), &lines(commands), POST, "poll 1"]);
        (text, Refused(last))
    };
    // With one live device less, three commands in their place.
    let forwarded = |commands: &[&str]| {
        let (text, _) = refused(254, &[&[SYNC; 3], commands].concat());
        (text, Forwarded(offset(255, commands.len() as u64 - 1)))
    };
    let new = "command MAPD device=0x1000 size=0x4 itt=itt[60] valid";
    let again = "command MAPD device=0x0 size=0x4 itt=itt[60] valid";
    let unmap = "command MAPD device=0x1 size=0x0 itt=itt[0]";
    let consumed = "write-cwriter; poll 1";
    let slow = |text: (String, crate::Seen)| (format!("its0 pace=never; {}", text.0), text.1);
    let posted = |steps: &[&str], wanted| {
        (lines(&["boot live-devices=255", &lines(steps), POST, "poll 1"]), wanted)
    };
    let last = offset(255, 2);
    vec![
        row(
            "MAPD V=1: a record is free (P7)",
            refused(255, &[again, new]),
            forwarded(&[again, new]),
        ),
        row(
            "P7: a MAPD V=1 holds a record from submission, even of a mapped device",
            slow(refused(255, &[again, again])),
            slow(forwarded(&[again, again])),
        ),
        row(
            "P7: a MAPD V=1 of a mapped device gives its record back when consumed",
            posted(&[new, consumed, again], Refused(offset(255, 1))),
            posted(&[again, consumed, again], Forwarded(offset(255, 1))),
        ),
        row(
            "P7: one must be unmapped first",
            slow(posted(&[new, unmap, again], Refused(last))),
            posted(&[new, unmap, consumed, again], Forwarded(last)),
        ),
    ]
}

fn level2() -> Vec<Row> {
    let grown = |page: &str, flip: &str| {
        let entry = format!("grow device=0x2000 level2={page} flip={flip}");
        lines(&[&entry, &mapd("0x2000", "0x4", "itt[3]")])
    };
    let page = "level2[16]";
    let shared = |other: &str| lines(&[&format!("share {other}"), &grown(page, "0x0")]);
    let short = |pages: u8| format!("boot queue-pages=1 high-pages={pages}");
    let mapped_below =
        |device: &str| lines(&["grow device=0x0 level2=level2[0]", &mapd(device, "0x4", "itt[3]")]);
    let mapped = |place: &str| {
        lines(&["grow device=0x2000 level2=level2[16]", &mapd("0x2000", "0x4", place)])
    };
    vec![
        judged(
            "P8: the host's entry has Valid",
            BOOT,
            &grown(page, "0x8000000000000000"),
            &grown(page, "0x0"),
        ),
        judged(
            "P8: the host's entry has no low bit",
            BOOT,
            &grown(page, "0x1"),
            &grown(page, "0x0"),
        ),
        judged(
            "P8: the host's entry has no high bit",
            BOOT,
            &grown(page, "0x10000000000000"),
            &grown(page, "0x0"),
        ),
        judged(
            "P8: the host's entry has an address at the ITS page size",
            BOOT,
            &grown("level2[17]", "0x0"),
            &grown(page, "0x0"),
        ),
        judged(
            "P8: an entry is for a level-2 table that is needed",
            BOOT,
            &mapped_below("0x2000"),
            &mapped_below("0x1fff"),
        ),
        judged(
            "P4: a level-2 table is memory",
            BOOT,
            &grown("hole[0]", "0x0"),
            &grown(page, "0x0"),
        ),
        boards(
            "P4: a level-2 table is whole in one region of memory",
            (&short(47), &grown("high[32]", "0x0")),
            (&short(48), &grown("high[32]", "0x0")),
        ),
        judged(
            "P4: a level-2 table's first page is exclusively the host's",
            BOOT,
            &shared("level2[16]"),
            &shared("level2[15]"),
        ),
        judged(
            "P4: a level-2 table's last page is exclusively the host's",
            BOOT,
            &shared("level2[31]"),
            &shared("level2[32]"),
        ),
        judged(
            "P4: the ITT is not on the level-2 table that grows",
            BOOT,
            &mapped("level2[31]"),
            &mapped("level2[32]"),
        ),
    ]
}

fn unmapping() -> Vec<Row> {
    let unmap = "command MAPD device=0x1 size=0x1f itt=hole[0]";
    let map = "command MAPD device=0x1 size=0x3 itt=itt[3] valid";
    let absent = "command MAPD device=0x2000 size=0x0 itt=itt[3]";
    let stored =
        |what: &'static [&'static str], command| (lines(&[FLAT, command, POST]), Does(what));
    vec![
        row(
            "MAPD V=0: forwarded with Size and ITT address 0",
            stored(
                &["EL2 stores queue[0]+0xc0 := MAPD device_id: 1, size: 0, itt_address: 0,"],
                unmap,
            ),
            stored(
                &["EL2 stores queue[0]+0xc0 := MAPD device_id: 1, size: 3, itt_address: 80143000,"],
                map,
            ),
        ),
        judged("P8: V=0 needs no level-2 table", BOOT, &mapd("0x2000", "0x0", "itt[3]"), absent),
    ]
}

fn collections() -> Vec<Row> {
    let narrow = "its0 collection-id-bits=4; boot queue-pages=1";
    let held = "its0 hardware-collections=3 two-level-collections=yes; \
                boot queue-pages=1 collections=two-level";
    let levels = "its0 two-level-collections=yes; boot queue-pages=1 collections=two-level";
    let of = |icid: &str| format!("command MAPC icid={icid} rdbase=redistributor0 valid");
    let unmap = |icid: &str| format!("command MAPC icid={icid} rdbase=redistributor0");
    let grown = |flip: &str| {
        let entry = format!("grow-collection icid=0x2000 level2=level2[16] flip={flip}");
        lines(&[&entry, &of("0x2000")])
    };
    let to = |rdbase: &str, valid: &str| {
        format!("command MAPC icid=0x1 rdbase={rdbase} {valid}").trim().to_owned()
    };
    let stored = |what: &'static [&'static str], command: String| {
        (lines(&[BOOT, &command, POST]), Does(what))
    };
    vec![
        judged("MAPC V=1: ICID is below 2^(CIDbits+1) if CIL", narrow, &of("0x10"), &of("0xf")),
        judged("MAPC V=1: ICID is within a flat table", SMALL, &of("0x200"), &of("0x1ff")),
        judged("MAPC V=1: from HCC on ICID has its entry", held, &of("0x3"), &of("0x2")),
        judged("MAPC V=1: level-2 table present or grown", levels, &of("0x2000"), &of("0x1fff")),
        judged(
            "MAPC V=1: level-2 table grown by a right entry",
            levels,
            &grown("0x1"),
            &grown("0x0"),
        ),
        judged("MAPC V=0: ICID is below 2^(CIDbits+1)", narrow, &unmap("0x10"), &unmap("0xf")),
        judged("MAPC V=0: ICID is within the table", SMALL, &unmap("0x200"), &unmap("0x1ff")),
        judged("MAPC V=0 needs no level-2 table", levels, &of("0x2000"), &unmap("0x2000")),
        judged("MAPC V=0: RDbase is not judged", BOOT, &to("0x2", "valid"), &to("0x2", "")),
        row(
            "MAPC V=0: forwarded with RDbase 0",
            stored(
                &["EL2 stores queue[0]+0xc0 := MAPC icid: 1, rdbase: 0, valid: false"],
                to("0x1", ""),
            ),
            stored(
                &["EL2 stores queue[0]+0xc0 := MAPC icid: 1, rdbase: 1, valid: true"],
                to("0x1", "valid"),
            ),
        ),
    ]
}

/// RDbase of MAPC, SYNC and MOVALL.
fn targets() -> Vec<Row> {
    let pta = "its0 rdbase=address; boot queue-pages=1";
    let numbered = "boot queue-pages=1 processor1=7";
    let mapc = |rdbase: &str| format!("command MAPC icid=0x1 rdbase={rdbase} valid");
    let sync = |rdbase: &str| format!("command SYNC rdbase={rdbase}");
    let movall = |from: &str, to: &str| format!("command MOVALL from={from} to={to}");
    // The 33rd bit of a field of 36.
    let wide = "0x100000001";
    vec![
        judged("MAPC V=1: RDbase names a redistributor", BOOT, &mapc("0x2"), &mapc("0x1")),
        judged("MAPC V=1: RDbase is all of its bits", BOOT, &mapc(wide), &mapc("0x1")),
        judged("MAPC V=1: RDbase is an address with PTA", pta, &mapc("0x1"), &mapc("0x80e")),
        judged("SYNC: RDbase names a redistributor", BOOT, &sync("0x2"), &sync("0x1")),
        judged("SYNC: RDbase is all of its bits", BOOT, &sync(wide), &sync("0x1")),
        judged("SYNC: RDbase is a processor number", numbered, &sync("0x1"), &sync("0x7")),
        judged("SYNC: RDbase is an address / 64 KiB with PTA", pta, &sync("0x80b"), &sync("0x80a")),
        judged(
            "MOVALL: the first RDbase names a redistributor",
            BOOT,
            &movall("0x2", "0x1"),
            &movall("0x1", "0x1"),
        ),
        judged(
            "MOVALL: the second RDbase names a redistributor",
            BOOT,
            &movall("0x0", "0x2"),
            &movall("0x0", "0x1"),
        ),
        judged(
            "MOVALL: the first RDbase is all of its bits",
            BOOT,
            &movall(wide, "0x1"),
            &movall("0x1", "0x1"),
        ),
        judged(
            "MOVALL: the second RDbase is all of its bits",
            BOOT,
            &movall("0x0", wide),
            &movall("0x0", "0x1"),
        ),
    ]
}

/// A command of the table, and the same with one bit of its opcode changed. All reserved bits are
/// set: the oracles see that they are not forwarded.
fn opcodes() -> Vec<Row> {
    const ALL: &str = "0xffffffffffffffff";
    const HIGH: &str = "0xffffffff00000000";
    const ABOVE_ICID: &str = "0xffffffffffff0000";
    const BESIDE_RDBASE: &str = "0xfff000000000ffff";
    let check = |check, known: u8, other: u8, words: [&str; 3]| {
        let raw = |opcode: u8| format!("raw-command 0xffffff{opcode:02x} {}", words.join(" "));
        judged(check, FLAT, &raw(other), &raw(known))
    };
    let to_event = [HIGH, ALL, ALL];
    let to_rdbase = [ALL, BESIDE_RDBASE, ALL];
    // Valid, and Size or ICID and the address or RDbase 0.
    let mapd = ["0xffffffffffffffe4", "0xfff00000801430ff", ALL];
    let mapc = [ALL, "0xfff0000000000000", ALL];
    vec![
        check("MOVI, but not VMOVI of GICv4", 0x1, 0x21, [HIGH, ABOVE_ICID, ALL]),
        check("INT, but not VSGI of GICv4", 0x3, 0x23, to_event),
        check("CLEAR, but not a reserved opcode", 0x4, 0x24, to_event),
        check("SYNC, but not VSYNC of GICv4", 0x5, 0x25, to_rdbase),
        check("MAPD, but not a reserved opcode", 0x8, 0x28, mapd),
        check("MAPC, but not VMAPP of GICv4", 0x9, 0x29, mapc),
        check("MAPTI, but not VMAPTI of GICv4", 0xa, 0x2a, ["0x0", ABOVE_ICID, ALL]),
        check("MAPI, but not VMAPI of GICv4", 0xb, 0x2b, [HIGH, ABOVE_ICID, ALL]),
        check("INV, but not a reserved opcode", 0xc, 0x2c, to_event),
        check("INVALL, but not VINVALL of GICv4", 0xd, 0x2d, [ALL, ABOVE_ICID, ALL]),
        check("MOVALL, but not INVDB of GICv4", 0xe, 0x2e, [ALL, BESIDE_RDBASE, BESIDE_RDBASE]),
        check("DISCARD, but not a reserved opcode", 0xf, 0x2f, to_event),
        check("VMOVP of GICv4 is refused", 0x3, 0x22, to_event),
        check("Opcode 0x00 is refused", 0x1, 0x0, [HIGH, ABOVE_ICID, ALL]),
        check("Opcode 0x02 is refused", 0x3, 0x2, to_event),
        check("Opcode 0x06 is refused", 0x4, 0x6, to_event),
        check("Opcode 0x07 is refused", 0x3, 0x7, to_event),
        check("Opcode 0x10 is refused", 0x8, 0x10, mapd),
        check("Opcode 0x85 is refused", 0x5, 0x85, to_rdbase),
    ]
}

fn looks() -> Vec<Row> {
    const LOOK: &[&str] = &["EL2 reads CREADR = 0xc0", "EL2 reads CTLR = "];
    let check = |check, look: &str| {
        let none = lines(&[BOOT, "read its0 CWRITER.high"]);
        row(check, (none, Untouched), (lines(&[BOOT, look]), Does(LOOK)))
    };
    vec![
        check("P9: a write of CWRITER is a look", "write its0 CWRITER 0xc0"),
        check("P9: a write of CWRITER's low half is a look", "write its0 CWRITER.low 0xc0"),
        check("P9: a write of CWRITER's high half is a look", "write its0 CWRITER.high 0x0"),
        check("P11: a write of CWRITER that is ignored is a look", "write its0 CWRITER 0x1000"),
        check("P9: a read of CREADR is a look", "read its0 CREADR"),
        check("P9: a read of CREADR's low half is a look", "read its0 CREADR.low"),
        check("P9: a read of CREADR's high half is a look", "read its0 CREADR.high"),
    ]
}

fn judging() -> Vec<Row> {
    // 122 slots are left; the last command stands in the last but one.
    let part = lines(&[&[SYNC; 60].join("; "), POST]);
    let nearly_around = lines(&[BOOT, &part, &part, SYNC]);
    // The host spoils the command, after so many of EL2's reads of what the host can write.
    let tampered = |after: u8| {
        let tamper = format!("tamper queue-copy[0]+0xd0 after={after} value=0x20000");
        lines(&[BOOT, SYNC, &tamper, POST, "poll 1"])
    };
    let in_flight = |count: usize| lines(&[SLOW, &vec![SYNC; count].join("; "), POST, SYNC, POST]);
    vec![
        row(
            "P9: at most 64 commands from C to J",
            (in_flight(64), Writes(&[])),
            (in_flight(63), Writes(&["CWRITER := 0x8c0"])),
        ),
        row(
            "P9: CWRITER is written once, if J moved",
            (lines(&[SLOW, POST]), Writes(&[])),
            (lines(&[SLOW, SYNC, SYNC, POST]), Writes(&["CWRITER := 0x100"])),
        ),
        row(
            "P9: the copy is judged, written, cleaned and ordered before CWRITER",
            (
                lines(&[BOOT, SYNC, POST]),
                Does(&[
                    "EL2 copies queue-copy[0]+0xc0 = SYNC",
                    "EL2 stores queue[0]+0xc0 := SYNC",
                    "EL2 cleans queue[0]+0xc0 (0x20 bytes)",
                    "EL2 orders memory",
                    "EL2 writes CWRITER := 0xe0",
                ]),
            ),
            (lines(&[BOOT, BAD_SYNC, POST]), Writes(&[])),
        ),
        row(
            "P9: a slot is cleaned whatever the attributes say",
            (
                lines(&["boot queue-pages=1 coherent-queue=yes", SYNC, POST]),
                Does(&["EL2 cleans queue[0]+0xc0 (0x20 bytes)", "EL2 writes CWRITER := 0xe0"]),
            ),
            (lines(&["boot queue-pages=1 coherent-queue=yes", BAD_SYNC, POST]), Writes(&[])),
        ),
        row(
            "P9: a command is borrowed for before its slot is written",
            (
                lines(&[FLAT, MAPD, POST]),
                Does(&["own: pin itt[3] = 0", "EL2 stores queue[0]+0xc0 := MAPD"]),
            ),
            (
                lines(&[FLAT, "command MAPD device=0x1 size=0x4 itt=hole[0] valid", POST]),
                Writes(&[]),
            ),
        ),
        row(
            "P9: nothing is judged while Enabled is 0",
            (lines(&[BOOT, "disable", SYNC, POST]), Writes(&[])),
            (lines(&[BOOT, SYNC, POST]), Writes(&["CWRITER := 0xe0"])),
        ),
        row(
            "P9: nothing is judged by a read of CREADR while Enabled is 0",
            (lines(&[BOOT, "disable", SYNC, POST, "poll 1"]), Writes(&[])),
            (lines(&[BOOT, &[SYNC; 65].join("; "), POST, "poll 1"]), Writes(&["CWRITER := 0x8e0"])),
        ),
        row(
            "P9: the last slot is followed by the first",
            (lines(&[&nearly_around, POST]), Writes(&["CWRITER := 0xfe0"])),
            (lines(&[&nearly_around, SYNC, POST]), Writes(&["CWRITER := 0x0"])),
        ),
        row(
            "P9: a command behind the end of the queue is judged",
            (lines(&[&nearly_around, SYNC, BAD_SYNC, POST]), Writes(&["CWRITER := 0x0"])),
            (lines(&[&nearly_around, SYNC, SYNC, POST]), Writes(&["CWRITER := 0x20"])),
        ),
        row(
            "P9: the 32 bytes of a command are copied once",
            (tampered(0), Refused(FIRST)),
            (tampered(1), Forwarded(FIRST)),
        ),
    ]
}

/// P10: what CREADR shows.
fn stalls() -> Vec<Row> {
    let read = "read its0 CREADR";
    let slow = |commands: &str| lines(&[SLOW, SYNC, BAD_SYNC, POST, commands]);
    vec![
        row(
            "P10: the first refused command stops J",
            (lines(&[BOOT, BAD_SYNC, SYNC, POST, read]), Read(0xc1)),
            (lines(&[BOOT, SYNC, SYNC, POST, read]), Read(0x100)),
        ),
        row(
            "P10: a refused command shows once C = J",
            (slow(&lines(&["advance 1", read])), Read(0xe1)),
            (slow(read), Read(0xc0)),
        ),
        row(
            "P10: CREADR shows that the hardware stalled",
            (lines(&[BOOT, SYNC, "stall 1", POST, read]), Read(0xc1)),
            (lines(&[BOOT, SYNC, POST, read]), Read(0xe0)),
        ),
    ]
}

fn retries() -> Vec<Row> {
    const TAKEN_AGAIN: &[&str] = &[
        "EL2 stores queue[0]+0xc0 := SYNC",
        "EL2 cleans queue[0]+0xc0 (0x20 bytes)",
        "EL2 orders memory",
        "EL2 writes CWRITER := 0xe1 (retry)",
    ];
    let read = "read its0 CREADR";
    let retry = "write-cwriter retry";
    let mend = "flip-slot word=2 flip=0x30000";
    let refused = lines(&[BOOT, BAD_SYNC, POST]);
    let stalled = lines(&[BOOT, "stall 1", SYNC, POST, "poll 1"]);
    // The hardware stalled at C, and the command at J was refused.
    let both = lines(&[BOOT, "stall 1", SYNC, BAD_SYNC, POST, "poll 1"]);
    let spoil = "flip-slot word=2 flip=0x20000";
    let not_reached = lines(&[SLOW, SYNC, BAD_SYNC, POST, mend]);
    let late = |command: &str| lines(&[SLOW, SYNC, BAD_SYNC, POST, command, mend, retry]);
    let device = |text: &str| lines(&[FLAT, "stall 1", MAPD, POST, "poll 1", text]);
    let other_itt = lines(&["rewind 1", &mapd("0x1", "0x4", "itt[9]"), retry]);
    vec![
        row(
            "P10: only Retry clears Stalled after a refusal",
            (lines(&[&refused, mend, POST, read]), Read(0xc1)),
            (lines(&[&refused, mend, retry, read]), Read(0xe0)),
        ),
        row(
            "P10: a refused slot is copied and judged afresh",
            (lines(&[&refused, retry]), Writes(&[])),
            (lines(&[&refused, mend, retry]), Writes(&["CWRITER := 0xe0"])),
        ),
        row(
            "P10: only Retry clears Stalled after a stall",
            (lines(&[&stalled, POST, read]), Read(0xc1)),
            (lines(&[&stalled, retry, read]), Read(0xe0)),
        ),
        row(
            "P10: a stalled slot is judged afresh",
            (lines(&[&stalled, spoil, retry]), Writes(&[])),
            (lines(&[&stalled, retry]), Does(TAKEN_AGAIN)),
        ),
        row(
            "P10: a Retry that is refused changes nothing at J either",
            (lines(&[&both, "rewind 2", BAD_SYNC, SYNC, retry]), Writes(&[])),
            (
                lines(&[&both, "rewind 2", SYNC, SYNC, retry]),
                Writes(&["CWRITER := 0xe1 (retry)", "CWRITER := 0x100"]),
            ),
        ),
        row(
            "P10: Enabled 0 to 1 does not clear Stalled",
            (lines(&[&refused, "suspend; enable", read]), Read(0xc1)),
            (lines(&[BOOT, "suspend; enable", read]), Read(0xc0)),
        ),
        row(
            "P10: what the predecessor borrowed is given back",
            (device("unshare itt[3]"), Returned("-EBUSY")),
            (device(&lines(&[&other_itt, "unshare itt[3]"])), Returned("-EPERM")),
        ),
        row(
            "P10: one Retry clears both causes",
            (
                late("stall 1; advance 1; poll 1"),
                Writes(&["CWRITER := 0xe1 (retry)", "CWRITER := 0x100"]),
            ),
            (late("advance 1; poll 1"), Writes(&["CWRITER := 0x100"])),
        ),
        row(
            "P10: Retry while CREADR shows no stall has no effect",
            (lines(&[&not_reached, retry]), Writes(&[])),
            (lines(&[&not_reached, "advance 1", retry]), Writes(&["CWRITER := 0x100"])),
        ),
    ]
}
