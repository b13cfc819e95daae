//! What a subject does that others see, judged by nobody: what the host gets, what the hardware is
//! told and does, which pages change hands. Two subjects that do the same here do the same for host
//! and hardware, however they come to it.

use std::cell::RefCell;
use std::collections::HashMap;

use its_board::{Board, Snapshot};
use its_driver::Perform;
use its_gic::Register;
use its_gic::register::OFFSET_MASK;
use its_machine::{Action, Event, ItsConfiguration, MAX_ITS, Machine, Outcome, Place, View};
use its_oracles::page_balances;
use its_scenario::{Boot, Operation, Scenario, Stage};
use serde::{Deserialize, Serialize};

use crate::play::{LOOKS, Make};
use its_driver::{Drivers, machine};
use its_machine::text::subject;

/// An action, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Index of the operation; `None` before the first.
    pub operation: Option<usize>,
    /// Its kind, and the register, command or hypercall of the action: words without numbers.
    pub kind: String,
    pub subject: String,
    pub action: String,
    /// What the host got.
    pub result: String,
    /// What EL2 wrote to devices.
    pub registers: Vec<String>,
    /// What the physical ITS did.
    pub commands: Vec<String>,
    /// Pages that are otherwise than before.
    pub pages: Vec<String>,
}

/// What was seen of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub actions: Vec<Seen>,
    /// Operations that were played.
    pub operations: usize,
    /// Why the rest was not.
    pub left_out: Option<String>,
}

/// A board after boot.
struct Booted {
    snapshot: Snapshot,
    hosts: Drivers,
    actions: Vec<Seen>,
}

/// A board with a subject that is observed, and the boots that it has been through.
struct Observatory {
    make: Make,
    board: Board,
    boots: HashMap<([ItsConfiguration; MAX_ITS], Boot), Booted>,
}

/// Boots that are kept.
const KEPT_BOOTS: usize = 256;

/// Plays a case on a board that each thread keeps, up to what is told by steps of the subject's
/// own.
pub fn observe(scenario: &Scenario, make: Make) -> Observed {
    thread_local! {
        static KEPT: RefCell<Option<Observatory>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|kept| {
        let other = |kept: &mut Observatory| !std::ptr::fn_addr_eq(kept.make, make);
        if kept.as_mut().is_none_or(other) {
            let machine = machine(&Scenario::default());
            *kept = Some(Observatory {
                make,
                board: Board::new(machine, make(machine.its)),
                boots: HashMap::new(),
            });
        }
        let observed = kept.as_mut().map(|kept| kept.observe(scenario));
        observed.unwrap_or_default()
    })
}

impl Observatory {
    fn observe(&mut self, scenario: &Scenario) -> Observed {
        let key = (scenario.configurations, scenario.boot);
        if !self.boots.contains_key(&key) {
            if self.boots.len() >= KEPT_BOOTS {
                self.boots.clear();
            }
            let booted = self.boot(scenario);
            self.boots.insert(key, booted);
        }
        let booted = &self.boots[&key];
        self.board.restore(&booted.snapshot);
        let mut hosts = booted.hosts.clone();
        let mut observer = Observer::new(&mut self.board);
        observer.actions.clone_from(&booted.actions);
        let is_over = |seen: &Seen| seen.result == Outcome::Stopped.to_string();
        observer.over = observer.actions.iter().any(is_over);
        let machine = machine(scenario);
        observer.play(scenario, &mut hosts, &machine)
    }

    /// To the wanted stage. What the driver does on hardware that nobody guards is not told.
    fn boot(&mut self, scenario: &Scenario) -> Booted {
        let machine = machine(scenario);
        self.board.reset(machine, (self.make)(machine.its));
        let mut hosts = Drivers::new(scenario);
        let mut observer = Observer::new(&mut self.board);
        let stage = scenario.boot.stage;
        hosts.probe(stage, &mut observer);
        observer.actions.clear();
        if stage >= Stage::Deprivileged {
            hosts.deprivilege(&mut observer);
        }
        if stage >= Stage::Guarded {
            hosts.set_up(&mut observer);
        }
        Booted { actions: observer.actions, snapshot: self.board.snapshot(), hosts }
    }
}

struct Observer<'a> {
    board: &'a mut Board,
    events: Vec<Event>,
    actions: Vec<Seen>,
    operation: Option<(usize, &'static str)>,
    /// EL2 did not return.
    over: bool,
}

impl<'a> Observer<'a> {
    fn new(board: &'a mut Board) -> Self {
        Self { board, events: Vec::new(), actions: Vec::new(), operation: None, over: false }
    }

    fn play(mut self, scenario: &Scenario, hosts: &mut Drivers, machine: &Machine) -> Observed {
        let mut left_out = None;
        let mut operations = 0;
        for (index, operation) in scenario.operations.iter().enumerate() {
            left_out = by_steps(operation).map(str::to_owned);
            if self.over || left_out.is_some() {
                break;
            }
            operations += 1;
            self.operation = Some((index, operation.name()));
            self.board.start_operation();
            hosts.operate(operation, &mut self);
        }
        self.operation = Some((operations, "end"));
        self.board.disarm();
        for (its, host) in (0..machine.its.len() as u8).zip(hosts.iter_mut()) {
            for _ in 0..LOOKS {
                let before = self.queue(its);
                let commands = 64;
                self.perform(Action::Advance { its, commands });
                host.on(0, &mut self).poll();
                // A look may let EL2 pass on more.
                let [creadr, cwriter] = self.queue(its);
                if self.over || creadr == cwriter && before == [creadr, cwriter] {
                    break;
                }
            }
        }
        Observed { actions: self.actions, operations, left_out }
    }

    /// The hardware's CREADR and CWRITER.
    fn queue(&self, its: u8) -> [u64; 2] {
        [Register::Creadr, Register::Cwriter]
            .map(|register| self.board.register(its, register) & OFFSET_MASK)
    }
}

/// Why an operation means something else on each subject.
fn by_steps(operation: &Operation) -> Option<&'static str> {
    match operation {
        Operation::Race { .. } => Some("a race goes by the steps of the subject"),
        Operation::Fail { .. } => Some("a failure goes by the changes of pages of the subject"),
        Operation::Tamper { .. } => Some("a tamper goes by the reads of the subject"),
        _ => None,
    }
}

impl Perform for Observer<'_> {
    fn perform(&mut self, action: Action) -> Outcome {
        if self.over {
            return Outcome::Stopped;
        }
        let outcome = self.board.perform(&action, &mut self.events);
        self.over = outcome == Outcome::Stopped;
        let told = |wanted: fn(&Event) -> bool| {
            let wanted = self.events.iter().filter(|event| wanted(event));
            wanted.map(Event::to_string).collect()
        };
        self.actions.push(Seen {
            operation: self.operation.map(|(index, _)| index),
            kind: self.operation.map_or("boot", |(_, name)| name).into(),
            subject: subject(&action).into(),
            action: action.to_string(),
            result: outcome.to_string(),
            registers: told(|event| matches!(event, Event::DeviceWrite { .. })),
            commands: told(|event| matches!(event, Event::Consumed { .. } | Event::Stalled { .. })),
            pages: changed_pages(&self.events),
        });
        outcome
    }
}

/// Each page that these events leave otherwise than it was.
fn changed_pages(events: &[Event]) -> Vec<String> {
    let told = |(page, balance): (u64, [i32; 3])| {
        let parts = ["shared", "pinned", "donated"].into_iter().zip(balance);
        let parts = parts.filter(|(_, by)| *by != 0);
        let told: String = parts.map(|(what, by)| format!(" {what} {by:+}")).collect();
        format!("{}{told}", Place::of(page << 12))
    };
    page_balances(events).into_iter().map(told).collect()
}

/// The first action in which two subjects differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `operation.subject.class`: words without numbers.
    pub signature: String,
    pub one: Seen,
    pub other: Seen,
}

/// The first difference between what was seen of two subjects in a case.
pub fn difference(one: &Observed, other: &Observed) -> Option<Difference> {
    let longer = one.actions.len().max(other.actions.len());
    let [one, other] = [one, other].map(|observed| {
        let nothing = std::iter::repeat_with(Seen::default);
        { observed.actions.iter().cloned() }.chain(nothing)
    });
    let mut pairs = one.zip(other).take(longer);
    let (one, other) = pairs.find(|(one, other)| one != other)?;
    let (kind, subject) = match one.kind.is_empty() {
        true => (&other.kind, &other.subject),
        false => (&one.kind, &one.subject),
    };
    let class = match () {
        () if one.action != other.action => "action",
        () if one.result != other.result => "result",
        () if one.registers != other.registers => "registers",
        () if one.commands != other.commands => "commands",
        () => "pages",
    };
    Some(Difference { signature: format!("{kind}.{subject}.{class}"), one, other })
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_production::make;

    const TEXT: &str = "\
itsdiff 1
boot live-devices=1
map-device device=0x7 event-id-bits=5 itt=itt[3]
poll 1
";

    #[test]
    fn a_subject_does_what_it_did() {
        let scenario = Scenario::parse(TEXT).unwrap();
        let [first, second] = [(); 2].map(|()| observe(&scenario, make));
        assert_eq!(first, second);
        assert_eq!(difference(&first, &second), None);
        let seen: Vec<&Seen> =
            { first.actions.iter() }.filter(|seen| seen.operation.is_some()).collect();
        assert!(seen.iter().any(|seen| !seen.registers.is_empty()));
        assert!(seen.iter().any(|seen| seen.commands.len() == 1));
        assert!(seen.iter().any(|seen| !seen.pages.is_empty()), "{seen:#?}");
    }

    #[test]
    fn a_difference_is_named_by_its_operation_and_class() {
        let scenario = Scenario::parse(TEXT).unwrap();
        let one = observe(&scenario, make);
        let mut other = one.clone();
        let seen = { other.actions.iter_mut() }
            .find(|seen| !seen.pages.is_empty() && seen.operation.is_some());
        seen.unwrap().pages.clear();
        let found = difference(&one, &other).unwrap();
        assert_eq!(found.signature, "map-device.CWRITER.pages");
        let mut shorter = one.clone();
        shorter.actions.pop();
        let found = difference(&one, &shorter).unwrap();
        assert_eq!(found.signature, "end.CREADR.action");
    }

    #[test]
    fn what_goes_by_steps_is_left_out() {
        let text = format!("{TEXT}tamper itt[0] after=1 value=0x0\npoll 1\n");
        let observed = observe(&Scenario::parse(text).unwrap(), make);
        assert_eq!(observed.operations, 2);
        assert!(observed.left_out.is_some());
    }
}
