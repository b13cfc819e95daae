//! A requirement on a device that its host owns: a case at once, with a look wherever something is
//! expected.

use its_device::{Answer, Device, Seen};
use its_gic::Register;
use its_machine::{Machine, Translation};

use crate::observed::{Fit, Noted, Observed, check};
use crate::play::{Played, Tally};
use crate::record::Recording;
use crate::script::{Expected, Script};

/// Plays a case on a device with this machine. That the reference may allow more is not asked.
pub(crate) fn play_on<D: Device>(script: &Script, machine: Machine, device: &mut D) -> Played
where
    D::Error: std::fmt::Display,
{
    let (recording, looks) = record::<D>(script, machine);
    if let Some(why) = recording.poisoned {
        return Played::NotApplicable(format!("on this machine nothing is said of it: {why}"));
    }
    match device.play(&recording.steps) {
        Ok(answers) => evaluate(script, &recording, &looks, answers),
        Err(error) => Played::Broken(format!("{error:#}")),
    }
}

/// The steps of a script, with a look wherever something is expected; and for each look what is
/// expected there. What comes after something that the device cannot do is left out: it could
/// depend on it.
fn record<D: Device>(script: &Script, machine: Machine) -> (Recording, Vec<Vec<Expected>>) {
    let scenario = &script.scenario;
    let (mut recording, mut hosts) = Recording::boot::<D>(scenario, machine);
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
    let mut tally = Tally::new(true);
    let mut on = OnDevice::default();
    let mut asked = 0;
    let mut looks = looks.iter();
    for (index, answer) in answers.into_iter().enumerate() {
        match answer {
            Answer::Acted { outcome, events } => {
                let after_boot = if index >= recording.boot { &events[..] } else { &[] };
                on.noted.add(outcome, u64::MAX, after_boot);
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

/// A device at a look.
#[derive(Default)]
struct OnDevice {
    seen: Seen,
    noted: Noted,
}

impl Observed for OnDevice {
    fn noted(&mut self) -> &mut Noted {
        &mut self.noted
    }

    fn queue(&mut self) -> (u64, u64) {
        (self.seen.register(Register::Creadr), self.seen.register(Register::Cwriter))
    }

    fn translation(&mut self, event: (u32, u32), expected: Option<Translation>) -> Fit {
        Fit::of(self.seen.translations.get(&event).copied(), expected)
    }

    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit {
        let found = self.seen.pending.get(usize::from(cpu));
        Fit::of(found.map(Vec::as_slice).unwrap_or_default(), expected)
    }

    fn offered(&mut self, cpu: u8, expected: Option<u32>) -> Fit {
        match self.seen.offered.get(usize::from(cpu)) {
            Some(offered) => Fit::of(*offered, expected),
            None => Fit::Hidden("what a CPU is offered cannot be seen over qtest"),
        }
    }
}
