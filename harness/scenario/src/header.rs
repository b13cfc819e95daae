//! Configurations and boot plan as numbers: one table each, a field a row. Text, bytes, fix-up and
//! simplification go by them.

use its_gic::geometry::PageSize;
use its_gic::register::TableType;
use its_machine::{
    Area, Choices, Coherence, Freedom, ItsConfiguration, MAX_CPUS, MAX_ITS, Pace, Place, Snooping,
    Topology,
};

use crate::argument::{Argument, Shape, Word};

/// What stands before the operations of a scenario: fields, each a number in its range.
pub trait Header: Copy {
    /// What goes without saying: the text form leaves out a field that equals it.
    const USUAL: Self;
    /// The fields, in the order of the binary form.
    const FIELDS: &'static [Argument];

    /// Returns the number of each field.
    fn words(&self) -> Vec<u64>;

    /// Brings every number into its range. A number that is missing is 0.
    fn from_words(words: impl IntoIterator<Item = u64>) -> Self;

    /// Brings every field into its range.
    #[must_use]
    fn fixed(&self) -> Self {
        Self::from_words(self.words())
    }
}

/// Returns so many numbers, each in the range of its field.
fn fixed(fields: &[Argument], words: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
    let words = words.into_iter().chain(std::iter::repeat(0));
    fields.iter().zip(words).map(|(field, word)| field.shape.fix(word))
}

/// Makes numbers of a struct, and a struct of numbers. A row is a field, the type that packs it
/// (its own, or one that it converts into), and its [`Argument`].
macro_rules! fields {
    ($header:ident $fields:ident $words:ident $from_words:ident {
        $($field:ident: $type:ty = $argument:expr,)*
    }) => {
        const $fields: &[Argument] = &[$($argument,)*];

        fn $words(header: &$header) -> Vec<u64> {
            vec![$(<$type>::from(header.$field).pack()),*]
        }

        fn $from_words(words: &mut impl Iterator<Item = u64>) -> $header {
            let mut next = || words.next().unwrap_or(0);
            $header { $($field: <$type as Word>::unpack(next()).into(),)* }
        }
    };
}

/// Declares the boot plan. A row is documentation, name, type, default, and [`Argument`].
macro_rules! boot_plan {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = $usual:expr, $argument:expr;)*) => {
        /// What the board is, and what the driver does before the operations begin. The default, a
        /// guarded ITS with the queue that Linux gives it, never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Boot {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        fields! { Boot BOOT boot_words boot { $($field: $type = $argument,)* } }

        impl Default for Boot {
            fn default() -> Self {
                Self::USUAL
            }
        }

        impl Header for Boot {
            const USUAL: Self = Self { $($field: $usual,)* };
            const FIELDS: &'static [Argument] = BOOT;

            fn words(&self) -> Vec<u64> {
                boot_words(self)
            }

            fn from_words(words: impl IntoIterator<Item = u64>) -> Self {
                boot(&mut fixed(BOOT, words)).with_numbers_apart()
            }
        }
    };
}

/// Declares an enum's values with their names, in the order of their numbers.
macro_rules! named {
    ($type:ident $names:ident { $first:ident $($variant:ident)* } $texts:expr) => {
        const $names: Shape = Shape::Choice($texts);

        impl Word for $type {
            fn pack(self) -> u64 {
                let all = [Self::$first, $(Self::$variant),*];
                all.iter().position(|other| *other == self).unwrap_or(0) as u64
            }

            fn unpack(word: u64) -> Self {
                let all = [Self::$first, $(Self::$variant),*];
                all.get(word as usize).copied().unwrap_or(Self::$first)
            }
        }
    };
}

/// How far a board has come when the operations begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nothing is programmed at all; the driver has not probed (P1).
    Reset,
    /// The driver has probed the ITS; no CPU is finalized (P1).
    Probed,
    /// All CPUs are finalized; the ITS is not set up (P2).
    Deprivileged,
    /// The ITS is set up (P3).
    Guarded,
}

named! { Stage STAGES { Probed Deprivileged Guarded Reset }
&["probed", "deprivileged", "guarded", "reset"] }
named! { Pace PACES { AtOnce Late Never } &["at-once", "late", "never"] }
named! { Snooping SNOOPING { Unsaid No Yes } &["unsaid", "no", "yes"] }
named! { TableType TABLE_TYPES { Unimplemented Devices Vpes Collections Reserved }
&["unimplemented", "devices", "vpes", "collections", "reserved"] }
named! { PageSize PAGE_SIZES { K4 K16 K64 } &["4K", "16K", "64K"] }

const HOST_STORES: Shape = Shape::Choice(&["at-once", "cached"]);
const NO_YES: Shape = Shape::Choice(&["no", "yes"]);
const FLAT_TWO_LEVEL: Shape = Shape::Choice(&["flat", "two-level"]);
const ENTRY_BYTES: Shape = Shape::Choice(&["8", "16"]);

const fn count(key: &'static str, min: u64, max: u64) -> Argument {
    Argument::new(key, Shape::Count { min, max })
}

/// The most pages for the records of an ITS.
const PRIVATE_PAGES: u64 = 64;
const PROCESSOR_NUMBER: Argument = count("", 0, u8::MAX as u64);

const fn freedom(freedom: Freedom) -> Argument {
    let facts = freedom.facts();
    Argument::new(facts.name, Shape::Choice(facts.options))
}

// In the order of the binary form: new fields are only appended.
boot_plan! {
    stage: Stage = Stage::Guarded, Argument::new("stage", STAGES);
    /// Devices that the driver has mapped on the first ITS before set-up, 0 to 255 as far as there
    /// are DeviceIDs: see [`Boot::live`].
    live_devices: u8 = 0, count("live-devices", 0, 255);
    /// Pages of 4 KiB in the command queue, 1 to 16.
    queue_pages: u8 = 16, count("queue-pages", 1, 16);
    /// Pages that the host gives EL2 for its records, 1 to 64.
    private_pages: u8 = 1, count("private-pages", 1, PRIVATE_PAGES);
    /// ITS pages in the flat or level-1 device table, 1 or 2.
    table_pages: u8 = 1, count("table-pages", 1, 2);
    /// ITSs on the board, 1 to 8.
    its: u8 = 1, count("its", 1, MAX_ITS as u64);
    /// INTID bits that the driver has LPI tables for, 14 to 16.
    intid_bits: u8 = 16, count("intid-bits", 14, 16);
    /// The driver gives an ITS that can have it a collection table of two levels.
    two_level_collections: bool = false, Argument::new("collections", FLAT_TWO_LEVEL);
    /// CPUs on the board, each with a redistributor, 1 to 8.
    cpus: u8 = 2, count("cpus", 1, MAX_CPUS as u64);
    /// GICR_TYPER.Processor_Number of redistributor 0. Those of a board's redistributors differ.
    processor0: u8 = 0, PROCESSOR_NUMBER.key("processor0");
    processor1: u8 = 1, PROCESSOR_NUMBER.key("processor1");
    processor2: u8 = 2, PROCESSOR_NUMBER.key("processor2");
    processor3: u8 = 3, PROCESSOR_NUMBER.key("processor3");
    processor4: u8 = 4, PROCESSOR_NUMBER.key("processor4");
    processor5: u8 = 5, PROCESSOR_NUMBER.key("processor5");
    processor6: u8 = 6, PROCESSOR_NUMBER.key("processor6");
    processor7: u8 = 7, PROCESSOR_NUMBER.key("processor7");
    /// Pages of the memory above 2^48, 33 to 48: the region may end inside a block of 64 KiB.
    high_pages: u8 = 48, count("high-pages", 33, Area::HIGH.pages() as u64);
    /// Whether the ITSs see commands in their queues that nobody cleaned.
    coherent_queue: Snooping = Snooping::Unsaid, Argument::new("coherent-queue", SNOOPING);
    /// The same of tables and ITTs.
    coherent_tables: Snooping = Snooping::Unsaid, Argument::new("coherent-tables", SNOOPING);
    /// Whether the redistributors see LPI configuration that nobody cleaned.
    coherent_propbaser: Snooping = Snooping::Unsaid, Argument::new("coherent-propbaser", SNOOPING);
    /// The same of pending tables.
    coherent_pendbaser: Snooping = Snooping::Unsaid, Argument::new("coherent-pendbaser", SNOOPING);
    /// Whether what the host stores stays in caches until it is cleaned (`cached`). Operations of
    /// the driver clean what they store; `store` and `store-address` do not. On a board with a
    /// device that snoops it means nothing.
    host_stores_cached: bool = false, Argument::new("host-stores", HOST_STORES);
    /// GITS_BASER2.Type of each ITS. No ITS uses that table, and no driver gives it memory.
    baser2: TableType = TableType::Unimplemented, Argument::new("baser2", TABLE_TYPES);
}

/// Names that are kept for fields to come, of the boot plan and of an ITS's configuration. Nothing
/// else takes them.
pub(crate) const RESERVED_FIELDS: &[&str] =
    &["store-buffers", "alias", "progress", "finalized-cpus", "drivers"];

impl Boot {
    /// Returns GICR_TYPER.Processor_Number of each redistributor.
    pub const fn processor_numbers(&self) -> [u8; MAX_CPUS] {
        let Self { processor0, processor1, processor2, processor3, .. } = *self;
        let Self { processor4, processor5, processor6, processor7, .. } = *self;
        [
            processor0, processor1, processor2, processor3, processor4, processor5, processor6,
            processor7,
        ]
    }

    /// Returns how many ITSs a scenario can name: there are frames and areas of two even where the
    /// board has one ITS.
    pub fn its_slots(&self) -> u64 {
        self.its.max(2).into()
    }

    /// Returns how many devices the board has, and how much memory.
    pub fn topology(&self) -> Topology {
        Topology {
            its: self.its,
            cpus: self.cpus,
            processor_numbers: self.processor_numbers(),
            high_pages: self.high_pages.into(),
            baser2: self.baser2,
            has_extra_memory: self.its > 2 || self.cpus > 2 || self.private_area().is_extra(),
            coherence: Coherence {
                queue: self.coherent_queue,
                tables: self.coherent_tables,
                propbaser: self.coherent_propbaser,
                pendbaser: self.coherent_pendbaser,
                host_stores_cached: self.host_stores_cached,
            },
        }
    }

    /// Returns the area from which the host takes what it gives EL2 for its records.
    pub fn private_area(&self) -> Area {
        if u16::from(self.private_pages) > Area::PRIVATE.pages() {
            Area::RECORDS
        } else {
            Area::PRIVATE
        }
    }

    /// Returns the first page that the host gives EL2 for the records of an ITS.
    pub fn private_place(&self, its: u8) -> Place {
        match self.private_area() {
            Area::PRIVATE => Place::page(Area::PRIVATE.of_its(its), 0),
            shared => Place::page(shared, u16::from(its).wrapping_mul(PRIVATE_PAGES as u16)),
        }
    }

    /// Returns where the driver of an ITS takes its level-2 tables from: the area, the first block
    /// of 16 pages in it, and how many blocks, 2 or more.
    pub fn level2_share(&self, its: u8) -> (Area, u16, u16) {
        // Four ITSs share an area of 8 blocks.
        let blocks = match self.its {
            0 | 1 => 8,
            2 => 4,
            _ => 2,
        };
        let area = if its < 4 { Area::LEVEL2 } else { Area::MORE_LEVEL2 };
        (area, u16::from(its % 4).wrapping_mul(blocks), blocks)
    }

    /// Gives a redistributor whose processor number another one has the lowest one that is free;
    /// redistributors that are not there have their usual ones.
    fn with_numbers_apart(mut self) -> Self {
        let cpus = usize::from(self.cpus);
        let mut given: Vec<u8> = Vec::new();
        for (n, (own, usual)) in self.processors().into_iter().zip(0..).enumerate() {
            if n >= cpus {
                *own = usual;
            } else if given.contains(own) {
                *own = (0..=u8::MAX).find(|free| !given.contains(free)).unwrap_or(*own);
            }
            given.push(*own);
        }
        self
    }

    fn processors(&mut self) -> [&mut u8; MAX_CPUS] {
        [
            &mut self.processor0,
            &mut self.processor1,
            &mut self.processor2,
            &mut self.processor3,
            &mut self.processor4,
            &mut self.processor5,
            &mut self.processor6,
            &mut self.processor7,
        ]
    }
}

// In the order of the binary form, the freedoms but `OnError` behind them by number. A new freedom
// is the last field by itself; a new field of another kind needs a new version of the binary form.
// The ranges are what the board's memory makes sense with.
fields! { ItsConfiguration OWN own_words own {
    event_id_bits: u8 = count("event-id-bits", 1, 20),
    device_id_bits: u8 = count("device-id-bits", 4, 20),
    collection_id_bits: u8 = count("collection-id-bits", 1, 16),
    hardware_collections: u8 = count("hardware-collections", 0, 4),
    itt_entry_bytes: u8 = count("itt-entry-bytes", 8, 16),
    device_entry_bytes: EntryBytes = Argument::new("device-entry-bytes", ENTRY_BYTES),
    collection_entry_bytes: EntryBytes = Argument::new("collection-entry-bytes", ENTRY_BYTES),
    field_order: u8 = count("field-order", 0, 5),
    redistributor_addresses: bool = Argument::new("rdbase", Shape::Choice(&["number", "address"])),
    page_size: PageSize = Argument::new("page-size", PAGE_SIZES),
    two_level: bool = Argument::new("two-level", NO_YES),
    choices: Choices = freedom(Freedom::OnError),
    pace: Pace = Argument::new("pace", PACES),
    cumulative_collections: bool = Argument::new("cumulative-collections", NO_YES),
    two_level_collections: bool = Argument::new("two-level-collections", NO_YES),
    invalidates: bool = Argument::new("invalidates", NO_YES),
} }

/// The freedoms whose fields follow the others: all but the oldest, [`Freedom::OnError`].
const LATER_FREEDOMS: &[Freedom] = match Freedom::ALL {
    [Freedom::OnError, later @ ..] => later,
    all => all,
};

static CONFIGURATION: [Argument; OWN.len() + LATER_FREEDOMS.len()] = {
    let mut table = [freedom(Freedom::OnError); OWN.len() + LATER_FREEDOMS.len()];
    let (head, tail) = table.split_at_mut(OWN.len());
    head.copy_from_slice(OWN);
    let (mut slots, mut freedoms) = (tail, LATER_FREEDOMS);
    while let ([slot, later @ ..], [next, others @ ..]) = (slots, freedoms) {
        *slot = freedom(*next);
        (slots, freedoms) = (later, others);
    }
    table
};

impl Header for ItsConfiguration {
    const USUAL: Self = Self::DEFAULT;
    const FIELDS: &'static [Argument] = &CONFIGURATION;

    fn words(&self) -> Vec<u64> {
        let mut words = own_words(self);
        let later = LATER_FREEDOMS.iter();
        words.extend(later.map(|freedom| u64::from(self.choices.number(*freedom))));
        words
    }

    fn from_words(words: impl IntoIterator<Item = u64>) -> Self {
        let mut words = fixed(Self::FIELDS, words);
        let mut configuration = own(&mut words);
        for (freedom, option) in LATER_FREEDOMS.iter().zip(words) {
            configuration.choices = configuration.choices.with_number(*freedom, option);
        }
        configuration
    }
}

/// The choice of [`Freedom::OnError`]; the others have numbers of their own.
impl Word for Choices {
    fn pack(self) -> u64 {
        self.number(Freedom::OnError).into()
    }

    fn unpack(word: u64) -> Self {
        Self::USUAL.with_number(Freedom::OnError, word)
    }
}

/// 8 or 16, by the numbers 0 and 1.
#[derive(Clone, Copy)]
struct EntryBytes(u8);

impl Word for EntryBytes {
    fn pack(self) -> u64 {
        u64::from(self.0 > 8)
    }

    fn unpack(word: u64) -> Self {
        Self(if word == 0 { 8 } else { 16 })
    }
}

impl From<u8> for EntryBytes {
    fn from(bytes: u8) -> Self {
        Self(bytes)
    }
}

impl From<EntryBytes> for u8 {
    fn from(bytes: EntryBytes) -> Self {
        bytes.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn defaults_are_legal() {
        assert_eq!(ItsConfiguration::DEFAULT.fixed(), ItsConfiguration::DEFAULT);
        assert_eq!(Boot::default().fixed(), Boot::default());
    }

    /// A new freedom only appends: what the fields before it mean stays.
    #[test]
    fn every_freedom_has_a_field_of_its_own() {
        for freedom in Freedom::ALL {
            let facts = freedom.facts();
            let fields = CONFIGURATION.iter().filter(|field| field.key == facts.name);
            assert_eq!(fields.count(), 1, "{}", facts.name);
            for option in 0..facts.options.len() as u64 {
                let choices = Choices::USUAL.with_number(*freedom, option);
                let chosen = ItsConfiguration { choices, ..ItsConfiguration::DEFAULT };
                assert_eq!(chosen.fixed(), chosen);
            }
        }
        let keys = [11, 12, 15, 16, 18].map(|index| CONFIGURATION[index].key);
        let expected = ["on-error", "pace", "invalidates", "cwriter-beyond", "mapped-event"];
        assert_eq!(keys, expected);
    }

    quickcheck! {
        fn any_bytes_are_a_legal_configuration(bytes: Vec<u8>) -> bool {
            let legal = ItsConfiguration::from_words(bytes.into_iter().map(u64::from));
            legal.fixed() == legal
                && (8..=16).contains(&legal.itt_entry_bytes)
                && (4..=20).contains(&legal.device_id_bits)
        }

        fn any_bytes_are_a_boot_plan(bytes: Vec<u8>) -> bool {
            let legal = Boot::from_words(bytes.into_iter().map(u64::from));
            legal.fixed() == legal && (1..=16).contains(&legal.queue_pages)
        }
    }
}
