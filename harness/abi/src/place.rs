//! Where in its code the emulation is, and the line of its source.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::image;

/// Where the last call of the emulation's returns to, or what trapped ends. One thread is inside
/// the emulation at a time.
pub(crate) static PLACE: AtomicUsize = AtomicUsize::new(0);

/// `offset file:line` for each run of instructions, ascending; as `cargo xtask` read it from the
/// debug information.
static LINES: &str = include_str!(concat!(env!("OUT_DIR"), "/lines"));

/// Defines a function that C calls: it notes where it returns to, and goes on as another.
macro_rules! entry {
    ($name:ident, $function:path) => {
        #[cfg(target_arch = "x86_64")]
        std::arch::global_asm!(
            concat!(".globl ", stringify!($name)),
            concat!(stringify!($name), ":"),
            "mov r11, [rsp]",
            "mov [rip + {place}], r11",
            "jmp {function}",
            place = sym $crate::place::PLACE,
            function = sym $function,
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::global_asm!(
            concat!(".globl ", stringify!($name)),
            concat!(stringify!($name), ":"),
            "adrp x16, {place}",
            "str x30, [x16, :lo12:{place}]",
            "b {function}",
            place = sym $crate::place::PLACE,
            function = sym $function,
        );
    };
}
pub(crate) use entry;

/// The place in the code, behind the instruction: bytes from its start, 0 where it is in other
/// code.
pub(crate) fn now() -> u64 {
    let text = image::text();
    let offset = PLACE.load(Ordering::Relaxed).wrapping_sub(text.start);
    if offset <= text.len() { offset as u64 } else { 0 }
}

/// The emulation trapped at this instruction.
pub(crate) fn trapped(pc: usize) {
    PLACE.store(pc.wrapping_add(1), Ordering::Relaxed);
}

/// The file and line of a place, `file.c:123`.
pub(crate) fn source(place: u64) -> Option<&'static str> {
    static TABLE: LazyLock<Vec<(u64, &'static str)>> = LazyLock::new(|| parse(LINES));
    find(&TABLE, place)
}

fn parse(text: &'static str) -> Vec<(u64, &'static str)> {
    let entry = |line: &'static str| {
        let (offset, source) = line.split_once(' ')?;
        Some((offset.parse().ok()?, source))
    };
    text.lines().filter_map(entry).collect()
}

fn find(table: &[(u64, &'static str)], place: u64) -> Option<&'static str> {
    let instruction = place.checked_sub(1)?;
    let after = table.partition_point(|(offset, _)| *offset <= instruction);
    let (_, source) = table.get(after.checked_sub(1)?)?;
    Some(source).copied().filter(|source| !source.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_behind_its_instruction() {
        let table = parse("4 a.c:1\n9 b.h:2\n12 \n");
        let lines = [0, 4, 5, 9, 10, 12, 13].map(|place| find(&table, place));
        let (one, two) = (Some("a.c:1"), Some("b.h:2"));
        assert_eq!(lines, [None, None, one, one, two, two, None]);
    }
}
