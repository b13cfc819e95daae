//! What happened in a case, for people: operations, actions, EL2's accesses, the hardware's
//! answers, ownership.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use its_el2::{
    AGENTS, Action, Direction, Errno, Event, Freedom, Hypercall, Outcome, PageState, Part, WORLD,
};
use its_gic::command::Words;
use its_gic::geometry::Pages;
use its_gic::redistributor as gicr;
use its_gic::register::FRAME_BYTES;
use its_gic::{Command, Creadr, Ctlr, Register};
use its_scenario::Operation;
use serde::{Deserialize, Serialize};

use crate::place;

/// Whose doing a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An operation of the scenario begins.
    Step,
    /// What the host, a device or time does, and what it gets.
    Host,
    /// EL2's accesses and locks.
    El2,
    /// What the physical ITS did.
    Its,
    /// A page changes hands, or comes within an ITS's reach.
    Own,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Index of the operation; `None` before the first. What comes after the last has the number of
    /// operations.
    pub step: Option<usize>,
    pub kind: Kind,
    /// 0 to 2.
    pub indent: usize,
    pub text: String,
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:width$}{}", "", self.text, width = 2 * self.indent)
    }
}

/// A trace: a line for each thing that happened. The same scenario gives the same lines.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<Line>,
    step: Option<usize>,
    commands: BTreeSet<(&'static str, bool)>,
}

impl Trace {
    /// The lines so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The commands that ITSs came to, each with whether it was in error.
    pub fn commands(&self) -> &BTreeSet<(&'static str, bool)> {
        &self.commands
    }

    /// The same as text.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The first line that is another in `other`, with that; empty where there is none.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<(Line, Line)> {
        let longer = self.lines.len().max(other.lines.len());
        let line = |trace: &Self, index: usize| {
            let none = Line { step: None, kind: Kind::Step, indent: 0, text: String::new() };
            trace.lines.get(index).cloned().unwrap_or(none)
        };
        let pairs = (0..longer).map(|index| (line(self, index), line(other, index)));
        { pairs }.find(|(one, other)| one != other)
    }

    /// Where the architecture left the ITS a choice in the last action, and what it took.
    pub(crate) fn freedoms(&mut self, choices: &[(Freedom, &'static str)]) {
        for (freedom, option) in choices {
            let text = format!("free: {}={option}", freedom.facts().name);
            self.line(Kind::Its, 2, text);
        }
    }

    fn line(&mut self, kind: Kind, indent: usize, text: String) {
        let step = self.step;
        self.lines.push(Line { step, kind, indent, text });
    }

    pub(crate) fn operation(&mut self, index: usize, operation: &Operation) {
        self.step = Some(index);
        self.line(Kind::Step, 0, format!("[{index}] {operation}"));
    }

    /// The operations of a race.
    pub(crate) fn race(&mut self, operations: &[Operation]) {
        for operation in operations {
            self.line(Kind::Step, 0, format!("  | {operation}"));
        }
    }

    /// What the agents of a race did, turn by turn.
    pub(crate) fn parts(&mut self, parts: &[Part], events: &[Event]) {
        let mut ended = 0;
        let mut agent = 0;
        let mut begun = [0; AGENTS];
        let mut idle = [true; AGENTS];
        for event in events {
            match event {
                Event::Turn { agent: next } => {
                    agent = *next;
                    self.line(Kind::Host, 1, format!("-- {}", agent_name(agent)));
                    continue;
                }
                Event::Over => {
                    if let Some(part) = parts.get(ended) {
                        self.begin_part(parts, part.agent, &mut begun, &mut idle);
                        let text = format!("{}'s action is over", agent_name(part.agent));
                        self.line(Kind::Host, 1, text);
                        self.outcome(part.outcome);
                    }
                    ended += 1;
                    idle[usize::from(agent)] = true;
                    continue;
                }
                _ => {}
            }
            self.begin_part(parts, agent, &mut begun, &mut idle);
            self.event(event);
        }
    }

    fn event(&mut self, event: &Event) {
        self.line(kind(event), 2, describe_event(event));
        match *event {
            Event::Consumed { words, error, .. } => {
                let name = Command::decode(words).name();
                self.commands.insert((name, error.is_some()));
            }
            Event::Stalled { words, .. } => {
                self.commands.insert((Command::decode(words).name(), true));
            }
            _ => {}
        }
    }

    fn begin_part(
        &mut self,
        parts: &[Part],
        agent: u8,
        begun: &mut [usize; AGENTS],
        idle: &mut [bool; AGENTS],
    ) {
        let index = usize::from(agent);
        if !std::mem::take(&mut idle[index]) {
            return;
        }
        let mut own = parts.iter().filter(|part| part.agent == agent);
        if let Some(part) = own.nth(begun[index]) {
            self.line(Kind::Host, 1, describe_action(&part.action));
        }
        begun[index] += 1;
    }

    /// What comes after the last of so many operations.
    pub(crate) fn end(&mut self, operations: usize) {
        self.step = Some(operations);
        let text = "[end] the queue must come to rest".into();
        self.line(Kind::Step, 0, text);
    }

    pub(crate) fn action(&mut self, action: &Action, outcome: Outcome, events: &[Event]) {
        self.line(Kind::Host, 1, describe_action(action));
        for event in events {
            self.event(event);
        }
        self.outcome(outcome);
    }

    fn outcome(&mut self, outcome: Outcome) {
        if outcome != Outcome::Done {
            self.line(Kind::Host, 1, describe_outcome(outcome));
        }
    }
}

/// What whoever acted gets.
pub(crate) fn describe_outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done => "-> done".into(),
        Outcome::Value(value) => format!("-> {value:#x}"),
        Outcome::Refused => "-> refused, the host gets an abort".into(),
        Outcome::Returned { x0, x1 } => format!("-> x0 {x0}, x1 {}", Errno::name(x1)),
        Outcome::Stopped => "-> EL2 did not return".into(),
    }
}

fn kind(event: &Event) -> Kind {
    match event {
        Event::DeviceRead { .. }
        | Event::DeviceWrite { .. }
        | Event::WordRead { .. }
        | Event::Scanned { .. }
        | Event::WordWritten { .. }
        | Event::CommandRead { .. }
        | Event::CommandWritten { .. }
        | Event::PageZeroed { .. }
        | Event::Cleaned { .. }
        | Event::Ordered
        | Event::Acquired(_)
        | Event::Released(_)
        | Event::Misconduct(_) => Kind::El2,
        Event::Consumed { .. }
        | Event::Taken { .. }
        | Event::Stalled { .. }
        | Event::StaleRead { .. }
        | Event::Unpredictable { .. } => Kind::Its,
        Event::Page { .. }
        | Event::Reached(..)
        | Event::Unreached(_)
        | Event::ReachedPage { .. }
        | Event::Injected => Kind::Own,
        Event::Tampered { .. } | Event::Turn { .. } | Event::Over => Kind::Host,
    }
}

fn agent_name(agent: u8) -> String {
    match agent {
        WORLD => "the world".into(),
        cpu => format!("cpu{cpu}"),
    }
}

pub(crate) fn describe_action(action: &Action) -> String {
    match *action {
        Action::Device { cpu, address, size, direction } => {
            let bits = size.bytes() * 8;
            match direction {
                Direction::Read => format!("cpu{cpu} reads {} ({bits} bits)", device(address)),
                Direction::Write(value) => format!(
                    "cpu{cpu} writes {} := {} ({bits} bits)",
                    device(address),
                    register_value(address, value)
                ),
            }
        }
        Action::Load { cpu, address } => format!("cpu{cpu} loads {}", memory(address)),
        Action::Store { cpu, address, value } => {
            format!("cpu{cpu} stores {} := {value:#x}", memory(address))
        }
        Action::StoreCommand { cpu, address, words } => {
            format!("cpu{cpu} stores {} := {}", memory(address), command(words))
        }
        Action::Hypercall { cpu, x0, arguments } => {
            let name = Hypercall::from_function_id(x0).map_or("unknown call", Hypercall::name);
            format!("cpu{cpu} calls {name} {arguments:#x?}").replace(",\n]", "]").replace('\n', "")
        }
        Action::Msi { its, device_id, event_id, size } => {
            let bits = size.bytes() * 8;
            let event = size.truncate(event_id.into());
            format!("device {device_id:#x} sends {} event {event:#x} ({bits} bits)", its_name(its))
        }
        Action::Acknowledge { cpu } => format!("cpu{cpu} takes what it is offered"),
        Action::PowerLoss { its, restored } => {
            let after = match restored {
                true => ", and firmware restores CBASER, CWRITER and the tables",
                false => "",
            };
            format!("{} loses power{after}", its_name(its))
        }
        Action::Advance { its, commands } => {
            format!("{} gets time for {commands} commands", its_name(its))
        }
    }
}

pub(crate) fn describe_event(event: &Event) -> String {
    match *event {
        Event::DeviceRead { address, value, .. } => {
            format!("EL2 reads {} = {}", device(address), register_value(address, value))
        }
        Event::DeviceWrite { address, value, .. } => {
            format!("EL2 writes {} := {}", device(address), register_value(address, value))
        }
        Event::WordRead { address, value, shared } => {
            format!("EL2 reads {} = {value:#x}{}", memory(address), of_host(shared))
        }
        Event::Scanned { address, bytes } => {
            format!("EL2 finds {} zero ({bytes:#x} bytes)", memory(address))
        }
        Event::WordWritten { address, value, shared } => {
            format!("EL2 stores {} := {value:#x}{}", memory(address), of_host(shared))
        }
        Event::CommandRead { address, words, shared } => {
            format!("EL2 copies {} = {}{}", memory(address), command(words), of_host(shared))
        }
        Event::CommandWritten { address, words } => {
            format!("EL2 stores {} := {}", memory(address), command(words))
        }
        Event::PageZeroed { page } => format!("EL2 zeroes {}", memory(page << 12)),
        Event::Cleaned { address, bytes } => {
            format!("EL2 cleans {} ({bytes:#x} bytes)", memory(address))
        }
        Event::Ordered => "EL2 orders memory".into(),
        Event::Page { change, pages, result } => {
            let change = format!("{change:?}").to_lowercase();
            format!(
                "own: {change} {} = {}",
                describe_pages(pages),
                Errno::name(Errno::result(result))
            )
        }
        Event::Acquired(name) => format!("EL2 locks {name:?}"),
        Event::Released(name) => format!("EL2 unlocks {name:?}"),
        Event::Misconduct(misconduct) => format!("EL2 must not: {misconduct:x?}"),
        Event::Consumed { its, offset, words, error } => {
            let error =
                error.map_or(String::new(), |error| format!(", ignored: {}", error_number(error)));
            let its = its_name(its);
            format!("{its} consumes {offset:#x}: {}{error}", command(words))
        }
        Event::Taken { its, offset, words } => {
            format!("{} goes past {offset:#x}: {}", its_name(its), command(words))
        }
        Event::Stalled { its, offset, words, error } => format!(
            "{} stalls at {offset:#x}: {}, {}",
            its_name(its),
            command(words),
            error_number(error)
        ),
        Event::Reached(reach, _) => format!(
            "{} can reach {:?}: {} ({:#x} bytes)",
            its_name(reach.its),
            reach.purpose,
            memory(reach.address),
            reach.bytes
        ),
        Event::Unreached(reach) => {
            format!("{} no longer reaches {:?}", its_name(reach.its), reach.purpose)
        }
        Event::ReachedPage { reach, page, state } => format!(
            "own: {} of {:?} is now {}",
            memory(page << 12),
            reach.purpose,
            describe_state(state)
        ),
        Event::StaleRead { address } => {
            format!("ITS reads {} before it was cleaned", memory(address))
        }
        Event::Unpredictable { address } => {
            // An offset in a control frame, or a redistributor's address.
            let register = match address < FRAME_BYTES {
                true => crate::finding::register_name(Register::at(address)).into(),
                false => device(address),
            };
            format!("UNPREDICTABLE: a write of {register} now")
        }
        Event::Tampered { address, value } => {
            format!("the host changes {} := {value:#x}", memory(address))
        }
        Event::Turn { agent } => agent_name(agent),
        Event::Over => "over".into(),
        Event::Injected => "this failure was injected".into(),
    }
}

fn of_host(shared: bool) -> &'static str {
    if shared { " (the host can write it)" } else { "" }
}

fn error_number(error: its_el2::CommandError) -> String {
    match error.0 {
        Some(number) => format!("command error {number:#08x}"),
        None => "command error".into(),
    }
}

fn describe_pages(pages: Pages) -> String {
    let first = memory(pages.first << 12);
    match pages.count {
        0 => format!("no pages at {first}"),
        1 => first,
        count => format!("{first} and {} more pages", count - 1),
    }
}

fn describe_state(state: PageState) -> String {
    format!("host {:?}, EL2 {:?}, {} pins", state.host, state.el2, state.pins)
}

pub(crate) fn memory(address: u64) -> String {
    place::name(address).unwrap_or_else(|| format!("{address:#x}"))
}

/// The first ITS is "ITS", as most boards have one.
fn its_name(its: u8) -> &'static str {
    if its == 0 { "ITS" } else { "ITS1" }
}

/// The ITS and the register in its control frame.
fn its_register(address: u64) -> Option<(u8, Register, u64)> {
    (0..).zip(its_board::layout::ITS).find_map(|(its, base)| {
        let offset = address.checked_sub(base)?;
        let register = Register::at(offset);
        (offset < FRAME_BYTES).then(|| (its, register, offset - register.offset()))
    })
}

fn device(address: u64) -> String {
    let Some((its, register, byte)) = its_register(address) else {
        return redistributor(address).unwrap_or_else(|| format!("device {address:#x}"));
    };
    let name = match register {
        Register::Baser(n) => format!("BASER{n}"),
        Register::Reserved(_) | Register::Identification(_) => {
            return format!("its{its}+{:#x}", register.offset() + byte);
        }
        other => crate::finding::register_name(other).into(),
    };
    let of = if its == 0 { "" } else { "its1 " };
    match byte {
        0 => format!("{of}{name}"),
        byte => format!("{of}{name}+{byte}"),
    }
}

fn redistributor(address: u64) -> Option<String> {
    let bases = its_board::layout::REDISTRIBUTORS.into_iter().enumerate();
    for (n, base) in bases {
        let offset = address.wrapping_sub(base);
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
            _ => return Some(format!("redistributor{n}+{offset:#x}")),
        };
        return Some(format!("redistributor{n} {name}"));
    }
    None
}

fn register_value(address: u64, value: u64) -> String {
    let fields = match its_register(address).map(|(_, register, _)| register) {
        Some(Register::Creadr) if Creadr::from_bits(value).stalled() => " (stalled)",
        Some(Register::Cwriter) if value & 1 == 1 => " (retry)",
        Some(Register::Ctlr) if Ctlr::from_bits(value as u32).enabled() => " (enabled)",
        Some(Register::Cbaser | Register::Baser(_)) if value >> 63 == 1 => " (valid)",
        _ => "",
    };
    format!("{value:#x}{fields}")
}

fn command(words: Words) -> String {
    let command = Command::decode(words);
    match command {
        Command::Raw { words } => format!("UNKNOWN {words:x?}"),
        command => {
            let text = format!("{command:x?}");
            let fields = text.split_once(" {").map_or("", |(_, fields)| fields);
            format!("{}{}", command.name(), fields.trim_end_matches(" }"))
        }
    }
}

#[cfg(test)]
mod tests {
    use its_el2::{AccessSize, Exposure, Misconduct, PageChange, Purpose, Reach};
    use quickcheck::quickcheck;

    use super::*;

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
        let mut texts = events.iter().map(describe_event);
        let actions = actions(address, count, words);
        let subjects = actions.iter().map(crate::finding::subject);
        let is_text = |text: &str| !text.is_empty();
        texts.all(|text| is_text(&text))
            && actions.iter().map(describe_action).all(|text| is_text(&text))
            && { subjects }.all(is_text)
    }

    #[test]
    fn the_least_and_the_most_have_a_text() {
        let its = its_board::layout::ITS;
        for address in [0, 1, its[0], its[1] + FRAME_BYTES - 1, u64::MAX >> 12, u64::MAX] {
            for count in [0, 1, 2, u64::MAX] {
                assert!(is_text(address, count, [count; 4]));
            }
        }
        assert_eq!(describe_pages(Pages { first: 0, count: 0 }), "no pages at 0x0");
    }

    quickcheck! {
        fn whatever_happens_has_a_text(address: u64, count: u64, word: u64) -> bool {
            is_text(address, count, [word, count, address, word])
        }
    }
}
