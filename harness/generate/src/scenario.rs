//! Whole scenarios: from a board to the last operation.

use crate::{arch, boards, histories, hostile, hvc, legal, limits, mmio, opening, race, tables};
use arbitrary::Unstructured;
use fastrand::Rng;
use its_gic::register::TableType;
use its_machine::{ItsConfiguration, MAX_ITS};
use its_scenario::{Boot, FuzzTarget, Operation, Scenario};

use crate::draft::{Draft, Phrase, by_weight};

/// What a generated scenario may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Only what the Linux driver could do, and devices, CPUs and page sharing next to it.
    Legal,
    /// Mistakes and attacks too.
    Hostile,
}

/// Draws a scenario for a target. It has some 35 to 60 operations on average. Drawing never fails:
/// where `u` ends, the scenario does soon. A few KiB are enough.
pub fn generate(u: &mut Unstructured<'_>, target: FuzzTarget, temper: Temper) -> Scenario {
    let boot = boards::draw_boot(u, target);
    let configurations = boards::draw_configurations(u, target, boot.its);
    generate_on(u, target, temper, (boot, configurations))
}

/// Draws a scenario for a board with one ITS of this configuration; else as [`generate`].
pub fn generate_for(
    u: &mut Unstructured<'_>,
    target: FuzzTarget,
    temper: Temper,
    configuration: ItsConfiguration,
) -> Scenario {
    let baser2 = TableType::Unimplemented;
    let boot = Boot { its: 1, baser2, ..boards::draw_boot(u, target) };
    generate_on(u, target, temper, (boot, [configuration; MAX_ITS]))
}

/// Draws a scenario for a board that is given.
fn generate_on(
    u: &mut Unstructured<'_>,
    target: FuzzTarget,
    temper: Temper,
    (boot, configurations): (Boot, [ItsConfiguration; MAX_ITS]),
) -> Scenario {
    let mut draft = Draft::new(u, configurations, boot);
    let weights = Weights::draw(&mut draft, target);
    match target {
        FuzzTarget::Arch => arch::write(&mut draft, &weights, temper),
        FuzzTarget::Race => race::write(&mut draft, &weights, temper == Temper::Hostile),
        FuzzTarget::Cmdq | FuzzTarget::Mmio | FuzzTarget::Hvc | FuzzTarget::Tables => {
            emulated(&mut draft, &weights, target, temper)
        }
    }
    let mut scenario = Scenario { configurations, boot, operations: draft.into_operations() };
    scenario.fit(target);
    scenario
}

/// Bytes that a whole scenario is drawn from.
const SCENARIO_BYTES: usize = 4096;
/// Successive scenarios that share a board: booting another takes longer than many a case.
pub(crate) const ON_A_BOARD: u64 = 32;

/// Draws the scenario of a number for a target.
pub fn numbered(number: u64, target: FuzzTarget) -> Scenario {
    let board = number.checked_div(ON_A_BOARD).unwrap_or(number);
    let on = another(&Scenario::default(), target, &mut Rng::with_seed(!board), true);
    another(&on, target, &mut Rng::with_seed(number), false)
}

/// Draws another scenario, of a temper and a length of its own, on the same board or a new one.
pub(crate) fn another(
    scenario: &Scenario,
    target: FuzzTarget,
    rng: &mut Rng,
    new_board: bool,
) -> Scenario {
    let mut bytes = [0; SCENARIO_BYTES];
    rng.fill(&mut bytes);
    let temper = if rng.u8(..4) == 0 { Temper::Legal } else { Temper::Hostile };
    let u = &mut Unstructured::new(&bytes);
    if new_board {
        return generate(u, target, temper);
    }
    generate_on(u, target, temper, (scenario.boot, scenario.configurations))
}

/// Legal phrases with one to four mistakes among them.
fn emulated(draft: &mut Draft<'_, '_>, weights: &Weights, target: FuzzTarget, temper: Temper) {
    let phrases = draft.between(4, 12);
    let mistakes = match temper {
        Temper::Legal => [u64::MAX; 4],
        Temper::Hostile => draw_mistakes(draft, phrases),
    };
    let hostile = temper == Temper::Hostile;
    if hostile && matches!(target, FuzzTarget::Mmio | FuzzTarget::Hvc) {
        opening::contested(draft, weights);
    } else {
        let spoilt = hostile && draft.chance(1, 4);
        opening::orderly(draft, weights, spoilt);
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

/// One phrase that could follow `before`, legal or not.
pub(crate) fn continuation(
    u: &mut Unstructured<'_>,
    scenario: &Scenario,
    target: FuzzTarget,
    before: &[Operation],
) -> Vec<Operation> {
    let mut draft = Draft::new(u, scenario.configurations, scenario.boot);
    draft.follow(before);
    let weights = Weights::even(target);
    match draft.below(3) {
        1 if target == FuzzTarget::Race => race::one(&mut draft, &weights, true),
        2 => weights.hostile(&mut draft),
        _ => weights.legal(&mut draft),
    }
    draft.into_operations()
}

/// Before which phrases something goes wrong.
fn draw_mistakes(draft: &mut Draft<'_, '_>, phrases: u64) -> [u64; 4] {
    let first = draft.between(phrases / 4, phrases.saturating_sub(1));
    let [second, third, fourth] = [(1, 2), (1, 4), (1, 8)]
        .map(|(n, of)| if draft.chance(n, of) { draft.below(phrases) } else { u64::MAX });
    [first, second, third, fourth]
}

/// How often each phrase comes in one scenario.
pub(crate) struct Weights {
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
        let [limits, histories] = [limits::PHRASES, histories::PHRASES];
        let (legal, hostile): (_, [&[Phrase]; 3]) = match target {
            FuzzTarget::Cmdq | FuzzTarget::Race => {
                (legal::PHRASES, [hostile::PHRASES, limits, histories])
            }
            FuzzTarget::Arch => (arch::LEGAL, [arch::HOSTILE, &[], &[]]),
            FuzzTarget::Mmio => (mmio::LEGAL, [mmio::HOSTILE, limits, histories]),
            FuzzTarget::Hvc => (hvc::LEGAL, [hvc::HOSTILE, limits, histories]),
            FuzzTarget::Tables => (tables::LEGAL, [tables::HOSTILE, limits, histories]),
        };
        let even = |phrase: &Phrase| (*phrase, 1);
        Self {
            legal: legal.iter().map(even).collect(),
            hostile: hostile.into_iter().flatten().map(even).collect(),
        }
    }

    pub(crate) fn legal(&self, draft: &mut Draft<'_, '_>) {
        draw_phrase(draft, &self.legal);
    }

    pub(crate) fn hostile(&self, draft: &mut Draft<'_, '_>) {
        draw_phrase(draft, &self.hostile);
    }
}

fn draw_phrase(draft: &mut Draft<'_, '_>, phrases: &[(Phrase, u64)]) {
    let weights = phrases.iter().map(|(_, weight)| *weight);
    let drawn = draft.below(weights.fold(0, u64::saturating_add));
    // The last, where all weights are 0.
    let phrase = by_weight(drawn, phrases).or(phrases.last().map(|(phrase, _)| *phrase));
    if let Some(phrase) = phrase {
        phrase(draft);
    }
}
