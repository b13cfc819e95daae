//! PTR over what EL2 passes on to the hardware: commands, and where its registers point. By what
//! set-up found, without asking the reference.

use its_gic::command::Words;
use its_gic::geometry::itt_bytes;
use its_gic::register::{OFFSET_MASK, TableType};
use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::{Event, View};

use crate::guards::{Guard, Guards, has_entry};
use crate::{Finding, Rule, rules};

/// The most EventID bits of a device, minus 1 (P6).
const LARGEST_SIZE: u8 = 15;
/// The most commands between CREADR and CWRITER (POLICY.md, the queue).
const IN_FLIGHT: u64 = 64;

/// Judges what was passed on, and then the registers of every guarded ITS.
pub(crate) fn judge(
    events: &[Event],
    guards: &Guards,
    view: &impl View,
    findings: &mut Vec<Finding>,
) {
    let mut written = false;
    for event in events {
        match *event {
            Event::CommandWritten { address, words } => {
                if let Some(guard) = guards.slot(address) {
                    command(words, guard, guards, findings);
                }
            }
            Event::DeviceWrite { address, value, .. } => {
                written = true;
                writer(address, value, guards, findings);
            }
            _ => {}
        }
    }
    // Only a write changes them, but for a loss of power, after which the ITS is not enabled.
    if !written {
        return;
    }
    for guard in guards.iter() {
        if view.register(guard.its, Register::Ctlr) & 1 != 0 {
            registers(guard, view, findings);
            flight(guard, view, findings);
        }
    }
}

fn command(words: Words, guard: &Guard, guards: &Guards, findings: &mut Vec<Finding>) {
    let command = Command::decode(words);
    let mut tell = |rule: &'static Rule, holds: bool| {
        if !holds {
            let path = format!("its{}.queue: {}", guard.its, command.name());
            findings.push(Finding::broken(rule, "passed", path, format!("{command:x?}")));
        }
    };
    let machine = &guards.machine;
    let known = |rdbase| machine.redistributor(guard.its, rdbase).is_some();
    match command {
        Command::Mapd { device_id, size, itt_address, valid } => {
            let has = u64::from(device_id) < guard.typer.device_ids()
                && has_entry(guard.table(TableType::Devices), device_id);
            tell(&rules::PTR_DEVICE, has);
            if valid {
                let fits = size <= guard.typer.id_bits().min(LARGEST_SIZE);
                tell(&rules::PTR_SIZE, fits);
                let bytes = itt_bytes(size, guard.typer.itt_entry_bytes());
                tell(&rules::PTR_ITT, machine.is_memory(itt_address, bytes));
            }
        }
        Command::Mapc { icid, rdbase, valid } => {
            let held = icid < u16::from(guard.typer.hcc());
            let entry = held || has_entry(guard.table(TableType::Collections), icid.into());
            let has = u64::from(icid) < guard.typer.collection_ids() && entry;
            tell(&rules::PTR_COLLECTION, has);
            tell(&rules::PTR_TARGET, !valid || known(rdbase));
        }
        Command::Movall { from_rdbase, to_rdbase } => {
            tell(&rules::PTR_TARGET, known(from_rdbase) && known(to_rdbase))
        }
        Command::Sync { rdbase } => tell(&rules::PTR_TARGET, known(rdbase)),
        Command::Raw { .. } => tell(&rules::PTR_OPCODE, false),
        _ => {}
    }
    tell(&rules::PTR_RESERVED, is_plain(command, words));
}

/// Whether a command has no bits that mean nothing. Of an opcode that nobody knows every bit may
/// mean something.
fn is_plain(command: Command, words: Words) -> bool {
    let idle = match command {
        Command::Mapd { size, itt_address, valid: false, .. } => size == 0 && itt_address == 0,
        Command::Mapc { rdbase, valid: false, .. } => rdbase == 0,
        _ => true,
    };
    idle && command.encode() == words
}

/// CWRITER lies within the queue.
fn writer(address: u64, value: u64, guards: &Guards, findings: &mut Vec<Finding>) {
    let Some((its, Register::Cwriter)) = guards.register(address) else {
        return;
    };
    let bytes = guards.of(its).map_or(u64::MAX, |guard| guard.queue().bytes);
    if value & OFFSET_MASK >= bytes {
        let path = format!("its{its}.cwriter");
        let seen = format!("{value:#x} in a queue of {bytes:#x} bytes");
        findings.push(Finding::broken(&rules::PTR_WRITER, "beyond", path, seen));
    }
}

/// CBASER and every BASER of an ITS that is enabled.
fn registers(guard: &Guard, view: &impl View, findings: &mut Vec<Finding>) {
    let mut compare = |rule, register: Register, found: u64, mask: u64| {
        let now = view.register(guard.its, register);
        if (now ^ found) & mask != 0 {
            let path = format!("its{}.{register:?}", guard.its);
            let seen = format!("{now:#x}, and {found:#x} at set-up");
            findings.push(Finding::broken(rule, "enabled", path, seen));
        }
    };
    let cbaser = guard.cbaser.into_bits();
    compare(&rules::PTR_QUEUE, Register::Cbaser, cbaser, Cbaser::WRITABLE);
    for (n, baser) in (0_u8..).zip(guard.basers) {
        // Of a table that is not Valid the rest means nothing.
        let mask = match baser.valid() {
            true => Baser::WRITABLE,
            false => Baser::VALID,
        };
        compare(&rules::PTR_TABLES, Register::Baser(n), baser.into_bits(), mask);
    }
}

/// How much the hardware has left to do. It only becomes less while time passes.
fn flight(guard: &Guard, view: &impl View, findings: &mut Vec<Finding>) {
    let offset = |register| view.register(guard.its, register) & OFFSET_MASK;
    let (from, to) = (offset(Register::Creadr), offset(Register::Cwriter));
    let queue = guard.queue();
    if from >= queue.bytes || to >= queue.bytes {
        return;
    }
    let commands = queue.distance(from, to);
    if commands > IN_FLIGHT {
        let path = format!("its{}.cwriter", guard.its);
        let seen = format!("{commands} commands");
        findings.push(Finding::broken(&rules::EL2_FLIGHT, "commands", path, seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{ITS, QUEUE, guards};
    use its_machine::{AccessSize, Exposure, Reach, Translation};

    const ITT: u64 = 0x8014_0000;
    const ANY: Command = Command::Mapd { device_id: 5, size: 4, itt_address: ITT, valid: true };

    fn passed(words: Words) -> Vec<&'static str> {
        let written = Event::CommandWritten { address: QUEUE + 0x40, words };
        told(&[written], &Registers::default())
    }

    fn told(events: &[Event], view: &Registers) -> Vec<&'static str> {
        let mut findings = Vec::new();
        judge(events, &guards(), view, &mut findings);
        findings.iter().map(|breach| breach.rule.id).collect()
    }

    /// An ITS whose registers are as at set-up, but for these.
    #[derive(Default)]
    struct Registers {
        cbaser: u64,
        baser1: u64,
        creadr: u64,
        cwriter: u64,
        stopped: bool,
    }

    impl View for Registers {
        fn reach(&self, _: u8) -> impl Iterator<Item = (Reach, Exposure)> {
            std::iter::empty()
        }
        fn translate(&self, _: u8, _: u32, _: u32) -> Option<Translation> {
            None
        }
        fn pending(&self, _: u8) -> impl Iterator<Item = u32> {
            std::iter::empty()
        }
        fn register(&self, its: u8, register: Register) -> u64 {
            let guards = guards();
            let guard = guards.of(its).unwrap();
            match register {
                Register::Ctlr => u64::from(!self.stopped),
                Register::Cbaser => guard.cbaser.into_bits() ^ self.cbaser,
                Register::Baser(1) => guard.basers[1].into_bits() ^ self.baser1,
                Register::Baser(n) => guard.basers[usize::from(n)].into_bits(),
                Register::Creadr => self.creadr,
                Register::Cwriter => self.cwriter,
                _ => 0,
            }
        }
        fn offered(&self, _: u8) -> Option<u32> {
            None
        }
    }

    #[test]
    fn sound_commands_pass() {
        let fine = [
            ANY,
            Command::Mapc { icid: 5, rdbase: 0, valid: true },
            Command::Sync { rdbase: 0 },
            Command::Invall { icid: 0xffff },
        ];
        for command in fine {
            assert!(passed(command.encode()).is_empty(), "{command:?}");
        }
        // Not in a queue of an ITS.
        let elsewhere = Event::CommandWritten { address: QUEUE + 0x1000, words: [!0; 4] };
        assert!(told(&[elsewhere], &Registers::default()).is_empty());
    }

    #[test]
    fn mapd_is_bounded() {
        let mapd = |device_id, size, itt_address| {
            let command = Command::Mapd { device_id, size, itt_address, valid: true };
            passed(command.encode())
        };
        assert_eq!(mapd(0x1_0000, 4, ITT), ["PTR-DEVICE"]);
        assert_eq!(mapd(5, 10, ITT), ["PTR-SIZE"]);
        assert_eq!(mapd(5, 4, 0x1000), ["PTR-ITT"]);
        assert_eq!(mapd(5, 9, 0x801f_f000), ["PTR-ITT"]);
    }

    #[test]
    fn collections_and_targets_exist() {
        let mapc = |icid, rdbase| {
            let command = Command::Mapc { icid, rdbase, valid: true };
            passed(command.encode())
        };
        assert_eq!(mapc(0x2000, 0), ["PTR-COLLECTION"]);
        assert_eq!(mapc(5, 1), ["PTR-TARGET"]);
        let movall = Command::Movall { from_rdbase: 0, to_rdbase: 7 };
        assert_eq!(passed(movall.encode()), ["PTR-TARGET"]);
    }

    #[test]
    fn words_are_plain() {
        let [dw0, dw1, dw2, dw3] = ANY.encode();
        assert_eq!(passed([dw0 | 0x100, dw1, dw2, dw3]), ["PTR-RESERVED"]);
        assert_eq!(passed([dw0, dw1, dw2 & !(1 << 63), dw3]), ["PTR-RESERVED"]);
        // VMAPP
        assert_eq!(passed([0x29, 0, 0, 0]), ["PTR-OPCODE"]);
    }

    fn write(register: Register, value: u64) -> Event {
        Event::DeviceWrite { address: ITS + register.offset(), size: AccessSize::Double, value }
    }

    #[test]
    fn registers_point_where_they_did() {
        let any = [write(Register::Cwriter, 0x20)];
        assert!(told(&any, &Registers::default()).is_empty());
        let moved =
            |stopped| Registers { cbaser: 0x1_0000, baser1: 1, stopped, ..Registers::default() };
        assert_eq!(told(&any, &moved(false)), ["PTR-QUEUE", "PTR-TABLES"]);
        assert!(told(&any, &moved(true)).is_empty());
        assert!(told(&[], &moved(false)).is_empty());
    }

    #[test]
    fn cwriter_is_within_the_queue_and_near() {
        let beyond = [write(Register::Cwriter, 0x1000)];
        assert_eq!(told(&beyond, &Registers::default()), ["PTR-WRITER"]);
        let ahead = |commands: u64| {
            let (creadr, cwriter) = (0xfe0, (0xfe0 + 32 * commands) % 0x1000);
            let view = Registers { creadr, cwriter, ..Registers::default() };
            told(&[write(Register::Cwriter, cwriter)], &view)
        };
        assert!(ahead(64).is_empty());
        assert_eq!(ahead(65), ["EL2-FLIGHT"]);
    }
}
