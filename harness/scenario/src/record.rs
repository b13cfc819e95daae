//! An operation as a kind and numbers, each packed into a word: what all forms of it share.

use its_el2::{AccessSize, Direction, PageChange};

use crate::kind::{ARGUMENTS, Kind};
use crate::operation::{CPUS, HostCommand, Operation, Rdbase, Width};
use crate::place::Place;
use crate::target::Target;

/// One operation as numbers, in the order of [`Kind::arguments`]; the words after those are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// 0 where no CPU does it.
    pub(crate) cpu: u8,
    pub(crate) words: [u64; ARGUMENTS],
}

/// Page changes by number.
const CHANGES: [PageChange; 6] = [
    PageChange::Share,
    PageChange::Unshare,
    PageChange::Pin,
    PageChange::Unpin,
    PageChange::Donate,
    PageChange::Reclaim,
];

impl Record {
    fn new<const N: usize>(kind: Kind, cpu: u8, arguments: [u64; N]) -> Self {
        let mut words = [0; ARGUMENTS];
        for (word, argument) in words.iter_mut().zip(arguments) {
            *word = argument;
        }
        Self { kind, cpu, words }
    }

    /// With every number in its range. Fixing twice is fixing once.
    pub(crate) fn fix(self) -> Self {
        let mut words = [0; ARGUMENTS];
        let shapes = self.kind.arguments().iter().map(|argument| argument.shape);
        for ((word, given), shape) in words.iter_mut().zip(self.words).zip(shapes) {
            *word = shape.fix(given);
        }
        if self.kind == Kind::Write {
            let [target, value, ..] = &mut words;
            *value = Target::unpack(*target).size.truncate(*value);
        }
        if self.kind == Kind::Msi {
            let [_, event, half, ..] = &mut words;
            if *half != 0 {
                *event = AccessSize::Half.truncate(*event);
            }
        }
        let cpu = match self.kind.has_cpu() {
            true => self.cpu.checked_rem(CPUS).unwrap_or(0),
            false => 0,
        };
        Self { kind: self.kind, cpu, words }
    }

    /// The operation, with every number in its range.
    pub(crate) fn operation(self) -> Operation {
        let Self { kind, cpu, words: [a, b, c, d, e] } = self.fix();
        let place = Place::unpack(a);
        match kind {
            Kind::Read => access(cpu, a, Direction::Read),
            Kind::Write => access(cpu, a, Direction::Write(b)),
            Kind::Load => Operation::Load { cpu, at: place },
            Kind::Store => Operation::Store { cpu, at: place, value: b },
            Kind::StoreAddress => {
                Operation::StoreAddress { cpu, at: place, of: Place::unpack(b), physical: c != 0 }
            }
            Kind::Configure => Operation::Configure { cpu, intid: a as u32, value: b as u8 },
            Kind::RawCommand => Operation::RawCommand { cpu, words: [a, b, c, d] },
            Kind::FlipSlot => Operation::FlipSlot { cpu, word: a as u8, flip: b },
            Kind::Rewind => Operation::Rewind { slots: a as u8 },
            Kind::Post => Operation::Post {
                cpu,
                retry: a != 0,
                width: match b {
                    0 => Width::Word,
                    _ => Width::Double,
                },
            },
            Kind::Poll => Operation::Poll { cpu, times: a as u8 },
            Kind::Movi
            | Kind::Int
            | Kind::Clear
            | Kind::Sync
            | Kind::Mapd
            | Kind::Mapc
            | Kind::Mapti
            | Kind::Mapi
            | Kind::Inv
            | Kind::Invall
            | Kind::Movall
            | Kind::Discard => Operation::Command { cpu, command: command(kind, [a, b, c, d]) },
            Kind::WriteCbaser => Operation::WriteCbaser { cpu, flip: a },
            Kind::WriteBaser => Operation::WriteBaser { cpu, index: a as u8, flip: b },
            Kind::Enable => Operation::Enable { cpu, enabled: true },
            Kind::Disable => Operation::Enable { cpu, enabled: false },
            Kind::Quiesce => Operation::Quiesce { cpu },
            Kind::WriteHalf => {
                Operation::WriteHalf { cpu, register: a as u8, high: b != 0, flip: c }
            }
            Kind::Share => Operation::Share { cpu, page: place },
            Kind::Unshare => Operation::Unshare { cpu, page: place },
            Kind::DonateGuest => Operation::DonateGuest { cpu, page: place },
            Kind::ReclaimGuest => Operation::ReclaimGuest { cpu, page: place },
            Kind::Finalize => Operation::Finalize { cpu },
            Kind::SetUp => Operation::SetUp {
                cpu,
                private: place,
                descriptor: Place::unpack(b),
                private_pages: c as u16,
                device_flip: d,
            },
            Kind::RawHypercall => Operation::RawHypercall { cpu, x0: a, arguments: [b, c, d, e] },
            Kind::MapDevice => Operation::MapDevice {
                cpu,
                device_id: a as u32,
                event_id_bits: b as u8,
                itt: Place::unpack(c),
            },
            Kind::MapDevices => Operation::MapDevices {
                cpu,
                device_id: a as u32,
                count: b as u16,
                stride: c as u32,
                event_id_bits: d as u8,
                itt: Place::unpack(e),
            },
            Kind::MapEvent => Operation::MapEvent {
                cpu,
                device_id: a as u32,
                event_id: b as u32,
                intid: c as u32,
                icid: d as u16,
            },
            Kind::UnmapDevice => Operation::UnmapDevice { cpu, device_id: a as u32 },
            Kind::Grow => {
                Operation::Grow { cpu, device_id: a as u32, level2: Place::unpack(b), flip: c }
            }
            Kind::GrowCollection => {
                Operation::GrowCollection { cpu, icid: a as u16, level2: Place::unpack(b), flip: c }
            }
            Kind::Describe => Operation::Describe { cpu },
            Kind::Suspend => Operation::Suspend { cpu },
            Kind::Resume => Operation::Resume { cpu },
            Kind::Probe => Operation::Probe { cpu },
            Kind::InitCpu => Operation::InitCpu { cpu },
            Kind::Unmask => {
                Operation::Unmask { cpu, device_id: a as u32, event_id: b as u32, direct: c != 0 }
            }
            Kind::Mask => {
                Operation::Mask { cpu, device_id: a as u32, event_id: b as u32, direct: c != 0 }
            }
            Kind::MoveEvent => {
                Operation::MoveEvent { cpu, device_id: a as u32, event_id: b as u32, to: c as u8 }
            }
            Kind::UnmapEvent => {
                Operation::UnmapEvent { cpu, device_id: a as u32, event_id: b as u32 }
            }
            Kind::Msi => Operation::Msi { device_id: a as u32, event_id: b as u32, half: c != 0 },
            Kind::Advance => Operation::Advance { commands: a as u16 },
            Kind::Fail => Operation::Fail { change: change(a), nth: b as u8 },
            Kind::Tamper => Operation::Tamper { after: b as u8, at: place, value: c },
            Kind::Acknowledge => Operation::Acknowledge { cpu },
            Kind::PowerLoss => Operation::PowerLoss { restored: a != 0 },
            Kind::Its => Operation::Its { its: a as u8 },
            Kind::Race => Operation::Race { operations: a as u8, turns: [b, c, d, e] },
        }
    }
}

fn access(cpu: u8, target: u64, direction: Direction) -> Operation {
    let Target { frame, offset, size } = Target::unpack(target);
    Operation::Access { cpu, frame, offset, size, direction }
}

fn change(number: u64) -> PageChange {
    let change = CHANGES.get(number as usize);
    change.copied().unwrap_or(PageChange::Share)
}

/// The command of a kind that is one; all kinds that are none give a SYNC.
fn command(kind: Kind, [a, b, c, d]: [u64; 4]) -> HostCommand {
    let device_id = a as u32;
    let event_id = b as u32;
    match kind {
        Kind::Movi => HostCommand::Movi { device_id, event_id, icid: c as u16 },
        Kind::Int => HostCommand::Int { device_id, event_id },
        Kind::Clear => HostCommand::Clear { device_id, event_id },
        Kind::Mapd => {
            HostCommand::Mapd { device_id, size: b as u8, itt: Place::unpack(c), valid: d != 0 }
        }
        Kind::Mapc => {
            HostCommand::Mapc { icid: a as u16, rdbase: Rdbase::unpack(b), valid: c != 0 }
        }
        Kind::Mapti => HostCommand::Mapti { device_id, event_id, intid: c as u32, icid: d as u16 },
        Kind::Mapi => HostCommand::Mapi { device_id, event_id, icid: c as u16 },
        Kind::Inv => HostCommand::Inv { device_id, event_id },
        Kind::Invall => HostCommand::Invall { icid: a as u16 },
        Kind::Movall => HostCommand::Movall { from: Rdbase::unpack(a), to: Rdbase::unpack(b) },
        Kind::Discard => HostCommand::Discard { device_id, event_id },
        _ => HostCommand::Sync { rdbase: Rdbase::unpack(a) },
    }
}

impl From<&Operation> for Record {
    fn from(operation: &Operation) -> Self {
        use Record as R;
        match *operation {
            Operation::Access { cpu, frame, offset, size, direction } => {
                let target = Target { frame, offset, size };
                match direction {
                    Direction::Read => R::new(Kind::Read, cpu, [target.pack()]),
                    Direction::Write(value) => R::new(Kind::Write, cpu, [target.pack(), value]),
                }
            }
            Operation::Load { cpu, at } => R::new(Kind::Load, cpu, [at.pack()]),
            Operation::Store { cpu, at, value } => R::new(Kind::Store, cpu, [at.pack(), value]),
            Operation::StoreAddress { cpu, at, of, physical } => {
                let words = [at.pack(), of.pack(), physical.into()];
                R::new(Kind::StoreAddress, cpu, words)
            }
            Operation::Configure { cpu, intid, value } => {
                R::new(Kind::Configure, cpu, [intid.into(), value.into()])
            }
            Operation::Command { cpu, command } => command_record(cpu, command),
            Operation::RawCommand { cpu, words } => R::new(Kind::RawCommand, cpu, words),
            Operation::FlipSlot { cpu, word, flip } => {
                R::new(Kind::FlipSlot, cpu, [word.into(), flip])
            }
            Operation::Rewind { slots } => R::new(Kind::Rewind, 0, [slots.into()]),
            Operation::Post { cpu, retry, width } => {
                let double = width == Width::Double;
                R::new(Kind::Post, cpu, [retry.into(), double.into()])
            }
            Operation::Poll { cpu, times } => R::new(Kind::Poll, cpu, [times.into()]),
            Operation::WriteCbaser { cpu, flip } => R::new(Kind::WriteCbaser, cpu, [flip]),
            Operation::WriteBaser { cpu, index, flip } => {
                R::new(Kind::WriteBaser, cpu, [index.into(), flip])
            }
            Operation::Enable { cpu, enabled: true } => R::new(Kind::Enable, cpu, []),
            Operation::Enable { cpu, enabled: false } => R::new(Kind::Disable, cpu, []),
            Operation::Quiesce { cpu } => R::new(Kind::Quiesce, cpu, []),
            Operation::WriteHalf { cpu, register, high, flip } => {
                R::new(Kind::WriteHalf, cpu, [register.into(), high.into(), flip])
            }
            Operation::Share { cpu, page } => R::new(Kind::Share, cpu, [page.pack()]),
            Operation::Unshare { cpu, page } => R::new(Kind::Unshare, cpu, [page.pack()]),
            Operation::DonateGuest { cpu, page } => R::new(Kind::DonateGuest, cpu, [page.pack()]),
            Operation::ReclaimGuest { cpu, page } => R::new(Kind::ReclaimGuest, cpu, [page.pack()]),
            Operation::Finalize { cpu } => R::new(Kind::Finalize, cpu, []),
            Operation::SetUp { cpu, private, descriptor, private_pages, device_flip } => {
                let places = (private.pack(), descriptor.pack());
                let words = [places.0, places.1, private_pages.into(), device_flip];
                R::new(Kind::SetUp, cpu, words)
            }
            Operation::RawHypercall { cpu, x0, arguments: [x1, x2, x3, x4] } => {
                R::new(Kind::RawHypercall, cpu, [x0, x1, x2, x3, x4])
            }
            Operation::MapDevice { cpu, device_id, event_id_bits, itt } => {
                let words = [device_id.into(), event_id_bits.into(), itt.pack()];
                R::new(Kind::MapDevice, cpu, words)
            }
            Operation::MapDevices { cpu, device_id, count, stride, event_id_bits, itt } => {
                let [first, stride] = [device_id, stride].map(u64::from);
                let (count, bits) = (count.into(), event_id_bits.into());
                let words = [first, count, stride, bits, itt.pack()];
                R::new(Kind::MapDevices, cpu, words)
            }
            Operation::MapEvent { cpu, device_id, event_id, intid, icid } => {
                let words = [device_id.into(), event_id.into(), intid.into(), icid.into()];
                R::new(Kind::MapEvent, cpu, words)
            }
            Operation::UnmapDevice { cpu, device_id } => {
                R::new(Kind::UnmapDevice, cpu, [device_id.into()])
            }
            Operation::Grow { cpu, device_id, level2, flip } => {
                R::new(Kind::Grow, cpu, [device_id.into(), level2.pack(), flip])
            }
            Operation::GrowCollection { cpu, icid, level2, flip } => {
                R::new(Kind::GrowCollection, cpu, [icid.into(), level2.pack(), flip])
            }
            Operation::Describe { cpu } => R::new(Kind::Describe, cpu, []),
            Operation::Suspend { cpu } => R::new(Kind::Suspend, cpu, []),
            Operation::Resume { cpu } => R::new(Kind::Resume, cpu, []),
            Operation::Probe { cpu } => R::new(Kind::Probe, cpu, []),
            Operation::InitCpu { cpu } => R::new(Kind::InitCpu, cpu, []),
            Operation::Unmask { cpu, device_id, event_id, direct } => {
                event_record(Kind::Unmask, cpu, device_id, event_id, direct.into())
            }
            Operation::Mask { cpu, device_id, event_id, direct } => {
                event_record(Kind::Mask, cpu, device_id, event_id, direct.into())
            }
            Operation::MoveEvent { cpu, device_id, event_id, to } => {
                event_record(Kind::MoveEvent, cpu, device_id, event_id, to.into())
            }
            Operation::UnmapEvent { cpu, device_id, event_id } => {
                event_record(Kind::UnmapEvent, cpu, device_id, event_id, 0)
            }
            Operation::Msi { device_id, event_id, half } => {
                event_record(Kind::Msi, 0, device_id, event_id, half.into())
            }
            Operation::Advance { commands } => R::new(Kind::Advance, 0, [commands.into()]),
            Operation::Fail { change, nth } => {
                let number = CHANGES.iter().position(|known| *known == change);
                R::new(Kind::Fail, 0, [number.unwrap_or(0) as u64, nth.into()])
            }
            Operation::Tamper { after, at, value } => {
                R::new(Kind::Tamper, 0, [at.pack(), after.into(), value])
            }
            Operation::Acknowledge { cpu } => R::new(Kind::Acknowledge, cpu, []),
            Operation::PowerLoss { restored } => R::new(Kind::PowerLoss, 0, [restored.into()]),
            Operation::Its { its } => R::new(Kind::Its, 0, [its.into()]),
            Operation::Race { operations, turns: [first, second, third, fourth] } => {
                R::new(Kind::Race, 0, [operations.into(), first, second, third, fourth])
            }
        }
    }
}

fn event_record(kind: Kind, cpu: u8, device_id: u32, event_id: u32, how: u64) -> Record {
    Record::new(kind, cpu, [device_id.into(), event_id.into(), how])
}

fn command_record(cpu: u8, command: HostCommand) -> Record {
    use Record as R;
    match command {
        HostCommand::Movi { device_id, event_id, icid } => {
            let words = [device_id.into(), event_id.into(), icid.into()];
            R::new(Kind::Movi, cpu, words)
        }
        HostCommand::Int { device_id, event_id } => {
            R::new(Kind::Int, cpu, [device_id.into(), event_id.into()])
        }
        HostCommand::Clear { device_id, event_id } => {
            R::new(Kind::Clear, cpu, [device_id.into(), event_id.into()])
        }
        HostCommand::Sync { rdbase } => R::new(Kind::Sync, cpu, [rdbase.pack()]),
        HostCommand::Mapd { device_id, size, itt, valid } => {
            let words = [device_id.into(), size.into(), itt.pack(), valid.into()];
            R::new(Kind::Mapd, cpu, words)
        }
        HostCommand::Mapc { icid, rdbase, valid } => {
            R::new(Kind::Mapc, cpu, [icid.into(), rdbase.pack(), valid.into()])
        }
        HostCommand::Mapti { device_id, event_id, intid, icid } => {
            let words = [device_id.into(), event_id.into(), intid.into(), icid.into()];
            R::new(Kind::Mapti, cpu, words)
        }
        HostCommand::Mapi { device_id, event_id, icid } => {
            let words = [device_id.into(), event_id.into(), icid.into()];
            R::new(Kind::Mapi, cpu, words)
        }
        HostCommand::Inv { device_id, event_id } => {
            R::new(Kind::Inv, cpu, [device_id.into(), event_id.into()])
        }
        HostCommand::Invall { icid } => R::new(Kind::Invall, cpu, [icid.into()]),
        HostCommand::Movall { from, to } => R::new(Kind::Movall, cpu, [from.pack(), to.pack()]),
        HostCommand::Discard { device_id, event_id } => {
            R::new(Kind::Discard, cpu, [device_id.into(), event_id.into()])
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    impl Arbitrary for Record {
        /// Words small, large and packed, so that each shape meets values in and out of its range.
        fn arbitrary(g: &mut Gen) -> Self {
            let word = |g: &mut Gen| match u8::arbitrary(g) % 4 {
                0 => u64::from(u8::arbitrary(g)),
                1 => u64::arbitrary(g) >> (u8::arbitrary(g) % 64),
                2 => u64::arbitrary(g) & 0x1f0f_ffff_ffff_ffff,
                _ => u64::arbitrary(g),
            };
            Self {
                kind: Kind::wrapping(u8::arbitrary(g)),
                cpu: u8::arbitrary(g),
                words: std::array::from_fn(|_| word(g)),
            }
        }
    }

    quickcheck! {
        fn a_fixed_record_and_its_operation_are_the_same(record: Record) -> bool {
            let fixed = record.fix();
            fixed.fix() == fixed && Record::from(&fixed.operation()) == fixed
        }
    }

    #[test]
    fn every_kind_becomes_its_own_operation() {
        for kind in Kind::ALL {
            let record = Record { kind: *kind, cpu: 1, words: [1; ARGUMENTS] };
            assert_eq!(record.operation().name(), kind.name());
        }
    }

    #[test]
    fn a_written_value_is_cut_to_its_size() {
        let record =
            Record { kind: Kind::Write, cpu: 0, words: [0x88 | 2 << 32, u64::MAX, 7, 7, 7] };
        assert_eq!(record.fix().words, [0x88 | 2 << 32, 0xffff_ffff, 0, 0, 0]);
    }
}
