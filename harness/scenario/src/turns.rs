//! Turns of agents in a race: how long each goes on before it gives way. A word has up to eight.

use std::fmt::{self, Display, Formatter};

use its_machine::{Turn, Until};

use crate::argument::Word;

/// In a turn's byte: gives way to the agent after the next.
const SKIP: u8 = 0x80;
/// Codes up to this are that many steps; above it each is [`STRIDE`] more.
const SINGLE: u8 = 64;
const STRIDE: u16 = 16;
/// Codes above this are locks given back.
const LAST_STEPS: u8 = 111;

/// Steps: 1 to 64, or 64 and a multiple of 16 up to 816. Locks: 1 to 16.
fn unpack(byte: u8) -> Turn {
    let code = byte & !SKIP;
    let far = u16::from(code.saturating_sub(SINGLE));
    let steps = u16::from(code.min(SINGLE)).saturating_add(far.saturating_mul(STRIDE));
    let until = match code.checked_sub(LAST_STEPS) {
        Some(unlocks @ 1..) => Until::Unlocks(unlocks.into()),
        _ => Until::Steps(steps),
    };
    Turn { until, skip: byte & SKIP != 0 }
}

/// `None` where no byte says so.
fn pack(turn: Turn) -> Option<u8> {
    let mut codes = 1..=!SKIP;
    let code = codes.find(|code| unpack(*code).until == turn.until)?;
    Some(code | if turn.skip { SKIP } else { 0 })
}

/// From the text form: a number of steps, or `u` and a number of locks; `+` skips an agent.
fn parse(text: &str) -> Option<Turn> {
    let bare = text.strip_suffix('+');
    let number = bare.unwrap_or(text);
    let until = match number.strip_prefix('u') {
        Some(unlocks) => Until::Unlocks(unlocks.parse().ok()?),
        None => Until::Steps(number.parse().ok()?),
    };
    Some(Turn { until, skip: bare.is_some() })
}

/// Up to eight turns, as one word: a byte each, the first in the lowest. Bytes that say no step
/// come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns(pub(crate) u64);

impl Turns {
    /// No turns.
    pub const NONE: Self = Self(0);

    /// From any word: turns without a step are left out.
    pub(crate) fn fix(word: u64) -> Self {
        let steps = |byte: &u8| byte & !SKIP != 0;
        let mut bytes = [0; 8];
        let kept = word.to_le_bytes().into_iter().filter(steps);
        for (slot, byte) in bytes.iter_mut().zip(kept) {
            *slot = byte;
        }
        Self(u64::from_le_bytes(bytes))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Turn> {
        let bytes = self.0.to_le_bytes().into_iter();
        bytes.take_while(|byte| *byte != 0).map(unpack)
    }

    /// From the text form, such as `12,u2,3+`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        let mut slots = bytes.iter_mut();
        for turn in text.split(',') {
            *slots.next()? = parse(turn).and_then(pack)?;
        }
        Some(Self(u64::from_le_bytes(bytes)))
    }
}

impl Word for Turns {
    fn pack(self) -> u64 {
        self.0
    }

    fn unpack(word: u64) -> Self {
        Self::fix(word)
    }
}

impl Display for Turns {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, turn) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let plus = if turn.skip { "+" } else { "" };
            match turn.until {
                Until::Steps(steps) => write!(f, "{comma}{steps}{plus}")?,
                Until::Unlocks(unlocks) => write!(f, "{comma}u{unlocks}{plus}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn turns_are_as_written() {
        let turns = Turns::parse("12,3+,80,816,u1,u16+").unwrap();
        let all: Vec<_> = turns.iter().map(|turn| (turn.until, turn.skip)).collect();
        let steps = Until::Steps;
        assert_eq!(
            all,
            [
                (steps(12), false),
                (steps(3), true),
                (steps(80), false),
                (steps(816), false),
                (Until::Unlocks(1), false),
                (Until::Unlocks(16), true),
            ]
        );
        assert_eq!(turns.to_string(), "12,3+,80,816,u1,u16+");
        let wrong = ["", "0", "65", "832", "1,,2", "1,2,3,4,5,6,7,8,9", "x", "+", "u", "u0", "u17"];
        for wrong in wrong {
            assert_eq!(Turns::parse(wrong), None, "{wrong}");
        }
    }

    quickcheck! {
        fn any_word_can_be_written(word: u64) -> bool {
            let turns = Turns::fix(word);
            Turns::fix(turns.0) == turns
                && (turns.0 == 0 || Turns::parse(&turns.to_string()) == Some(turns))
        }
    }
}
