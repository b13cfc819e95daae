//! The C side as Rust sees it: structures and prototypes of `include/itsdiff.h`.

use its_machine::MAX_ITS;

/// The version of the header that this is.
pub(crate) const VERSION: u32 = 7;
/// The oldest version whose objects are taken: what it has of a structure is as it was.
pub(crate) const OLDEST: u32 = 2;

/// Frames that trap.
pub(crate) const FRAME_CONTROL: u32 = 0;
pub(crate) const FRAME_TRANSLATION: u32 = 1;
pub(crate) const FRAME_REDISTRIBUTOR: u32 = 2;

/// The kind of a barrier: a DSB. Below is a DMB's; the option is added to it.
pub(crate) const DSB: u32 = 16;

/// Locks.
pub(crate) const LOCK_SET_UP: u32 = 0;
pub(crate) const LOCK_ITS: u32 = 1;
pub(crate) const LOCK_MEMORY: u32 = 16;
pub(crate) const LOCK_REDISTRIBUTORS: u32 = 17;
/// From here on, in the adapter alone: those that an emulation names by their addresses.
pub(crate) const LOCK_AT: u32 = 32;

/// A type that C has too, for the tests of the header.
#[cfg(test)]
pub(crate) trait InC {
    /// As a declaration writes it, before the name.
    const TYPE: &'static str;
    /// What stands behind the name.
    const ARRAY: &'static str = "";
}

macro_rules! in_c {
    ($($rust:ty = $c:literal $($array:literal)?),* $(,)?) => {
        $(#[cfg(test)] impl InC for $rust {
            const TYPE: &'static str = $c;
            $(const ARRAY: &'static str = $array;)?
        })*
    };
}

in_c!(
    () = "void ",
    bool = "bool ",
    i32 = "int32_t ",
    i64 = "int64_t ",
    u32 = "uint32_t ",
    u64 = "uint64_t ",
    *const std::ffi::c_void = "const void *",
    *mut std::ffi::c_void = "void *",
    *mut u64 = "uint64_t *",
    *const Machine = "const struct its_machine *",
    *mut Policy = "struct its_policy *",
    *const Trap = "const struct its_trap *",
    *const SetUp = "const struct its_set_up *",
    *mut Redistributor = "struct its_redistributor *",
    [u64; MAX_ITS] = "uint64_t " "[8]",
    [Table; 8] = "struct its_table " "[8]",
);

/// The declaration of a function.
#[cfg(test)]
pub(crate) fn prototype(result: &str, name: &str, arguments: &[(&str, &str)]) -> String {
    let all: Vec<String> = arguments.iter().map(|(c, name)| format!("{c}{name}")).collect();
    let all = if all.is_empty() { "void".into() } else { all.join(", ") };
    format!("{result}{name}({all});")
}

macro_rules! structures {
    ($($name:ident $c:literal { $($field:ident: $of:ty),* $(,)? })*) => {
        $(#[derive(Clone, Copy, Debug, Default)] #[repr(C)]
        pub(crate) struct $name { $(pub(crate) $field: $of),* })*

        /// Each structure: its name, and its fields as C declares them.
        #[cfg(test)]
        fn structures() -> Vec<(&'static str, Vec<String>)> {
            vec![$(($c, vec![$(field::<$of>(stringify!($field))),*])),*]
        }
    };
}

structures! {
    Machine "its_machine" { its: u32, redistributors: u32, control: [u64; MAX_ITS] }
    Policy "its_policy" {
        records_per_page: u32, commands_in_flight: u32, its: u32, redistributors: u32,
    }
    Trap "its_trap" {
        cpu: u32, frame: u32, index: u32, bytes: u32, offset: u64, write: u32, zero: u32, value: u64,
    }
    Table "its_table" { base: u64, host_level1: u64, baser: u64, order: u32, page_bytes: u32 }
    SetUp "its_set_up" {
        control: u64, private_pages: u64, descriptor: u64, pages: u64, queue: u64, host_queue: u64, queue_bytes: u64,
        live_devices: u64, live_list: u64, tables: [Table; 8],
    }
    Redistributor "its_redistributor" { address: u64, processor_number: u64 }
}

macro_rules! subject {
    ($(fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty;)*) => {
        // Some are optional, and not all of it is used where they are not there.
        #[cfg_attr(not(all(described, redistributors, finalized, tear_down)), allow(dead_code))]
        unsafe extern "C" {
            $(pub(crate) fn $name($($argument: $of),*) -> $result;)*
            /// The version of the header that the subject was compiled with.
            pub(crate) static its_subject_abi: u32;
        }

        /// What a subject defines.
        #[cfg(test)]
        fn subject() -> Vec<String> {
            vec![$(prototype(
                <$result as InC>::TYPE,
                stringify!($name),
                &[$((<$of as InC>::TYPE, stringify!($argument))),*],
            )),*]
        }
    };
}

subject! {
    fn its_subject_create(machine: *const Machine) -> i32;
    fn its_subject_destroy() -> ();
    fn its_subject_reset() -> ();
    fn its_subject_policy(policy: *mut Policy) -> ();
    fn its_subject_set_up(x1: u64, x2: u64, x3: u64, x4: u64) -> i64;
    fn its_subject_set_up_redistributors(x1: u64, x2: u64, x3: u64, x4: u64) -> i64;
    fn its_subject_tear_down(x1: u64, x2: u64, x3: u64, x4: u64) -> i64;
    fn its_subject_finalized() -> ();
    fn its_subject_trap(trap: *const Trap) -> u64;
    fn its_subject_allows_donation() -> bool;
    fn its_subject_describe(ours: *const SetUp, page: *mut u64, arguments: *mut u64) -> ();
}

#[cfg(test)]
fn field<T: InC>(name: &str) -> String {
    format!("{}{name}{};", T::TYPE, T::ARRAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header without comments and with single spaces.
    fn header() -> String {
        let text = include_str!("../include/itsdiff.h");
        let mut plain = String::new();
        let mut rest = text;
        while let Some((code, comment)) = rest.split_once("/*") {
            plain += code;
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        }
        plain += rest;
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn prototypes() -> Vec<String> {
        subject().into_iter().chain(crate::services::prototypes()).collect()
    }

    fn declared_structures() -> impl Iterator<Item = String> {
        let all = structures().into_iter();
        all.map(|(name, fields)| format!("struct {name} {{ {} }};", fields.join(" ")))
    }

    #[test]
    fn the_header_declares_what_there_is_and_nothing_else() {
        let (header, all) = (header(), prototypes());
        for prototype in &all {
            assert!(header.contains(prototype.as_str()), "the header lacks {prototype}");
        }
        let declared = header.matches(");").count();
        assert_eq!(declared, all.len(), "the header declares a function that is not there");
        for text in declared_structures() {
            assert!(header.contains(&text), "the header lacks {text}");
        }
        let defined = header.split("struct its_").skip(1);
        let defined = defined.filter(|rest| rest.split_whitespace().nth(1) == Some("{"));
        assert_eq!(defined.count(), structures().len());
    }

    #[test]
    fn the_header_s_numbers_are_ours() {
        let header = header();
        let numbers = [
            ("ITS_ABI_VERSION", VERSION),
            ("ITS_FRAME_CONTROL", FRAME_CONTROL),
            ("ITS_FRAME_TRANSLATION", FRAME_TRANSLATION),
            ("ITS_FRAME_REDISTRIBUTOR", FRAME_REDISTRIBUTOR),
            ("ITS_DMB", 0),
            ("ITS_DSB", DSB),
            ("ITS_LOCK_SET_UP", LOCK_SET_UP),
            ("ITS_LOCK_ITS", LOCK_ITS),
            ("ITS_LOCK_MEMORY", LOCK_MEMORY),
            ("ITS_LOCK_REDISTRIBUTORS", LOCK_REDISTRIBUTORS),
        ];
        for (name, number) in numbers {
            assert!(header.contains(&format!("#define {name} {number} ")), "{name}");
        }
        let defined = header.matches("#define ITS_").count();
        // The macro that defines the subject's version is no number.
        assert_eq!(defined, numbers.len() + 1);
    }

    /// What a subject was compiled against stays as it is, or has another version.
    #[test]
    fn a_version_never_changes() {
        let all: Vec<String> = prototypes().into_iter().chain(declared_structures()).collect();
        insta::assert_snapshot!(format!("version-{VERSION}"), all.join("\n"));
    }
}
