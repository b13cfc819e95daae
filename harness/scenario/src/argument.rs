//! The shape of one argument: which numbers it can be. Text, binary form, fix-up and mutation go by
//! it.

use its_machine::{Area, AreaKind, Frame, MAX_CPUS, MAX_ITS, PageChange, Place};

use crate::header::Boot;
use crate::operation::Rdbase;
use crate::target::Target;
use crate::turns::Turns;

/// Bytes in a page of the host and of EL2.
pub(crate) const PAGE_BYTES: u16 = its_gic::geometry::PAGE_BYTES as u16;

/// What an argument can be. Every argument is one 64-bit word.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// 0 to `max`, written in hexadecimal.
    Number { max: u64 },
    /// `min` to `max`, written in decimal.
    Count { min: u64, max: u64 },
    /// An index into a list of words, to which new ones are only appended.
    Choice(&'static [&'static str]),
    /// 0 or 1, written as the key or as nothing.
    Flag,
    /// A packed [`Place`] that is a multiple of `align` bytes.
    Place { align: u16 },
    /// The number of a CPU.
    Cpu,
    /// The number of an ITS.
    Its,
    /// A packed [`Rdbase`].
    Rdbase,
    /// A packed [`Target`]: frame, register and size.
    Target,
    /// [`Turns`] of a race.
    Turns,
}

/// How an argument is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// As `value`, in its place.
    Bare,
    /// As `key=value`.
    Keyed,
    /// As `key=value`, and not at all when 0.
    Optional,
}

/// One argument of a kind of operation, of the configuration or of the boot plan.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name in the text form.
    pub key: &'static str,
    pub shape: Shape,
    pub(crate) presence: Presence,
}

impl Argument {
    pub(crate) const fn new(key: &'static str, shape: Shape) -> Self {
        let presence = match shape {
            Shape::Flag => Presence::Optional,
            _ => Presence::Keyed,
        };
        Self { key, shape, presence }
    }

    /// The same with another key.
    pub(crate) const fn key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// Written without its key.
    pub(crate) const fn bare(self) -> Self {
        Self { presence: Presence::Bare, ..self }
    }

    /// Not written when 0.
    pub(crate) const fn optional(self) -> Self {
        Self { presence: Presence::Optional, ..self }
    }
}

impl Shape {
    /// The same word if it is one that this shape allows, else another that is: numbers go around,
    /// so that any bits are spread over what is allowed.
    pub(crate) fn fix(self, word: u64) -> u64 {
        match self {
            Self::Number { max } => wrap(word, 0, max),
            Self::Count { min, max } => wrap(word, min, max),
            Self::Choice(names) => wrap(word, 0, (names.len() as u64).saturating_sub(1)),
            Self::Flag => word & 1,
            Self::Place { align } => {
                let align = align.clamp(1, PAGE_BYTES);
                Place::unpack(word).align_down(align).pack()
            }
            Self::Cpu => wrap(word, 0, LAST_CPU),
            Self::Its => wrap(word, 0, LAST_ITS),
            Self::Rdbase => Rdbase::unpack(word).pack(),
            Self::Target => Target::unpack(word).pack(),
            Self::Turns => Turns::fix(word).0,
        }
    }

    /// The same word if the board has the CPU or the ITS that it names, else another: see
    /// [`Record::fit`](crate::Record::fit).
    pub(crate) fn fit(self, word: u64, boot: &Boot) -> u64 {
        let cpus = u64::from(boot.cpus);
        match self {
            Self::Cpu => around(word, cpus),
            Self::Its => around(word, boot.its.into()),
            Self::Rdbase => match Rdbase::unpack(word) {
                Rdbase::Of(n) => around(n.into(), cpus),
                Rdbase::Raw(_) => word,
            },
            Self::Target => {
                let target = Target::unpack(word);
                let its = |n: u8| around(n.into(), boot.its_slots()) as u8;
                let frame = match target.frame {
                    Frame::ItsControl(n) => Frame::ItsControl(its(n)),
                    Frame::ItsTranslation(n) => Frame::ItsTranslation(its(n)),
                    Frame::Redistributor(n) => {
                        Frame::Redistributor(around(n.into(), cpus.max(2)) as u8)
                    }
                };
                Target { frame, ..target }.pack()
            }
            Self::Place { .. } => match Place::unpack(word) {
                Place::In { area, page, offset } => {
                    let its = around(area.its.into(), boot.its_slots()) as u8;
                    Place::In { area: area.of_its(its), page, offset }.pack()
                }
                Place::Absolute(_) => word,
            },
            Self::Number { .. } | Self::Count { .. } | Self::Choice(_) => word,
            Self::Flag | Self::Turns => word,
        }
    }
}

/// The number of the last CPU that a board can have.
pub(crate) const LAST_CPU: u64 = (MAX_CPUS as u64).saturating_sub(1);
pub(crate) const LAST_ITS: u64 = (MAX_ITS as u64).saturating_sub(1);

fn around(number: u64, count: u64) -> u64 {
    number.checked_rem(count).unwrap_or(0)
}

fn wrap(word: u64, min: u64, max: u64) -> u64 {
    if (min..=max).contains(&word) {
        return word;
    }
    let within = max.saturating_sub(min).checked_add(1);
    let rest = within.and_then(|count| word.checked_rem(count));
    min.saturating_add(rest.unwrap_or(word))
}

/// A value of an operation's field, as the word that all forms of it share.
pub trait Word: Copy {
    /// Returns the word.
    fn pack(self) -> u64;

    /// Returns the value of any word: bits beyond the field mean nothing.
    fn unpack(word: u64) -> Self;
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Word for $type {
            fn pack(self) -> u64 {
                self.into()
            }

            fn unpack(word: u64) -> Self {
                word as Self
            }
        })*
    };
}

numbers! { u8 u16 u32 u64 }

impl Word for bool {
    fn pack(self) -> u64 {
        self.into()
    }

    fn unpack(word: u64) -> Self {
        word != 0
    }
}

impl Word for PageChange {
    fn pack(self) -> u64 {
        self as u64
    }

    fn unpack(word: u64) -> Self {
        let change = Self::ALL.get(word as usize);
        change.copied().unwrap_or(Self::Share)
    }
}

/// Where the kind of an area stands in a packed place, and the ITS that the area is for.
const KIND: u32 = 56;
const ITS: u32 = 48;
/// The kind of a packed [`Place::Absolute`].
const ABSOLUTE: u64 = 16;
/// Kinds, and 16 for absolute places; larger numbers go around.
const KINDS: u64 = 30;
const ADDRESS: u64 = (1 << 52) - 1;

impl Word for Place {
    /// The kind of its area (16: absolute) in bits \[63:56\]; then the address, or the ITS in bits
    /// \[55:48\], the page in bits \[27:12\] and the offset in bits \[11:0\].
    fn pack(self) -> u64 {
        match self {
            Self::In { area, page, offset } => {
                let offset = offset & (PAGE_BYTES - 1);
                (area.kind as u64) << KIND
                    | u64::from(area.its) << ITS
                    | u64::from(page) << 12
                    | u64::from(offset)
            }
            Self::Absolute(address) => ABSOLUTE << KIND | (address & ADDRESS),
        }
    }

    /// A number out of range goes around.
    fn unpack(word: u64) -> Self {
        let number = (word >> KIND) % KINDS;
        if number == ABSOLUTE {
            return Self::Absolute(word & ADDRESS);
        }
        let kind = AreaKind::ALL.iter().find(|kind| **kind as u64 == number);
        let around = AreaKind::ALL.iter().cycle().nth(number as usize);
        let kind = kind.or(around).copied().unwrap_or(AreaKind::Host);
        let its = (word >> ITS & 0xff).checked_rem(MAX_ITS as u64).unwrap_or(0);
        let area = Area { kind, its: 0 }.of_its(its as u8);
        let page = ((word >> 12) as u16).checked_rem(area.pages()).unwrap_or(0);
        Self::at(area, page, word as u16 & (PAGE_BYTES - 1))
    }
}

impl Rdbase {
    /// The largest RDbase field: 36 bits.
    pub const MAX: u64 = (1 << 36) - 1;
    const RAW: u64 = 1 << 63;
}

impl Word for Rdbase {
    /// Bit 63 says that the field is raw.
    fn pack(self) -> u64 {
        match self {
            Self::Of(index) => index.into(),
            Self::Raw(field) => Self::RAW | (field & Self::MAX),
        }
    }

    fn unpack(word: u64) -> Self {
        if word & Self::RAW != 0 {
            return Self::Raw(word & Self::MAX);
        }
        Self::Of(wrap(word, 0, LAST_CPU) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn packing_is_what_it_says() {
        let place = Place::at(Area::ITT, 3, 0x200);
        assert_eq!(place.pack(), 0x0200_0000_0000_3200);
        assert_eq!(Place::unpack(0x0200_0000_0000_3200), place);
        let absolute = Place::Absolute(0xf_ffff_ffff_ffff);
        assert_eq!(absolute.pack(), 0x100f_ffff_ffff_ffff);
        assert_eq!(Place::unpack(absolute.pack()), absolute);
        let second = Place::page(Area::QUEUE.of_its(1), 15);
        assert_eq!(second.pack(), 0x0901_0000_0000_f000);
    }

    #[test]
    fn numbers_out_of_range_go_around() {
        let bits = Shape::Count { min: 8, max: 16 };
        for (word, fixed) in [(8, 8), (16, 16), (0, 8), (17, 16), (7, 15), (u64::MAX, 14)] {
            assert_eq!(bits.fix(word), fixed, "{word}");
        }
        let any = Shape::Number { max: u64::MAX };
        assert_eq!(any.fix(u64::MAX), u64::MAX);
        assert_eq!(Shape::Choice(&["no", "yes"]).fix(5), 1);
        assert_eq!(Shape::Rdbase.fix(13), 5);
    }

    quickcheck! {
        fn any_word_is_a_place_in_range(word: u64) -> bool {
            let place = Place::unpack(word);
            let fits = match place {
                Place::In { area, page, offset } => page < area.pages() && offset < PAGE_BYTES,
                Place::Absolute(address) => address < 1 << 52,
            };
            fits && Place::unpack(place.pack()) == place
        }

        fn fixing_twice_is_fixing_once(word: u64) -> bool {
            let shapes = [
                Shape::Number { max: 31 },
                Shape::Count { min: 1, max: 65535 },
                Shape::Choice(&["a", "b", "c"]),
                Shape::Flag,
                Shape::Place { align: 1 },
                Shape::Place { align: 256 },
                Shape::Cpu,
                Shape::Its,
                Shape::Rdbase,
                Shape::Target,
                Shape::Turns,
            ];
            shapes.iter().all(|shape| shape.fix(shape.fix(word)) == shape.fix(word))
        }
    }
}
