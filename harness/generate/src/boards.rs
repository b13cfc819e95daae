//! What boards are drawn: configurations of ITSs and boot plans.

use arbitrary::Unstructured;
use its_gic::geometry::PageSize;
use its_gic::register::TableType;
use its_machine::freedom::choice::Statusr;
use its_machine::{Freedom, ItsConfiguration, MAX_ITS, Pace, Snooping};
use its_scenario::numbers::Header;
use its_scenario::{Boot, FuzzTarget, Stage};

use crate::draft::by_weight;

/// The freedoms that an emulation in front of the ITS can show to the host: what it emulates is
/// judged with the usual choice of the others.
#[rustfmt::skip]
const CMDQ_FREEDOMS: [Freedom; 17] = [
    Freedom::OnError, Freedom::UnmappedCollection, Freedom::AbsentLevel2, Freedom::MappedEvent,
    Freedom::WideEvent, Freedom::QuiescentEnabled, Freedom::ErrorNumbers, Freedom::SyncNowhere,
    Freedom::UnknownCommand, Freedom::UnmappedRdbase, Freedom::EqualPriority, Freedom::Invall,
    Freedom::LpiCache, Freedom::Statusr, Freedom::MovedCollection, Freedom::UnmappedPending,
    Freedom::ReservedBits,
];

/// Where entries of tables are while the ITS has them in its hands.
const TABLE_FREEDOMS: [Freedom; 3] = [Freedom::Caches, Freedom::Fill, Freedom::Quiescent];

/// The fields that every version of this crate knew: the older ones.
const FIRST_FIELDS: usize = 13;
/// Fields that are no freedoms, but for [`Freedom::OnError`].
const OWN_FIELDS: usize = 16;

/// Returns the places of configuration fields that a target varies: the older ones, and the rest.
pub(crate) fn varied_fields(target: FuzzTarget) -> (Vec<usize>, Vec<usize>) {
    let is = |index: usize, freedom: Freedom| {
        let field = ItsConfiguration::FIELDS.get(index);
        field.is_some_and(|field| field.key == freedom.facts().name)
    };
    let among = |index, freedoms: &[Freedom]| freedoms.iter().any(|freedom| is(index, *freedom));
    let varies = |index: &usize| match target {
        // An ITS that takes writes which it must not ends a case early: nobody says what follows.
        FuzzTarget::Arch => !is(*index, Freedom::BusyWrite),
        FuzzTarget::Cmdq | FuzzTarget::Mmio | FuzzTarget::Hvc | FuzzTarget::Race => {
            among(*index, &CMDQ_FREEDOMS)
        }
        FuzzTarget::Tables => {
            *index < OWN_FIELDS || among(*index, &CMDQ_FREEDOMS) || among(*index, &TABLE_FREEDOMS)
        }
    };
    let later = (FIRST_FIELDS..ItsConfiguration::FIELDS.len()).filter(varies).collect();
    ((0..FIRST_FIELDS).collect(), later)
}

/// Defaults with a few fields drawn. The second ITS is like the first, or another draw.
pub(crate) fn draw_configurations(
    u: &mut Unstructured<'_>,
    target: FuzzTarget,
    its: u8,
) -> [ItsConfiguration; MAX_ITS] {
    let first = draw_configuration(u, target);
    let second = match its {
        1 => ItsConfiguration::DEFAULT,
        _ if u.ratio(1, 4).unwrap_or(false) => first,
        _ => draw_configuration(u, target),
    };
    let mut configurations = [ItsConfiguration::DEFAULT; MAX_ITS];
    for (its, configuration) in configurations.iter_mut().take(2.max(its.into())).enumerate() {
        *configuration = if its % 2 == 0 { first } else { second };
    }
    configurations
}

fn draw_configuration(u: &mut Unstructured<'_>, target: FuzzTarget) -> ItsConfiguration {
    let mut words = ItsConfiguration::DEFAULT.words();
    let (older, later) = varied_fields(target);
    let mut fields: Vec<usize> =
        older.into_iter().filter(|_| u.ratio(1, 6).unwrap_or(false)).collect();
    // Where nothing but the architecture decides, any two options may meet.
    if target == FuzzTarget::Arch && u.ratio(1, 2).unwrap_or(false) {
        fields.extend(later.iter().filter(|_| u.ratio(1, 2).unwrap_or(false)));
    } else {
        for _ in 0..u.int_in_range(0..=3).unwrap_or(0) {
            fields.push(u.choose(&later).copied().unwrap_or(0));
        }
    }
    for index in fields {
        if let Some(word) = words.get_mut(index) {
            *word = u.int_in_range(0..=255).unwrap_or(0);
        }
    }
    let drawn = ItsConfiguration::from_words(words);
    let [more_events, more_devices] = [(); 2].map(|()| u.int_in_range(17..=20).unwrap_or(17));
    let event_id_bits = weighted(u, (drawn.event_id_bits, 12), &[(more_events, 2)]);
    let device_id_bits = weighted(u, (drawn.device_id_bits, 12), &[(more_devices, 1)]);
    let pace = weighted(u, (Pace::AtOnce, 7), &[(Pace::Late, 2), (Pace::Never, 1)]);
    let two_level_collections = match target {
        FuzzTarget::Tables => true,
        FuzzTarget::Arch => u.ratio(1, 2).unwrap_or(false),
        FuzzTarget::Cmdq | FuzzTarget::Mmio | FuzzTarget::Hvc | FuzzTarget::Race => {
            u.ratio(1, 4).unwrap_or(false)
        }
    };
    let statusr = weighted(u, (drawn.choices.get(), 12), &[(Statusr::Present, 1)]);
    let choices = drawn.choices.with(statusr);
    let configuration = ItsConfiguration {
        event_id_bits,
        device_id_bits,
        pace,
        two_level_collections,
        choices,
        ..drawn
    };
    if target == FuzzTarget::Tables && u.ratio(1, 8).unwrap_or(false) {
        // One page of level-1 entries reaches fewer DeviceIDs than there are.
        let (device_id_bits, page_size, two_level) = (20, PageSize::K4, true);
        return ItsConfiguration { device_id_bits, page_size, two_level, ..configuration };
    }
    configuration
}

/// One of several values, each as often as it says.
fn weighted<T: Copy>(u: &mut Unstructured<'_>, usual: (T, u64), others: &[(T, u64)]) -> T {
    let sum = others.iter().fold(usual.1, |sum, (_, weight)| sum.saturating_add(*weight));
    let drawn = u.int_in_range(0..=sum.saturating_sub(1)).unwrap_or(0);
    // Where the bytes end it is the usual one.
    by_weight(drawn, [usual].iter().chain(others)).unwrap_or(usual.0)
}

/// Where a target starts, and how often.
fn draw_stage(u: &mut Unstructured<'_>, target: FuzzTarget) -> Stage {
    use Stage::{Deprivileged, Guarded, Probed, Reset};
    match target {
        FuzzTarget::Arch => weighted(u, (Probed, 5), &[(Reset, 3)]),
        FuzzTarget::Hvc => weighted(u, (Deprivileged, 8), &[(Probed, 4), (Reset, 2), (Guarded, 2)]),
        FuzzTarget::Race => {
            weighted(u, (Guarded, 9), &[(Deprivileged, 3), (Probed, 2), (Reset, 2)])
        }
        FuzzTarget::Cmdq | FuzzTarget::Mmio | FuzzTarget::Tables => {
            weighted(u, (Guarded, 11), &[(Deprivileged, 2), (Probed, 2), (Reset, 2)])
        }
    }
}

/// How many ITSs a target has how often.
fn draw_its(u: &mut Unstructured<'_>, target: FuzzTarget) -> u64 {
    match target {
        FuzzTarget::Cmdq => 1,
        FuzzTarget::Arch => weighted(u, (1, 3), &[(2, 1)]),
        FuzzTarget::Hvc => weighted(u, (1, 18), &[(2, 8), (3, 6), (5, 1)]),
        FuzzTarget::Mmio | FuzzTarget::Tables | FuzzTarget::Race => {
            weighted(u, (1, 11), &[(2, 3), (3, 1)])
        }
    }
}

/// Mostly with the smallest queue and one page of records.
pub(crate) fn draw_boot(u: &mut Unstructured<'_>, target: FuzzTarget) -> Boot {
    let stage = draw_stage(u, target);
    let its = draw_its(u, target);
    // As many as leave EL2 a few records, now and then.
    let nearly_all = u.int_in_range(240..=255).unwrap_or(255);
    let few = u.int_in_range(1..=4).unwrap_or(1);
    let live_devices = weighted(u, (0, 16), &[(few, 12), (nearly_all, 2)]);
    let more = u.int_in_range(2..=16).unwrap_or(2);
    let queue_pages = weighted(u, (1, 5), &[(more, 1)]);
    let private_pages = weighted(u, (1, 12), &[(2, 1), (3, 1), (4, 1), (5, 1)]);
    let table_pages = weighted(u, (1, 4), &[(2, 1)]);
    let intid_bits = weighted(u, (16, 5), &[(14, 1)]);
    let two_level = weighted(u, (0, 1), &[(1, 1)]);
    let sizes = [live_devices, queue_pages, private_pages, table_pages, its, intid_bits, two_level];
    let mut words = Boot::default().words();
    words.iter_mut().skip(1).zip(sizes).for_each(|(word, size)| *word = size);
    let boot = Boot { stage, ..Boot::from_words(words) };
    let boot = if u.ratio(2, 5).unwrap_or(false) { with_unusual_cpus(u, boot) } else { boot };
    let types = [
        TableType::Vpes,
        TableType::Vpes,
        TableType::Devices,
        TableType::Collections,
        TableType::Reserved,
    ];
    let baser2 = u.choose(&types).copied().unwrap_or(TableType::Vpes);
    let baser2 = weighted(u, (TableType::Unimplemented, 4), &[(baser2, 1)]);
    let boot = draw_coherence(u, Boot { baser2, ..boot });
    let cached = Boot { host_stores_cached: true, ..boot };
    let makes_sense = cached.topology().coherence.caches_host();
    if makes_sense && u.ratio(1, 3).unwrap_or(false) { cached } else { boot }
}

/// A third of the boards is as usual; the others have devices that snoop alike, or each on its own.
fn draw_coherence(u: &mut Unstructured<'_>, boot: Boot) -> Boot {
    let mut drawn = || u.choose(&[Snooping::Yes, Snooping::No, Snooping::Unsaid]).copied();
    let usual = Snooping::Unsaid;
    let [queue, tables, propbaser, pendbaser] = match drawn().ok().filter(|one| *one != usual) {
        None => return boot,
        Some(Snooping::Yes) => [drawn().unwrap_or(usual); 4],
        Some(_) => [(); 4].map(|()| drawn().unwrap_or(usual)),
    };
    Boot {
        coherent_queue: queue,
        coherent_tables: tables,
        coherent_propbaser: propbaser,
        coherent_pendbaser: pendbaser,
        ..boot
    }
}

/// The same with other CPUs, other processor numbers, or less memory above 2^48.
fn with_unusual_cpus(u: &mut Unstructured<'_>, boot: Boot) -> Boot {
    let cpus = weighted(u, (2, 1), &[(1, 1), (3, 1)]);
    let mut drawn = |min: u8, max: u8| u.int_in_range(min..=max).unwrap_or(min);
    let high_pages = drawn(33, 48);
    let boot = Boot { cpus, high_pages, ..boot };
    let any = [drawn(0, 3), drawn(0, 3), drawn(0, 255)];
    if drawn(0, 1) == 0 {
        return boot.fixed();
    }
    Boot { processor0: any[0], processor1: any[1], processor2: any[2], ..boot }.fixed()
}
