//! What a subject does that others see, judged by nobody: what the host gets, what the hardware is
//! given and does, which pages change hands. Two subjects that do the same here do the same for
//! host and hardware, however they come to it.

use std::cell::RefCell;

use its_board::Board;
use its_machine::{Action, Event, Hypercall, Outcome, Part, Place};
use its_oracles::page_balances;
use its_scenario::{Operation, Scenario};
use serde::{Deserialize, Serialize};

use crate::play::{Make, kept};
use crate::session::{Next, Observer, Session};
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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub actions: Vec<Seen>,
    /// Operations that were played.
    pub operations: usize,
    /// Why the rest was not.
    pub left_out: Option<String>,
    /// The most ITSs and CPUs of a board that the subject takes.
    pub most: (u32, u32),
}

impl Observed {
    /// Returns what the first set-up of an ITS returned that did not succeed.
    pub fn refused_set_up(&self) -> Option<&str> {
        let success = Outcome::Returned { x0: 0, x1: 0 }.to_string();
        let set_up = Hypercall::InitItsEmulation.name();
        let mut set_ups = self.actions.iter().filter(|seen| seen.subject == set_up);
        let failed = set_ups.find(|seen| seen.result != success)?;
        Some(failed.result.trim_start_matches("-> "))
    }
}

/// Plays a case on a board that each thread keeps, up to what goes by steps of the subject's own.
pub fn observe(scenario: &Scenario, make: Make) -> Observed {
    thread_local! {
        static KEPT: RefCell<Option<(Make, Session<Vec<Seen>>)>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|slot| {
        let session = kept(slot, make, Session::new);
        let played = session.play(scenario, |_, kept| {
            let actions = kept.cloned().unwrap_or_default();
            Recorder { actions, ..Recorder::default() }
        });
        let Recorder { actions, operations, left_out, .. } = played;
        let left_out = left_out.map(str::to_owned);
        Observed { actions, operations, left_out, most: session.declared().boards() }
    })
}

/// Records what host and hardware see. What the driver does on hardware that nobody guards is not
/// recorded.
#[derive(Default)]
struct Recorder {
    actions: Vec<Seen>,
    operations: usize,
    left_out: Option<&'static str>,
    operation: Option<(usize, &'static str)>,
    /// EL2 did not return.
    over: bool,
}

/// Why an operation means something else on each subject.
fn by_steps(operation: &Operation) -> Option<&'static str> {
    match operation {
        Operation::Race { .. } => Some("a race goes by the steps of the subject"),
        Operation::Fail { .. } => Some("a failure goes by the changes of pages of the subject"),
        Operation::Tamper { .. } => Some("a tamper goes by the reads of the subject"),
        Operation::Progress { .. } => Some("progress goes by how long the subject waits"),
        _ => None,
    }
}

impl Observer for Recorder {
    type Kept = Vec<Seen>;

    fn keep(&self) -> Vec<Seen> {
        self.actions.clone()
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn begin(&mut self, next: &Next<'_>) -> bool {
        match *next {
            Next::Boot => self.actions.clear(),
            Next::Begin | Next::Race(_) => {}
            Next::Operation(index, operation) => {
                self.left_out = by_steps(operation);
                if self.left_out.is_some() {
                    return false;
                }
                self.operations = index + 1;
                self.operation = Some((index, operation.name()));
            }
            Next::End(_) => self.operation = Some((self.operations, "end")),
        }
        true
    }

    fn acted(&mut self, _: &Board, action: &Action, outcome: Outcome, events: &[Event]) {
        self.over = outcome == Outcome::Stopped;
        let seen = |wanted: fn(&Event) -> bool| {
            let wanted = events.iter().filter(|event| wanted(event));
            wanted.map(Event::to_string).collect()
        };
        self.actions.push(Seen {
            operation: self.operation.map(|(index, _)| index),
            kind: self.operation.map_or("boot", |(_, name)| name).into(),
            subject: subject(action).into(),
            action: action.to_string(),
            result: outcome.to_string(),
            registers: seen(|event| matches!(event, Event::DeviceWrite { .. })),
            commands: seen(|event| matches!(event, Event::Consumed { .. } | Event::Stalled { .. })),
            pages: changed_pages(events),
        });
    }

    // A race goes by the steps of a subject, and is left out.
    fn raced(&mut self, _: &Board, _: &[Part], _: &[Event]) {}
}

/// Each page that these events leave otherwise than it was.
fn changed_pages(events: &[Event]) -> Vec<String> {
    let text = |(page, balance): (u64, [i32; 3])| {
        let parts = ["shared", "pinned", "donated"].into_iter().zip(balance);
        let parts = parts.filter(|(_, by)| *by != 0);
        let changes: String = parts.map(|(what, by)| format!(" {what} {by:+}")).collect();
        format!("{}{changes}", Place::of(page << 12))
    };
    page_balances(events).into_iter().map(text).collect()
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
    let (kind, subject) =
        if one.kind.is_empty() { (&other.kind, &other.subject) } else { (&one.kind, &one.subject) };
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
itsdiff 2
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
