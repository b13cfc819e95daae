//! An operation as a kind and numbers, each packed into a word: what all forms of it share.

use its_machine::{AccessSize, MAX_CPUS};

use crate::argument::{Shape, Word};
use crate::header::Boot;
use crate::operation::{ARGUMENTS, Kind};
use crate::target::Target;

/// One operation as numbers, in the order of [`Kind::arguments`]; the words after those are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    /// 0 where no CPU does it.
    pub cpu: u8,
    pub words: [u64; ARGUMENTS],
}

impl Record {
    pub(crate) fn new(kind: Kind, cpu: &[u8], arguments: &[u64]) -> Self {
        let mut words = [0; ARGUMENTS];
        words.iter_mut().zip(arguments).for_each(|(word, argument)| *word = *argument);
        Self { kind, cpu: cpu.first().copied().unwrap_or(0), words }
    }

    /// Brings every number into its range. Fixing twice is fixing once.
    #[must_use]
    pub fn fix(self) -> Self {
        let mut words = [0; ARGUMENTS];
        let shapes = self.kind.arguments().iter().map(|argument| argument.shape);
        for ((word, given), shape) in words.iter_mut().zip(self.words).zip(shapes) {
            *word = shape.fix(given);
        }
        if self.kind == Kind::Write {
            let [target, value, ..] = &mut words;
            *value = Target::unpack(*target).size.truncate(*value);
        }
        if self.kind == Kind::Msi {
            let [_, event, half, ..] = &mut words;
            if *half != 0 {
                *event = AccessSize::Half.truncate(*event);
            }
        }
        let cpu = if self.kind.has_cpu() { self.cpu & (MAX_CPUS as u8).wrapping_sub(1) } else { 0 };
        Self { kind: self.kind, cpu, words }
    }

    /// Brings what names a CPU, an ITS or an area of one onto the board of a boot plan; it is fixed
    /// already. Fitting twice is fitting once.
    #[must_use]
    pub fn fit(mut self, boot: &Boot) -> Self {
        let shapes = self.kind.arguments().iter().map(|argument| argument.shape);
        for (word, shape) in self.words.iter_mut().zip(shapes) {
            *word = shape.fit(*word, boot);
        }
        self.cpu = Shape::Cpu.fit(self.cpu.into(), boot) as u8;
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    impl Arbitrary for Record {
        /// Words small, large and packed, so that each shape meets values in and out of its range.
        fn arbitrary(g: &mut Gen) -> Self {
            let word = |g: &mut Gen| match u8::arbitrary(g) % 4 {
                0 => u64::from(u8::arbitrary(g)),
                1 => u64::arbitrary(g) >> (u8::arbitrary(g) % 64),
                2 => u64::arbitrary(g) & 0x1f0f_ffff_ffff_ffff,
                _ => u64::arbitrary(g),
            };
            Self {
                kind: Kind::wrapping(u8::arbitrary(g)),
                cpu: u8::arbitrary(g),
                words: std::array::from_fn(|_| word(g)),
            }
        }
    }

    quickcheck! {
        fn a_fixed_record_and_its_operation_are_the_same(record: Record) -> bool {
            let fixed = record.fix();
            fixed.fix() == fixed && Record::from(&fixed.operation()) == fixed
        }
    }

    #[test]
    fn every_kind_becomes_its_own_operation() {
        for kind in Kind::ALL {
            let record = Record { kind: *kind, cpu: 1, words: [1; ARGUMENTS] };
            assert_eq!(record.operation().name(), kind.name());
        }
    }

    #[test]
    fn a_written_value_is_cut_to_its_size() {
        let record =
            Record { kind: Kind::Write, cpu: 0, words: [0x88 | 2 << 32, u64::MAX, 7, 7, 7] };
        assert_eq!(record.fix().words, [0x88 | 2 << 32, 0xffff_ffff, 0, 0, 0]);
    }
}
