//! Tests of printing and parsing together.

use insta::assert_snapshot;
use quickcheck::quickcheck;

use super::*;
use crate::binary::tests::bytes_of;
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};

/// The example of the first page, and one line of most kinds.
const LONG: &str = "\
# A device whose ITT crosses a page, and everything that can go wrong with it.
itsdiff 2
its0 on-error=ignore pace=late page-size=4K two-level=no rdbase=address itt-entry-bytes=0xc
boot stage=probed live-devices=1 queue-pages=1

finalize
finalize cpu=1
set-up private=private[0] descriptor=descriptor[0] private-pages=1 # x1 is right
map-device device=0x2a event-id-bits=6 itt=itt[3]+0xf00
map-event device=0x2a event=7 intid=8199 icid=0 cpu=1
command MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid
command MAPD device=42 size=0 itt=0x880000000
command MAPC icid=1 rdbase=redistributor1 valid
command MAPTI device=0x2a event=0x7 intid=0x2007 icid=0x5
command SYNC rdbase=0xfffffffff
command MOVALL from=redistributor0 to=redistributor1
raw-command 0xff 0x1 0x2 0x3
rewind 2
write-cwriter
write-cwriter retry double cpu=1
poll 4
write its0 CWRITER 0x40
write its0 CWRITER.low 0x1
read its0 CREADR.high
read its0 PIDR2 cpu=1
read its0 +0x1234 size=2
write its0 +0x8c size=8 0xffffffffffffffff
write translation0 TRANSLATER 0x7
write redistributor1 PROPBASER.high 0x1
read redistributor0 +0x20000 size=4
write-cbaser
write-cbaser flip=0x1000
write-baser 0 flip=0x8000000000000000
enable
disable cpu=1
quiesce
load host[63]+0xff8
store level2[16] value=0x1
share itt[4]
unshare device-table-copy[0]
donate-guest itt[3]
reclaim-guest high[0]
raw-hypercall x0=0xc6000008 x1=0x80000 x4=0x1
grow device=0x2000 level2=level2[16] flip=0x1
suspend
resume
msi device=0x2a event=0x7
advance 64
fail donate nth=2
tamper queue-copy[0]+0x20 after=1 value=0x8
unmap-device device=0x2a
";

/// A host that owns two ITSs, with every kind that is there for such hosts.
const TWO: &str = "\
itsdiff 2
its0 on-error=ignore cumulative-collections=yes mapped-event=kept
its1 invalidates=yes two-level-collections=yes caches=write-back statusr=present page-size=16K
boot stage=reset its=2
probe
init-cpu
init-cpu cpu=1
map-device device=0x1 event-id-bits=5 itt=itt[1]
map-event device=0x1 event=0x0 intid=0x2000 icid=0x0
unmask device=0x1 event=0x0
msi device=0x1 event=0x0
acknowledge
move-event device=0x1 event=0x0 to=1
mask device=0x1 event=0 direct cpu=1
msi device=0x1 event=0xffff half
acknowledge cpu=1
configure intid=8192 value=0xa3
write redistributor0 INVLPIR 0x2000
write redistributor1 INVALLR 0x0
read redistributor0 SYNCR
read redistributor0 WAKER
unmap-event device=0x1 event=0x0
suspend
power-loss
resume
select-its 1
probe cpu=1
write its1 CWRITER.low 0x20
read its1 CREADR
write translation1 TRANSLATER 0x0
load queue1[15]
load device-table1[31]+0xff8
load collection-table1[0]
power-loss restored
select-its 0
";

/// A board as large as there are.
const LARGE: &str = "\
itsdiff 2
its7 pace=late
boot private-pages=17 its=8 cpus=8 processor0=2 processor2=0 processor7=200 high-pages=41
finalize cpu=7
select-its 7
write redistributor7 CTLR 0x1
read its7 TYPER
load queue7[15]
load more-pending[95]
load records[511]+0xff8
command SYNC rdbase=redistributor7
move-event device=0x0 event=0x0 to=7
map-devices device=0x0 count=4096 stride=0x1 event-id-bits=1 itt=itt[0]
";

#[test]
fn a_large_board() {
    let scenario = Scenario::parse(LARGE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.to_string(), LARGE);
    assert_eq!(Scenario::decode(&scenario.encode()), scenario);
    assert_eq!(scenario.boot.processor_numbers(), [2, 1, 0, 3, 4, 5, 6, 200]);
}

#[test]
fn a_long_scenario() {
    let scenario = Scenario::parse(LONG).unwrap_or_else(|error| panic!("{error}"));
    assert_snapshot!(scenario);
}

#[test]
fn two_its() {
    let scenario = Scenario::parse(TWO).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.boot.its, 2);
    assert_snapshot!(scenario);
}

#[test]
fn errors_say_where_what_and_what_instead() {
    let error = |text: &str| Scenario::parse(text).unwrap_err();
    assert_snapshot!("unknown_operation", error("itsdiff 2\n\n  frobnicate 3\n"));
    assert_snapshot!("unknown_key", error("itsdiff 2\nmsi device=0x2a evnt=7\n"));
    assert_snapshot!(
        "value_out_of_range",
        error("itsdiff 2\ncommand MAPD device=1 size=0x20 itt=itt[3] valid\n")
    );
}

/// What may not follow the first line: line and column of the complaint, a part of it, the text.
const WRONG: &str = r"
3:1 too late | write-cwriter\nboot stage=probed
3:1 too late | boot\nits0
2:19 twice | boot stage=probed stage=probed
2:6 one of stage, live-devices | boot colour=red
2:6 no value | boot stage
2:18 from 1 to 16 | boot queue-pages=17
2:1 MAPTI | command
2:9 no command | command VMAPP
2:1 no operation | command-mapd
2:1 lacks its at; expected load PLACE [cpu=N] | load
2:6 beyond the area; expected a page from 0 to 319 of itt | load itt[320]
2:6 beyond the area | load itt[70000]
2:6 beyond the page; expected an offset below 0x1000 | load itt[1]+0x1000
2:6 lacks a ] | load itt[1
2:6 is no place | load itt[1]8
2:6 is no place | load itt[x]
2:6 in no area of the board; expected one of queue-copy | load ram[1]
2:6 is no number; expected a place such as | load nowhere
2:24 beyond the area; expected a page from 0 to 31 | grow device=0x1 level2=pending[32]
2:24 is not aligned; expected a multiple of 0x1000 | grow device=0x1 level2=pending[3]+0x10
2:6 is too large; expected a number from 1 to 255 | poll 256
2:6 is too small | poll 0
2:6 is too large | poll 99999999999999999999
2:6 is too large | poll 0x1ffffffffffffffff
2:6 is no number | poll 0x
2:6 is no number | poll many
2:21 too large; expected redistributor0 to redistributor7 | command SYNC rdbase=redistributor8
2:14 on this board | command SYNC rdbase=redistributor2
2:21 too large; expected redistributor0, or | command SYNC rdbase=0x1000000000
2:6 is not aligned; expected a multiple of 0x8 | load itt[0]+0x4
2:6 is too large | load 0x10000000000000
2:8 too much | poll 4 4
2:6 from 1 to 255 | poll +4
2:21 twice | write-cwriter retry retry
2:19 on this board; expected a part of the board: it has 1 ITSs and 2 CPUs | write-cwriter cpu=2
2:12 on this board | select-its 1
4:1 is done by CPU 2 in a race; expected CPU 0 or CPU 1 | boot cpus=3\nrace 2\nwrite-cwriter cpu=2
2:19 number of a CPU, 0 to 7 | write-cwriter cpu=8
2:22 no argument | msi device=1 event=1 cpu=0
3:1 too late | its1\nits0
2:13 one of absent, write-through, write-back | its1 caches=full
2:12 the number of an ITS, 0 to 7 | select-its 8
2:14 does not fit | msi device=1 event=0x10000 half
2:29 on this board | move-event device=0 event=0 to=2
2:6 on this board | read its2 CTLR
2:6 on this board | read redistributor2 CTLR
2:6 on this board | load queue2[0]
2:1 on this board | its2 pace=late
2:1 reserved for later versions | drain
2:6 reserved for later versions | boot drivers=2
2:19 other fields | boot processor0=7 processor1=7
2:18 own size | read its0 CREADR size=4
2:1 lacks its size | read its0 +0x10
2:12 is too large; expected a number up to 0xffff | read its0 +0x10000 size=4
2:11 no register | read its0 NOTHING
2:24 does not fit | write its0 CWRITER.low 0x100000000
";

#[test]
fn wrong_texts_are_refused() {
    let headless = [
        ("", 1, "ends the text"),
        ("write-cwriter", 1, "no header"),
        ("itsdiff", 1, "lacks a version"),
    ];
    let headless = headless.into_iter().chain([("itsdiff 3", 9, "no version")]);
    let mut wrong: Vec<_> =
        headless.map(|(text, column, part)| (text.to_owned(), 1, column, part)).collect();
    for row in WRONG.trim().lines() {
        let (complaint, text) = row.split_once(" | ").unwrap();
        let (place, part) = complaint.split_once(' ').unwrap();
        let (line, column) = place.split_once(':').unwrap();
        let text = format!("itsdiff 2\n{}", text.replace(r"\n", "\n"));
        wrong.push((text, line.parse().unwrap(), column.parse().unwrap(), part));
    }
    assert_eq!(wrong.len(), 60);
    for (text, line, column, part) in wrong {
        let error = Scenario::parse(&text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn what_is_no_text_is_refused_where_it_starts() {
    let error = Scenario::parse(b"itsdiff 2\npo\xffll\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 3));
    let error = Scenario::parse("#".repeat(MAX_TEXT_BYTES + 1)).unwrap_err();
    assert!(error.wrong.contains("8388609 bytes"));
    let many = format!("itsdiff 2\n{}", "suspend\n".repeat(10_001));
    assert_eq!(Scenario::parse(many).unwrap_err().line, 10_002);
}

/// The longest lines that there are, with room to spare.
#[test]
fn a_printed_scenario_can_be_read() {
    let longest = "raw-hypercall x0=0xffffffffffffffff x1=0xffffffffffffffff x2=0xffffffffffffffff \
                   x3=0xffffffffffffffff x4=0xffffffffffffffff cpu=1\n";
    let text = format!("itsdiff 2\n{}", longest.repeat(MAX_OPERATIONS));
    assert!(text.len() < MAX_TEXT_BYTES / 4);
    assert_eq!(Scenario::parse(&text).unwrap().to_string(), text);
}

quickcheck! {
    fn text_loses_nothing(header: Vec<u8>, records: Vec<Record>) -> bool {
        let scenario = Scenario::decode(&bytes_of(header, records));
        let text = scenario.to_string();
        let parsed = Scenario::parse(&text);
        parsed.as_ref() == Ok(&scenario) && parsed.is_ok_and(|again| again.to_string() == text)
    }

    fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) -> bool {
        let text = [b"itsdiff 2\n", &*bytes].concat();
        let harmless = |result: Result<Scenario, ParseError>| match result {
            Ok(scenario) => scenario.operations.len() <= MAX_OPERATIONS,
            Err(error) => error.word.chars().count() <= 40,
        };
        harmless(Scenario::parse(&bytes)) && harmless(Scenario::parse(text))
    }

    /// Words that mean something, in any order, get further than bytes.
    fn shuffled_words_are_parsed_or_refused(picks: Vec<(u16, u8)>) -> bool {
        let words: Vec<_> = LONG.split([' ', '=', '+']).collect();
        let mut text = "itsdiff 2\n".to_owned();
        for (pick, join) in picks {
            text.push_str(words[usize::from(pick) % words.len()]);
            text.push_str([" ", "=", "+", "\n"][usize::from(join) % 4]);
        }
        match Scenario::parse(&text) {
            Ok(scenario) => Scenario::parse(scenario.to_string()) == Ok(scenario),
            Err(error) => error.line >= 1 && error.column >= 1,
        }
    }
}
