//! QEMU as a subject of the conformance matrix.

use anyhow::Result;
use its_gic::Register;
use its_machine::{Freedom, MAX_ITS, Translation};
use its_qemu::{Answer, Installed, Qemu, Seen};
use its_scenario::Scenario;

use super::{Profile, Recording, becomes_zero, machine};
use crate::matrix::{Cell, cell, claimed, option_text, summed};
use crate::observed::{Fate, Fit, Observed, check};
use crate::play::{Played, Tally, needs_two};
use crate::requirement::{Case, Claim, Requirement};
use crate::script::{Expected, Script};

/// A QEMU that plays requirements.
pub struct QemuSubject {
    installed: Installed,
    profile: Profile,
    qemu: Option<Qemu>,
}

impl QemuSubject {
    /// One that is not started yet.
    pub fn new(installed: Installed) -> Self {
        Self { installed, profile: Profile::new(), qemu: None }
    }

    /// What a requirement comes to on QEMU. Cases that ask for options that it does not take are
    /// not for it.
    pub(crate) fn cell(&mut self, requirement: &Requirement) -> Cell {
        if let Claim::NotApplicable { reason } = &requirement.qemu {
            return Cell::NotApplicable(reason.clone());
        }
        if let Claim::Settled { difference } = &requirement.qemu
            && !self.profile.knows(difference)
        {
            return Cell::Broken(format!("qemu.toml has no difference {difference}"));
        }
        let cases: Vec<Cell> = (1..)
            .zip(&requirement.cases)
            .map(|(number, case)| match self.misfit(case) {
                Some(misfit) => misfit,
                None => cell(number, self.run(&case.script)),
            })
            .collect();
        claimed(&requirement.qemu, summed(cases.into_iter()))
    }

    /// Why a case is not for QEMU: it takes another option, or is another ITS.
    fn misfit(&self, case: &Case) -> Option<Cell> {
        for (freedom, option) in &case.options {
            if let Some(misfit) = self.other_option(*freedom, Some(*option)) {
                return Some(misfit);
            }
        }
        if needs_two(&case.script.scenario) {
            return Some(Cell::NotApplicable("QEMU's machine has one ITS".into()));
        }
        let own = Scenario {
            configurations: [self.profile.configuration(); MAX_ITS],
            ..Scenario::default()
        };
        let own = configuration_words(&own);
        for word in configuration_words(&case.script.scenario) {
            if own.contains(&word) {
                continue;
            }
            let key = word.split('=').next().unwrap_or("");
            let named = |freedom: &&Freedom| freedom.facts().name == key;
            return Some(match Freedom::ALL.iter().find(named) {
                Some(freedom) => self.other_option(*freedom, None)?,
                None => Cell::NotApplicable(format!("QEMU's ITS has not {word}")),
            });
        }
        None
    }

    /// That QEMU does not take an option, or is not known to.
    fn other_option(&self, freedom: Freedom, wanted: Option<u64>) -> Option<Cell> {
        let name = freedom.facts().name;
        match self.profile.known(freedom) {
            None => {
                Some(Cell::NotApplicable(format!("which option of {name} QEMU takes is not known")))
            }
            Some(own) if Some(own) == wanted => None,
            Some(own) => Some(Cell::Freedom(option_text(freedom, own))),
        }
    }

    /// Plays a case; a QEMU that dies is started once more.
    fn run(&mut self, script: &Script) -> Played {
        match self.try_to_run(script) {
            Played::Broken(_) => self.try_to_run(script),
            played => played,
        }
    }

    fn try_to_run(&mut self, script: &Script) -> Played {
        let script = self.fit(script);
        let (recording, looks) = record(&script);
        if let Some(why) = recording.poisoned {
            return Played::NotApplicable(format!(
                "on QEMU's machine nothing is said of it: {why}"
            ));
        }
        let played = self.started().and_then(|qemu| Ok(qemu.play(&recording.steps)?));
        match played {
            Ok(answers) => evaluate(&script, &recording, &looks, answers),
            Err(error) => {
                self.qemu = None;
                Played::Broken(format!("{error:#}"))
            }
        }
    }

    /// A script for QEMU's ITS.
    fn fit(&self, script: &Script) -> Script {
        let mut script = script.clone();
        script.scenario.configurations = [self.profile.configuration(); MAX_ITS];
        if let Some(device) = becomes_zero(&script.scenario) {
            script.swap_devices(device, 0);
        }
        script
    }

    fn started(&mut self) -> Result<&mut Qemu> {
        let machine = machine(&Scenario {
            configurations: [self.profile.configuration(); MAX_ITS],
            ..Scenario::default()
        });
        let qemu = match self.qemu.take() {
            Some(qemu) => qemu,
            None => Qemu::start(&self.installed, machine)?,
        };
        Ok(self.qemu.insert(qemu))
    }
}

/// What differs from the usual in the first ITS's configuration, as the text form has it.
fn configuration_words(scenario: &Scenario) -> Vec<String> {
    let text = scenario.to_string();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("character "));
    let words = line.unwrap_or("").split_whitespace();
    words.map(str::to_owned).collect()
}

/// The steps of a script, with a look wherever something is expected; and for each look what is
/// expected there. What comes after something that QEMU cannot do is left out: it could depend on
/// it.
fn record(script: &Script) -> (Recording, Vec<Vec<Expected>>) {
    let scenario = &script.scenario;
    let (mut recording, mut hosts) = Recording::boot(scenario, machine(scenario));
    let mut looks: Vec<Vec<Expected>> = Vec::new();
    for after in 0..=scenario.operations.len() {
        if !recording.left_out.is_empty() {
            break;
        }
        let expected = script.expectations.iter();
        let here: Vec<Expected> = expected.filter(|one| one.after == after).cloned().collect();
        if !here.is_empty() {
            recording.look();
            looks.push(here);
        }
        recording.add(scenario, after, &mut hosts);
    }
    (recording, looks)
}

fn evaluate(
    script: &Script,
    recording: &Recording,
    looks: &[Vec<Expected>],
    answers: Vec<Answer>,
) -> Played {
    // That the reference may allow more is not asked here.
    let mut tally = Tally::new(true);
    let mut on = OnQemu::default();
    let mut asked = 0;
    let mut looks = looks.iter();
    for (index, answer) in answers.into_iter().enumerate() {
        match answer {
            Answer::Acted { outcome, events } => {
                on.value = match outcome {
                    its_machine::Outcome::Value(value) => Some((value, u64::MAX)),
                    _ => None,
                };
                if index >= recording.boot {
                    on.fates.extend(events.iter().filter_map(Fate::of));
                }
            }
            Answer::NotActed(why) => return Played::NotApplicable(why.into()),
            Answer::Seen(seen) => {
                on.seen = seen;
                for expected in looks.next().into_iter().flatten() {
                    tally.add(expected, check(&expected.what, &mut on));
                    asked += 1;
                }
            }
        }
    }
    for _ in asked..script.expectations.len() {
        tally.hide(recording.left_out.first().unwrap_or(&"not reached"));
    }
    tally.finish()
}

/// QEMU at a look.
#[derive(Default)]
struct OnQemu {
    seen: Seen,
    value: Option<(u64, u64)>,
    fates: Vec<Fate>,
}

impl OnQemu {
    fn register(&self, register: Register) -> u64 {
        let mut registers = self.seen.registers.iter();
        let found = registers.find(|(of, _)| *of == register);
        found.map_or(0, |(_, value)| *value)
    }
}

impl Observed for OnQemu {
    fn value(&self) -> Option<(u64, u64)> {
        self.value
    }

    fn queue(&mut self) -> (u64, u64) {
        (self.register(Register::Creadr), self.register(Register::Cwriter))
    }

    fn fates(&mut self) -> (Vec<Fate>, bool) {
        (std::mem::take(&mut self.fates), false)
    }

    fn may_refuse(&self) -> bool {
        false
    }

    fn translation(&mut self, event: (u32, u32), expected: Option<Translation>) -> Fit {
        Fit::of(self.seen.translations.get(&event).copied(), expected)
    }

    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit {
        let found = self.seen.pending.get(usize::from(cpu));
        Fit::of(found.map(Vec::as_slice).unwrap_or_default(), expected)
    }

    fn offered(&mut self, _: u8, _: Option<u32>) -> Fit {
        Fit::Hidden("what a CPU is offered cannot be seen over qtest")
    }
}
