//! Which ITSs are judged, and when one is looked at as a whole: guarded ones, as long as they may
//! follow pointers.
//!
//! An ITS that lost power follows nothing until it is enabled, whatever its registers and tables
//! say by then. What it follows from there on is judged as if it had been set up that moment.

use its_declaration::{Again, Declaration, Redistributors};
use its_gic::Register;
use its_machine::{Action, Event, Hypercall, Machine, Outcome, Purpose, Reach, View};

use crate::Step;

/// What LEAK and PTR look at in one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// What the action changed.
    Changes,
    /// All that the guarded ITSs reach: this one has just been set up.
    SetUp(u8),
    /// All that the guarded ITSs and the redistributors reach: the latter were just set up.
    Redistributors,
    /// All that this ITS reaches: it runs again after power was lost.
    Started(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watched {
    guarded: bool,
    /// Power was lost, and Enabled is still 0.
    off: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Watch {
    its: Vec<Watched>,
    /// By CPU.
    finalized: Vec<bool>,
    redistributors: Redistributors,
    again: Again,
    /// EL2 answers for the tables of redistributors.
    guards_lpis: bool,
}

/// Whether memory is reached by redistributors, whose pointers are reported with the first ITS's.
pub(crate) const fn is_lpis(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::LpiConfiguration(_) | Purpose::LpiPending(_))
}

impl Watch {
    pub(crate) fn new(machine: &Machine, declared: &Declaration) -> Self {
        let its = vec![Watched::default(); machine.its.len()];
        let (redistributors, again) = (declared.traps.redistributors, declared.set_up.again);
        let finalized = vec![false; machine.redistributors.len()];
        Self { its, finalized, redistributors, again, guards_lpis: false }
    }

    /// Takes note of an action that may be a loss of power, before what it changes is judged.
    pub(crate) fn note_power(&mut self, action: &Action) {
        if let Action::PowerLoss { its, .. } = *action
            && let Some(lost) = self.its.get_mut(usize::from(its))
        {
            lost.off = true;
        }
    }

    /// Takes note of an action that came to its end.
    pub(crate) fn note(&mut self, step: &Step, machine: &Machine, view: &impl View) -> Look {
        if let Some(its) = step.set_up_its(machine).filter(|_| !self.repeats(step, machine)) {
            self.its[usize::from(its)].guarded = true;
            self.guards_lpis |= self.redistributors == Redistributors::Guarded;
            return Look::SetUp(its);
        }
        if step.guards_redistributors() {
            self.guards_lpis |= self.redistributors == Redistributors::ByHypercall;
            return Look::Redistributors;
        }
        for (its, watched) in (0..).zip(&mut self.its) {
            if watched.off && view.register(its, Register::Ctlr) & 1 != 0 {
                watched.off = false;
                return Look::Started(its);
            }
        }
        Look::Changes
    }

    /// Leaves an ITS alone until it is enabled again.
    pub(crate) fn leave(&mut self, its: u8) {
        self.its[usize::from(its)].off = true;
    }

    /// Takes note of a CPU that was finalized.
    pub(crate) fn note_finalized(&mut self, action: &Action, outcome: Outcome) {
        if let (&Action::Hypercall { cpu, x0, .. }, Outcome::Returned { x0: 0, x1: 0 }) =
            (action, outcome)
            && Hypercall::from_function_id(x0) == Some(Hypercall::ProtFinalize)
            && let Some(finalized) = self.finalized.get_mut(usize::from(cpu))
        {
            *finalized = true;
        }
    }

    pub(crate) fn are_all_finalized(&self) -> bool {
        self.finalized.iter().all(|done| *done)
    }

    /// Whether a set-up that succeeded is one of a guarded ITS and changed nothing (the point
    /// `again`).
    pub(crate) fn repeats(&self, step: &Step, machine: &Machine) -> bool {
        let is_guarded = step.set_up_its(machine).is_some_and(|its| self.is_guarded(its));
        self.again == Again::Accepted && is_guarded && step.takes_nothing()
    }

    /// Whether an ITS is guarded, from the end of its set-up on.
    pub(crate) fn is_guarded(&self, its: u8) -> bool {
        self.its.get(usize::from(its)).is_some_and(|watched| watched.guarded)
    }

    /// Whether what is reached is judged now. Tables of redistributors are, once EL2 guards them.
    pub(crate) fn judges(&self, reach: &Reach) -> bool {
        if is_lpis(reach.purpose) {
            return self.guards_lpis;
        }
        self.is_guarded(reach.its) && !self.its[usize::from(reach.its)].off
    }

    /// Whether a stale read of this action may be one of a guarded ITS; what others read is their
    /// host's concern.
    pub(crate) fn reads_guarded(&self, step: &Step, view: &impl View) -> bool {
        if self.its.iter().all(|watched| watched.guarded) {
            return true;
        }
        step.events.iter().any(|event| match event {
            Event::StaleRead { address } | Event::Overwritten { address, host: false } => {
                self.numbers().filter(|its| self.is_guarded(*its)).any(|its| {
                    let mut reach = view.reach(its);
                    reach.any(|(reach, _)| address.wrapping_sub(reach.address) < reach.bytes)
                })
            }
            _ => false,
        })
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        0..self.its.len() as u8
    }
}
