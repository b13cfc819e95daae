use super::*;
use crate::{Check, Redistributors, Refusal};

const NUMBERS: SubjectPolicy = SubjectPolicy {
    records_per_page: 256,
    commands_in_flight: 64,
    commands_per_trap: 64,
    event_id_bits: 16,
    private_pages: 1024,
    guarded_its: 2,
    its: 2,
    redistributors: 2,
};

fn error(text: &str) -> String {
    let read = File::read("mine.toml", text);
    match read.and_then(|file| file.declaration("mine.toml", NUMBERS)) {
        Ok(declared) => panic!("{text} is taken as {declared:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_file_says_what_it_says_and_no_more() {
    let text = "version = 1\n[queue]\nrefusal = \"silent\"\nleft-to-hardware = [\"icid\", \"rdbase\"]\n\
                [traps]\nredistributors = \"open\"\n[numbers]\nevent-id-bits = 12\n\
                [[not-judged]]\nrule = \"DIV-LOOK\"\nreason = \"it reads CTLR first\"\n";
    let file = File::read("mine.toml", text).unwrap();
    let declared = file.declaration("mine.toml", NUMBERS).unwrap();
    let mut expected = Declaration::of(SubjectPolicy { event_id_bits: 12, ..NUMBERS });
    expected.queue.refusal = Refusal::Silent;
    expected.queue.left_to_hardware = [Check::Icid, Check::Rdbase].into_iter().collect();
    expected.traps.redistributors = Redistributors::Open;
    assert_eq!(declared, expected);
    assert_eq!(declared.unprotected().len(), 1);
    assert!(file.gives_up(&catalogue::DIV_LOOK) && !file.gives_up(&catalogue::DIV_CREADR));
    // Rules of safety were split off it.
    let text = "version = 1\n[[not-judged]]\nrule = \"DIV-COMMAND\"\nreason = \"why\"\n";
    let file = File::read("mine.toml", text).unwrap();
    let given_up = catalogue::ALL.iter().filter(|rule| file.gives_up(rule));
    assert_eq!(given_up.map(|rule| rule.id).collect::<Vec<_>>(), ["DIV-COMMAND"]);
    let plain = File::read("mine.toml", "version = 1").unwrap();
    assert_eq!(plain.declaration("mine.toml", NUMBERS).unwrap(), Declaration::of(NUMBERS));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    insta::assert_snapshot!(error("version = 1\n[queue]\nrefusal = \"loud\"\n"));
    insta::assert_snapshot!(error("version = 1\n[queue]\nrefusals = \"stall\"\n"));
    insta::assert_snapshot!(error("version = 1\n[queue]\nleft-to-hardware = [\"itt\"]\n"));
    insta::assert_snapshot!(error("[queue]\n"));
}

#[test]
fn values_that_cannot_be_are_refused() {
    let given_up = |rule: &str, reason: &str| {
        error(&format!("version = 1\n[[not-judged]]\nrule = \"{rule}\"\nreason = \"{reason}\"\n"))
    };
    let all = [
        error("version = 2"),
        error("version = 1\n[queue]\npolls = 1001\n"),
        error("version = 1\n[numbers]\nevent-id-bits = 33\n"),
        error("version = 1\n[numbers]\ncommands-in-flight = 63\n"),
        error("version = 1\n[numbers]\ncommands-per-trap = 63\n"),
        given_up("DIV-NOTHING", "why"),
        given_up("LEAK-LOOSE", "why"),
        given_up("SVC-QUEUE", "why"),
        given_up("DIV-LOOK", " "),
        error(&format!(
            "version = 1\n{0}{0}",
            "[[not-judged]]\nrule = \"DIV-LOOK\"\nreason = \"a\"\n"
        )),
        error("version = 1\n[registers]\ntyper-hidden = 0xffffffffffffffff\n"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

/// Points that contradict each other are an error at the one that means nothing then.
#[test]
fn contradictions_are_errors() {
    for (points, at) in [
        ("[queue]\ntimeout = \"off\"\n", "line 3, column"),
        (
            "[queue]\npolls = 2\nrefusal = \"skipped\"\ntimeout = \"rolled-back\"\n",
            "line 5, column",
        ),
        ("[traps]\nredistributors = \"open\"\nenable-lpis = \"borrowed\"\n", "line 4, column"),
        ("[memory]\nlevel2 = \"fixed\"\nlevel2-contents = \"checked\"\n", "line 4, column"),
    ] {
        let error = error(&format!("version = 1\n{points}"));
        assert!(error.contains(at) && error.contains("with"), "{error}");
    }
}
