//! The model as a subject: the reference itself carries out the case.

use its_architecture::Architecture;
use its_driver::{Drivers, Perform, machine};
use its_gic::Register;
use its_machine::{Action, Outcome, Translation};

use crate::observed::{Fit, Noted, Observed};
use crate::play::{Played, Tally, play};
use crate::script::Script;

struct Reference {
    model: Architecture,
    noted: Noted,
    poisoned: Option<&'static str>,
}

/// Plays a case on the reference.
pub(crate) fn run(script: &Script, free: bool) -> Played {
    let mut on = Reference {
        model: Architecture::of(machine(&script.scenario)),
        noted: Noted::default(),
        poisoned: None,
    };
    let mut hosts = Drivers::new(&script.scenario);
    hosts.probe(script.scenario.boot.stage, &mut on);
    on.noted.fates.clear();
    let played = play(script, &mut hosts, &mut on, Tally::new(free));
    match on.poisoned {
        Some(why) => Played::Broken(format!("the reference says nothing more: {why}")),
        None => played,
    }
}

impl Perform for Reference {
    fn perform(&mut self, action: Action) -> Outcome {
        if self.poisoned.is_some() {
            return Outcome::Stopped;
        }
        let done = self.model.carry_out(&action);
        self.noted.add(done.outcome, done.known, &done.events);
        self.noted.open |= done.open;
        self.poisoned = done.poisoned;
        done.outcome
    }
}

impl Observed for Reference {
    fn noted(&mut self) -> &mut Noted {
        &mut self.noted
    }

    fn queue(&mut self) -> (u64, u64) {
        let read = |register| self.model.register(0, register).value;
        (read(Register::Creadr), read(Register::Cwriter))
    }

    fn translation(&mut self, (device, event): (u32, u32), expected: Option<Translation>) -> Fit {
        let event = (0, device, event);
        fit(self.model.check_translation(event, expected), self.model.translation(event).is_some())
    }

    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit {
        fit(
            self.model.check_pending(cpu, expected.iter().copied()),
            self.model.pending(cpu).is_some(),
        )
    }

    fn offered(&mut self, cpu: u8, expected: Option<u32>) -> Fit {
        fit(self.model.check_offered(cpu, expected), self.model.offered(cpu).is_some())
    }
}

/// How it fits what the reference allows, all that it allows if it `is_known`.
fn fit(checked: Result<(), String>, is_known: bool) -> Fit {
    match checked {
        Err(allowed) => Fit::IsNot(allowed),
        Ok(()) if is_known => Fit::Is,
        Ok(()) => Fit::MayBe,
    }
}
