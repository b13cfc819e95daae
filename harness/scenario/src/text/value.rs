//! Values of arguments, and why a word is none.

use crate::argument::Shape;
use crate::argument::{LAST_CPU, LAST_ITS, PAGE_BYTES, Word as _};
use crate::operation::Rdbase;
use crate::turns::Turns;
use its_machine::{Area, Place};

/// Addresses are below this.
const ADDRESSES: u64 = 1 << 52;

/// Why a word is no value.
pub(super) struct Wrong {
    /// Said of the word.
    pub(super) is: &'static str,
    pub(super) expected: String,
}

fn wrong<T>(is: &'static str, expected: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { is, expected: expected.into() })
}

/// A value of a shape.
pub(super) fn value(shape: Shape, text: &str) -> Result<u64, Wrong> {
    match shape {
        Shape::Number { max } => between(text, 0, max, &format!("a number up to {max:#x}")),
        Shape::Count { min, max } => {
            between(text, min, max, &format!("a number from {min} to {max}"))
        }
        Shape::Choice(names) => match names.iter().position(|name| *name == text) {
            Some(index) => Ok(index as u64),
            None => wrong("is not allowed here", one_of(names)),
        },
        Shape::Place { align } => aligned(place(text)?, align).map(Place::pack),
        Shape::Cpu => between(text, 0, LAST_CPU, &format!("the number of a CPU, 0 to {LAST_CPU}")),
        Shape::Its => between(text, 0, LAST_ITS, &format!("the number of an ITS, 0 to {LAST_ITS}")),
        Shape::Rdbase => rdbase(text).map(Rdbase::pack),
        Shape::Turns => match Turns::parse(text) {
            Some(turns) if Turns::fix(turns.0) == turns => Ok(turns.0),
            _ => wrong(
                "is not allowed here",
                "up to eight turns such as 12,u2,3+ (1 to 64 steps, above that a multiple of 16 up to 816, or u1 to u16)",
            ),
        },
        Shape::Flag => wrong("is not allowed here", "nothing"),
        Shape::Target => wrong("is not allowed here", "a frame and a register"),
    }
}

pub(super) fn one_of(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    format!("one of {}", names.join(", "))
}

/// A number from `min` to `max`; `expected` says so.
fn between(text: &str, min: u64, max: u64, expected: &str) -> Result<u64, Wrong> {
    match number(text) {
        None if is_digits(text) => wrong("is too large", expected),
        None => wrong("is no number", expected),
        Some(number) if number > max => wrong("is too large", expected),
        Some(number) if number < min => wrong("is too small", expected),
        Some(number) => Ok(number),
    }
}

/// Whether a text is a number, though one of more than 64 bits.
fn is_digits(text: &str) -> bool {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
}

/// Hexadecimal with 0x, else decimal.
pub(super) fn number(text: &str) -> Option<u64> {
    // `from_str_radix` takes a sign.
    if text.starts_with('+') {
        return None;
    }
    match text.strip_prefix("0x") {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A place, aligned or not.
fn place(text: &str) -> Result<Place, Wrong> {
    let Some((name, rest)) = text.split_once('[') else {
        let most = "a place such as itt[3]+0x200, or an address below 0x10000000000000";
        return between(text, 0, ADDRESSES.saturating_sub(1), most).map(Place::Absolute);
    };
    let Some((page, rest)) = rest.split_once(']') else {
        return wrong("lacks a ]", "a place such as itt[3]+0x200");
    };
    let Some(area) = Area::named(name) else {
        let names: Vec<String> = Area::all().map(|area| area.to_string()).collect();
        return wrong("is in no area of the board", one_of(&names));
    };
    let offset = match (rest, rest.strip_prefix('+')) {
        ("", _) => "0",
        (_, Some(offset)) => offset,
        _ => return wrong("is no place", "a place such as itt[3]+0x200"),
    };
    let last = area.pages().saturating_sub(1);
    let (page, offset) = match (number(page), number(offset)) {
        (Some(page), _) if page > last.into() => {
            let expected = format!("a page from 0 to {last} of {area}");
            return wrong("lies beyond the area", expected);
        }
        (Some(_), Some(offset)) if offset >= PAGE_BYTES.into() => {
            return wrong("lies beyond the page", format!("an offset below {PAGE_BYTES:#x}"));
        }
        (Some(page), Some(offset)) => (page, offset),
        _ => return wrong("is no place", "a place such as itt[3]+0x200"),
    };
    Ok(Place::at(area, page as u16, offset as u16))
}

fn aligned(place: Place, align: u16) -> Result<Place, Wrong> {
    if place.align_down(align.clamp(1, PAGE_BYTES)) == place {
        Ok(place)
    } else {
        wrong("is not aligned", format!("a multiple of {align:#x}"))
    }
}

fn rdbase(text: &str) -> Result<Rdbase, Wrong> {
    let expected = format!("redistributor0, or a number up to {:#x}", Rdbase::MAX);
    let Some(index) = text.strip_prefix("redistributor") else {
        return between(text, 0, Rdbase::MAX, &expected).map(Rdbase::Raw);
    };
    let all = format!("redistributor0 to redistributor{LAST_CPU}");
    let index = between(index, 0, LAST_CPU, &all)?;
    Ok(Rdbase::Of(index as u8))
}
