//! Plainer scenarios: what a minimizer tries, and what a property's counterexample shrinks to.
//!
//! A scenario is simpler than another if it has fewer operations (`fewer`); or as many, and one
//! argument or field of the board is plainer by [`cost`]. Each step lowers that, so that taking
//! steps ends. None knows what a scenario is for.

use its_gic::Register;
use its_machine::{Frame, Place};

use crate::argument::Word as _;
use crate::argument::{Argument, Shape};
use crate::header::Header;
use crate::operation::{Operation, Rdbase};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::target::Target;

impl Scenario {
    /// Each scenario that is plainer in one argument, the plainest of each argument first:
    /// arguments of operations, turns of races, then boot plan and configurations.
    pub fn plainer(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            for plainer in plainer_operations(operation) {
                let mut scenario = self.clone();
                if let Some(slot) = scenario.operations.get_mut(index) {
                    *slot = plainer;
                }
                all.push(scenario);
            }
        }
        self.plainer_boards(&mut all);
        all
    }

    fn plainer_boards(&self, all: &mut Vec<Self>) {
        all.extend(plainer_headers(&self.boot).map(|boot| {
            let mut scenario = Self { boot, ..self.clone() };
            // What the smaller board does not have is on the rest of it.
            scenario.fix_up();
            scenario
        }));
        for (its, own) in self.configurations.iter().enumerate() {
            if its as u64 >= self.boot.its_slots() {
                break;
            }
            for configuration in plainer_headers(own) {
                let mut scenario = self.clone();
                if let Some(slot) = scenario.configurations.get_mut(its) {
                    *slot = configuration;
                }
                all.push(scenario);
            }
        }
    }
}

/// The same on CPU 0, and with one argument plainer.
fn plainer_operations(operation: &Operation) -> Vec<Operation> {
    let record = Record::from(operation);
    let mut all = Vec::new();
    if record.cpu != 0 {
        all.push(Record { cpu: 0, ..record });
    }
    for (index, argument) in record.kind.arguments().iter().enumerate() {
        let Some(word) = record.words.get(index) else { continue };
        for plainer in plainer_values(argument, *word, plainest(argument)) {
            let mut words = record.words;
            if let Some(slot) = words.get_mut(index) {
                *slot = plainer;
            }
            all.push(Record { words, ..record });
        }
    }
    all.into_iter().map(Record::operation).collect()
}

/// The same with one field plainer.
fn plainer_headers<H: Header>(header: &H) -> impl Iterator<Item = H> {
    let words = header.words();
    let bound = cost_of(header);
    let usual = H::USUAL.words().into_iter();
    let fields = H::FIELDS.iter().zip(words.clone()).zip(usual).enumerate();
    fields.flat_map(move |(index, ((field, word), usual))| {
        let plainer = plainer_values(field, word, usual).into_iter();
        let words = words.clone();
        plainer.filter_map(move |plainer| {
            let others = words.iter().enumerate();
            let others = others.map(|(at, word)| if at == index { plainer } else { *word });
            let header = H::from_words(others);
            // Fields that must differ from it may have changed.
            (cost_of(&header) < bound).then_some(header)
        })
    })
}

/// What all fields of a header cost.
fn cost_of<H: Header>(header: &H) -> u128 {
    let both = header.words().into_iter().zip(H::USUAL.words());
    both.fold(0, |sum, (word, usual)| sum.saturating_add(cost(word, usual)))
}

/// The value of an argument that says least: the smallest, or the first that is legal.
fn plainest(argument: &Argument) -> u64 {
    let usual = match argument.key {
        "intid" => its_gic::redistributor::FIRST_LPI.into(),
        "size" => 4,
        "event-id-bits" => 5,
        _ => 0,
    };
    match argument.shape {
        Shape::Count { min, .. } => usual.max(min),
        _ => usual,
    }
}

/// How far a value is from the plainest: 0, or more for larger words.
fn cost(word: u64, plainest: u64) -> u128 {
    if word == plainest { 0 } else { u128::from(word).saturating_add(1) }
}

/// Values of less cost that the argument can have, the plainest first.
fn plainer_values(argument: &Argument, word: u64, plainest: u64) -> Vec<u64> {
    let mut values = match argument.shape {
        Shape::Number { .. } | Shape::Count { .. } | Shape::Cpu | Shape::Its => {
            plainer_numbers(word)
        }
        Shape::Choice(_) | Shape::Flag => Vec::new(),
        Shape::Place { .. } => return plainer_places(word),
        Shape::Rdbase => plainer_rdbases(word),
        Shape::Target => return plainer_targets(word),
        Shape::Turns => plainer_turns(word),
    };
    values.insert(0, plainest);
    let bound = cost(word, plainest);
    values.retain(|value| {
        let fixed = argument.shape.fix(*value) == *value;
        fixed && cost(*value, plainest) < bound
    });
    values.dedup();
    values
}

/// 0, 1, half of it, and it without each of its bits.
fn plainer_numbers(word: u64) -> Vec<u64> {
    let bits = (0..u64::BITS).filter_map(|bit| 1_u64.checked_shl(bit));
    let without = bits.filter(|bit| word & bit != 0).map(|bit| word & !bit);
    let mut numbers = vec![0, 1, word / 2];
    numbers.extend(without);
    numbers.push(word.saturating_sub(1));
    numbers
}

/// Nearer to the start of the page, and of the area.
fn plainer_places(word: u64) -> Vec<u64> {
    let Place::In { area, page, offset } = Place::unpack(word) else { return Vec::new() };
    let nearer = [
        Place::page(area, 0),
        Place::page(area, page),
        Place::at(area, 0, offset),
        Place::at(area, page / 2, offset),
        Place::at(area, page.saturating_sub(1), offset),
        Place::at(area, page, (offset / 2) & !0xff),
    ];
    let mut places: Vec<u64> = nearer.map(Place::pack).to_vec();
    places.retain(|place| *place < word);
    places.dedup();
    places
}

/// The same register of the first ITS or redistributor, and BASER0 for another.
fn plainer_targets(word: u64) -> Vec<u64> {
    let target = Target::unpack(word);
    let first = match target.frame {
        Frame::ItsControl(_) => Frame::ItsControl(0),
        Frame::ItsTranslation(_) => Frame::ItsTranslation(0),
        Frame::Redistributor(_) => Frame::Redistributor(0),
    };
    let (offset, register) = (u64::from(target.offset), Register::at(target.offset.into()));
    let within = offset.saturating_sub(register.offset());
    let baser0 = match (first, register) {
        (Frame::ItsControl(_), Register::Baser(_)) => {
            Register::Baser(0).offset().saturating_add(within) as u32
        }
        _ => target.offset,
    };
    let plainer = [(first, target.offset), (target.frame, baser0)];
    let mut targets: Vec<u64> =
        plainer.map(|(frame, offset)| Target { frame, offset, ..target }.pack()).to_vec();
    targets.retain(|plainer| *plainer < word);
    targets
}

fn plainer_rdbases(word: u64) -> Vec<u64> {
    match Rdbase::unpack(word) {
        Rdbase::Of(_) => Vec::new(),
        Rdbase::Raw(field) => {
            let fields = plainer_numbers(field).into_iter();
            fields.map(|field| Rdbase::Raw(field).pack()).collect()
        }
    }
}

/// Without the last turns, without each turn, and with each turn shorter.
fn plainer_turns(word: u64) -> Vec<u64> {
    let bytes = word.to_le_bytes();
    let length = bytes.iter().take_while(|byte| **byte != 0).count();
    let first = |count: usize| {
        let mut kept = [0; 8];
        let slots = kept.iter_mut().zip(bytes).take(count);
        slots.for_each(|(slot, byte)| *slot = byte);
        u64::from_le_bytes(kept)
    };
    let mut all: Vec<u64> = (1..length).map(first).collect();
    for gone in 0..length {
        let mut kept = bytes.to_vec();
        kept.remove(gone);
        kept.push(0);
        all.extend(kept.try_into().map(u64::from_le_bytes));
    }
    for index in 0..length {
        for shorter in [|byte: u8| byte / 2, |byte: u8| byte.saturating_sub(1)] {
            let mut changed = bytes;
            if let Some(byte) = changed.get_mut(index) {
                *byte = shorter(*byte);
            }
            all.push(u64::from_le_bytes(changed));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::tests::bytes_of;
    use quickcheck::QuickCheck;

    /// The measure: operations, then what all arguments and fields cost.
    fn measure(scenario: &Scenario) -> (usize, u128) {
        let mut sum = cost_of(&scenario.boot);
        sum += scenario.configurations.iter().map(cost_of).sum::<u128>();
        for operation in &scenario.operations {
            let record = Record::from(operation);
            sum += u128::from(record.cpu);
            for (argument, word) in record.kind.arguments().iter().zip(record.words) {
                sum += cost(word, plainest(argument));
            }
        }
        (scenario.operations.len(), sum)
    }

    #[test]
    fn every_step_is_simpler_and_playable() {
        fn property(header: Vec<u8>, records: Vec<Record>) -> bool {
            let scenario = Scenario::decode(&bytes_of(header, records));
            let playable = |scenario: &Scenario| {
                let mut fixed = scenario.clone();
                fixed.fix_up();
                fixed == *scenario
            };
            scenario
                .plainer()
                .iter()
                .all(|plainer| playable(plainer) && measure(plainer) < measure(&scenario))
        }
        // Each scenario has hundreds of steps.
        let check: fn(Vec<u8>, Vec<Record>) -> bool = property;
        QuickCheck::new().tests(25).quickcheck(check);
    }

    fn operations(text: &str) -> Scenario {
        Scenario::parse(format!("itsdiff 2\n{text}")).unwrap()
    }

    #[test]
    fn registers_become_those_of_the_first() {
        let plainer = |text: &str| -> Vec<String> {
            let all = operations(text).plainer();
            all.iter().map(|one| one.operations[0].to_string()).collect()
        };
        assert!(plainer("write its1 CTLR 0x0\n").contains(&"write its0 CTLR 0x0".into()));
        assert!(plainer("read its0 BASER3\n").contains(&"read its0 BASER0".into()));
        assert!(plainer("read redistributor1 +0x70 size=8\n")[0].contains("redistributor0"));
        assert!(plainer("read its0 CREADR\n").is_empty());
    }

    #[test]
    fn the_plainest_comes_first() {
        let map = operations("map-event device=0x2a event=0x0 intid=0x2005 icid=0x1\n");
        let plainer: Vec<String> =
            map.plainer().iter().map(|scenario| scenario.operations[0].to_string()).collect();
        assert!(plainer[0].contains("device=0x0"), "{plainer:?}");
        assert!(plainer.iter().any(|text| text.contains("intid=0x2000")));
        assert!(plainer.iter().any(|text| text.contains("icid=0x0")));
    }
}
