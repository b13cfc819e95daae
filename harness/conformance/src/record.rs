//! A scenario as a list of steps for a device, made without the device.
//!
//! A driver reads registers and goes on by what it read. Here the reference answers it, so that a
//! whole case is known beforehand and goes to the device at once. Should the device answer
//! otherwise, the list is still one that a host could have done.

use its_architecture::Architecture;
use its_device::{Device, Step};
use its_driver::{Drivers, Perform};
use its_machine::{Action, Direction, Machine, Outcome};
use its_scenario::Scenario;

/// Where in a list of steps an operation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) step: usize,
    pub(crate) operation: usize,
    pub(crate) name: &'static str,
}

/// The steps of a case.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    machine: Machine,
    cannot: fn(&Action, &Machine) -> Option<&'static str>,
    model: Architecture,
    /// Why the architecture says nothing of the rest, on this machine.
    pub(crate) poisoned: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
    pub(crate) marks: Vec<Mark>,
    /// Steps of the boot.
    pub(crate) boot: usize,
    /// Why actions were left out.
    pub(crate) left_out: Vec<&'static str>,
}

impl Recording {
    /// The boot of a scenario, and its hosts after it.
    pub(crate) fn boot<D: Device>(scenario: &Scenario, machine: Machine) -> (Self, Drivers) {
        let mut recording = Self {
            machine,
            cannot: D::cannot,
            model: Architecture::of(machine),
            poisoned: None,
            steps: Vec::new(),
            marks: Vec::new(),
            boot: 0,
            left_out: Vec::new(),
        };
        let mut hosts = Drivers::new(scenario);
        hosts.probe(scenario.boot.stage, &mut recording);
        recording.boot = recording.steps.len();
        (recording, hosts)
    }

    /// Adds the operation of an index.
    pub(crate) fn add(&mut self, scenario: &Scenario, operation: usize, hosts: &mut Drivers) {
        let Some(what) = scenario.operations.get(operation) else {
            return;
        };
        let step = self.steps.len();
        hosts.operate(what, self);
        if self.steps.len() > step {
            let name = what.name();
            self.marks.push(Mark { step, operation, name });
        }
    }

    /// Adds every operation, with a look in the middle and at the end.
    pub(crate) fn add_all(&mut self, scenario: &Scenario, hosts: &mut Drivers) {
        let all = scenario.operations.len();
        for operation in 0..all {
            self.add(scenario, operation, hosts);
            if operation == all / 2 {
                self.look();
            }
        }
        self.look();
    }

    /// Actions after the boot.
    pub(crate) fn actions(&self) -> u64 {
        let after = self.steps.iter().skip(self.boot);
        after.filter(|step| **step != Step::Look).count() as u64
    }

    pub(crate) fn look(&mut self) {
        self.steps.push(Step::Look);
    }

    /// The steps of a boot without its reads of registers: once they were judged, nothing depends
    /// on them.
    pub(crate) fn quietly(&self) -> Self {
        let steps = self.steps.iter().copied();
        let steps: Vec<Step> = steps.filter(|step| !is_read(step)).collect();
        Self { boot: steps.len(), steps, ..self.clone() }
    }

    /// The same steps with a look after each.
    pub(crate) fn carefully(&self) -> Self {
        let mut careful = Self { steps: Vec::new(), ..self.clone() };
        for step in &self.steps {
            if *step != Step::Look {
                careful.steps.extend([*step, Step::Look]);
            }
        }
        let place = |step: usize| {
            let before = self.steps.iter().take(step);
            2 * before.filter(|step| **step != Step::Look).count()
        };
        careful.boot = place(self.boot);
        for mark in &mut careful.marks {
            mark.step = place(mark.step);
        }
        careful
    }
}

pub(crate) fn is_read(step: &Step) -> bool {
    matches!(step, Step::Act(Action::Device { direction: Direction::Read, .. }))
}

impl Perform for Recording {
    /// What the architecture says nothing about is not played: nothing could be compared.
    fn perform(&mut self, action: Action) -> Outcome {
        if self.poisoned.is_some() {
            return Outcome::Stopped;
        }
        if let Some(why) = (self.cannot)(&action, &self.machine) {
            self.left_out.push(why);
            return Outcome::Done;
        }
        let done = self.model.carry_out(&action);
        self.poisoned = done.poisoned;
        self.steps.push(Step::Act(action));
        done.outcome
    }
}
