//! The generator: scenarios that are mostly legal, so that they get deep, and wrong in one or two places.
//!
//! A scenario is a sequence of phrases, each a few operations that belong together ([`legal`], [`hostile`]). How
//! often a phrase comes is drawn anew for each scenario (swarm testing): one scenario fills the queue, another
//! suspends again and again, a third does a little of all. What the generator drew is not kept: the scenario is.

mod belief;
mod draft;
mod hostile;
mod legal;

use arbitrary::{Arbitrary, Unstructured};
use its_el2::{Character, Pace};

use crate::header::{CHARACTER, boot, character, character_words};
use crate::operation::Operation;
use crate::scenario::{Boot, Scenario, Stage};
use draft::{Draft, Phrase};

/// What a generated scenario may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Only what the Linux driver could do, and devices and page sharing beside it.
    Legal,
    /// Mistakes and attacks too.
    Hostile,
}

impl Scenario {
    /// Draws a scenario. It is fixed up, has some 35 operations on average, and never fails: where `u` ends, the
    /// scenario does soon. A few KiB are enough.
    pub fn generate(u: &mut Unstructured<'_>, temper: Temper) -> Self {
        let character = draw_character(u);
        let boot = draw_boot(u);
        let mut draft = Draft::new(u, character, boot);
        let weights = Weights::draw(&mut draft);
        let phrases = draft.between(4, 12);
        let mistakes = match temper {
            Temper::Legal => [u64::MAX; 3],
            Temper::Hostile => draw_mistakes(&mut draft, phrases),
        };
        let spoilt_opening = temper == Temper::Hostile && draft.chance(1, 4);
        opening(&mut draft, &weights, spoilt_opening);
        for index in 0..phrases {
            if draft.is_long() {
                break;
            }
            for _ in mistakes.iter().filter(|mistake| **mistake == index) {
                weights.hostile(&mut draft);
            }
            weights.legal(&mut draft);
        }
        legal::finish(&mut draft);
        let mut scenario = Self {
            character,
            boot,
            operations: draft.into_operations(),
        };
        scenario.fix_up();
        scenario
    }
}

impl<'a> Arbitrary<'a> for Scenario {
    /// A hostile scenario; one in four is legal.
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let temper = match u.ratio(1, 4)? {
            true => Temper::Legal,
            false => Temper::Hostile,
        };
        Ok(Self::generate(u, temper))
    }
}

/// One phrase that could follow `before`, legal or not.
pub(crate) fn continuation(
    u: &mut Unstructured<'_>,
    scenario: &Scenario,
    before: &[Operation],
) -> Vec<Operation> {
    let mut draft = Draft::new(u, scenario.character, scenario.boot);
    draft.believe(before);
    let weights = Weights::even();
    match draft.chance(1, 3) {
        true => weights.hostile(&mut draft),
        false => weights.legal(&mut draft),
    }
    draft.into_operations()
}

/// Defaults with a few fields drawn; slow hardware often enough.
fn draw_character(u: &mut Unstructured<'_>) -> Character {
    let mut words = character_words(&Scenario::default().character);
    let changes = u.int_in_range(0..=4).unwrap_or(0);
    for _ in 0..changes {
        let index = u.choose_index(CHARACTER.len()).unwrap_or(0);
        if let Some(word) = words.get_mut(index) {
            *word = u.int_in_range(0..=255).unwrap_or(0);
        }
    }
    let pace = match u.int_in_range(0..=9) {
        Ok(7 | 8) => Pace::Late,
        Ok(9) => Pace::Never,
        _ => Pace::AtOnce,
    };
    Character {
        pace,
        ..character(words)
    }
}

/// Mostly guarded, mostly with the smallest queue.
fn draw_boot(u: &mut Unstructured<'_>) -> Boot {
    let mut small = |of: u64, usual: u64| match u.int_in_range(0..=of) {
        Ok(drawn) if drawn > 0 => drawn,
        _ => usual,
    };
    let stage = match small(7, 2) {
        1 => 0,
        2 => 1,
        _ => 2,
    };
    let live_devices = small(4, 0);
    let queue_pages = if small(4, 1) == 4 { small(16, 1) } else { 1 };
    let private_pages = small(4, 1);
    let table_pages = small(2, 1);
    boot([stage, live_devices, queue_pages, private_pages, table_pages])
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
        legal::drain(draft);
        if spoilt && draft.chance(1, 2) {
            weights.hostile(draft);
        }
        draft.push(Operation::Finalize { cpu: 0 });
        if spoilt && draft.chance(1, 4) {
            weights.hostile(draft);
        }
        draft.push(Operation::Finalize { cpu: 1 });
    }
    if spoilt {
        hostile::before_set_up(draft);
    }
    legal::set_up(draft);
}

/// How often each phrase comes in one scenario.
struct Weights {
    legal: Vec<u64>,
    hostile: Vec<u64>,
}

impl Weights {
    fn draw(draft: &mut Draft<'_, '_>) -> Self {
        let mut weights = Self::even();
        for weight in weights.legal.iter_mut().chain(&mut weights.hostile) {
            *weight = draft.pick(&[0, 1, 1, 3, 8], 1);
        }
        // Without devices and events the rest has nothing to do.
        for weight in weights.legal.iter_mut().take(2) {
            *weight = weight.saturating_add(2);
        }
        weights
    }

    fn even() -> Self {
        Self {
            legal: vec![1; legal::PHRASES.len()],
            hostile: vec![1; hostile::PHRASES.len()],
        }
    }

    fn legal(&self, draft: &mut Draft<'_, '_>) {
        speak(draft, legal::PHRASES, &self.legal);
    }

    fn hostile(&self, draft: &mut Draft<'_, '_>) {
        speak(draft, hostile::PHRASES, &self.hostile);
    }
}

fn speak(draft: &mut Draft<'_, '_>, phrases: &[Phrase], weights: &[u64]) {
    let total = weights.iter().copied().fold(0, u64::saturating_add);
    let mut drawn = draft.below(total);
    for (phrase, weight) in phrases.iter().zip(weights) {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return phrase(draft),
        }
    }
    // All weights are 0.
    hostile::anything(draft);
}

#[cfg(test)]
mod tests;
