//! One case on a device, judged.

use std::collections::HashMap;

use anyhow::Result;
use its_device::{Answer, Device, Step};
use its_driver::Drivers;
use its_machine::{Action, MAX_ITS, Machine};
use its_qemu::{Installed, Qemu};
use its_rules::Finding;
use its_runner::Referee;
use its_scenario::{Boot, Scenario};

use crate::qemu::{Difference, Done, Profile, machine};
use crate::record::{Mark, Recording, is_read};

/// What became of a case.
#[derive(Debug)]
pub(super) enum Verdict {
    Agree,
    /// The architecture says nothing more of the rest.
    Poisoned,
    /// A difference that was looked into: its id.
    Settled(String),
    Differs(Box<Finding>),
    /// The device died or hung; how, for people.
    Gone(String),
}

/// A case, compared.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) verdict: Verdict,
    /// Operations that were compared.
    pub(super) operations: u64,
    /// Actions that the device answered, the boot's apart.
    pub(super) actions: u64,
    /// Actions that the device could not do, by reason.
    pub(super) left_out: Vec<&'static str>,
    /// Differences that were looked into, by id; the case went on after them.
    pub(super) passed_over: Vec<String>,
}

/// A boot, and whether the device went through it before.
struct Booted {
    recording: Recording,
    hosts: Drivers,
    judged: Option<JudgedBoot>,
}

struct JudgedBoot {
    /// Without its reads.
    recording: Recording,
    /// What the device answered to that.
    answers: Vec<Answer>,
    referee: Referee,
}

/// Boots that are kept.
const KEPT_BOOTS: usize = 1024;

type Start<D> = Box<dyn Fn(Machine) -> Result<D>>;

/// Compares cases with the reference, one after the other, on one device that has QEMU's
/// configuration.
pub(super) struct Comparison<D> {
    start: Start<D>,
    profile: Profile,
    device: Option<D>,
    boots: HashMap<Boot, Booted>,
    careful: bool,
}

impl Comparison<Qemu> {
    pub(super) fn on_qemu(installed: &Installed, careful: bool) -> Self {
        let installed = installed.clone();
        Self::new(Box::new(move |machine| Ok(Qemu::start(&installed, machine)?)), careful)
    }
}

impl<D: Device> Comparison<D>
where
    D::Error: std::fmt::Display,
{
    fn new(start: Start<D>, careful: bool) -> Self {
        let profile = Profile::new();
        Self { start, profile, device: None, boots: HashMap::new(), careful }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// A scenario as it is played on QEMU: with the configuration of QEMU's ITS.
    fn fit(&self, scenario: &Scenario) -> Scenario {
        Scenario { configurations: [self.profile.configuration(); MAX_ITS], ..scenario.clone() }
    }

    /// Plays and judges one case. A difference that is seen at the end is looked for again, with a
    /// look after each action.
    ///
    /// # Errors
    /// The device cannot be started.
    pub(super) fn play(&mut self, scenario: &Scenario) -> Result<Compared> {
        let scenario = self.fit(scenario);
        let machine = machine(&scenario);
        let recording = self.record(&scenario, machine);
        let quick = if self.careful {
            self.judge(&recording.carefully(), machine, None)?
        } else {
            self.judge(&recording, machine, Some(scenario.boot))?
        };
        let mut judged = quick;
        if matches!(judged.verdict, Verdict::Differs(_)) && !self.careful {
            let careful = self.judge(&recording.carefully(), machine, None)?;
            if !matches!(careful.verdict, Verdict::Agree | Verdict::Poisoned) {
                judged = careful;
            }
        }
        let before = |mark: &&Mark| judged.until.is_none_or(|until| mark.operation <= until);
        Ok(Compared {
            verdict: judged.verdict,
            passed_over: judged.passed_over,
            operations: recording.marks.iter().filter(before).count() as u64,
            actions: recording.actions(),
            left_out: recording.left_out,
        })
    }

    fn record(&mut self, scenario: &Scenario, machine: Machine) -> Recording {
        if self.boots.len() > KEPT_BOOTS {
            self.boots.clear();
        }
        let booted = self.boots.entry(scenario.boot).or_insert_with(|| {
            let (recording, hosts) = Recording::boot::<D>(scenario, machine);
            Booted { recording, hosts, judged: None }
        });
        let judged = booted.judged.as_ref();
        let known = judged.map_or(&booted.recording, |judged| &judged.recording);
        let mut recording = known.clone();
        recording.add_all(scenario, &mut booted.hosts.clone());
        recording
    }

    /// `boot`: where a judgement of the boot may be kept.
    fn judge(
        &mut self,
        recording: &Recording,
        machine: Machine,
        boot: Option<Boot>,
    ) -> Result<Judged> {
        let device = match &mut self.device {
            Some(device) => device,
            none => none.insert((self.start)(machine)?),
        };
        let answers = match device.play(&recording.steps) {
            Ok(answers) => answers,
            Err(error) => {
                self.device = None;
                return Ok(Judged {
                    verdict: Verdict::Gone(error.to_string()),
                    until: None,
                    passed_over: Vec::new(),
                });
            }
        };
        let booted = boot.and_then(|boot| self.boots.get_mut(&boot));
        let judged = booted.as_ref().and_then(|booted| booted.judged.as_ref());
        let referee = match judged {
            Some(judged) if answers.starts_with(&judged.answers) => judged.referee.clone(),
            _ => after_boot(recording, machine, &answers),
        };
        if let Some(booted) = booted
            && booted.judged.is_none()
        {
            booted.judged = Some(JudgedBoot::new(booted, &answers, &referee));
        }
        let mut judge = Judge {
            profile: &self.profile,
            referee,
            done: Done::default(),
            passed_over: Vec::new(),
            last: IDLE,
            until: None,
        };
        judge.rest(recording, &answers);
        Ok(judge.finish())
    }
}

impl JudgedBoot {
    fn new(booted: &Booted, answers: &[Answer], referee: &Referee) -> Self {
        let steps = booted.recording.steps.iter().zip(answers);
        let quiet = steps.filter(|(step, _)| !is_read(step));
        Self {
            recording: booted.recording.quietly(),
            answers: quiet.map(|(_, answer)| answer.clone()).collect(),
            referee: referee.clone(),
        }
    }
}

/// What came of judging a case.
struct Judged {
    verdict: Verdict,
    /// The operation at which the judging ended, if not with the case.
    until: Option<usize>,
    passed_over: Vec<String>,
}

/// The referee, and what is known of the device beforehand.
struct Judge<'a> {
    profile: &'a Profile,
    referee: Referee,
    done: Done,
    passed_over: Vec<String>,
    /// The action before.
    last: Action,
    /// The operation that is judged, and then the one at which the judging ended.
    until: Option<usize>,
}

fn after_boot(recording: &Recording, machine: Machine, answers: &[Answer]) -> Referee {
    let mut referee = Referee::new(machine);
    let steps = recording.steps.iter().zip(answers).take(recording.boot);
    let mut last = IDLE;
    for (step, answer) in steps {
        put(&mut referee, step, answer, &mut last);
    }
    referee
}

impl Judge<'_> {
    fn rest(&mut self, recording: &Recording, answers: &[Answer]) {
        let steps = recording.steps.iter().zip(answers).enumerate();
        let mut marks = recording.marks.iter().peekable();
        for (index, (step, answer)) in steps.skip(recording.boot) {
            if self.referee.is_over() {
                return;
            }
            while let Some(mark) = marks.next_if(|mark| mark.step <= index) {
                self.referee.start_operation(mark.operation, mark.name);
                self.until = Some(mark.operation);
            }
            if let (Step::Act(action), Answer::Acted { events, .. }) = (step, answer) {
                self.done.add(action, events);
            }
            put(&mut self.referee, step, answer, &mut self.last);
            let settled = self.settled().filter(|difference| difference.harmless);
            if let Some(id) = settled.map(|difference| difference.id.clone()) {
                self.passed_over.push(id);
                self.referee.excuse();
            }
        }
    }

    fn settled(&self) -> Option<&Difference> {
        let finding = self.referee.finding()?;
        self.profile.settles(finding, &self.done)
    }

    fn finish(self) -> Judged {
        let verdict = match (self.referee.finding(), self.settled()) {
            (Some(_), Some(difference)) => Verdict::Settled(difference.id.clone()),
            (Some(finding), None) => Verdict::Differs(Box::new(finding.clone())),
            (None, _) if self.referee.poisoned().is_some() => Verdict::Poisoned,
            (None, _) => Verdict::Agree,
        };
        Judged { verdict, until: self.until, passed_over: self.passed_over }
    }
}

fn put(referee: &mut Referee, step: &Step, answer: &Answer, last: &mut Action) {
    match (step, answer) {
        (Step::Act(action), Answer::Acted { outcome, events }) => {
            referee.act(action, *outcome, events);
            *last = *action;
        }
        (_, Answer::Seen(seen)) => {
            referee.look(last, seen);
        }
        // It was not done, as was known beforehand.
        (_, Answer::NotActed(_)) | (Step::Look, Answer::Acted { .. }) => {}
    }
}

const IDLE: Action = Action::Advance { its: 0, commands: 0 };

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use its_board::Board;
    use its_production::make;
    use its_scenario::FuzzTarget;

    use super::*;

    /// The physical ITS of the board, which lies about one thing if it shall.
    struct Physical {
        board: Board,
        forgets: bool,
    }

    impl Device for Physical {
        type Error = Infallible;

        fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Infallible> {
            let mut answers = self.board.play(steps)?;
            for answer in &mut answers {
                if let Answer::Seen(seen) = answer
                    && self.forgets
                {
                    seen.translations.pop_last();
                }
            }
            Ok(answers)
        }
    }

    fn verdicts(forgets: bool) -> Vec<Verdict> {
        let start = move |machine: Machine| {
            let board = Board::new(machine, make(&machine));
            Ok(Physical { board, forgets })
        };
        let mut comparison = Comparison::new(Box::new(start), false);
        let numbers = 0..64;
        let play = |number| {
            let mut scenario = its_generate::numbered(number, FuzzTarget::Arch);
            // A board like that of any device, but for what the driver does.
            let Boot { stage, queue_pages, live_devices, .. } = scenario.boot;
            scenario.boot = Boot { stage, queue_pages, live_devices, ..Boot::default() };
            comparison.play(&scenario).unwrap().verdict
        };
        numbers.map(play).collect()
    }

    #[test]
    fn another_device_takes_the_seat() {
        let fine = |verdict: &Verdict| matches!(verdict, Verdict::Agree | Verdict::Poisoned);
        let all = verdicts(false);
        assert!(all.iter().all(fine), "{:?}", all.iter().find(|verdict| !fine(verdict)));
        assert!(all.iter().filter(|verdict| matches!(verdict, Verdict::Agree)).count() > 32);
        let lost = |verdict: &Verdict| match verdict {
            Verdict::Differs(finding) => finding.rule.id == "DIV-LOST",
            _ => false,
        };
        assert!(verdicts(true).iter().any(lost));
    }
}
