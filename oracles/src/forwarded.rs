//! PTR over what EL2 writes to the hardware: commands, and registers that hold addresses. Judged by
//! what set-up found, without asking the reference. Also how many commands are in flight.

use its_declaration::{Attributes, Bytes, Check, Declaration};
use its_gic::command::Words;
use its_gic::geometry::itt_bytes;
use its_gic::register::{OFFSET_MASK, TableType};
use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::Event;

use crate::guards::{Guard, Guards, has_entry};
use crate::{Finding, Rule, broken_by, rules};

/// What a register of an ITS holds now.
type Registers<'a> = dyn Fn(u8, Register) -> u64 + 'a;

/// Judges what was written, and then the registers of every guarded ITS.
pub(crate) fn judge(
    events: &[Event],
    guards: &Guards,
    register: &Registers,
    findings: &mut Vec<Finding>,
) {
    let mut written = false;
    for (index, event) in events.iter().enumerate() {
        let known = findings.len();
        match *event {
            Event::CommandWritten { address, words } => {
                if let Some(guard) = guards.slot(address) {
                    command(words, guard, guards, findings);
                }
            }
            Event::DeviceWrite { address, value, .. } => {
                written = true;
                findings.extend(writer(address, value, guards));
            }
            _ => {}
        }
        broken_by(index, &mut findings[known..]);
    }
    // Only a write changes them, but for a loss of power, after which the ITS is not enabled.
    if !written {
        return;
    }
    for guard in &guards.all {
        if register(guard.its, Register::Ctlr) & 1 != 0 {
            registers(guard, &guards.declared, register, findings);
            findings.extend(flight(guard, guards.declared.numbers.commands_in_flight, register));
        }
    }
}

fn command(words: Words, guard: &Guard, guards: &Guards, findings: &mut Vec<Finding>) {
    let command = Command::decode(words);
    let mut break_rule = |rule, class| {
        let path = format!("its{}.queue: {}", guard.its, command.name());
        findings.push(Finding::broken(rule, class, path, format!("{command:x?}")));
    };
    if let Command::Raw { words } = command {
        break_rule(&rules::PTR_OPCODE, kind_of(words[0] as u8));
    }
    let mut demand = |rule: &'static Rule, holds: bool| {
        if !holds {
            break_rule(rule, "passed");
        }
    };
    let (machine, declared) = (&guards.machine, &guards.declared);
    let leaves = |check| declared.queue.left_to_hardware.has(check);
    let known =
        |rdbase| leaves(Check::Rdbase) || machine.redistributor(guard.its, rdbase).is_some();
    match command {
        Command::Mapd { device_id, size, itt_address, valid } => {
            let has = u64::from(device_id) < guard.typer.device_ids()
                && has_entry(guard.table(TableType::Devices), device_id);
            demand(&rules::PTR_DEVICE, has || leaves(Check::DeviceId));
            if valid {
                let fits = size <= guard.typer.id_bits() || leaves(Check::EventIdBits);
                let event_id_bits = u32::from(size) + 1;
                demand(&rules::PTR_SIZE, fits && event_id_bits <= declared.numbers.event_id_bits);
                let bytes = itt_bytes(size, guard.typer.itt_entry_bytes());
                demand(&rules::PTR_ITT, machine.is_memory(itt_address, bytes));
            }
        }
        Command::Mapc { icid, rdbase, valid } => {
            let held = icid < u16::from(guard.typer.hcc());
            let entry = held || has_entry(guard.table(TableType::Collections), icid.into());
            let has = u64::from(icid) < guard.typer.collection_ids() && entry;
            demand(&rules::PTR_COLLECTION, has || leaves(Check::Icid));
            demand(&rules::PTR_TARGET, !valid || known(rdbase));
        }
        Command::Movall { from_rdbase, to_rdbase } => {
            demand(&rules::PTR_TARGET, known(from_rdbase) && known(to_rdbase))
        }
        Command::Sync { rdbase } => demand(&rules::PTR_TARGET, known(rdbase)),
        _ => {}
    }
    let is_verbatim = declared.queue.bytes == Bytes::Verbatim;
    demand(&rules::PTR_RESERVED, is_verbatim || is_plain(command, words));
}

/// The class of an opcode that is none of the twelve commands.
const fn kind_of(opcode: u8) -> &'static str {
    match opcode {
        // A slot that nobody wrote.
        0 => "zero",
        // GICv4: VMOVI, VMAPP and the others.
        0x20..0x30 => "virtual",
        _ => "unknown",
    }
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
fn writer(address: u64, value: u64, guards: &Guards) -> Option<Finding> {
    let (its, Register::Cwriter) = guards.register(address)? else {
        return None;
    };
    let bytes = guards.of(its)?.queue().bytes;
    (value & OFFSET_MASK >= bytes).then(|| {
        let seen = format!("{value:#x} in a queue of {bytes:#x} bytes");
        Finding::broken(&rules::PTR_WRITER, "beyond", format!("its{its}.cwriter"), seen)
    })
}

/// InnerCache, OuterCache and Shareability, the same bits of GITS_CBASER and `GITS_BASER<n>`.
const ATTRIBUTES: u64 = 7 << 59 | 7 << 53 | 3 << 10;

/// Fields of `GITS_BASER<n>`, each with its bits.
const TABLE_FIELDS: [(&str, u64); 5] = [
    ("valid", 1 << 63),
    ("indirect", 1 << 62),
    ("address", 0xf_ffff_ffff << 12),
    ("page-size", 3 << 8),
    ("size", 0xff),
];

/// CBASER and every BASER of an ITS that is enabled.
fn registers(
    guard: &Guard,
    declared: &Declaration,
    values: &Registers,
    findings: &mut Vec<Finding>,
) {
    let fixed = match declared.registers.attributes {
        Attributes::Fixed => ATTRIBUTES,
        Attributes::Host => 0,
    };
    let mut compare = |(rule, class), register: Register, found: u64, mask: u64| {
        let now = values(guard.its, register);
        if (now ^ found) & mask != 0 {
            let path = format!("its{}.{register:?}", guard.its);
            let seen = format!("{now:#x}, and {found:#x} at set-up");
            findings.push(Finding::broken(rule, class, path, seen));
        }
    };
    let cbaser = guard.cbaser.into_bits();
    let queue = (&rules::PTR_QUEUE, "enabled");
    compare(queue, Register::Cbaser, cbaser, Cbaser::WRITABLE & !ATTRIBUTES);
    let attributes = (&rules::PTR_ATTRIBUTES, "enabled");
    compare(attributes, Register::Cbaser, cbaser, fixed);
    for (n, baser) in (0_u8..).zip(guard.basers) {
        // Of a table that is not Valid the rest means nothing.
        let mask = if baser.valid() { Baser::WRITABLE } else { Baser::VALID };
        for (class, bits) in TABLE_FIELDS {
            compare(
                (&rules::PTR_TABLES, class),
                Register::Baser(n),
                baser.into_bits(),
                mask & bits,
            );
        }
        compare(attributes, Register::Baser(n), baser.into_bits(), mask & fixed);
    }
}

/// How much the hardware has left to do. It only becomes less while time passes.
fn flight(guard: &Guard, most: u32, values: &Registers) -> Option<Finding> {
    let offset = |register| values(guard.its, register) & OFFSET_MASK;
    let (from, to, queue) = (offset(Register::Creadr), offset(Register::Cwriter), guard.queue());
    let commands = queue.distance(from, to);
    (from.max(to) < queue.bytes && commands > most.into()).then(|| {
        let path = format!("its{}.cwriter", guard.its);
        Finding::broken(&rules::EL2_FLIGHT, "commands", path, format!("{commands} commands"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{QUEUE, guards, reported, write};

    const ITT: u64 = 0x8014_0000;

    fn judged(guards: &Guards, events: &[Event], values: &Values) -> Vec<&'static str> {
        let register = |_, register| values.register(register);
        let found = reported(|findings| judge(events, guards, &register, findings));
        found.into_iter().map(|(rule, _)| rule).collect()
    }

    fn broken(events: &[Event], values: &Values) -> Vec<&'static str> {
        judged(&guards(), events, values)
    }

    fn written(words: Words) -> Vec<&'static str> {
        let written = Event::CommandWritten { address: QUEUE + 0x40, words };
        broken(&[written], &Values::default())
    }

    /// Registers of an ITS that are as at set-up, but for these.
    #[derive(Default)]
    struct Values {
        cbaser: u64,
        baser1: u64,
        creadr: u64,
        cwriter: u64,
        stopped: bool,
    }

    impl Values {
        fn register(&self, register: Register) -> u64 {
            let guard = &guards().all[0];
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
    }

    const fn mapd(device_id: u32, size: u8, itt_address: u64) -> Command {
        Command::Mapd { device_id, size, itt_address, valid: true }
    }

    #[test]
    fn commands_are_bounded() {
        let mapc = |icid, rdbase| Command::Mapc { icid, rdbase, valid: true };
        for (command, rule) in [
            (mapd(5, 4, ITT), None),
            (mapc(5, 0), None),
            (Command::Sync { rdbase: 0 }, None),
            (Command::Invall { icid: 0xffff }, None),
            (mapd(0x1_0000, 4, ITT), Some("PTR-DEVICE")),
            (mapd(5, 10, ITT), Some("PTR-SIZE")),
            (mapd(5, 4, 0x1000), Some("PTR-ITT")),
            (mapd(5, 9, 0x801f_f000), Some("PTR-ITT")),
            (mapc(0x2000, 0), Some("PTR-COLLECTION")),
            (mapc(5, 1), Some("PTR-TARGET")),
            (Command::Movall { from_rdbase: 0, to_rdbase: 7 }, Some("PTR-TARGET")),
        ] {
            assert!(written(command.encode()).into_iter().eq(rule), "{command:?}");
        }
        // Not in a queue of an ITS.
        let elsewhere = Event::CommandWritten { address: QUEUE + 0x2000, words: [!0; 4] };
        assert!(broken(&[elsewhere], &Values::default()).is_empty());
    }

    #[test]
    fn sizes_are_bounded_by_what_the_subject_declares() {
        let words = mapd(5, 4, ITT).encode();
        let event = [Event::CommandWritten { address: QUEUE, words }];
        let mut guards = guards();
        for (event_id_bits, rule) in [(5, None), (4, Some("PTR-SIZE"))] {
            guards.declared.numbers.event_id_bits = event_id_bits;
            assert!(judged(&guards, &event, &Values::default()).into_iter().eq(rule));
        }
    }

    #[test]
    fn words_are_plain() {
        let [dw0, dw1, dw2, dw3] = mapd(5, 4, ITT).encode();
        assert_eq!(written([dw0 | 0x100, dw1, dw2, dw3]), ["PTR-RESERVED"]);
        assert_eq!(written([dw0, dw1, dw2 & !(1 << 63), dw3]), ["PTR-RESERVED"]);
        // VMAPP
        assert_eq!(written([0x29, 0, 0, 0]), ["PTR-OPCODE"]);
    }

    #[test]
    fn registers_point_where_they_did_and_cwriter_into_the_queue() {
        let beyond = [write(Register::Cwriter, 0x2000)];
        assert_eq!(broken(&beyond, &Values::default()), ["PTR-WRITER"]);
        let any = [write(Register::Cwriter, 0x20)];
        assert!(broken(&any, &Values::default()).is_empty());
        let moved = |stopped| Values { cbaser: 0x1_0000, baser1: 1, stopped, ..Values::default() };
        assert_eq!(broken(&any, &moved(false)), ["PTR-QUEUE", "PTR-TABLES"]);
        assert!(broken(&any, &moved(true)).is_empty());
        assert!(broken(&[], &moved(false)).is_empty());
    }

    #[test]
    fn commands_in_flight_are_as_many_as_the_subject_declares() {
        let mut guards = guards();
        for (declared, commands, rule) in [
            (64, 64, None),
            (64, 65, Some("EL2-FLIGHT")),
            (128, 100, None),
            (128, 128, None),
            (128, 129, Some("EL2-FLIGHT")),
        ] {
            guards.declared.numbers.commands_in_flight = declared;
            let (creadr, cwriter) = (0x1fe0, (0x1fe0 + 32 * commands) % 0x2000);
            let values = Values { creadr, cwriter, ..Values::default() };
            let found = judged(&guards, &[write(Register::Cwriter, cwriter)], &values);
            assert!(found.into_iter().eq(rule), "{commands} of {declared}");
        }
    }
}
