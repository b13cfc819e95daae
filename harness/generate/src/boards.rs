//! What boards are drawn: configurations of ITSs and boot plans.

use arbitrary::Unstructured;
use its_gic::geometry::PageSize;
use its_machine::{Freedom, ItsConfiguration, MAX_ITS, Pace, Snooping};
use its_scenario::numbers::Header;
use its_scenario::{Boot, FuzzTarget, Stage};

/// The freedoms that an emulation in front of the ITS can show to the host: what it emulates is
/// judged with the usual choice of the others.
#[rustfmt::skip]
const CMDQ_FREEDOMS: [Freedom; 16] = [
    Freedom::OnError, Freedom::UnmappedCollection, Freedom::AbsentLevel2, Freedom::MappedEvent,
    Freedom::WideEvent, Freedom::QuiescentEnabled, Freedom::ErrorNumbers, Freedom::SyncNowhere,
    Freedom::UnknownCommand, Freedom::UnmappedRdbase, Freedom::EqualPriority, Freedom::Invall,
    Freedom::LpiCache, Freedom::Statusr, Freedom::MovedCollection, Freedom::UnmappedPending,
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
    let changes = u.int_in_range(0..=4).unwrap_or(0);
    let most = if target == FuzzTarget::Arch { 6 } else { 3 };
    let choices = u.int_in_range(0..=most).unwrap_or(0);
    for (fields, times) in [(older, changes), (later, choices)] {
        for _ in 0..times {
            let index = u.choose(&fields).copied().unwrap_or(0);
            if let Some(word) = words.get_mut(index) {
                *word = u.int_in_range(0..=255).unwrap_or(0);
            }
        }
    }
    let pace = match u.int_in_range(0..=9) {
        Ok(7 | 8) => Pace::Late,
        Ok(9) => Pace::Never,
        _ => Pace::AtOnce,
    };
    let drawn = ItsConfiguration::from_words(words);
    let two_level_collections = target == FuzzTarget::Tables || drawn.two_level_collections;
    let configuration = ItsConfiguration { pace, two_level_collections, ..drawn };
    if target == FuzzTarget::Tables && u.ratio(1, 8).unwrap_or(false) {
        // One page of level-1 entries reaches fewer DeviceIDs than there are.
        let (device_id_bits, page_size, two_level) = (20, PageSize::K4, true);
        return ItsConfiguration { device_id_bits, page_size, two_level, ..configuration };
    }
    configuration
}

/// Mostly guarded or reset, mostly with the smallest queue.
pub(crate) fn draw_boot(u: &mut Unstructured<'_>, target: FuzzTarget) -> Boot {
    let mut small = |of: u64, usual: u64| match u.int_in_range(0..=of) {
        Ok(drawn) if drawn > 0 => drawn,
        _ => usual,
    };
    let stage = match (target, small(7, 2)) {
        (FuzzTarget::Arch, 3..) => Stage::Probed,
        (FuzzTarget::Arch, _) => Stage::Reset,
        (FuzzTarget::Hvc, 1 | 3) | (FuzzTarget::Mmio | FuzzTarget::Cmdq | FuzzTarget::Race, 1) => {
            Stage::Probed
        }
        (FuzzTarget::Hvc, 2 | 4..=6)
        | (FuzzTarget::Mmio | FuzzTarget::Cmdq | FuzzTarget::Race, 2) => Stage::Deprivileged,
        _ => Stage::Guarded,
    };
    // As many as leave EL2 a few records, now and then.
    let live_devices = match small(32, 0) {
        32 => 240_u64.saturating_add(small(15, 0)),
        other => other % 5,
    };
    let queue_pages = if small(4, 1) == 4 { small(16, 1) } else { 1 };
    let private_pages = match small(4, 1) {
        4 if small(7, 1) == 7 => 5,
        other => other,
    };
    let table_pages = small(2, 1);
    let its = match target {
        FuzzTarget::Arch if small(3, 1) == 3 => 2,
        FuzzTarget::Hvc if small(2, 1) == 2 => {
            if small(3, 2) == 3 {
                3
            } else {
                2
            }
        }
        FuzzTarget::Mmio | FuzzTarget::Tables if small(3, 1) == 3 => 2,
        _ => 1,
    };
    let intid_bits = if small(6, 6) == 1 { 14 } else { 16 };
    let two_level = u64::from(target == FuzzTarget::Tables && small(1, 0) == 1);
    let sizes = [live_devices, queue_pages, private_pages, table_pages, its, intid_bits, two_level];
    let mut words = Boot::default().words();
    words.iter_mut().skip(1).zip(sizes).for_each(|(word, size)| *word = size);
    let boot = Boot { stage, ..Boot::from_words(words) };
    let boot = if small(7, 1) == 7 { with_unusual_cpus(u, boot) } else { boot };
    let boot = draw_coherence(u, boot);
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

/// The same with one to three CPUs, any processor numbers, and less memory above 2^48.
fn with_unusual_cpus(u: &mut Unstructured<'_>, boot: Boot) -> Boot {
    let mut drawn = |min: u8, max: u8| u.int_in_range(min..=max).unwrap_or(min);
    let boot = Boot { cpus: drawn(1, 3), high_pages: drawn(33, 48), ..boot };
    let any = [drawn(0, 3), drawn(0, 3), drawn(0, 255)];
    Boot { processor0: any[0], processor1: any[1], processor2: any[2], ..boot }.fixed()
}
