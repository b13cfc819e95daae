//! Cases on a real QEMU. Where it is not installed a line says so, and nothing is tested.

#[allow(dead_code)]
mod support;

use its_device::{Answer, Device, Seen};
use its_gic::redistributor::CTLR;
use its_gic::{Command, Register};
use its_machine::{AccessSize, Action, CommandError, Event, Outcome, Translation};
use its_qemu::{Error, Qemu};
use support::{
    COLLECTIONS, DEVICES, Draft, ITS, ITT, PENDING, QUEUE, REDISTRIBUTORS, int, machine, mapc,
    mapd, mapti, start,
};

fn seen(answers: &[Answer]) -> Vec<&Seen> {
    let seen = answers.iter().filter_map(|answer| match answer {
        Answer::Seen(seen) => Some(seen),
        _ => None,
    });
    seen.collect()
}

fn events(answers: &[Answer]) -> Vec<Event> {
    let events = answers.iter().filter_map(|answer| match answer {
        Answer::Acted { events, .. } => Some(events.clone()),
        _ => None,
    });
    events.flatten().collect()
}

fn outcomes(answers: &[Answer]) -> Vec<Outcome> {
    let outcomes = answers.iter().filter_map(|answer| match answer {
        Answer::Acted { outcome, .. } => Some(*outcome),
        _ => None,
    });
    outcomes.collect()
}

/// Like a driver: maps three events, one of them raised.
fn driver() -> Draft {
    let mut draft = Draft::new(15);
    for command in [
        mapc(0, 0),
        mapc(1, 1),
        mapd(7, ITT),
        mapti(7, 3, 8195, 1),
        mapti(7, 31, 8200, 0),
        mapti(7, 4, 8196, 9),
        int(7, 3),
    ] {
        draft.send(command);
    }
    draft
}

#[test]
fn what_a_driver_does_is_seen() {
    let Some(mut qemu) = start() else { return };
    let mut draft = driver();
    draft.look();
    draft.put(int(7, 31));
    draft.put(Command::Clear { device_id: 7, event_id: 3 });
    draft.post();
    draft.look();
    let answers = qemu.play(&draft.steps).unwrap();
    assert_eq!(answers.len(), draft.steps.len());
    let [first, second] = seen(&answers)[..] else {
        panic!("two looks");
    };
    let translations =
        [((7, 3), 8195, 1, Some(1)), ((7, 4), 8196, 9, None), ((7, 31), 8200, 0, Some(0))].map(
            |(event, intid, icid, redistributor)| {
                let translation = Translation { intid, icid, redistributor };
                (event, translation)
            },
        );
    assert!(first.translations.iter().map(|(id, to)| (*id, *to)).eq(translations));
    assert_eq!(first.translations, second.translations);
    assert_eq!(first.pending, [vec![], vec![8195]]);
    assert_eq!(second.pending, [vec![8200], vec![]]);
    let registers = [
        (Register::Ctlr, 0x8000_0001),
        (Register::Iidr, 0x43b),
        (Register::Typer, 0x1f_0001_efb1),
        (Register::Cbaser, 1 << 63 | QUEUE),
        (Register::Cwriter, 0x120),
        (Register::Creadr, 0x120),
        (Register::Baser(0), 0x8107_0000_0000_0200 | DEVICES),
        (Register::Baser(1), 0x8407_0000_0000_0200 | COLLECTIONS),
        (Register::Baser(2), 0),
    ];
    assert_eq!(second.registers, registers);
    let taken = events(&answers).into_iter().map(|event| match event {
        Event::Taken { its: 0, offset, words } => (offset, Command::decode(words).name()),
        other => panic!("{other:?}"),
    });
    let names = ["MAPC", "MAPC", "MAPD", "MAPTI", "MAPTI", "MAPTI", "INT", "INT", "CLEAR"];
    assert!(taken.eq((0..).step_by(0x20).zip(names)));
}

#[test]
fn two_levels_and_other_page_sizes_are_seen() {
    let Some(mut qemu) = start() else { return };
    for (field, page_bytes) in [(0, 0x1000), (1, 0x4000), (2, 0x1_0000)] {
        let mut draft = Draft::new(13);
        let level2 = ITT + 0x10_0000;
        draft.write_word(ITS, 0);
        let indirect = 3 << 62 | field << 8 | DEVICES;
        draft.register(Register::Baser(0), indirect);
        draft.write_word(ITS, 1);
        draft.store(DEVICES + 8, 1 << 63 | level2);
        let device_id = (page_bytes / 8) as u32 + 5;
        draft.send(mapd(device_id, ITT));
        draft.send(mapti(device_id, 3, 8195, 1));
        // Of a level-2 table that is not there.
        draft.send(mapd(device_id * 2, ITT + 0x1000));
        draft.look();
        let answers = qemu.play(&draft.steps).unwrap();
        let keys: Vec<_> = seen(&answers)[0].translations.keys().copied().collect();
        assert_eq!(keys, [(device_id, 3)]);
    }
}

#[test]
fn an_itt_that_is_no_memory_stalls() {
    let Some(mut qemu) = start() else { return };
    let mut draft = Draft::new(13);
    draft.send(mapc(0, 0));
    draft.send(mapd(1, 0x4_0000_0000_0000));
    let words = mapti(1, 0, 8192, 0).encode();
    draft.put(mapti(1, 0, 8192, 0));
    draft.put(Command::Sync { rdbase: 0 });
    draft.post();
    // Any write of CWRITER makes QEMU go on, into the same stall.
    draft.post();
    draft.look();
    let answers = qemu.play(&draft.steps).unwrap();
    let stalled = Event::Stalled { its: 0, offset: 0x40, words, error: Some(CommandError(None)) };
    assert_eq!(events(&answers)[2..], [stalled, stalled]);
    let registers = &seen(&answers)[0].registers;
    assert!(registers.contains(&(Register::Creadr, 0x41)));
}

#[test]
fn a_case_sees_nothing_of_the_one_before() {
    let Some(mut qemu) = start() else { return };
    let probe = || {
        let mut draft = Draft::new(15);
        for address in [QUEUE, DEVICES + 56, COLLECTIONS, ITT + 36, PENDING[1] + 1024] {
            draft.act(Action::Load { cpu: 0, address });
        }
        draft.look();
        draft.write_word(ITS, 0);
        // Nothing is cached of earlier tables.
        draft.write_word(ITS, 1);
        draft.send(int(7, 3));
        draft.look();
        draft
    };
    let before = qemu.play(&probe().steps).unwrap();
    let mut driver = driver();
    driver.send(int(7, 31));
    driver.look();
    let answers = qemu.play(&driver.steps).unwrap();
    assert_eq!(seen(&answers)[0].pending, [vec![8200], vec![8195]]);
    assert_eq!(qemu.play(&probe().steps).unwrap(), before);
    assert!(seen(&before)[1].translations.is_empty());

    let mut draft = Draft::new(15);
    draft.steps.clear();
    for register in [Register::Cbaser, Register::Cwriter, Register::Creadr] {
        draft.read(ITS + register.offset(), AccessSize::Double);
    }
    draft.read(ITS, AccessSize::Word);
    for address in REDISTRIBUTORS {
        draft.read(address + CTLR, AccessSize::Word);
        draft.read(address + 0x70, AccessSize::Double);
        draft.read(address + 0x78, AccessSize::Double);
    }
    let values = [0, 0, 0, 0x8000_0000, 2, 0, 0, 2, 0, 0].map(Outcome::Value);
    assert_eq!(outcomes(&qemu.play(&draft.steps).unwrap()), values);
}

#[test]
fn messages_arrive() {
    let Some(mut qemu) = start() else { return };
    let mut draft = Draft::new(13);
    for command in [mapc(0, 0), mapd(0, ITT), mapti(0, 5, 8192, 0), mapti(0, 6, 8193, 0)] {
        draft.send(command);
    }
    let msi = |device_id, event_id, size| Action::Msi { its: 0, device_id, event_id, size };
    draft.act(msi(0, 5, AccessSize::Double));
    draft.act(msi(0, 0xf_0006, AccessSize::Half));
    draft.act(msi(1, 5, AccessSize::Word));
    draft.look();
    draft.act(msi(0, 5, AccessSize::Word));
    draft.look();
    let answers = qemu.play(&draft.steps).unwrap();
    let not = answers.iter().filter(|answer| matches!(answer, Answer::NotActed(_)));
    assert_eq!(not.count(), 1);
    let pending: Vec<_> = seen(&answers).iter().map(|seen| &seen.pending[0][..]).collect();
    assert_eq!(pending, [&[8193][..], &[8192, 8193]]);
}

#[test]
fn what_is_not_there_is_refused_and_what_is_not_known_reads_zero() {
    let Some(mut qemu) = start() else { return };
    let cpu = 0;
    let mut draft = Draft::new(13);
    draft.steps.clear();
    draft.store(QUEUE, 5);
    draft.act(Action::Load { cpu, address: QUEUE });
    for address in [QUEUE + 4, 0x4000_0000, 1 << 50, 0] {
        draft.act(Action::Load { cpu, address });
    }
    draft.act(Action::StoreCommand { cpu, address: QUEUE + 8, words: [1; 4] });
    draft.read(0x0900_0000, AccessSize::Word);
    // A size that the ITS does not take.
    draft.read(ITS, AccessSize::Double);
    let mut expected = vec![Outcome::Done, Outcome::Value(5)];
    expected.extend([Outcome::Refused; 6]);
    expected.push(Outcome::Value(0));
    let answers = qemu.play(&draft.steps).unwrap();
    assert_eq!(outcomes(&answers), expected);

    let mut draft = Draft::new(13);
    draft.steps.clear();
    draft.read(ITS + 4, AccessSize::Double);
    // VLPI frames; the frame that CPUs do not write.
    draft.read(REDISTRIBUTORS[1] + 0x2_0000, AccessSize::Word);
    draft.write_word(ITS + 0x1_0040, 3);
    draft.act(Action::Acknowledge { cpu });
    draft.act(Action::PowerLoss { its: 0, restored: true });
    draft.act(Action::Advance { its: 1, commands: 1 });
    draft.write_word(REDISTRIBUTORS[0] + 0x14, 0);
    let answers = qemu.play(&draft.steps).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Answer::NotActed(_))));
}

/// More lines than fit the buffers of the pipes.
#[test]
fn long_cases_are_played() {
    let Some(mut qemu) = start() else { return };
    let mut draft = Draft::new(13);
    for value in 0..20_000 {
        draft.store(ITT + value * 8, value);
    }
    draft.act(Action::Load { cpu: 0, address: ITT + 19_999 * 8 });
    let answers = qemu.play(&draft.steps).unwrap();
    assert_eq!(outcomes(&answers).last(), Some(&Outcome::Value(19_999)));
}

#[test]
fn a_qemu_that_was_killed_is_an_error() {
    let Some(mut qemu) = start() else { return };
    qemu.play(&driver().steps).unwrap();
    let id = qemu.process_id().to_string();
    let killed = std::process::Command::new("kill").args(["-9", &id]).status();
    assert!(killed.unwrap().success());
    let error = qemu.play(&driver().steps).unwrap_err();
    assert!(matches!(error, Error::Died { .. }), "{error}");
    assert!(matches!(qemu.play(&[]), Err(Error::Spent)));
}

#[test]
fn what_is_no_qemu_is_an_error_with_what_it_said() {
    let Some(_) = start() else { return };
    let mut installed = its_qemu::find().unwrap();
    installed.program = "/bin/ls".into();
    let error = Qemu::start(&installed, machine()).unwrap_err();
    assert!(matches!(&error, Error::Died { said } if said.contains("ls:")), "{error}");
}

#[test]
fn nothing_is_left_behind() {
    let Some(qemu) = start() else { return };
    let process = format!("/proc/{}", qemu.process_id());
    let left = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let own = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("its-qemu-"));
    // Others may be starting right now.
    eprintln!("folders of QEMUs: {}", own.count());
    assert!(std::path::Path::new(&process).exists());
    drop(qemu);
    assert!(!std::path::Path::new(&process).exists());
}
