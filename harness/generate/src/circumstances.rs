//! The circumstances that scenarios meet, and which pairs of them meet what EL2 does.
//!
//! A mistake often needs two things that lie apart: a second ITS and a table of two levels, LPIs
//! that are off and a sparse processor number. So every two values of two circumstances are to meet
//! a set-up, a trap and a race. [`Meetings`] counts what scenarios do; [`impossible`] says which
//! pairs no scenario of a target can have, and why.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::register::TableType;
use its_machine::freedom::choice::{OnError, Statusr};
use its_machine::{Frame, ItsConfiguration, Pace, Snooping};
use its_scenario::{FuzzTarget, Operation, Scenario, Stage};

use crate::scenario::{ON_A_BOARD, numbered};

/// One way in which boards, hosts or hardware differ.
pub struct Circumstance {
    pub name: &'static str,
    pub values: &'static [&'static str],
    /// Which of the values a scenario has.
    of: fn(&Scenario) -> usize,
}

/// Declares circumstances: name, values, and which of them a scenario has.
macro_rules! circumstances {
    ($($name:literal [$($value:literal),+] $of:expr;)*) => {
        /// All of them.
        pub const CIRCUMSTANCES: &[Circumstance] = &[
            $(Circumstance { name: $name, values: &[$($value),+], of: $of },)*
        ];
    };
}

circumstances! {
    "stage" ["reset", "probed", "deprivileged", "guarded"] |of| of.boot.stage as usize;
    "ITSs" ["1", "2", "3"] |of| usize::from(of.boot.its).saturating_sub(1).min(2);
    "CPUs" ["1", "2", "3"] |of| usize::from(of.boot.cpus).saturating_sub(1).min(2);
    "processor numbers" ["usual", "others"] |of| {
        let numbers = of.boot.processor_numbers();
        let usual = (0..of.boot.cpus).zip(numbers).all(|(usual, number)| usual == number);
        usize::from(!usual)
    };
    "device table" ["flat", "two-level"] |of| usize::from(first(of).two_level);
    "collection table" ["flat", "two-level"] |of| {
        usize::from(first(of).two_level_collections && of.boot.two_level_collections)
    };
    "table pages" ["1", "2"] |of| usize::from(of.boot.table_pages > 1);
    "page size" ["4K", "16K", "64K"] |of| first(of).page_size as usize;
    "queue" ["1 page", "more"] |of| usize::from(of.boot.queue_pages > 1);
    "records" ["256", "more"] |of| usize::from(of.boot.private_pages > 1);
    "live devices" ["none", "few", "nearly as many as records"] |of| match of.boot.live_devices {
        0 => 0,
        1..240 => 1,
        _ => 2,
    };
    "queue snoops" ["unsaid", "no", "yes"] |of| snooping(of.boot.coherent_queue);
    "tables snoop" ["unsaid", "no", "yes"] |of| snooping(of.boot.coherent_tables);
    "PROPBASER snoops" ["unsaid", "no", "yes"] |of| snooping(of.boot.coherent_propbaser);
    "PENDBASER snoops" ["unsaid", "no", "yes"] |of| snooping(of.boot.coherent_pendbaser);
    "host's stores" ["at once", "cached"] |of| {
        usize::from(of.boot.topology().coherence.caches_host())
    };
    "high memory" ["whole", "cut"] |of| usize::from(of.boot.high_pages < 48);
    "GITS_BASER2" ["none", "vPEs", "others"] |of| match of.boot.baser2 {
        TableType::Unimplemented => 0,
        TableType::Vpes => 1,
        TableType::Devices | TableType::Collections | TableType::Reserved => 2,
    };
    "GITS_STATUSR" ["no", "yes"] |of| usize::from(first(of).choices.picks(Statusr::Present));
    "pace" ["at once", "late", "never"] |of| match first(of).pace {
        Pace::AtOnce => 0,
        Pace::Late => 1,
        Pace::Never => 2,
    };
    "errors" ["stall", "are ignored"] |of| usize::from(first(of).choices.picks(OnError::Ignore));
    "RDbase" ["number", "address"] |of| usize::from(first(of).redistributor_addresses);
    "held collections" ["none", "some"] |of| usize::from(first(of).hardware_collections > 0);
    "EventID bits" ["16", "fewer", "more"] |of| bits(first(of).event_id_bits);
    "DeviceID bits" ["16", "fewer", "more"] |of| bits(first(of).device_id_bits);
    "ICID bits" ["16", "fewer"] |of| bits(first(of).collection_id_bits);
    "ITT entries" ["8 bytes", "more"] |of| usize::from(first(of).itt_entry_bytes > 8);
    "INTID bits" ["16", "fewer"] |of| bits(of.boot.intid_bits);
    "LPIs" ["on", "off on some"] |of| usize::from(leaves_lpis_off(of));
    "attributes" ["the driver's", "others"] |of| usize::from(has(of, |operation| {
        matches!(operation, Operation::WriteCbaser { flip, .. } | Operation::WriteBaser { flip, .. }
            if flip & ATTRIBUTES != 0)
    }));
    "hardware" ["goes on", "stalls at any command"] |of| {
        usize::from(has(of, |operation| matches!(operation, Operation::Stall { .. })))
    };
    "power" ["stays", "is lost", "is lost, and firmware enables"] |of| {
        let lost = has(of, |operation| matches!(operation, Operation::PowerLoss { .. }));
        let enabled = has(of, |operation| matches!(operation, Operation::EnableByOther {}));
        usize::from(lost).saturating_add((lost && enabled).into())
    };
    "page ownership" ["changes", "fails to change"] |of| {
        usize::from(has(of, |operation| matches!(operation, Operation::Fail { .. })))
    };
    "memory" ["stays", "changes between two reads of EL2"] |of| {
        usize::from(has(of, |operation| matches!(operation, Operation::Tamper { .. })))
    };
}

/// Shareability and cacheability of GITS_CBASER and `GITS_BASER<n>`.
const ATTRIBUTES: u64 = 0x38e0_0000_0000_0c00;

fn first(of: &Scenario) -> ItsConfiguration {
    of.configurations.first().copied().unwrap_or(ItsConfiguration::DEFAULT)
}

fn has(of: &Scenario, is: fn(&Operation) -> bool) -> bool {
    of.operations.iter().any(is)
}

const fn snooping(one: Snooping) -> usize {
    match one {
        Snooping::Unsaid => 0,
        Snooping::No => 1,
        Snooping::Yes => 2,
    }
}

fn bits(bits: u8) -> usize {
    match bits {
        16 => 0,
        0..16 => 1,
        _ => 2,
    }
}

/// Whether a CPU was finalized or an ITS set up before the driver started every CPU.
fn leaves_lpis_off(of: &Scenario) -> bool {
    if of.boot.stage != Stage::Reset {
        return false;
    }
    let before = of.operations.iter().take_while(|operation| {
        !matches!(operation, Operation::Finalize { .. } | Operation::SetUp { .. })
    });
    let started = before.filter_map(|operation| match *operation {
        Operation::InitCpu { cpu } => Some(cpu),
        Operation::Write { target, value: 1, .. } if target.offset == 0 => match target.frame {
            Frame::Redistributor(cpu) => Some(cpu),
            Frame::ItsControl(_) | Frame::ItsTranslation(_) => None,
        },
        _ => None,
    });
    let started: BTreeSet<u8> = started.collect();
    started.len() < of.boot.cpus.into()
}

/// What EL2 does that two circumstances meet. Of traps those of CWRITER and CREADR count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    SetUp,
    Trap,
    Race,
}

impl Situation {
    pub const ALL: [Self; 3] = [Self::SetUp, Self::Trap, Self::Race];

    pub const fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::Trap => "trap",
            Self::Race => "race",
        }
    }

    fn is_in(self, scenario: &Scenario) -> bool {
        let operations = &scenario.operations;
        match self {
            Self::SetUp => operations.iter().any(|of| matches!(of, Operation::SetUp { .. })),
            Self::Trap => {
                let is_trapped = scenario.boot.stage >= Stage::Deprivileged;
                let first = operations.iter().position(|of| matches!(of, Operation::SetUp { .. }));
                let from = if is_trapped { Some(0) } else { first };
                let after = from.and_then(|from| operations.get(from..)).unwrap_or_default();
                after
                    .iter()
                    .any(|of| matches!(of, Operation::WriteCwriter { .. } | Operation::Poll { .. }))
            }
            Self::Race => operations.iter().any(|of| matches!(of, Operation::Race { .. })),
        }
    }
}

/// A circumstance and one of its values, by place in [`CIRCUMSTANCES`].
pub type Value = (usize, usize);

/// How many scenarios of a target had two values of two circumstances, and met a situation.
#[derive(Clone, Debug)]
pub struct Meetings {
    target: FuzzTarget,
    counts: BTreeMap<(Situation, Value, Value), u64>,
}

/// Within so many drawn scenarios of a target each pair is met.
pub const DRAWN: u64 = 100_000;
/// Of the scenarios on one board so many are drawn, which is enough.
const OF_A_BOARD: u64 = 8;

impl Meetings {
    /// Returns the count of no scenario.
    pub const fn new(target: FuzzTarget) -> Self {
        Self { target, counts: BTreeMap::new() }
    }

    /// Counts a quarter of the first [`DRAWN`] scenarios that the random engine draws for a target:
    /// some of each board.
    pub fn drawn(target: FuzzTarget) -> Self {
        let mut meetings = Self::new(target);
        let numbers = (0..DRAWN).filter(|number| {
            number.checked_rem(ON_A_BOARD).is_some_and(|of_board| of_board < OF_A_BOARD)
        });
        numbers.for_each(|number| meetings.add(&numbered(number, target)));
        meetings
    }

    /// Counts a scenario.
    pub fn add(&mut self, scenario: &Scenario) {
        let values: Vec<Value> =
            CIRCUMSTANCES.iter().map(|one| (one.of)(scenario)).enumerate().collect();
        let situations = Situation::ALL.into_iter().filter(|one| one.is_in(scenario));
        for situation in situations {
            for (n, one) in values.iter().enumerate() {
                for other in values.iter().skip(n.saturating_add(1)) {
                    let count = self.counts.entry((situation, *one, *other)).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Returns every pair of values that a scenario of the target can have with a situation, each
    /// with how many had it.
    pub fn possible(&self) -> impl Iterator<Item = ((Situation, Value, Value), u64)> {
        let met = |key| (key, self.counts.get(&key).copied().unwrap_or(0));
        let all = Situation::ALL
            .into_iter()
            .flat_map(|situation| pairs().map(move |(one, other)| (situation, one, other)));
        let target = self.target;
        all.filter(move |(situation, one, other)| {
            impossible(target, *situation, *one, *other).is_none()
        })
        .map(met)
    }
}

/// Returns the pairs that no scenario of a target can have, counted by the reason.
pub fn excluded(target: FuzzTarget) -> BTreeMap<&'static str, usize> {
    let mut reasons = BTreeMap::new();
    for situation in Situation::ALL {
        for (one, other) in pairs() {
            if let Some(why) = impossible(target, situation, one, other) {
                let count = reasons.entry(why).or_insert(0_usize);
                *count = count.saturating_add(1);
            }
        }
    }
    reasons
}

/// Every two values of two circumstances.
fn pairs() -> impl Iterator<Item = (Value, Value)> {
    let values = || {
        let all = CIRCUMSTANCES.iter().enumerate();
        all.flat_map(|(n, one)| (0..one.values.len()).map(move |value| (n, value)))
    };
    values().flat_map(move |one| {
        values().filter(move |other| other.0 > one.0).map(move |other| (one, other))
    })
}

/// Returns the name of a circumstance and of its value.
pub fn name(value: Value) -> (&'static str, &'static str) {
    let found = CIRCUMSTANCES.get(value.0);
    found.map_or(("", ""), |one| (one.name, one.values.get(value.1).copied().unwrap_or("")))
}

/// Returns a pair and the situation that it meets, in words.
pub fn text((situation, one, other): (Situation, Value, Value)) -> String {
    let [(one, first), (other, second)] = [name(one), name(other)];
    format!("{}: {one} {first}, {other} {second}", situation.name())
}

/// Returns why no scenario of a target has these two values and meets the situation; `None` if one
/// can.
pub fn impossible(
    target: FuzzTarget,
    situation: Situation,
    one: Value,
    other: Value,
) -> Option<&'static str> {
    let names = [name(one), name(other)];
    let has = |wanted: (&str, &str)| names.contains(&wanted);
    let snoops = |kind| has((kind, "yes"));
    let any_snoops =
        ["queue snoops", "tables snoop", "PROPBASER snoops", "PENDBASER snoops"].map(snoops);
    let reasons = [
        (target == FuzzTarget::Arch, "no EL2 stands between this host and its ITSs"),
        (situation == Situation::Race && target != FuzzTarget::Race, "its_race alone has races"),
        (
            target == FuzzTarget::Cmdq && (has(("ITSs", "2")) || has(("ITSs", "3"))),
            "its_cmdq has one ITS",
        ),
        (
            target == FuzzTarget::Cmdq && has(("collection table", "two-level")),
            "its_cmdq has flat collection tables",
        ),
        (
            target == FuzzTarget::Cmdq
                && names.into_iter().any(|(name, value)| name == "power" && value != "stays"),
            "its_cmdq keeps power",
        ),
        (
            has(("host's stores", "cached")) && any_snoops.contains(&true),
            "where a device snoops, what the host stores is seen at once",
        ),
        (
            names.into_iter().any(|(name, value)| name == "stage" && value != "reset")
                && has(("LPIs", "off on some")),
            "the driver's probe turns the LPIs of every CPU on",
        ),
    ];
    reasons.into_iter().find_map(|(is_so, why)| is_so.then_some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_target_can_have_has_a_reason() {
        let all = Situation::ALL.len() * pairs().count();
        for target in FuzzTarget::ALL {
            let possible = Meetings::new(target).possible().count();
            assert_eq!(possible + excluded(target).values().sum::<usize>(), all, "{target:?}");
            assert_eq!(possible > all / 4, target != FuzzTarget::Arch, "{target:?}: {possible}");
        }
    }

    #[test]
    fn a_scenario_has_one_value_of_each() {
        let scenario = "itsdiff 2\nits0 page-size=4K\nboot stage=reset cpus=3\nprobe\n\
                        init-cpu cpu=1\nfinalize\nstall 2\n";
        let scenario = Scenario::parse(scenario).unwrap();
        let value = |wanted: &str| {
            let one = CIRCUMSTANCES.iter().find(|one| one.name == wanted).unwrap();
            one.values[(one.of)(&scenario)]
        };
        let expected = [
            ("stage", "reset"),
            ("CPUs", "3"),
            ("page size", "4K"),
            ("LPIs", "off on some"),
            ("hardware", "stalls at any command"),
            ("power", "stays"),
        ];
        for (name, expected) in expected {
            assert_eq!(value(name), expected, "{name}");
        }
    }
}
