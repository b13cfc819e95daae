//! Configurations and boot plan as numbers: their ranges, names and defaults.

use its_gic::geometry::PageSize;
use its_machine::{Choices, Freedom, ItsConfiguration, MAX_ITS, Pace};

use crate::argument::{Argument, Shape};
use crate::scenario::{Boot, Stage};

/// The fields that every version of this crate knew.
pub(crate) const FIRST_FIELDS: usize = 13;
/// Fields that are no freedoms, [`Freedom::OnError`] apart, which is older than the list of them.
pub(crate) const OWN_FIELDS: usize = 16;
pub(crate) const CHARACTER_FIELDS: usize = OWN_FIELDS + LATER_FREEDOMS.len();
pub(crate) const BOOT_FIELDS: usize = 8;

/// The freedoms whose fields follow the others: all but [`Freedom::OnError`].
const LATER_FREEDOMS: &[Freedom] = match Freedom::ALL {
    [Freedom::OnError, later @ ..] => later,
    all => all,
};

const NO_YES: Shape = Shape::Choice(&["no", "yes"]);
const ENTRY_BYTES: Shape = Shape::Choice(&["8", "16"]);

const fn count(key: &'static str, min: u64, max: u64) -> Argument {
    Argument::new(key, Shape::Count { min, max })
}

const fn freedom(freedom: Freedom) -> Argument {
    let facts = freedom.facts();
    Argument::new(facts.name, Shape::Choice(facts.options))
}

/// The fields of a [`ItsConfiguration`], in the order of the binary form: [`OWN`], then the freedoms by
/// number. A new freedom is the last one by itself; a new field of another kind needs a new version
/// of the binary form.
pub(crate) static CHARACTER: [Argument; CHARACTER_FIELDS] = configuration_fields();

const fn configuration_fields() -> [Argument; CHARACTER_FIELDS] {
    let mut table = [freedom(Freedom::OnError); CHARACTER_FIELDS];
    let (mut own, mut freedoms): (&[Argument], _) = (&OWN, LATER_FREEDOMS);
    let mut slots: &mut [Argument] = &mut table;
    while let [slot, later @ ..] = slots {
        if let [field, others @ ..] = own {
            *slot = *field;
            own = others;
        } else if let [next, others @ ..] = freedoms {
            *slot = freedom(*next);
            freedoms = others;
        }
        slots = later;
    }
    table
}

/// The ranges are what the board's memory makes sense with.
const OWN: [Argument; OWN_FIELDS] = [
    count("event-id-bits", 1, 16),
    count("device-id-bits", 4, 20),
    count("collection-id-bits", 1, 16),
    count("hardware-collections", 0, 4),
    count("itt-entry-bytes", 8, 16),
    Argument::new("device-entry-bytes", ENTRY_BYTES),
    Argument::new("collection-entry-bytes", ENTRY_BYTES),
    count("field-order", 0, 5),
    Argument::new("rdbase", Shape::Choice(&["number", "address"])),
    Argument::new("page-size", Shape::Choice(&["4K", "16K", "64K"])),
    Argument::new("two-level", NO_YES),
    freedom(Freedom::OnError),
    Argument::new("pace", Shape::Choice(&["at-once", "late", "never"])),
    Argument::new("cumulative-collections", NO_YES),
    Argument::new("two-level-collections", NO_YES),
    Argument::new("invalidates", NO_YES),
];

/// The fields of a [`Boot`], in the order of the binary form: new ones are only appended.
pub(crate) static BOOT: [Argument; BOOT_FIELDS] = [
    Argument::new("stage", Shape::Choice(&["probed", "deprivileged", "guarded", "reset"])),
    count("live-devices", 0, 255),
    count("queue-pages", 1, 16),
    count("private-pages", 1, 4),
    count("table-pages", 1, 2),
    count("its", 1, MAX_ITS as u64),
    count("intid-bits", 14, 16),
    Argument::new("collections", Shape::Choice(&["flat", "two-level"])),
];

pub(crate) fn configuration_words(configuration: &ItsConfiguration) -> [u64; CHARACTER_FIELDS] {
    let wide = |bytes: u8| u64::from(bytes > 8);
    let chosen = |freedom: &Freedom| u64::from(configuration.choices.number(*freedom));
    let own: [u64; OWN_FIELDS] = [
        configuration.event_id_bits.into(),
        configuration.device_id_bits.into(),
        configuration.collection_id_bits.into(),
        configuration.hardware_collections.into(),
        configuration.itt_entry_bytes.into(),
        wide(configuration.device_entry_bytes),
        wide(configuration.collection_entry_bytes),
        configuration.field_order.into(),
        configuration.redistributor_addresses.into(),
        configuration.page_size.field().into(),
        configuration.two_level.into(),
        chosen(&Freedom::OnError),
        match configuration.pace {
            Pace::AtOnce => 0,
            Pace::Late => 1,
            Pace::Never => 2,
        },
        configuration.cumulative_collections.into(),
        configuration.two_level_collections.into(),
        configuration.invalidates.into(),
    ];
    let mut words = [0; CHARACTER_FIELDS];
    let all = own.into_iter().chain(LATER_FREEDOMS.iter().map(chosen));
    words.iter_mut().zip(all).for_each(|(slot, word)| *slot = word);
    words
}

/// With every number in its range.
pub(crate) fn configuration(words: [u64; CHARACTER_FIELDS]) -> ItsConfiguration {
    let [
        event_id_bits,
        device_id_bits,
        collection_id_bits,
        hardware_collections,
        itt_entry_bytes,
        device_entry,
        collection_entry,
        field_order,
        rdbase,
        page_size,
        two_level,
        on_error,
        pace,
        cumulative_collections,
        two_level_collections,
        invalidates,
        later_freedoms @ ..,
    ] = fixed(&CHARACTER, words);
    let entry_bytes = |wide| if wide == 0 { 8 } else { 16 };
    let choices = Choices::USUAL.with_number(Freedom::OnError, on_error);
    let later = LATER_FREEDOMS.iter().zip(later_freedoms);
    let choices =
        later.fold(choices, |choices, (freedom, option)| choices.with_number(*freedom, option));
    ItsConfiguration {
        event_id_bits: event_id_bits as u8,
        device_id_bits: device_id_bits as u8,
        collection_id_bits: collection_id_bits as u8,
        hardware_collections: hardware_collections as u8,
        itt_entry_bytes: itt_entry_bytes as u8,
        device_entry_bytes: entry_bytes(device_entry),
        collection_entry_bytes: entry_bytes(collection_entry),
        field_order: field_order as u8,
        redistributor_addresses: rdbase != 0,
        page_size: PageSize::from_field(page_size as u8),
        two_level: two_level != 0,
        pace: match pace {
            0 => Pace::AtOnce,
            1 => Pace::Late,
            _ => Pace::Never,
        },
        cumulative_collections: cumulative_collections != 0,
        two_level_collections: two_level_collections != 0,
        invalidates: invalidates != 0,
        choices,
    }
}

pub(crate) fn boot_words(boot: &Boot) -> [u64; BOOT_FIELDS] {
    [
        match boot.stage {
            Stage::Probed => 0,
            Stage::Deprivileged => 1,
            Stage::Guarded => 2,
            Stage::Reset => 3,
        },
        boot.live_devices.into(),
        boot.queue_pages.into(),
        boot.private_pages.into(),
        boot.table_pages.into(),
        boot.its.into(),
        boot.intid_bits.into(),
        boot.two_level_collections.into(),
    ]
}

/// With every number in its range.
pub(crate) fn boot(words: [u64; BOOT_FIELDS]) -> Boot {
    let [
        stage,
        live_devices,
        queue_pages,
        private_pages,
        table_pages,
        its,
        intid_bits,
        two_level_collections,
    ] = fixed(&BOOT, words);
    Boot {
        stage: match stage {
            0 => Stage::Probed,
            1 => Stage::Deprivileged,
            2 => Stage::Guarded,
            _ => Stage::Reset,
        },
        live_devices: live_devices as u8,
        queue_pages: queue_pages as u8,
        private_pages: private_pages as u8,
        table_pages: table_pages as u8,
        its: its as u8,
        intid_bits: intid_bits as u8,
        two_level_collections: two_level_collections != 0,
    }
}

fn fixed<const N: usize>(fields: &[Argument; N], mut words: [u64; N]) -> [u64; N] {
    for (word, field) in words.iter_mut().zip(fields) {
        *word = field.shape.fix(*word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn defaults_are_legal() {
        let words = configuration_words(&ItsConfiguration::DEFAULT);
        assert_eq!(configuration(words), ItsConfiguration::DEFAULT);
        assert_eq!(boot(boot_words(&Boot::default())), Boot::default());
    }

    /// A new freedom only appends: what the fields before it mean stays.
    #[test]
    fn every_freedom_has_a_field_of_its_own() {
        for freedom in Freedom::ALL {
            let facts = freedom.facts();
            let fields = CHARACTER.iter().filter(|field| field.key == facts.name);
            assert_eq!(fields.count(), 1, "{}", facts.name);
            for option in 0..facts.options.len() as u64 {
                let choices = Choices::USUAL.with_number(*freedom, option);
                let chosen = ItsConfiguration { choices, ..ItsConfiguration::DEFAULT };
                assert_eq!(configuration(configuration_words(&chosen)), chosen);
            }
        }
        let keys = [11, 12, 15, 16, 18].map(|index| CHARACTER[index].key);
        let expected = ["on-error", "pace", "invalidates", "cwriter-beyond", "mapped-event"];
        assert_eq!(keys, expected);
    }

    quickcheck! {
        fn any_bytes_are_a_legal_configuration(bytes: Vec<u8>) -> bool {
            let mut words = [0; CHARACTER_FIELDS];
            words.iter_mut().zip(&bytes).for_each(|(word, byte)| *word = u64::from(*byte));
            let legal = configuration(words);
            configuration(configuration_words(&legal)) == legal
                && (8..=16).contains(&legal.itt_entry_bytes)
                && (4..=20).contains(&legal.device_id_bits)
        }

        fn any_bytes_are_a_boot_plan(bytes: (u8, u8, u8, u8, u8, u8, u8, u8)) -> bool {
            let (a, b, c, d, e, f, g, h) = bytes;
            let legal = boot([a, b, c, d, e, f, g, h].map(u64::from));
            boot(boot_words(&legal)) == legal
                && (1..=16).contains(&legal.queue_pages)
        }
    }
}
