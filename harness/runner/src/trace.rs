//! Records what happened in a case, for people: operations, actions, EL2's accesses, the hardware's
//! answers, ownership.

use std::collections::BTreeSet;

use its_gic::Command;
use its_machine::text::AgentName;
use its_machine::{AGENTS, Action, Event, Freedom, Outcome, Part};
use its_reports::replay::{Kind, Line};
use its_scenario::Operation;

/// A trace: a line for each thing that happened. The same scenario gives the same lines.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<Line>,
    step: Option<usize>,
    commands: BTreeSet<(&'static str, bool)>,
}

impl Trace {
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// The commands that ITSs came to, each with whether it was in error.
    pub fn commands(&self) -> &BTreeSet<(&'static str, bool)> {
        &self.commands
    }

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
                    self.line(Kind::Host, 1, format!("-- {}", AgentName(agent)));
                    continue;
                }
                Event::Over => {
                    if let Some(part) = parts.get(ended) {
                        self.begin_part(parts, part.agent, &mut begun, &mut idle);
                        let text = format!("{}'s action is over", AgentName(part.agent));
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
        self.line(kind(event), 2, event.to_string());
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
            self.line(Kind::Host, 1, part.action.to_string());
        }
        begun[index] += 1;
    }

    /// What comes after the last of so many operations.
    pub(crate) fn end(&mut self, operations: usize) {
        self.step = Some(operations);
        self.line(Kind::Step, 0, "[end] the queue must come to rest".into());
    }

    pub(crate) fn action(&mut self, action: &Action, outcome: Outcome, events: &[Event]) {
        self.line(Kind::Host, 1, action.to_string());
        for event in events {
            self.event(event);
        }
        self.outcome(outcome);
    }

    fn outcome(&mut self, outcome: Outcome) {
        if outcome != Outcome::Done {
            self.line(Kind::Host, 1, outcome.to_string());
        }
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
        | Event::Ordered(_)
        | Event::Waited { .. }
        | Event::SetUp { .. }
        | Event::Acquired(_)
        | Event::Released(_)
        | Event::Misconduct(_) => Kind::El2,
        Event::Consumed { .. }
        | Event::Taken { .. }
        | Event::Stalled { .. }
        | Event::Advanced { .. }
        | Event::StaleRead { .. }
        | Event::Overwritten { .. }
        | Event::Unpredictable { .. } => Kind::Its,
        Event::Page { .. }
        | Event::Reached(..)
        | Event::Unreached(_)
        | Event::ReachedPage { .. }
        | Event::Injected => Kind::Own,
        Event::Finalized { .. } | Event::Tampered { .. } | Event::Turn { .. } | Event::Over => {
            Kind::Host
        }
    }
}
