//! What was done and what happened, for people.
//!
//! [`Action`], [`Outcome`] and [`Event`] display as one line each. Addresses have the names that
//! scenarios give them. [`subject`] is a word for signatures.

use crate::Barrier;
use crate::place::Place;
use core::fmt::{self, Display, Formatter};

use its_gic::command::Words;
use its_gic::geometry::Pages;
use its_gic::redistributor as gicr;
use its_gic::register::FRAME_BYTES;
use its_gic::{Command, Creadr, Ctlr, Register};

use crate::access::Direction;
use crate::action::{Action, Hypercall, Outcome};
use crate::errno::Errno;
use crate::event::{CommandError, Event};
use crate::machine::{ITS_FRAMES, REDISTRIBUTOR_FRAMES};
use crate::race::WORLD;

impl Display for Outcome {
    /// What whoever acted gets.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Done => write!(f, "-> done"),
            Self::Value(value) => write!(f, "-> {value:#x}"),
            Self::Refused => write!(f, "-> refused, the host gets an abort"),
            Self::Returned { x0, x1 } => write!(f, "-> x0 {x0}, x1 {}", Errno::name(x1)),
            Self::Stopped => write!(f, "-> EL2 did not return"),
        }
    }
}

/// An agent of a race, by its number.
#[derive(Clone, Copy, Debug)]
pub struct AgentName(pub u8);

impl Display for AgentName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            WORLD => f.write_str("the world"),
            cpu => write!(f, "cpu{cpu}"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Device { cpu, address, size, direction } => {
                let (name, bits) = (Device(address), size.bytes().wrapping_mul(8));
                match direction {
                    Direction::Read => write!(f, "cpu{cpu} reads {name} ({bits} bits)"),
                    Direction::Write(value) => {
                        let value = RegisterValue(address, value);
                        write!(f, "cpu{cpu} writes {name} := {value} ({bits} bits)")
                    }
                }
            }
            Self::Load { cpu, address } => write!(f, "cpu{cpu} loads {}", Place::of(address)),
            Self::Store { cpu, address, value } => {
                write!(f, "cpu{cpu} stores {} := {value:#x}", Place::of(address))
            }
            Self::StoreCommand { cpu, address, words } => {
                write!(f, "cpu{cpu} stores {} := {}", Place::of(address), CommandText(words))
            }
            Self::Hypercall { cpu, x0, arguments: [x1, x2, x3, x4] } => {
                let name = Hypercall::from_function_id(x0).map_or("unknown call", Hypercall::name);
                write!(f, "cpu{cpu} calls {name} [{x1:#x}, {x2:#x}, {x3:#x}, {x4:#x}]")
            }
            Self::Msi { its, device_id, event_id, size } => {
                let (its, bits) = (ItsName(its), size.bytes().wrapping_mul(8));
                let event = size.truncate(event_id.into());
                write!(f, "device {device_id:#x} sends {its} event {event:#x} ({bits} bits)")
            }
            Self::Acknowledge { cpu } => write!(f, "cpu{cpu} takes what it is offered"),
            Self::PowerLoss { its, restored } => {
                let after = if restored {
                    ", and firmware restores CBASER, CWRITER and the tables"
                } else {
                    ""
                };
                write!(f, "{} loses power{after}", ItsName(its))
            }
            Self::EnabledByOther { its } => write!(f, "firmware enables {}", ItsName(its)),
            Self::Clean { cpu, address, bytes } => {
                write!(f, "cpu{cpu} cleans {} ({bytes:#x} bytes)", Place::of(address))
            }
            Self::WriteBack { address } => {
                write!(f, "the line at {} leaves the cache", Place::of(address))
            }
            Self::Advance { its, commands } => {
                write!(f, "{} gets time for {commands} commands", ItsName(its))
            }
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of_host = |shared| if shared { " (the host can write it)" } else { "" };
        let at = Place::of;
        match *self {
            Self::DeviceRead { address, value, .. } => {
                write!(f, "EL2 reads {} = {}", Device(address), RegisterValue(address, value))
            }
            Self::DeviceWrite { address, value, .. } => {
                write!(f, "EL2 writes {} := {}", Device(address), RegisterValue(address, value))
            }
            Self::WordRead { address, value, shared } => {
                write!(f, "EL2 reads {} = {value:#x}{}", at(address), of_host(shared))
            }
            Self::Scanned { address, bytes } => {
                write!(f, "EL2 finds {} zero ({bytes:#x} bytes)", at(address))
            }
            Self::WordWritten { address, value, shared } => {
                write!(f, "EL2 stores {} := {value:#x}{}", at(address), of_host(shared))
            }
            Self::CommandRead { address, words, shared } => {
                let command = CommandText(words);
                write!(f, "EL2 copies {} = {command}{}", at(address), of_host(shared))
            }
            Self::CommandWritten { address, words } => {
                write!(f, "EL2 stores {} := {}", at(address), CommandText(words))
            }
            Self::PageZeroed { page } => write!(f, "EL2 zeroes {}", at(page << 12)),
            Self::Cleaned { address, bytes } => {
                write!(f, "EL2 cleans {} ({bytes:#x} bytes)", at(address))
            }
            Self::Ordered(Barrier::DSB_SY) => write!(f, "EL2 orders memory"),
            Self::Ordered(barrier) => write!(f, "EL2 orders memory ({barrier})"),
            Self::Waited { microseconds } => write!(f, "EL2 waits {microseconds} µs"),
            Self::SetUp { arguments: [frame, ..], x1 } => {
                write!(f, "EL2 sets the ITS at {frame:#x} up: {}", Errno::name(x1))
            }
            Self::Page { change, pages, result } => {
                let result = Errno::name(Errno::result(result));
                write!(f, "own: {} {} = {result}", change.name(), Run(pages))
            }
            Self::Acquired(name) => write!(f, "EL2 locks {name:?}"),
            Self::Released(name) => write!(f, "EL2 unlocks {name:?}"),
            Self::Misconduct(misconduct) => write!(f, "EL2 must not: {misconduct:x?}"),
            Self::Consumed { its, offset, words, error } => {
                write!(f, "{} consumes {offset:#x}: {}", ItsName(its), CommandText(words))?;
                error.map_or(Ok(()), |error| write!(f, ", ignored: {error}"))
            }
            Self::Taken { its, offset, words } => {
                write!(f, "{} goes past {offset:#x}: {}", ItsName(its), CommandText(words))
            }
            Self::Stalled { its, offset, words, error } => {
                write!(f, "{} stalls at {offset:#x}: {}, ", ItsName(its), CommandText(words))?;
                match error {
                    Some(error) => error.fmt(f),
                    None => f.write_str("as the scenario said"),
                }
            }
            Self::Reached(reach, _) => {
                let (its, purpose, bytes) = (ItsName(reach.its), reach.purpose, reach.bytes);
                let at = at(reach.address);
                write!(f, "{its} can reach {purpose:?}: {at} ({bytes:#x} bytes)")
            }
            Self::Unreached(reach) => {
                write!(f, "{} no longer reaches {:?}", ItsName(reach.its), reach.purpose)
            }
            Self::ReachedPage { reach, page, state } => {
                let (page, purpose) = (at(page << 12), reach.purpose);
                let (host, el2, pins) = (state.host, state.el2, state.pins);
                write!(
                    f,
                    "own: {page} of {purpose:?} is now host {host:?}, EL2 {el2:?}, {pins} pins"
                )
            }
            Self::StaleRead { address } => {
                write!(f, "ITS reads {} before it was cleaned", at(address))
            }
            Self::Overwritten { address, host } => {
                let by = if host { "the host" } else { "EL2" };
                write!(f, "what {by} stored at {} overwrites what a device stored", at(address))
            }
            // An offset in a control frame, or a redistributor's address.
            Self::Unpredictable { address } if address < FRAME_BYTES => {
                write!(f, "UNPREDICTABLE: a write of {} now", Register::at(address).name())
            }
            Self::Unpredictable { address } => {
                write!(f, "UNPREDICTABLE: a write of {} now", Device(address))
            }
            Self::Tampered { address, value } => {
                write!(f, "the host changes {} := {value:#x}", at(address))
            }
            Self::Turn { agent } => write!(f, "{}", AgentName(agent)),
            Self::Over => write!(f, "over"),
            Self::Advanced { its, commands } => {
                write!(f, "its{its} had time for {commands} commands while EL2 waited")
            }
            Self::Finalized { cpu } => write!(f, "cpu{cpu} is finalized"),
            Self::Injected => write!(f, "this failure was injected"),
        }
    }
}

impl Display for CommandError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "command error {number:#08x}"),
            None => write!(f, "command error"),
        }
    }
}

/// A run of pages.
struct Run(Pages);

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let first = Place::of(self.0.first << 12);
        match self.0.count {
            0 => write!(f, "no pages at {first}"),
            1 => write!(f, "{first}"),
            count => write!(f, "{first} and {} more pages", count.wrapping_sub(1)),
        }
    }
}

/// An ITS by its number. The first is "ITS", as most boards have one.
struct ItsName(u8);

impl Display for ItsName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "ITS"),
            its => write!(f, "ITS{its}"),
        }
    }
}

/// Finds the ITS, the register in its control frame, and bytes from the register's start.
fn its_register(address: u64) -> Option<(u8, Register, u64)> {
    (0..).zip(&ITS_FRAMES).find_map(|(its, base)| {
        let offset = address.checked_sub(*base)?;
        let register = Register::at(offset);
        (offset < FRAME_BYTES).then(|| (its, register, offset.wrapping_sub(register.offset())))
    })
}

/// The device register at a physical address.
struct Device(u64);

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((its, register, byte)) = its_register(self.0) else {
            return redistributor(self.0, f);
        };
        match register {
            Register::Reserved(_) | Register::Identification(_) => {
                return write!(f, "its{its}+{:#x}", register.offset().wrapping_add(byte));
            }
            _ if its > 0 => write!(f, "its{its} {}", register.name())?,
            _ => f.write_str(register.name())?,
        }
        if let Register::Baser(n) = register {
            write!(f, "{n}")?;
        }
        if byte > 0 { write!(f, "+{byte}") } else { Ok(()) }
    }
}

fn redistributor(address: u64, f: &mut Formatter<'_>) -> fmt::Result {
    for (n, base) in REDISTRIBUTOR_FRAMES.iter().enumerate() {
        let offset = address.wrapping_sub(*base);
        if offset >= gicr::FRAMES_BYTES {
            continue;
        }
        let name = match offset & !7 {
            _ if offset == gicr::CTLR => "GICR_CTLR",
            gicr::PROPBASER => "GICR_PROPBASER",
            gicr::PENDBASER => "GICR_PENDBASER",
            gicr::INVLPIR => "GICR_INVLPIR",
            gicr::INVALLR => "GICR_INVALLR",
            gicr::SYNCR => "GICR_SYNCR",
            _ => return write!(f, "redistributor{n}+{offset:#x}"),
        };
        return write!(f, "redistributor{n} {name}");
    }
    write!(f, "device {address:#x}")
}

/// A value of the register at a physical address.
struct RegisterValue(u64, u64);

impl Display for RegisterValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(address, value) = *self;
        let fields = match its_register(address).map(|(_, register, _)| register) {
            Some(Register::Creadr) if Creadr::from_bits(value).stalled() => " (stalled)",
            Some(Register::Cwriter) if value & 1 == 1 => " (retry)",
            Some(Register::Ctlr) if Ctlr::from_bits(value as u32).enabled() => " (enabled)",
            Some(Register::Cbaser | Register::Baser(_)) if value >> 63 == 1 => " (valid)",
            _ => "",
        };
        write!(f, "{value:#x}{fields}")
    }
}

/// A command in its four words.
struct CommandText(Words);

impl Display for CommandText {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let command = Command::decode(self.0);
        write!(f, "{}", command.name())?;
        match command {
            Command::Movi { device_id: d, event_id: e, icid } => {
                write!(f, " device_id: {d:x}, event_id: {e:x}, icid: {icid:x}")
            }
            Command::Int { device_id, event_id }
            | Command::Clear { device_id, event_id }
            | Command::Inv { device_id, event_id }
            | Command::Discard { device_id, event_id } => {
                write!(f, " device_id: {device_id:x}, event_id: {event_id:x}")
            }
            Command::Sync { rdbase } => write!(f, " rdbase: {rdbase:x}"),
            Command::Mapd { device_id: d, size, itt_address: itt, valid } => {
                write!(f, " device_id: {d:x}, size: {size:x}, itt_address: {itt:x}, valid: {valid}")
            }
            Command::Mapc { icid, rdbase, valid } => {
                write!(f, " icid: {icid:x}, rdbase: {rdbase:x}, valid: {valid}")
            }
            Command::Mapti { device_id: d, event_id: e, intid, icid } => {
                write!(f, " device_id: {d:x}, event_id: {e:x}, intid: {intid:x}, icid: {icid:x}")
            }
            Command::Mapi { device_id: d, event_id: e, icid } => {
                write!(f, " device_id: {d:x}, event_id: {e:x}, icid: {icid:x}")
            }
            Command::Invall { icid } => write!(f, " icid: {icid:x}"),
            Command::Movall { from_rdbase: from, to_rdbase: to } => {
                write!(f, " from_rdbase: {from:x}, to_rdbase: {to:x}")
            }
            Command::Raw { words } => write!(f, " {words:x?}"),
        }
    }
}

/// Returns the register, command or hypercall of an action: a word without numbers.
pub fn subject(action: &Action) -> &'static str {
    match *action {
        Action::Device { address, .. } => device_subject(address),
        Action::Load { .. } => "load",
        Action::Store { .. } => "store",
        Action::StoreCommand { words, .. } => Command::decode(words).name(),
        Action::Hypercall { x0, .. } => {
            Hypercall::from_function_id(x0).map_or("unknown-call", Hypercall::name)
        }
        Action::Msi { .. } => "msi",
        Action::Acknowledge { .. } => "acknowledge",
        Action::PowerLoss { .. } | Action::EnabledByOther { .. } => "power",
        Action::Clean { .. } | Action::WriteBack { .. } => "cache",
        Action::Advance { .. } => "hardware",
    }
}

fn device_subject(address: u64) -> &'static str {
    if let Some((_, register, _)) = its_register(address) {
        return register.name();
    }
    let within = |base: &u64| address.wrapping_sub(*base) < gicr::FRAMES_BYTES;
    if REDISTRIBUTOR_FRAMES.iter().any(within) { "redistributor" } else { "translation-frame" }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use crate::page::PageState;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use crate::{AccessSize, Exposure, Misconduct, PageChange, Purpose, Reach};
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn a_subject_has_no_number() {
        let its = ITS_FRAMES[0];
        let subjects = [its + 0x100, its + 0x10c, its + 0x1_0040, its + 0x2_0070].map(|address| {
            let (cpu, size, direction) = (1, AccessSize::Word, Direction::Read);
            subject(&Action::Device { cpu, address, size, direction })
        });
        assert_eq!(subjects, ["BASER", "BASER", "translation-frame", "redistributor"]);
    }

    /// One event of each kind that has an address or a count.
    fn events(address: u64, count: u64, words: Words) -> Vec<Event> {
        let (size, value, shared, its, offset) = (AccessSize::Double, count, true, 1, count);
        let pages = Pages { first: address, count };
        let reach = Reach { its, purpose: Purpose::Queue, address, bytes: count };
        let exposure = Exposure::default();
        let state = PageState::HOST;
        vec![
            Event::DeviceRead { address, size, value },
            Event::DeviceWrite { address, size, value },
            Event::WordRead { address, value, shared },
            Event::Scanned { address, bytes: count },
            Event::WordWritten { address, value, shared },
            Event::CommandRead { address, words, shared },
            Event::CommandWritten { address, words },
            Event::PageZeroed { page: address },
            Event::Cleaned { address, bytes: count },
            Event::Page { change: PageChange::Donate, pages, result: Ok(()) },
            Event::Misconduct(Misconduct::BadAccess { address, write: true }),
            Event::Consumed { its, offset, words, error: None },
            Event::Taken { its, offset, words },
            Event::Reached(reach, exposure),
            Event::Unreached(reach),
            Event::ReachedPage { reach, page: address, state },
            Event::StaleRead { address },
            Event::Unpredictable { address },
            Event::Tampered { address, value },
            Event::Turn { agent: count as u8 },
        ]
    }

    fn actions(address: u64, value: u64, words: Words) -> Vec<Action> {
        let (cpu, size) = (1, AccessSize::Double);
        let [read, write] = [Direction::Read, Direction::Write(value)];
        let id = value as u32;
        vec![
            Action::Device { cpu, address, size, direction: read },
            Action::Device { cpu, address, size, direction: write },
            Action::Load { cpu, address },
            Action::Store { cpu, address, value },
            Action::StoreCommand { cpu, address, words },
            Action::Hypercall { cpu, x0: value, arguments: words },
            Action::Msi { its: 1, device_id: id, event_id: id, size },
            Action::Advance { its: 1, commands: 0 },
        ]
    }

    fn is_text(address: u64, count: u64, words: Words) -> bool {
        let events = events(address, count, words);
        let mut texts = events.iter().map(ToString::to_string);
        let actions = actions(address, count, words);
        let subjects = actions.iter().map(subject);
        let is_text = |text: &str| !text.is_empty();
        texts.all(|text| is_text(&text))
            && actions.iter().map(ToString::to_string).all(|text| is_text(&text))
            && { subjects }.all(is_text)
    }

    #[test]
    fn the_least_and_the_most_have_a_text() {
        let its = ITS_FRAMES;
        for address in [0, 1, its[0], its[1] + FRAME_BYTES - 1, u64::MAX >> 12, u64::MAX] {
            for count in [0, 1, 2, u64::MAX] {
                assert!(is_text(address, count, [count; 4]));
            }
        }
        assert_eq!(Run(Pages { first: 0, count: 0 }).to_string(), "no pages at 0x0");
    }

    quickcheck! {
        fn whatever_happens_has_a_text(address: u64, count: u64, word: u64) -> bool {
            is_text(address, count, [word, count, address, word])
        }
    }
}
