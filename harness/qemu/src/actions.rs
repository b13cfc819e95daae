//! What an action is to QEMU: the commands that it becomes, and what it cannot become.

use its_gic::Register;
use its_gic::command::{COMMAND_BYTES, Words};
use its_gic::redistributor::{CTLR, FRAMES_BYTES, INVALLR, INVLPIR, PENDBASER, PROPBASER};
use its_gic::register::{FRAME_BYTES, Part, TRANSLATER};
use its_machine::{AccessSize, Action, Direction, Machine, Outcome};

use crate::facts::{self, CPUS, ITS, REDISTRIBUTOR_BYTES, redistributor};
use crate::qtest::Batch;
use crate::queue::Effect;

/// What is done about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing; this is known to be what comes of it.
    Known(Outcome),
    /// Nothing; why not.
    Not(&'static str),
    /// A read of a register or of a word of memory.
    Read {
        address: u64,
        size: AccessSize,
    },
    Write {
        address: u64,
        size: AccessSize,
        value: u64,
        effect: Effect,
    },
    /// A store of a word of memory.
    Store {
        address: u64,
        value: u64,
    },
    StoreCommand {
        address: u64,
        words: Words,
    },
}

impl Deed {
    /// What is done about an action of this machine.
    pub(crate) fn of(action: &Action, machine: &Machine) -> Self {
        match *action {
            Action::Device { address, size, direction, .. } => {
                device(machine, address, size, direction)
            }
            Action::Load { address, .. } if is_memory(machine, address, 8) => {
                Self::Read { address, size: AccessSize::Double }
            }
            Action::Store { address, value, .. } if is_memory(machine, address, 8) => {
                Self::Store { address, value }
            }
            Action::StoreCommand { address, words, .. }
                if is_memory(machine, address, COMMAND_BYTES) =>
            {
                Self::StoreCommand { address, words }
            }
            Action::Load { .. } | Action::Store { .. } | Action::StoreCommand { .. } => {
                Self::Known(Outcome::Refused)
            }
            Action::Msi { its, device_id, event_id, size } => msi(its, device_id, event_id, size),
            // It has no effect but after a loss of power.
            Action::EnabledByOther { .. } => Self::Known(Outcome::Done),
            Action::Clean { .. } | Action::WriteBack { .. } | Action::Advance { its: 0, .. } => {
                Self::Known(Outcome::Done)
            }
            Action::Advance { .. } | Action::PowerLoss { its: 1.., .. } => Self::Not(SECOND_ITS),
            Action::PowerLoss { .. } => Self::Not("a loss of power: QEMU's ITS has none"),
            Action::Hypercall { .. } => Self::Not("a hypercall: there is no EL2"),
            Action::Acknowledge { .. } => {
                Self::Not("ICC_IAR1: a system register, which qtest cannot read")
            }
        }
    }

    /// Adds the commands that do it. Whether it has answers of its own: a store may have become
    /// part of the command before it.
    pub(crate) fn send(&self, batch: &mut Batch) -> bool {
        match *self {
            Self::Known(_) | Self::Not(_) => {}
            Self::Read { address, size } => batch.read(size, address),
            Self::Write { address, size, value, effect } => {
                batch.write(size, address, value);
                ask(effect, batch);
            }
            Self::Store { address, value } => return batch.store(address, &[value]),
            Self::StoreCommand { address, words } => return batch.store(address, &words),
        }
        true
    }
}

/// Reads what shows what a write did to the queue.
fn ask(effect: Effect, batch: &mut Batch) {
    match effect {
        Effect::Nothing => {}
        Effect::Moved => pointers(batch),
        Effect::Switched { .. } | Effect::Submitted { .. } => {
            batch.read(AccessSize::Double, ITS + Register::Creadr.offset());
        }
    }
}

const SECOND_ITS: &str = "a second ITS: QEMU's machine has one";

/// Reads GITS_CBASER, GITS_CWRITER and GITS_CREADR.
pub(crate) fn pointers(batch: &mut Batch) {
    batch.read_bytes(ITS + Register::Cbaser.offset(), 24);
}

/// Memory of the board that is QEMU's memory too, aligned.
fn is_memory(machine: &Machine, address: u64, bytes: u64) -> bool {
    address.is_multiple_of(bytes)
        && facts::is_memory(address, bytes)
        && machine.is_memory(address, bytes)
}

/// The offset of an address in frames that start here.
fn within(address: u64, start: u64, bytes: u64) -> Option<u64> {
    address.checked_sub(start).filter(|offset| *offset < bytes)
}

fn device(machine: &Machine, address: u64, size: AccessSize, direction: Direction) -> Deed {
    let aligned = address.is_multiple_of(size.bytes());
    for (number, start) in (0_u8..).zip(machine.its) {
        match within(address, *start, 2 * FRAME_BYTES) {
            None => {}
            Some(_) if number > 0 => return Deed::Not(SECOND_ITS),
            Some(_) if !aligned => return Deed::Not(MISALIGNED),
            Some(offset) if offset >= FRAME_BYTES => return Deed::Not(TRANSLATION_FRAME),
            Some(offset) => return control_frame(offset, size, direction),
        }
    }
    for (number, start) in machine.redistributors.iter().enumerate().take(CPUS) {
        match within(address, *start, FRAMES_BYTES) {
            None => {}
            Some(_) if !aligned => return Deed::Not(MISALIGNED),
            Some(offset) if offset >= REDISTRIBUTOR_BYTES => return Deed::Not(VLPI_FRAMES),
            Some(offset) => return redistributor_frames(number, offset, size, direction),
        }
    }
    Deed::Known(Outcome::Refused)
}

const TRANSLATION_FRAME: &str =
    "an access of a CPU to the translation frame: qtest's would be one of the device of number 0";
const VLPI_FRAMES: &str = "an access to VLPI frames: a GICv3 has none";
const MISALIGNED: &str = "a misaligned access of a device: qtest would make several of it";

fn control_frame(offset: u64, size: AccessSize, direction: Direction) -> Deed {
    let address = ITS + offset;
    match direction {
        Direction::Read => Deed::Read { address, size },
        Direction::Write(value) => write(address, size, value, effect(offset, size, value)),
    }
}

/// What a write to the control frame may do to the queue.
fn effect(offset: u64, size: AccessSize, value: u64) -> Effect {
    match Register::select(offset, size.bytes()) {
        Some((Register::Ctlr, _)) => Effect::Switched { on: value & 1 == 1 },
        Some((Register::Cwriter, Part::Whole | Part::Low)) => Effect::Submitted { cwriter: value },
        Some((Register::Cbaser | Register::Cwriter | Register::Creadr, _)) => Effect::Moved,
        _ => Effect::Nothing,
    }
}

fn redistributor_frames(
    number: usize,
    offset: u64,
    size: AccessSize,
    direction: Direction,
) -> Deed {
    let address = redistributor(number) + offset;
    match direction {
        Direction::Read => Deed::Read { address, size },
        Direction::Write(_) if !concerns_lpis(offset) => {
            Deed::Not("a register of a redistributor that is not about LPIs: it would not be reset")
        }
        Direction::Write(value) => write(address, size, value, Effect::Nothing),
    }
}

fn write(address: u64, size: AccessSize, value: u64, effect: Effect) -> Deed {
    Deed::Write { address, size, value: size.truncate(value), effect }
}

const fn concerns_lpis(offset: u64) -> bool {
    matches!(offset & !3, CTLR) || matches!(offset & !7, PROPBASER | PENDBASER | INVLPIR | INVALLR)
}

fn msi(its: u8, device_id: u32, event_id: u32, size: AccessSize) -> Deed {
    let half_or_word = matches!(size, AccessSize::Half | AccessSize::Word);
    match (its, half_or_word, device_id) {
        (1.., ..) => Deed::Not(SECOND_ITS),
        (_, false, _) => Deed::Known(Outcome::Done),
        (_, true, 0) => {
            write(ITS + FRAME_BYTES + TRANSLATER, size, event_id.into(), Effect::Nothing)
        }
        _ => Deed::Not("an MSI of a device other than 0: qtest's writes have no other DeviceID"),
    }
}
