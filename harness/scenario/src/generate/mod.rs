//! The generator: scenarios that are legal enough to get deep, and wrong in places.
//!
//! A scenario is a sequence of phrases, each a few operations that belong together: [`legal`] and
//! [`hostile`] for an emulation at EL2, [`mmio`], [`hvc`] and [`tables`] with more of one kind for
//! emulations of one or two ITSs, [`arch`] for hosts that own their ITS, with many of the same in
//! them. How often a phrase comes is drawn anew for each scenario (swarm testing): one scenario
//! fills the queue, another suspends again and again, a third does a little of all. What the
//! generator drew is not kept: the scenario is.

mod arch;
mod belief;
mod boards;
mod draft;
mod hostile;
mod hvc;
mod legal;
mod mmio;
mod race;
mod several;
mod tables;

use arbitrary::{Arbitrary, Unstructured};
use its_machine::{ItsConfiguration, MAX_ITS};

use crate::fuzz_target::FuzzTarget;
use crate::header::{Boot, Stage};
use crate::operation::Operation;
use crate::scenario::Scenario;
use draft::{Draft, Phrase};

/// What a generated scenario may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Only what the Linux driver could do, and devices, CPUs and page sharing beside it.
    Legal,
    /// Mistakes and attacks too.
    Hostile,
}

impl Scenario {
    /// Draws a scenario for a target. It is fit for it, has some 35 to 60 operations on average,
    /// and never fails: where `u` ends, the scenario does soon. A few KiB are enough.
    pub fn generate(u: &mut Unstructured<'_>, target: FuzzTarget, temper: Temper) -> Self {
        let boot = boards::draw_boot(u, target);
        let configurations = boards::draw_configurations(u, target, boot.its);
        Self::generate_on(u, target, temper, (boot, configurations))
    }

    /// The same for a board with one ITS of this configuration.
    pub fn generate_for(
        u: &mut Unstructured<'_>,
        target: FuzzTarget,
        temper: Temper,
        configuration: ItsConfiguration,
    ) -> Self {
        let boot = Boot { its: 1, ..boards::draw_boot(u, target) };
        Self::generate_on(u, target, temper, (boot, [configuration; MAX_ITS]))
    }

    /// The same on a board that is given.
    pub(crate) fn generate_on(
        u: &mut Unstructured<'_>,
        target: FuzzTarget,
        temper: Temper,
        (boot, configurations): (Boot, [ItsConfiguration; MAX_ITS]),
    ) -> Self {
        let mut draft = Draft::new(u, configurations, boot);
        let weights = Weights::draw(&mut draft, target);
        match target {
            FuzzTarget::Arch => arch::write(&mut draft, &weights, temper),
            FuzzTarget::Race => race::write(&mut draft, &weights, temper == Temper::Hostile),
            _ => emulated(&mut draft, &weights, target, temper),
        }
        let mut scenario = Self { configurations, boot, operations: draft.into_operations() };
        scenario.fit(target);
        scenario
    }
}

/// Legal phrases with one to three mistakes among them.
fn emulated(draft: &mut Draft<'_, '_>, weights: &Weights, target: FuzzTarget, temper: Temper) {
    let phrases = draft.between(4, 12);
    let mistakes = match temper {
        Temper::Legal => [u64::MAX; 3],
        Temper::Hostile => draw_mistakes(draft, phrases),
    };
    match (target, temper) {
        (FuzzTarget::Mmio | FuzzTarget::Hvc, Temper::Hostile) => contested(draft, weights),
        (_, Temper::Hostile) => {
            let spoilt = draft.chance(1, 4);
            opening(draft, weights, spoilt);
        }
        (_, Temper::Legal) => opening(draft, weights, false),
    }
    for index in 0..phrases {
        if draft.is_long() {
            break;
        }
        for _ in mistakes.iter().filter(|mistake| **mistake == index) {
            weights.hostile(draft);
        }
        weights.legal(draft);
    }
    legal::finish(draft);
}

impl<'a> Arbitrary<'a> for Scenario {
    /// A hostile scenario for an emulation at EL2; one in four is legal.
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let temper = match u.ratio(1, 4)? {
            true => Temper::Legal,
            false => Temper::Hostile,
        };
        Ok(Self::generate(u, FuzzTarget::Cmdq, temper))
    }
}

/// One phrase that could follow `before`, legal or not.
pub(crate) fn continuation(
    u: &mut Unstructured<'_>,
    scenario: &Scenario,
    target: FuzzTarget,
    before: &[Operation],
) -> Vec<Operation> {
    let mut draft = Draft::new(u, scenario.configurations, scenario.boot);
    draft.believe(before);
    let weights = Weights::even(target);
    match draft.below(3) {
        1 if target == FuzzTarget::Race => race::one(&mut draft, &weights, true),
        2 => weights.hostile(&mut draft),
        _ => weights.legal(&mut draft),
    }
    draft.into_operations()
}

/// Before which phrases something goes wrong.
fn draw_mistakes(draft: &mut Draft<'_, '_>, phrases: u64) -> [u64; 3] {
    let late = phrases / 4;
    [
        draft.between(late, phrases.saturating_sub(1)),
        match draft.chance(1, 2) {
            true => draft.between(0, phrases.saturating_sub(1)),
            false => u64::MAX,
        },
        match draft.chance(1, 6) {
            true => draft.between(0, phrases.saturating_sub(1)),
            false => u64::MAX,
        },
    ]
}

/// From the boot's stage to a guarded ITS.
fn opening(draft: &mut Draft<'_, '_>, weights: &Weights, spoilt: bool) {
    let stage = draft.belief.boot.stage;
    if stage == Stage::Guarded {
        return;
    }
    if stage == Stage::Probed {
        for _ in 0..draft.below(4) {
            weights.legal(draft);
        }
        several::each_its(draft, several::describe);
        if spoilt && draft.chance(1, 2) {
            weights.hostile(draft);
        }
        if spoilt && draft.chance(1, 4) {
            hvc::moved(draft);
        }
        let first = draft.below(2) as u8;
        draft.push(Operation::Finalize { cpu: first });
        if spoilt && draft.chance(1, 4) {
            weights.hostile(draft);
        }
        draft.push(Operation::Finalize { cpu: 1_u8.saturating_sub(first) });
    }
    if spoilt {
        hostile::before_set_up(draft);
    }
    several::each_its(draft, legal::set_up);
}

/// The same with the host's attacks between all steps.
fn contested(draft: &mut Draft<'_, '_>, weights: &Weights) {
    let stage = draft.belief.boot.stage;
    if stage == Stage::Guarded {
        return;
    }
    if stage == Stage::Probed {
        for _ in 0..draft.below(4) {
            weights.legal(draft);
        }
        several::each_its(draft, several::describe);
        match draft.below(12) {
            0 | 1 => hvc::busy(draft),
            2..=4 => hvc::moved(draft),
            _ => {}
        }
        let first = draft.below(2) as u8;
        for cpu in [first, 1_u8.saturating_sub(first)] {
            if draft.chance(1, 2) {
                weights.hostile(draft);
            }
            draft.push(Operation::Finalize { cpu });
        }
    }
    for _ in 0..draft.between(1, 4) {
        weights.hostile(draft);
        if draft.chance(1, 4) {
            weights.legal(draft);
        }
        if draft.chance(1, 3) {
            several::other_its(draft);
        }
    }
    several::each_its(draft, |draft| {
        if !draft.belief.here().guarded || draft.chance(1, 8) {
            legal::set_up(draft);
        }
    });
}

/// How often each phrase comes in one scenario.
struct Weights {
    legal: Vec<(Phrase, u64)>,
    hostile: Vec<(Phrase, u64)>,
}

impl Weights {
    fn draw(draft: &mut Draft<'_, '_>, target: FuzzTarget) -> Self {
        let mut weights = Self::even(target);
        for (_, weight) in weights.legal.iter_mut().chain(&mut weights.hostile) {
            *weight = draft.pick(&[0, 1, 1, 3, 8], 1);
        }
        // Without devices and events the rest has nothing to do.
        for (_, weight) in weights.legal.iter_mut().take(2) {
            *weight = weight.saturating_add(2);
        }
        weights
    }

    fn even(target: FuzzTarget) -> Self {
        let (legal, hostile) = match target {
            FuzzTarget::Cmdq | FuzzTarget::Race => (legal::PHRASES, hostile::PHRASES),
            FuzzTarget::Arch => (arch::LEGAL, arch::HOSTILE),
            FuzzTarget::Mmio => (mmio::LEGAL, mmio::HOSTILE),
            FuzzTarget::Hvc => (hvc::LEGAL, hvc::HOSTILE),
            FuzzTarget::Tables => (tables::LEGAL, tables::HOSTILE),
        };
        let even = |phrases: &[Phrase]| phrases.iter().map(|phrase| (*phrase, 1)).collect();
        Self { legal: even(legal), hostile: even(hostile) }
    }

    fn legal(&self, draft: &mut Draft<'_, '_>) {
        speak(draft, &self.legal);
    }

    fn hostile(&self, draft: &mut Draft<'_, '_>) {
        speak(draft, &self.hostile);
    }
}

fn speak(draft: &mut Draft<'_, '_>, phrases: &[(Phrase, u64)]) {
    let weights = phrases.iter().map(|(_, weight)| *weight);
    let mut drawn = draft.below(weights.fold(0, u64::saturating_add));
    for (phrase, weight) in phrases {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return phrase(draft),
        }
    }
    // All weights are 0.
    if let Some((phrase, _)) = phrases.last() {
        phrase(draft);
    }
}

#[cfg(test)]
pub(crate) mod tests;
