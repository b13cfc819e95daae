//! One case on QEMU, judged.

use std::collections::HashMap;

use anyhow::Result;
use its_el2::{Action, MAX_ITS, Machine};
use its_qemu::{Answer, Installed, Qemu, Step};
use its_runner::finding::Finding;
use its_runner::{Hosts, Referee, Seen};
use its_scenario::{Boot, Scenario};

use crate::qemu::{Profile, Recording};

/// What became of a case.
#[derive(Debug)]
pub(super) enum Verdict {
    Agree,
    /// The architecture says nothing more of the rest.
    Poisoned,
    /// A difference that was looked into: its id.
    Settled(String),
    Differs(Box<Finding>),
    /// QEMU died or hung.
    Gone(its_qemu::Error),
}

/// A case, compared.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) verdict: Verdict,
    /// Operations that were compared.
    pub(super) operations: u64,
    /// Actions that QEMU answered, the boot's apart.
    pub(super) actions: u64,
    /// Actions that QEMU could not do, by reason.
    pub(super) left_out: Vec<&'static str>,
}

/// A boot that QEMU went through before.
struct Booted {
    recording: Recording,
    hosts: Hosts,
    /// What QEMU answered, and the referee after it.
    judged: Option<(Vec<Answer>, Referee)>,
}

/// Boots that are kept.
const KEPT_BOOTS: usize = 64;

/// Compares cases, one after the other, on one QEMU.
pub(super) struct Comparison {
    installed: Installed,
    profile: Profile,
    qemu: Option<Qemu>,
    boots: HashMap<Boot, Booted>,
    careful: bool,
}

impl Comparison {
    pub(super) fn new(installed: &Installed, careful: bool) -> Self {
        Self {
            installed: installed.clone(),
            profile: Profile::new(),
            qemu: None,
            boots: HashMap::new(),
            careful,
        }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// A scenario as it is played on QEMU: with the character of QEMU's ITS.
    pub(super) fn fit(&self, scenario: &Scenario) -> Scenario {
        Scenario {
            characters: [self.profile.character(); MAX_ITS],
            ..scenario.clone()
        }
    }

    /// Plays and judges one case. A difference that is seen at the end is looked for again, with a look after each action.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub(super) fn play(&mut self, scenario: &Scenario) -> Result<Compared> {
        let scenario = self.fit(scenario);
        let machine = its_runner::machine(&scenario);
        let recording = self.record(&scenario, machine);
        let quick = match self.careful {
            true => self.judge(&recording.carefully(), machine, None)?,
            false => self.judge(&recording, machine, Some(scenario.boot))?,
        };
        let verdict = match quick {
            Verdict::Differs(finding) if !self.careful => {
                match self.judge(&recording.carefully(), machine, None)? {
                    Verdict::Differs(earlier) => self.settle(*earlier),
                    Verdict::Agree | Verdict::Poisoned => self.settle(*finding),
                    other => other,
                }
            }
            Verdict::Differs(finding) => self.settle(*finding),
            other => other,
        };
        Ok(Compared {
            verdict,
            operations: recording.operations,
            actions: (recording.steps.len() - recording.boot) as u64 - 1,
            left_out: recording.left_out,
        })
    }

    fn settle(&self, finding: Finding) -> Verdict {
        match self.profile.settles(&finding.signature) {
            Some(difference) => Verdict::Settled(difference.id.clone()),
            None => Verdict::Differs(Box::new(finding)),
        }
    }

    fn record(&mut self, scenario: &Scenario, machine: Machine) -> Recording {
        if self.boots.len() > KEPT_BOOTS {
            self.boots.clear();
        }
        let booted = self.boots.entry(scenario.boot).or_insert_with(|| {
            let (recording, hosts) = Recording::boot(scenario, machine);
            Booted {
                recording,
                hosts,
                judged: None,
            }
        });
        let mut recording = booted.recording.clone();
        recording.add_all(scenario, &mut booted.hosts.clone());
        recording.look();
        recording
    }

    /// `boot`: where a judgement of the boot may be kept.
    fn judge(
        &mut self,
        recording: &Recording,
        machine: Machine,
        boot: Option<Boot>,
    ) -> Result<Verdict> {
        let qemu = match &mut self.qemu {
            Some(qemu) => qemu,
            none => none.insert(Qemu::start(&self.installed, machine)?),
        };
        let answers = match qemu.play(&recording.steps) {
            Ok(answers) => answers,
            Err(error) => {
                self.qemu = None;
                return Ok(Verdict::Gone(error));
            }
        };
        let booted = boot.and_then(|boot| self.boots.get_mut(&boot));
        let mut referee = match booted {
            None => after_boot(recording, machine, &answers),
            Some(booted) => match &booted.judged {
                Some((same, referee)) if answers.starts_with(same) => referee.clone(),
                _ => {
                    let referee = after_boot(recording, machine, &answers);
                    let own = answers.iter().take(recording.boot).cloned().collect();
                    booted.judged = Some((own, referee.clone()));
                    referee
                }
            },
        };
        judge_rest(&mut referee, recording, &answers);
        Ok(match (referee.finding(), referee.poisoned()) {
            (Some(finding), _) => Verdict::Differs(Box::new(finding.clone())),
            (None, Some(_)) => Verdict::Poisoned,
            (None, None) => Verdict::Agree,
        })
    }
}

fn after_boot(recording: &Recording, machine: Machine, answers: &[Answer]) -> Referee {
    let mut referee = Referee::new(machine);
    let steps = recording.steps.iter().zip(answers).take(recording.boot);
    judge_steps(&mut referee, steps);
    referee
}

fn judge_rest(referee: &mut Referee, recording: &Recording, answers: &[Answer]) {
    let mut steps = recording.steps.iter().zip(answers).enumerate();
    let mut marks = recording.marks.iter().peekable();
    let mut last = None;
    for (index, (step, answer)) in steps.by_ref().skip(recording.boot) {
        while let Some(mark) = marks.next_if(|mark| mark.step <= index) {
            referee.start_operation(mark.operation, mark.name);
        }
        judge_step(referee, step, answer, &mut last);
    }
}

fn judge_steps<'a>(referee: &mut Referee, steps: impl Iterator<Item = (&'a Step, &'a Answer)>) {
    let mut last = None;
    for (step, answer) in steps {
        judge_step(referee, step, answer, &mut last);
    }
}

/// `last`: the action before.
fn judge_step(referee: &mut Referee, step: &Step, answer: &Answer, last: &mut Option<Action>) {
    match (step, answer) {
        (Step::Act(action), Answer::Acted { outcome, events }) => {
            referee.act(action, *outcome, events);
            *last = Some(*action);
        }
        (_, Answer::Seen(seen)) => {
            let seen = Seen {
                registers: &seen.registers,
                translations: &seen.translations,
                pending: &seen.pending,
            };
            referee.look(&last.unwrap_or(IDLE), &seen);
        }
        // It was not done, as was known beforehand.
        (_, Answer::NotActed(_)) | (Step::Look, Answer::Acted { .. }) => {}
    }
}

const IDLE: Action = Action::Advance {
    its: 0,
    commands: 0,
};
