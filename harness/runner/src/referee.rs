//! An ITS that somebody else plays, owned by its host, judged by the reference action by action.

use its_architecture::Architecture;
use its_device::Seen;
use its_machine::text::subject;
use its_machine::{Action, Event, Machine, Outcome};
use its_rules::Finding;

use crate::compare;

/// Judges what an ITS did and how it then is. After the first finding, and after what the
/// architecture says nothing about, nothing more is judged.
#[derive(Clone, Debug)]
pub struct Referee {
    model: Architecture,
    operation: (usize, &'static str),
    finding: Option<Finding>,
    poisoned: Option<&'static str>,
}

impl Referee {
    /// For a machine before boot whose ITS goes, where the architecture leaves a choice, as its
    /// configuration says.
    pub fn new(machine: Machine) -> Self {
        Self {
            model: Architecture::of(machine),
            operation: (0, "boot"),
            finding: None,
            poisoned: None,
        }
    }

    /// What follows belongs to this operation, by its index and name.
    pub fn start_operation(&mut self, index: usize, name: &'static str) {
        self.operation = (index, name);
    }

    pub fn is_over(&self) -> bool {
        self.finding.is_some() || self.poisoned.is_some()
    }

    /// Goes on as if the finding had not been: nothing that comes after it depends on it.
    pub fn excuse(&mut self) {
        self.finding = None;
    }

    /// The first thing that was not as it must be.
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// Why the architecture says nothing more.
    pub fn poisoned(&self) -> Option<&'static str> {
        self.poisoned
    }

    pub fn act(&mut self, action: &Action, outcome: Outcome, events: &[Event]) {
        if self.is_over() {
            return;
        }
        let judgement = self.model.judge(action, &outcome, events);
        self.poisoned = judgement.poisoned;
        let first = judgement.findings.into_iter().next();
        self.finding = first.map(|finding| finding.at(self.operation, subject(action)));
    }

    /// Judges how things are after an action.
    pub fn look(&mut self, action: &Action, seen: &Seen) {
        if self.is_over() {
            return;
        }
        let registers = seen.registers.iter();
        let mut registers = registers
            .filter_map(|(register, value)| compare::register(&self.model, (0, *register), *value));
        let mut pending = (0..).zip(&seen.pending).filter_map(|(of, intids)| {
            compare::pending(&self.model, of, || intids.iter().copied())
        });
        let broken =
            self.translations(seen).or_else(|| pending.next()).or_else(|| registers.next());
        self.finding = broken.map(|finding| finding.at(self.operation, subject(action)));
    }

    /// Of what is seen, and of what must be.
    fn translations(&self, seen: &Seen) -> Option<Finding> {
        let compare = |(device_id, event_id): (u32, u32), to| {
            compare::translation(&self.model, (0, device_id, event_id), to)
        };
        let mut here = seen.translations.iter();
        let wrong = here.find_map(|(event, to)| compare(*event, Some(*to)));
        let missing = || {
            let mapped = self.model.mapped(0).into_iter();
            let mut absent = mapped.filter(|event| !seen.translations.contains_key(event));
            absent.find_map(|event| compare(event, None))
        };
        wrong.or_else(missing)
    }
}
