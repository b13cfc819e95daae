//! Traffic of one device next to many others, without reference and oracles: for counting EL2's
//! instructions.
//!
//! `many_devices DEVICES ROUNDS`: maps so many devices, 0 to 4,000, and then does the same few
//! operations again and again with one device more, each time another. `cargo xtask scale` runs it
//! under callgrind, which counts what is executed inside the emulator.

use std::process::ExitCode;

use its_board::Board;
use its_driver::{Drivers, Perform, machine};
use its_gic::Register;
use its_machine::{AccessSize, Action, Direction, Event, Outcome};
use its_scenario::Scenario;

/// An ITS with a flat device table of 8192 entries, and room for 4,096 records: the host gives
/// pages of its own.
const BOARD: &str = "\
itsdiff 2
its0 two-level=no device-id-bits=13
boot stage=deprivileged
set-up private=host[0] descriptor=descriptor[0] private-pages=16
";
/// DeviceIDs of the traffic, above all others: as many as there are records left.
const FIRST: u32 = 4000;
const OTHERS: u32 = 96;
/// Memory for ITTs of 256 bytes, in 4 KiB pages of `itt`.
const ITTS_PER_PAGE: u32 = 16;

/// The board, and nobody who judges.
struct Alone {
    board: Board,
    events: Vec<Event>,
}

impl Perform for Alone {
    fn perform(&mut self, action: Action) -> Outcome {
        self.events.clear();
        self.board.perform(&action, &mut self.events)
    }
}

fn main() -> ExitCode {
    let numbers = std::env::args().skip(1).map(|text| text.parse());
    let numbers: Result<Vec<u32>, _> = numbers.collect();
    match numbers.as_deref() {
        Ok([devices @ 0..=FIRST, rounds]) => run(*devices, *rounds),
        _ => {
            eprintln!("usage: many_devices DEVICES ROUNDS, with 0 to {FIRST} devices");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(devices: u32, rounds: u32) {
    let scenario = Scenario::parse(BOARD).expect("the board is right");
    let machine = machine(&scenario);
    let mut alone =
        Alone { board: Board::new(machine, its_production::make(&machine)), events: Vec::new() };
    let mut hosts = Drivers::new(&scenario);
    hosts.probe(scenario.boot.stage, &mut alone);
    hosts.deprivilege(&mut alone);
    for operation in &scenario.operations {
        hosts.operate(operation, &mut alone);
    }
    for device_id in 0..devices {
        post(&format!("{} valid", mapd(device_id)), &mut hosts, &mut alone);
    }
    for round in 0..rounds {
        let device_id = FIRST + round % OTHERS;
        round_of(device_id, &mut hosts, &mut alone);
    }
}

/// What the driver does with a device: maps it and an event, has an interrupt sent, takes both away
/// again.
fn round_of(device_id: u32, hosts: &mut Drivers, on: &mut Alone) {
    let (mapd, event) = (mapd(device_id), format!("device={device_id} event=0"));
    post(&format!("{mapd} valid"), hosts, on);
    post(&format!("command MAPTI {event} intid=8192 icid=0\ncommand INT {event}"), hosts, on);
    post(&format!("command DISCARD {event}\n{mapd}"), hosts, on);
}

fn mapd(device_id: u32) -> String {
    let (page, itt) = (device_id / ITTS_PER_PAGE, device_id % ITTS_PER_PAGE);
    format!("command MAPD device={device_id} size=0 itt=itt[{page}]+{:#x}", itt * 0x100)
}

/// Writes commands, posts them, and sees that all were carried out.
fn post(commands: &str, hosts: &mut Drivers, on: &mut Alone) {
    let scenario = Scenario::parse(format!("itsdiff 2\n{commands}\nwrite-cwriter double\n"));
    for operation in &scenario.expect("the commands are right").operations {
        hosts.operate(operation, on);
    }
    let [creadr, cwriter] = [Register::Creadr, Register::Cwriter].map(|register| {
        let address = its_machine::ITS_FRAMES[0] + register.offset();
        let (size, direction) = (AccessSize::Double, Direction::Read);
        on.perform(Action::Device { cpu: 0, address, size, direction })
    });
    assert_eq!(creadr, cwriter, "not all was carried out: {commands}");
}
