//! The model as a subject: the reference itself carries out the case.

use its_architecture::Architecture;
use its_driver::Drivers;
use its_driver::Perform;
use its_driver::machine;
use its_gic::Register;
use its_machine::{Action, Outcome, Translation};

use crate::observed::{Fate, Fit, Observed};
use crate::play::{Played, Tally, play};
use crate::script::Script;

struct Reference {
    model: Architecture,
    value: Option<(u64, u64)>,
    fates: Vec<Fate>,
    open: bool,
    poisoned: Option<&'static str>,
}

/// Plays a case on the reference.
pub(crate) fn run(script: &Script, free: bool) -> Played {
    let mut on = Reference {
        model: Architecture::of(machine(&script.scenario)),
        value: None,
        fates: Vec::new(),
        open: false,
        poisoned: None,
    };
    let mut hosts = Drivers::new(&script.scenario);
    hosts.probe(script.scenario.boot.stage, &mut on);
    on.fates.clear();
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
        self.value = match done.outcome {
            Outcome::Value(value) => Some((value, done.known)),
            _ => None,
        };
        self.fates.extend(done.events.iter().filter_map(Fate::of));
        self.open |= done.open;
        self.poisoned = done.poisoned;
        done.outcome
    }
}

impl Observed for Reference {
    fn value(&self) -> Option<(u64, u64)> {
        self.value
    }

    fn queue(&mut self) -> (u64, u64) {
        let read = |register| self.model.register(0, register).value;
        (read(Register::Creadr), read(Register::Cwriter))
    }

    fn fates(&mut self) -> (Vec<Fate>, bool) {
        let open = std::mem::take(&mut self.open);
        (std::mem::take(&mut self.fates), open)
    }

    fn may_refuse(&self) -> bool {
        false
    }

    fn translation(&mut self, (device, event): (u32, u32), expected: Option<Translation>) -> Fit {
        let event = (0, device, event);
        match self.model.check_translation(event, expected) {
            Err(allowed) => Fit::IsNot(allowed),
            Ok(()) if self.model.translation(event).is_some() => Fit::Is,
            Ok(()) => Fit::MayBe,
        }
    }

    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit {
        match self.model.check_pending(cpu, expected.iter().copied()) {
            Err(allowed) => Fit::IsNot(allowed),
            Ok(()) if self.model.pending(cpu).is_some() => Fit::Is,
            Ok(()) => Fit::MayBe,
        }
    }

    fn offered(&mut self, cpu: u8, expected: Option<u32>) -> Fit {
        match self.model.check_offered(cpu, expected) {
            Err(allowed) => Fit::IsNot(allowed),
            Ok(()) if self.model.offered(cpu).is_some() => Fit::Is,
            Ok(()) => Fit::MayBe,
        }
    }
}
