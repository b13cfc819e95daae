//! The register table, P1 to P3, and P11 at rest.

use crate::Seen::{Abort, Does, Read, Returned, Untouched, Writes};
use crate::{BOOT, CLOSING, OPEN, POST, Row, SLOW, SYNC, lines, row};

/// EL2 has seen that the ITS is at rest.
const REST: &str = "boot queue-pages=1; suspend";
/// An ITS that is Quiescent only some reads after the host cleared Enabled.
const LATE: &str = "its0 quiescent=late; boot queue-pages=1; disable";

const NOTHING: crate::Seen = Writes(&[]);
const ENABLES: crate::Seen = Writes(&["CTLR := 0x1 (enabled)"]);
const DISABLES: crate::Seen = Writes(&["CTLR := 0x0"]);
const CBASER: crate::Seen = Writes(&["CBASER := 0xb800000080000400 (valid)", "CWRITER := 0x0"]);
const BASER0: crate::Seen = Writes(&["BASER0 := 0xf907000080010600 (valid)"]);
const BASER1: crate::Seen = Writes(&["BASER1 := 0xbc07000080030600 (valid)"]);

/// A row of scenarios that end in a write: it is ignored, and it is forwarded.
fn writes(check: &'static str, ignored: &[&str], forwarded: &[&str], seen: crate::Seen) -> Row {
    row(check, (lines(ignored), NOTHING), (lines(forwarded), seen))
}

pub(crate) fn rows() -> Vec<Row> {
    let sections = [phases(), ctlr(), start(), rest(), cbaser(), cbaser_halves(), baser()];
    let more = [basers(), cwriter(), creadr(), read_only(), sizes(), translation()];
    let gicr = [redistributors(), redistributor_halves()];
    sections.into_iter().chain(more).chain(gicr).flatten().collect()
}

fn phases() -> Vec<Row> {
    let two = "boot stage=deprivileged queue-pages=1 its=2";
    let set_up = "set-up private=private[0] descriptor=descriptor[0] private-pages=1";
    let second =
        "select-its 1; set-up private=private1[0] descriptor=descriptor1[0] private-pages=1";
    let finalized = |cpu: &str, steps: &str| lines(&[OPEN, &format!("finalize cpu={cpu}"), steps]);
    let clear = "write its0 CTLR 0x0; read its0 CTLR";
    let give = "donate-guest host[0]";
    let post = &lines(&[SYNC, "write-cwriter"]);
    let closing = |check, steps: &str, register: &str, ignored, written| {
        let read = format!("read its0 {register}");
        let text = |stage| lines(&[stage, steps, &read]);
        row(check, (text(CLOSING), Read(ignored)), (text(OPEN), Read(written)))
    };
    vec![
        row(
            "P1: a CPU that was not finalized reaches the registers",
            (finalized("0", clear), Read(0x8000_0001)),
            (finalized("1", clear), Read(0x8000_0000)),
        ),
        closing("P2: writes of CTLR are ignored", "disable", "CTLR", 0x8000_0001, 0x8000_0000),
        closing("P2: writes of CWRITER are ignored", post, "CWRITER", 0xc0, 0xe0),
        closing(
            "P2: writes of CBASER are ignored",
            "disable; quiesce; write its0 CBASER 0x0",
            "CBASER",
            0xb800_0000_8000_0400,
            0,
        ),
        closing(
            "P2: writes of BASER are ignored",
            "disable; quiesce; write-baser 0 flip=0x8000000000000000",
            "BASER0",
            0xf907_0000_8001_0600,
            0x7907_0000_8001_0600,
        ),
        row(
            "P2: no page may be donated while an ITS is in Closing",
            (lines(&[two, set_up, give]), Returned("-EPERM")),
            (lines(&[two, set_up, second, give]), Returned("0")),
        ),
        row(
            "P2: no page may be donated from the first finalize on",
            (lines(&[OPEN, "describe; finalize", give]), Returned("-EPERM")),
            (lines(&[OPEN, "describe; finalize; finalize cpu=1", set_up, give]), Returned("0")),
        ),
        row(
            "P2: more ITSs than EL2 knows stay in Closing for ever",
            (lines(&["boot queue-pages=1 its=5", give]), Returned("-EPERM")),
            (lines(&["boot queue-pages=1 its=4", give]), Returned("0")),
        ),
        row(
            "P2: registers of an ITS that EL2 does not know read zero",
            (lines(&["boot queue-pages=1 its=5", "read its4 CTLR"]), Untouched),
            (
                lines(&["boot queue-pages=1 its=5", "read its3 CTLR"]),
                Does(&["EL2 reads its3 CTLR"]),
            ),
        ),
        row(
            "P2: a page that was donated is out of reach",
            (lines(&[BOOT, give, "load host[0]"]), Abort),
            (lines(&[BOOT, give, "load host[1]"]), Read(0)),
        ),
        row(
            "P3: from a successful set-up on",
            (lines(&[CLOSING, "disable"]), Writes(&[])),
            (lines(&[CLOSING, set_up, "disable"]), Writes(&["CTLR := 0x0"])),
        ),
    ]
}

fn ctlr() -> Vec<Row> {
    // An ITS that takes one command for each access to it.
    let late = &lines(&["its0 pace=late", BOOT, &[SYNC; 6].join("; "), "write-cwriter"]);
    let disables = Writes(&["CTLR := 0x0"]);
    vec![
        writes(
            "CTLR: no change of Enabled is ignored",
            &[BOOT, "write its0 CTLR 0x1"],
            &[BOOT, "write its0 CTLR 0x0"],
            disables,
        ),
        writes(
            "CTLR: other bits are written as they were at set-up",
            &[BOOT, "write its0 CTLR 0x7fffffff"],
            &[BOOT, "write its0 CTLR 0x7ffffffe"],
            disables,
        ),
        writes(
            "CTLR: other bits are written as they were when Enabled is set",
            &[REST, "write its0 CTLR 0x7ffffffe"],
            &[REST, "write its0 CTLR 0x7fffffff"],
            ENABLES,
        ),
        row(
            "CTLR: Enabled 1 to 0 takes C first",
            (lines(&[SLOW, SYNC, "write-cwriter; disable; read its0 CREADR"]), Read(0xc0)),
            (
                lines(&[SLOW, SYNC, "write-cwriter; advance 1; disable; read its0 CREADR"]),
                Read(0xe0),
            ),
        ),
        row(
            "P11: C stays while Enabled is 0",
            (lines(&[late, "write its0 CTLR 0x0; poll 1; read its0 CREADR"]), Read(0xe0)),
            (lines(&[late, "poll 8; read its0 CREADR"]), Read(0x180)),
        ),
        row(
            "CTLR: Enabled 0 to 1 is followed by a look",
            (lines(&[REST, SYNC, "write-cwriter; read its0 CREADR"]), Read(0xc0)),
            (lines(&[REST, SYNC, "write-cwriter; enable; read its0 CREADR"]), Read(0xe0)),
        ),
    ]
}

/// CTLR: Enabled 0 to 1.
fn start() -> Vec<Row> {
    let stopped = |steps: &str| {
        lines(&[SLOW, SYNC, "write-cwriter", steps, "disable; advance 1; quiesce; enable"])
    };
    let reset = |table: &str| lines(&[REST, "write-cbaser", table, "enable"]);
    let check = |check, ignored: &str, forwarded: &str| {
        row(check, (ignored.to_owned(), NOTHING), (forwarded.to_owned(), Does(&[ENABLED])))
    };
    const ENABLED: &str = "EL2 writes CTLR := 0x1 (enabled)";
    vec![
        check(
            "CTLR: starts only at rest",
            &lines(&[LATE, "enable"]),
            &lines(&[LATE, "quiesce; enable"]),
        ),
        check("CTLR: starts only with C = J", &stopped(""), &stopped("advance 1")),
        check(
            "CTLR: starts only with CREADR at C",
            &lines(&[REST, "power-loss restored; enable"]),
            &lines(&[REST, "power-loss restored; write-cbaser; enable"]),
        ),
        check(
            "CTLR: starts only with CBASER as recorded",
            &lines(&[REST, "write-cbaser; power-loss; enable"]),
            &lines(&[REST, "write-cbaser; enable"]),
        ),
        check(
            "CTLR: starts only with CBASER Valid",
            &lines(&[REST, "write-cbaser flip=0x8000000000000000; enable"]),
            &lines(&[REST, "write-cbaser; enable"]),
        ),
        check(
            "CTLR: starts only with the device table Valid",
            &reset("write-baser 0 flip=0x8000000000000000"),
            &reset("write-baser 0"),
        ),
        check(
            "CTLR: starts only with the collection table Valid",
            &reset("write-baser 1 flip=0x8000000000000000"),
            &reset("write-baser 1"),
        ),
        check(
            "CTLR: starts only with tables as recorded",
            &lines(&[REST, "power-loss; write-cbaser; enable"]),
            &lines(&[REST, "power-loss; write-cbaser; write-baser 0; write-baser 1; enable"]),
        ),
    ]
}

/// P11: what EL2 saw before it takes an ITS for one at rest.
fn rest() -> Vec<Row> {
    let check = |check, lost: &str, at_rest: &str| {
        writes(check, &[lost, "write-cbaser"], &[at_rest, "write-cbaser"], CBASER)
    };
    // C = J = 0, so that power which comes back leaves CREADR and CBASER as they were.
    let resumed = |steps: &str| lines(&[REST, "resume", steps]);
    let on = |steps: &str| lines(&[&resumed(steps), SYNC, POST, "poll 1"]);
    vec![
        check("At rest: the host cleared Enabled", BOOT, REST),
        check("At rest: EL2 found Quiescent", LATE, &lines(&[LATE, "quiesce"])),
        check(
            "At rest: CBASER was as EL2 had left it",
            &lines(&[LATE, "power-loss"]),
            &lines(&[LATE, "quiesce; power-loss"]),
        ),
        check(
            "At rest: CREADR lay from C to J",
            &lines(&[LATE, "power-loss restored"]),
            &lines(&[LATE, "quiesce; power-loss restored"]),
        ),
        check(
            "Lost power at work: the host had not cleared Enabled",
            &resumed("power-loss restored; quiesce"),
            &resumed("suspend; power-loss restored; quiesce"),
        ),
        check(
            "Lost power at work: the host clears Enabled too late",
            &resumed("power-loss restored; disable; quiesce"),
            &resumed("disable; quiesce; power-loss restored"),
        ),
        writes(
            "Lost power at work: stays off though all is as recorded",
            &[&resumed("power-loss restored; enable")],
            &[&resumed("suspend; power-loss restored; enable")],
            ENABLES,
        ),
        writes(
            "Lost power at work: tables stay as they are",
            &[&resumed("power-loss restored; write-baser 0")],
            &[&resumed("suspend; power-loss restored; write-baser 0")],
            BASER0,
        ),
        writes(
            "Lost power at work: something else sets Enabled, and the host clears it",
            &[&resumed("power-loss restored; poll 1; enable-by-other; disable")],
            &[&resumed("enable; poll 1; disable")],
            DISABLES,
        ),
        row(
            "Lost power at work: something else sets Enabled, and the host goes on",
            (on("power-loss restored; poll 1; enable-by-other"), Read(0)),
            (on("power-loss restored; enable-by-other"), Read(0x20)),
        ),
    ]
}

/// Each writable field, and reserved bits or Valid next to it.
fn cbaser() -> Vec<Row> {
    let field = |check, writable: u64, other: u64| {
        let flips = |bit: u64| format!("write-cbaser flip={bit:#x}");
        let seen = if other >> 63 == 1 {
            Writes(&["CBASER := 0x3800000080000400", "CWRITER := 0x0"])
        } else {
            CBASER
        };
        writes(check, &[REST, &flips(writable)], &[REST, &flips(other)], seen)
    };
    let then = |steps: &str| lines(&[REST, steps]);
    let taken_back = "write-cbaser flip=0x8000000000000000";
    let in_flight = lines(&[SLOW, SYNC, "write-cwriter; disable; advance 1; quiesce"]);
    vec![
        field("CBASER: Size as recorded", 1 << 7, 1 << 8),
        field("CBASER: Shareability as recorded", 1 << 10, 1 << 9),
        field("CBASER: the lowest address bit as recorded", 1 << 12, 1 << 9),
        field("CBASER: the highest address bit as recorded", 1 << 51, 1 << 52),
        field("CBASER: OuterCache as recorded", 1 << 53, 1 << 52),
        field("CBASER: the highest bit of OuterCache as recorded", 1 << 55, 1 << 56),
        field("CBASER: InnerCache as recorded", 1 << 59, 1 << 58),
        field("CBASER: the highest bit of InnerCache as recorded", 1 << 61, 1 << 62),
        field("CBASER: Valid may change", 1 << 61, 1 << 63),
        row(
            "CBASER reads Valid as last accepted",
            (then(&lines(&[taken_back, "read its0 CBASER"])), Read(0x3800_0000_8000_0400)),
            (then("write-cbaser; read its0 CBASER"), Read(0xb800_0000_8000_0400)),
        ),
        row(
            "CBASER reads as recorded after a loss of power",
            (
                then(&lines(&[taken_back, "power-loss; read its0 CBASER"])),
                Read(0x3800_0000_8000_0400),
            ),
            (then("power-loss; read its0 CBASER"), Read(0xb800_0000_8000_0400)),
        ),
        row(
            "CBASER: an accepted write sets W to 0",
            (lines(&[BOOT, "write-cbaser; read its0 CWRITER"]), Read(0xc0)),
            (then("write-cbaser; read its0 CWRITER"), Read(0)),
        ),
        row(
            "CBASER: an accepted write sets C to 0",
            (lines(&[BOOT, "write-cbaser; read its0 CREADR"]), Read(0xc0)),
            (then("write-cbaser; read its0 CREADR"), Read(0)),
        ),
        row(
            "CBASER: an accepted write clears Stalled",
            (
                lines(&[BOOT, "command SYNC rdbase=0x2; write-cwriter; read its0 CREADR"]),
                Read(0xc1),
            ),
            (
                lines(&[
                    BOOT,
                    "command SYNC rdbase=0x2; write-cwriter; suspend; write-cbaser",
                    "read its0 CREADR",
                ]),
                Read(0),
            ),
        ),
        row(
            "CBASER: commands in flight are taken as done",
            (lines(&[&in_flight, "read its0 CREADR"]), Read(0xc0)),
            (lines(&[&in_flight, "write-cbaser; read its0 CREADR"]), Read(0)),
        ),
    ]
}

fn cbaser_halves() -> Vec<Row> {
    let half = |check, ignored: &str, forwarded: &str| {
        writes(check, &[REST, ignored], &[REST, forwarded], CBASER)
    };
    vec![
        half(
            "CBASER: a low half is judged as the whole register",
            "write-half 8 flip=0x80",
            "write-half 8 flip=0x0",
        ),
        half(
            "CBASER: a high half is judged as the whole register",
            "write-half 8 high flip=0x80000",
            "write-half 8 high flip=0x100000",
        ),
        row(
            "CBASER: each accepted half sets W to 0",
            (lines(&[BOOT, "write-half 8; read its0 CWRITER"]), Read(0xc0)),
            (lines(&[REST, "write-half 8; read its0 CWRITER"]), Read(0)),
        ),
        row(
            "CBASER.low reads the low half",
            (lines(&[BOOT, "read its0 CBASER.high"]), Read(0xb800_0000)),
            (lines(&[BOOT, "read its0 CBASER.low"]), Read(0x8000_0400)),
        ),
    ]
}

/// Each writable field of the device table's register, and a bit that is read-only.
fn baser() -> Vec<Row> {
    let field = |check, writable: u64| {
        let flips = |bit: u64| format!("write-baser 0 flip={bit:#x}");
        // Type or Entry_Size.
        let read_only = if writable < 1 << 52 { 1 << 48 } else { 1 << 58 };
        writes(check, &[REST, &flips(writable)], &[REST, &flips(read_only)], BASER0)
    };
    let valid = "write-baser 0 flip=0x8000000000000000";
    let off = 0x7907_0000_8001_0600;
    vec![
        writes("BASER: only at rest", &[BOOT, "write-baser 0"], &[REST, "write-baser 0"], BASER0),
        writes(
            "BASER: only once EL2 found Quiescent",
            &[LATE, "write-baser 0"],
            &[LATE, "quiesce; write-baser 0"],
            BASER0,
        ),
        field("BASER: Size as recorded", 1),
        field("BASER: Page_Size as recorded", 1 << 8),
        field("BASER: Shareability as recorded", 1 << 10),
        field("BASER: the lowest address bit as recorded", 1 << 12),
        field("BASER: the highest address bit as recorded", 1 << 47),
        field("BASER: OuterCache as recorded", 1 << 53),
        field("BASER: InnerCache as recorded", 1 << 59),
        field("BASER: Indirect as recorded", 1 << 62),
        writes(
            "BASER: Valid may change",
            &[REST, "write-baser 0 flip=0x4000000000000000"],
            &[REST, valid],
            Writes(&["BASER0 := 0x7907000080010600"]),
        ),
        row(
            "BASER reads Valid as last accepted",
            (lines(&[BOOT, valid, "read its0 BASER0"]), Read(off | 1 << 63)),
            (lines(&[REST, valid, "read its0 BASER0"]), Read(off)),
        ),
        row(
            "BASER reads as recorded after a loss of power",
            (lines(&[REST, valid, "power-loss; read its0 BASER0"]), Read(off)),
            (lines(&[REST, "power-loss; read its0 BASER0"]), Read(off | 1 << 63)),
        ),
        writes(
            "BASER: a low half is judged as the whole register",
            &[REST, "write-half 0 flip=0x1"],
            &[REST, "write-half 0"],
            BASER0,
        ),
        writes(
            "BASER: a high half is judged as the whole register",
            &[REST, "write-half 0 high flip=0x200000"],
            &[REST, "write-half 0 high flip=0x100000"],
            BASER0,
        ),
        writes(
            "BASER1: as recorded",
            &[REST, "write-baser 1 flip=0x1"],
            &[REST, "write-baser 1"],
            BASER1,
        ),
    ]
}

/// A table that was not Valid at set-up stays so.
fn basers() -> Vec<Row> {
    let check = |check, n: u8, seen| {
        let write = |value: &str| format!("write its0 BASER{n} {value}");
        let (valid, same) = (write("0x8000000000000000"), write("0x0"));
        writes(check, &[REST, &valid], &[REST, &same], seen)
    };
    vec![
        check("BASER2 is not made Valid", 2, Writes(&["BASER2 := 0x0"])),
        check("BASER3 is not made Valid", 3, Writes(&["BASER3 := 0x0"])),
        check("BASER4 is not made Valid", 4, Writes(&["BASER4 := 0x0"])),
        check("BASER5 is not made Valid", 5, Writes(&["BASER5 := 0x0"])),
        check("BASER6 is not made Valid", 6, Writes(&["BASER6 := 0x0"])),
        check("BASER7 is not made Valid", 7, Writes(&["BASER7 := 0x0"])),
    ]
}

fn cwriter() -> Vec<Row> {
    let wrote = |boot: &str, value: &str| {
        lines(&[boot, &format!("write its0 CWRITER {value}; read its0 CWRITER")])
    };
    let reads = |check, ignored: (&str, &str, u64), taken: (&str, &str, u64)| {
        let case = |(boot, value, read)| (wrote(boot, value), Read(read));
        row(check, case(ignored), case(taken))
    };
    let two_in_flight = lines(&[SLOW, SYNC, SYNC, "write-cwriter"]);
    let refused = lines(&[BOOT, "command SYNC rdbase=0x2; write-cwriter"]);
    let retry = |offset: &str| {
        let mend = "flip-slot word=2 flip=0x30000";
        lines(&[&refused, mend, &format!("write its0 CWRITER {offset}")])
    };
    let two_pages = "boot queue-pages=2";
    vec![
        reads("P11: the offset is in the queue", (BOOT, "0x1000", 0xc0), (BOOT, "0xfe0", 0xfe0)),
        reads(
            "P11: the queue is as long as CBASER says",
            (BOOT, "0x1000", 0xc0),
            (two_pages, "0x1000", 0x1000),
        ),
        reads(
            "P11: the offset is not C, with commands in flight",
            (&two_in_flight, "0xc0", 0x100),
            (&two_in_flight, "0xa0", 0xa0),
        ),
        reads(
            "P11: the offset is not from C to before J",
            (&two_in_flight, "0xe0", 0x100),
            (&two_in_flight, "0x120", 0x120),
        ),
        reads("P11: W can move while Enabled is 0", (REST, "0x1000", 0xc0), (REST, "0xe0", 0xe0)),
        writes(
            "P11: an ignored write is no Retry",
            &[&retry("0x1001")],
            &[&retry("0xe1")],
            Writes(&["CWRITER := 0xe0"]),
        ),
        row(
            "P11: an ignored write judges up to the old W",
            (lines(&[REST, SYNC, "write-cwriter; write its0 CWRITER 0x1000"]), Writes(&[])),
            (
                lines(&[
                    SLOW,
                    &[SYNC; 65].join("; "),
                    "write-cwriter; advance 1; write its0 CWRITER 0x1000",
                ]),
                Writes(&["CWRITER := 0x8e0"]),
            ),
        ),
        row(
            "CWRITER reads W, in halves too",
            (lines(&[BOOT, "read its0 CWRITER.high"]), Read(0)),
            (lines(&[BOOT, "read its0 CWRITER.low"]), Read(0xc0)),
        ),
        row(
            "CWRITER reads Retry as 0",
            (lines(&[BOOT, "write its0 CWRITER 0xe1; read its0 CWRITER"]), Read(0xe0)),
            (lines(&[BOOT, "write its0 CWRITER 0xc1; read its0 CWRITER"]), Read(0xc0)),
        ),
    ]
}

fn creadr() -> Vec<Row> {
    let check = |check, part: &str| {
        let write = |register: &str| format!("write its0 {register}{part} 0x0; read its0 CREADR");
        let forwarded = lines(&[REST, "write-cbaser", "read its0 CREADR"]);
        row(check, (lines(&[REST, &write("CREADR")]), Read(0xc0)), (forwarded, Read(0)))
    };
    vec![
        check("CREADR: writes are ignored", ""),
        check("CREADR: writes of the low half are ignored", ".low"),
        row(
            "CREADR.high reads the high half",
            (lines(&[BOOT, "read its0 CREADR.high"]), Read(0)),
            (lines(&[BOOT, "read its0 CREADR.low"]), Read(0xc0)),
        ),
    ]
}

/// Registers that the hardware answers for, and those that read zero.
fn read_only() -> Vec<Row> {
    let check = |check, zero: &str, hardware: &str, seen: &'static [&'static str]| {
        let read = |register: &str| lines(&[BOOT, &format!("read its0 {register}")]);
        row(check, (read(zero), Untouched), (read(hardware), Does(seen)))
    };
    let ignored = |check, register: &str| {
        let write = format!("write its0 {register} 0xffffffff");
        writes(check, &[BOOT, &write], &[BOOT, "write its0 CTLR 0x0"], Writes(&["CTLR := 0x0"]))
    };
    vec![
        check("IIDR reads the hardware's", "+0x3c size=4", "IIDR", &["EL2 reads IIDR = "]),
        check("TYPER reads the hardware's", "+0x38 size=8", "TYPER", &["EL2 reads TYPER = "]),
        check(
            "TYPER.low reads the hardware's",
            "+0x20 size=4",
            "TYPER.low",
            &["EL2 reads TYPER ="],
        ),
        check(
            "TYPER.high reads the hardware's",
            "+0x24 size=4",
            "TYPER.high",
            &["EL2 reads TYPER ="],
        ),
        check(
            "MPAMIDR reads the hardware's, PARTIDR zero",
            "PARTIDR",
            "MPAMIDR",
            &["EL2 reads MPAMIDR = "],
        ),
        check(
            "MPIDR reads the hardware's, STATUSR zero",
            "STATUSR",
            "MPIDR",
            &["EL2 reads MPIDR = "],
        ),
        check("UMSIR reads the hardware's", "+0x50 size=8", "UMSIR", &["EL2 reads UMSIR = "]),
        check("PIDR2 reads the hardware's", "+0xffc8 size=4", "PIDR2", &["EL2 reads its0+0xffe8"]),
        check("PIDR4 is the first", "+0xffcc size=4", "PIDR4", &["EL2 reads its0+0xffd0"]),
        check("CIDR3 is the last", "+0xc000 size=4", "CIDR3", &["EL2 reads its0+0xfffc"]),
        ignored("IIDR: writes are ignored", "IIDR"),
        ignored("TYPER: writes are ignored", "TYPER"),
        ignored("MPAMIDR: writes are ignored", "MPAMIDR"),
        ignored("MPIDR: writes are ignored", "MPIDR"),
        ignored("UMSIR: writes are ignored", "UMSIR"),
        ignored("PIDR2: writes are ignored", "PIDR2"),
        ignored("CIDR0: writes are ignored", "CIDR0"),
        ignored("PARTIDR: writes are ignored", "PARTIDR"),
        ignored("STATUSR: writes are ignored", "STATUSR"),
        row(
            "STATUSR reads zero, though the hardware has one",
            (lines(&["its0 statusr=present", BOOT, "read its0 STATUSR"]), Untouched),
            (lines(&["its0 statusr=present", BOOT, "read its0 IIDR"]), Does(&["EL2 reads IIDR"])),
        ),
        ignored("IMPLEMENTATION DEFINED: writes are ignored", "+0xc000 size=4"),
        ignored("Reserved: writes are ignored", "+0x140 size=8"),
    ]
}

/// An access of another size, or not aligned, and the same of the register's own.
fn sizes() -> Vec<Row> {
    let reads = |check, stage: &str, wrong: &str, right: &str, seen: &'static [&'static str]| {
        let read = |access: &str| lines(&[stage, &format!("read its0 {access}")]);
        row(check, (read(wrong), Untouched), (read(right), Does(seen)))
    };
    let ctlr = |check, wrong: &str| {
        let write = format!("write its0 {wrong} 0x0");
        writes(check, &[BOOT, &write], &[BOOT, "write its0 CTLR 0x0"], Writes(&["CTLR := 0x0"]))
    };
    let of_ctlr = &["EL2 reads CTLR = "];
    let of_cbaser = &["EL2 reads CBASER = "];
    vec![
        reads("CTLR has not 64 bits", BOOT, "+0x0 size=8", "CTLR", of_ctlr),
        reads("CTLR has not 16 bits", BOOT, "+0x0 size=2", "CTLR", of_ctlr),
        reads("CTLR has not 8 bits", BOOT, "+0x0 size=1", "CTLR", of_ctlr),
        reads("CTLR has no half", BOOT, "+0x2 size=2", "CTLR", of_ctlr),
        reads("UMSIR has no halves", BOOT, "+0x48 size=4", "UMSIR", &["EL2 reads UMSIR = "]),
        reads("A read that is not aligned", BOOT, "+0xa size=4", "TYPER.low", &["EL2 reads TYPER"]),
        reads("64 bits that are not aligned", BOOT, "+0xc size=8", "TYPER", &["EL2 reads TYPER"]),
        reads("CREADR has not 16 bits", BOOT, "+0x90 size=2", "CREADR", &["EL2 reads CREADR = "]),
        reads("Closing: CTLR has not 64 bits", CLOSING, "+0x0 size=8", "CTLR", of_ctlr),
        reads("Closing: CBASER has not 8 bits", CLOSING, "+0x80 size=1", "CBASER", of_cbaser),
        reads("Closing: not aligned", CLOSING, "+0x82 size=4", "CBASER.low", of_cbaser),
        reads(
            "Closing: UMSIR has no halves",
            CLOSING,
            "+0x4c size=4",
            "UMSIR",
            &["EL2 reads UMSIR = "],
        ),
        ctlr("CTLR is not written in 64 bits", "+0x0 size=8"),
        ctlr("CTLR is not written in 16 bits", "+0x0 size=2"),
        ctlr("CTLR is not written in 8 bits", "+0x0 size=1"),
        writes(
            "CBASER is not written in 16 bits",
            &[REST, "write its0 +0x80 size=2 0x400"],
            &[REST, "write its0 CBASER.low 0x80000400"],
            CBASER,
        ),
        writes(
            "CWRITER is not written in 16 bits",
            &[BOOT, SYNC, "write its0 +0x88 size=2 0xe0"],
            &[BOOT, SYNC, "write its0 +0x88 size=4 0xe0"],
            Writes(&["CWRITER := 0xe0"]),
        ),
        writes(
            "CWRITER is not written beside its alignment",
            &[BOOT, SYNC, "write its0 +0x86 size=8 0xe00000"],
            &[BOOT, SYNC, "write its0 +0x88 size=8 0xe0"],
            Writes(&["CWRITER := 0xe0"]),
        ),
    ]
}

fn translation() -> Vec<Row> {
    let check = |check, stage: &str| {
        let zero = lines(&[stage, "read translation0 TRANSLATER"]);
        row(
            check,
            (zero, Untouched),
            (lines(&[stage, "read its0 +0x8 size=4"]), Does(&["EL2 reads"])),
        )
    };
    let ignored = |check, stage: &str| {
        let write = lines(&[stage, "write translation0 TRANSLATER 0x0"]);
        row(
            check,
            (write, Untouched),
            (lines(&[stage, "read its0 IIDR"]), Does(&["EL2 reads IIDR"])),
        )
    };
    vec![
        check("The translation frame reads zero in Closing", CLOSING),
        check("The translation frame reads zero in Guarded", BOOT),
        ignored("The translation frame ignores writes in Closing", CLOSING),
        ignored("The translation frame ignores writes in Guarded", BOOT),
    ]
}

const WAKER: crate::Seen = Writes(&["redistributor0+0x14 := 0x0"]);

/// A write that is ignored, and one of WAKER, which is forwarded.
fn ignored(check: &'static str, stage: &str, register: &str) -> Row {
    let write = format!("write redistributor0 {register} 0x0");
    writes(check, &[stage, &write], &[stage, "write redistributor0 WAKER 0x0"], WAKER)
}

fn redistributors() -> Vec<Row> {
    let one_finalized = "boot stage=probed queue-pages=1; finalize";
    let off = "boot stage=reset queue-pages=1; finalize";
    let enable_lpis = "write redistributor0 CTLR 0x1";
    let at = |steps: &str, read: &str| lines(&[off, steps, read]);
    let propbaser = "read redistributor1 PROPBASER";
    let write = |cpu: &str| {
        let write = format!("write redistributor1 PROPBASER 0x5 cpu={cpu}");
        at(&write, propbaser)
    };
    let lpis = |value: &str| lines(&[BOOT, &format!("write redistributor0 CTLR {value}")]);
    vec![
        ignored("PROPBASER is ignored from the first finalize on", one_finalized, "PROPBASER"),
        ignored("PROPBASER is ignored in Closing", CLOSING, "PROPBASER"),
        ignored("PROPBASER is ignored in Guarded", BOOT, "PROPBASER"),
        ignored("PENDBASER is ignored from the first finalize on", one_finalized, "PENDBASER"),
        ignored("PENDBASER is ignored in Closing", CLOSING, "PENDBASER"),
        ignored("PENDBASER is ignored in Guarded", BOOT, "PENDBASER"),
        ignored("The first word of the VLPI frame is ignored", BOOT, "+0x20000 size=4"),
        ignored("VPROPBASER is ignored", BOOT, "+0x20070 size=8"),
        ignored("VPENDBASER is ignored", BOOT, "+0x20078 size=8"),
        ignored("The last word of the VLPI frame is ignored", BOOT, "+0x2fffc size=4"),
        ignored("The VLPI frame is ignored in Closing", CLOSING, "+0x20070 size=8"),
        row(
            "Redistributors: on every finalized CPU, and on no other",
            (write("0"), Read(0)),
            (write("1"), Read(5)),
        ),
        row(
            "GICR_CTLR: EnableLPIs stays 1",
            (lpis("0x0"), Writes(&["redistributor0 GICR_CTLR := 0x1"])),
            (lpis("0x1000000"), Writes(&["redistributor0 GICR_CTLR := 0x1000001"])),
        ),
        row(
            "GICR_CTLR: EnableLPIs stays 1 in Closing",
            (
                lines(&[CLOSING, "write redistributor0 CTLR 0x0"]),
                Writes(&["redistributor0 GICR_CTLR := 0x1"]),
            ),
            (
                lines(&[off, "write redistributor0 CTLR 0x0"]),
                Writes(&["redistributor0 GICR_CTLR := 0x0"]),
            ),
        ),
        row(
            "GICR_CTLR: EnableLPIs stays 0",
            (at("", enable_lpis), Writes(&["redistributor0 GICR_CTLR := 0x0"])),
            (lines(&[BOOT, enable_lpis]), Writes(&["redistributor0 GICR_CTLR := 0x1"])),
        ),
    ]
}

/// Decision 14.
fn redistributor_halves() -> Vec<Row> {
    let half = |check, high: &str, low: &str, seen| {
        let write = |access: &str| lines(&[BOOT, &format!("write redistributor0 {access} 0x2000")]);
        row(check, (write(high), NOTHING), (write(low), seen))
    };
    let wrong = |check, access: &str| {
        let read = |access: &str| lines(&[BOOT, &format!("read redistributor0 {access}")]);
        row(check, (read(access), Untouched), (read("TYPER"), Does(&["EL2 reads redistributor0+"])))
    };
    vec![
        ignored("PROPBASER's low half is ignored", BOOT, "PROPBASER.low"),
        ignored("PROPBASER's high half is ignored", BOOT, "PROPBASER.high"),
        ignored("PENDBASER's low half is ignored", BOOT, "PENDBASER.low"),
        ignored("PENDBASER's high half is ignored", BOOT, "PENDBASER.high"),
        half(
            "INVLPIR's low half is written in 64 bits",
            "+0xa4 size=4",
            "+0xa0 size=4",
            Writes(&["redistributor0 GICR_INVLPIR := 0x2000"]),
        ),
        half(
            "SETLPIR's low half is written in 64 bits",
            "+0x44 size=4",
            "+0x40 size=4",
            Writes(&["redistributor0+0x40 := 0x2000"]),
        ),
        half(
            "CLRLPIR's low half is written in 64 bits",
            "+0x4c size=4",
            "+0x48 size=4",
            Writes(&["redistributor0+0x48 := 0x2000"]),
        ),
        half(
            "INVALLR's low half is written in 64 bits",
            "+0xb4 size=4",
            "+0xb0 size=4",
            Writes(&["redistributor0 GICR_INVALLR := 0x2000"]),
        ),
        row(
            "GICR_TYPER's high half is read in 64 bits",
            (lines(&[BOOT, "read redistributor0 +0xa size=4"]), Untouched),
            (
                lines(&[BOOT, "read redistributor0 TYPER.high"]),
                Does(&["EL2 reads redistributor0+0x8 ="]),
            ),
        ),
        wrong("GICR_CTLR has not 64 bits", "+0x0 size=8"),
        wrong("GICR_TYPER has not 16 bits", "+0x8 size=2"),
        wrong("GICR_TYPER is aligned", "+0xc size=8"),
        wrong("Byte accesses of a redistributor read zero", "+0x10400 size=1"),
    ]
}
