//! What the ITS did about a command, held against all ways in which it could go.
//!
//! The ways that fit are kept; where they differ, all of their effects are possible, and what each
//! of them took an entry for is learned.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::Command;
use its_gic::command::{COMMAND_BYTES, Words};
use its_machine::Freedoms;
use its_machine::freedom::choice::{Effects, OnError};

use crate::architecture::{Architecture, Late};
use crate::cells::{Entry, Slot};
use crate::commands::Way;
use crate::fault::Fault;
use crate::path::{Change, Path, UNKNOWN_MEMORY, Undefined};
use crate::possible::{Possible, Truth};
use crate::{judgement::Judgement, rules};

/// What the physical ITS did about a command that it fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    pub(crate) its: usize,
    pub(crate) offset: u64,
    pub(crate) words: Words,
    pub(crate) fate: Fate,
}

/// What became of a command. The number of an error may not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// Passed over, as it was in error.
    Ignored(Option<u32>),
    Stalled(Option<u32>),
    /// The ITS stalled because the scenario said so, whatever the command is.
    Halted,
    /// Done or ignored: that was not seen.
    Taken,
}

impl Fate {
    fn is_error(self) -> bool {
        matches!(self, Self::Ignored(_) | Self::Stalled(_))
    }

    /// Whether a way with this outcome looks like that.
    fn fits(self, result: &Result<(), Fault>, freedoms: &Freedoms) -> bool {
        let Err(fault) = result else {
            return matches!(self, Self::Done | Self::Taken);
        };
        let Fault::Error(numbers) = fault else {
            return false;
        };
        let right = |number: Option<u32>| {
            number.is_none_or(|number| numbers.is_empty() || numbers.contains(&number))
        };
        match self {
            Self::Done | Self::Halted => false,
            Self::Taken => freedoms.allow(OnError::Ignore),
            Self::Ignored(number) => right(number) && freedoms.allow(OnError::Ignore),
            Self::Stalled(number) => right(number) && freedoms.allow(OnError::Stall),
        }
    }
}

impl Fetched {
    /// The physical ITS took a command, or stalled on it.
    pub(crate) fn follow(&self, on: &mut Architecture, judgement: &mut Judgement) {
        judgement.fetched += 1;
        judgement.errors += u32::from(self.fate.is_error());
        let command = Command::decode(self.words);
        if !self.judge_fetch(on, command, judgement) {
            return;
        }
        if self.fate == Fate::Halted {
            // A command that stalled had no effect.
            return on.its[self.its].registers.advance(true);
        }
        let ways = match on.ways(self.its, command) {
            Ok(ways) => ways,
            Err(why) => return judgement.poison(why),
        };
        let its = &mut on.its[self.its];
        its.registers.advance(matches!(self.fate, Fate::Stalled(_)));
        if let Some(why) = undefined(&ways) {
            return match command.event() {
                Some(event) if why == UNKNOWN_MEMORY => on.lose_event(self.its, event),
                _ => judgement.poison(why),
            };
        }
        let is_right = |(_, result): &Way| self.fate.fits(result, &its.freedoms);
        if !ways.iter().any(is_right) {
            let Self { its, offset, fate, .. } = self;
            let path = format_args!("its{its}.slot {offset:#x} {}", command.name());
            let (rule, allowed, seen) =
                (&rules::ARCH_COMMAND, describe(&ways), format_args!("{fate:x?}"));
            return judgement.hardware(rule, "outcome", command.name(), path, allowed, seen);
        }
        let right = ways.into_iter().filter(is_right).map(|(path, _)| path);
        let paths: Vec<Path> = right.collect();
        if let [path] = &paths[..] {
            judgement.choices.extend(path.choices.iter().copied());
        }
        let deltas = Deltas(paths.into_iter().map(Delta::from).collect());
        let late = if self.fate.is_error() { vec![] } else { self.late(on, command, &deltas) };
        self.touch(on, command);
        deltas.apply(on);
        self.touch(on, command);
        self.note_late(on, late);
    }

    /// Judges where the command was fetched from. Whether the ITS may fetch there.
    fn judge_fetch(&self, on: &Architecture, command: Command, judgement: &mut Judgement) -> bool {
        let Self { its, offset, words, .. } = *self;
        let (rule, own) = (&rules::ARCH_FETCH, &on.its[its]);
        if !own.can_fetch() || own.registers.offset() != offset {
            let expected = format_args!("{:#x}, if at all", own.registers.creadr);
            let (path, seen) = (format_args!("its{its}.fetch"), format_args!("{offset:#x}"));
            judgement.hardware(rule, "fetch", "CREADR", path, expected, seen);
            return false;
        }
        let slots = || own.registers.queues(&own.freedoms).map(|queue| queue.slot(offset));
        let mut written = slots().map(|slot| on.memory.command(slot));
        let first = written.next();
        if first != Some(words) && !written.any(|written| written == words) {
            if slots().any(|slot| on.cells.are_under(slot, COMMAND_BYTES)) {
                judgement.poison("an ITS wrote where one reads commands");
                return false;
            }
            let path = format_args!("its{its}.slot {offset:#x}");
            let (expected, seen) = (format_args!("{first:x?}"), format_args!("{words:x?}"));
            judgement.hardware(rule, "fetch", command.name(), path, expected, seen);
        }
        true
    }

    /// Effects::AtSync: MSIs may go by the translation before a command until a SYNC.
    fn late(&self, on: &Architecture, command: Command, deltas: &Deltas) -> Vec<Late> {
        let entry = |change: &Change| matches!(change, Change::Entry(..));
        let mut changes = deltas.0.iter().flat_map(|delta| &delta.changes);
        if !on.its[self.its].freedoms.allow(Effects::AtSync) || !changes.any(entry) {
            return vec![];
        }
        let id = command.event().unwrap_or_default();
        let tables = on.tables(self.its);
        let (ids, redistributor) = match command {
            Command::Mapti { icid, .. }
            | Command::Mapi { icid, .. }
            | Command::Movi { icid, .. } => (vec![id], on.collection(self.its, icid)),
            Command::Discard { .. } => {
                let before = tables.newest(id.0, id.1).known().flatten();
                (vec![id], before.and_then(|to| to.redistributor))
            }
            Command::Mapc { icid, rdbase, valid } => {
                let events = tables.events_of(icid).into_iter();
                let to = if valid {
                    on.machine.redistributor_of_low_bits(self.its as u8, rdbase)
                } else {
                    on.collection(self.its, icid)
                };
                (events.map(|(id, _)| id).collect(), to)
            }
            Command::Mapd { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Invall { .. }
            | Command::Movall { .. }
            | Command::Sync { .. }
            | Command::Raw { .. } => return vec![],
        };
        let late = |(device_id, event_id)| Late {
            device_id,
            event_id,
            before: tables.newest(device_id, event_id),
            is_sure: false,
            redistributor,
        };
        ids.into_iter().map(late).collect()
    }

    /// Keeps what MSIs may not see yet, once the command had its effect.
    fn note_late(&self, on: &mut Architecture, mut late: Vec<Late>) {
        for late in &mut late {
            let newest = on.tables(self.its).newest(late.device_id, late.event_id);
            late.is_sure = late.before.excludes(&newest);
        }
        on.its[self.its].late.extend(late);
    }

    /// Translations that a command may change.
    fn touch(&self, on: &mut Architecture, command: Command) {
        let tables = on.tables(self.its);
        let events: Vec<(u32, u32)> = match command {
            Command::Mapd { device_id, .. } => {
                let own = tables.mapped().into_iter().filter(|event| event.0 == device_id);
                own.chain([(device_id, 0)]).collect()
            }
            Command::Mapc { icid, .. } => {
                tables.events_of(icid).into_iter().map(|(id, _)| id).collect()
            }
            Command::Mapti { .. }
            | Command::Mapi { .. }
            | Command::Movi { .. }
            | Command::Discard { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. } => command.event().into_iter().collect(),
            Command::Invall { .. }
            | Command::Movall { .. }
            | Command::Sync { .. }
            | Command::Raw { .. } => return,
        };
        let its = self.its as u8;
        on.touched.extend(events.into_iter().map(|event| (its, event.0, event.1)));
    }
}

/// What every allowed way assumed and changes. Where they differ, all of it is possible.
struct Deltas(Vec<Delta>);

impl Deltas {
    fn apply(&self, on: &mut Architecture) {
        self.narrow(on);
        self.apply_entries(on);
        self.apply_pending(on);
        self.apply_rest(on);
    }

    /// Entries that every way took for one of these are one of these.
    fn narrow(&self, on: &mut Architecture) {
        let Some((first, others)) = self.0.split_first() else {
            return;
        };
        for (slot, entry) in &first.assumed {
            if is_mixed(on, *slot) {
                continue;
            }
            let taken = |delta: &Delta| delta.assumed.get(slot).copied();
            let others = others.iter().map(taken).collect::<Option<Vec<Entry>>>();
            if let Some(others) = others {
                let mut values = Possible::only(*entry);
                others.into_iter().for_each(|other| values.join(&Possible::only(other)));
                on.cells.narrow(*slot, values);
            }
        }
    }

    fn apply_entries(&self, on: &mut Architecture) {
        let slots: BTreeSet<Slot> =
            self.0.iter().flat_map(|delta| delta.entries.keys().copied()).collect();
        let value = |delta: &Delta, slot: Slot| {
            let assumed = delta.assumed.get(&slot).filter(|_| !is_mixed(on, slot));
            let assumed = assumed.copied().map(Possible::only);
            let its = usize::from(slot.its());
            let seen = || on.tables(its).seen(slot, on.its[its].bytes_of(slot));
            delta.entries.get(&slot).cloned().or(assumed).unwrap_or_else(seen)
        };
        let join = |slot| {
            let values = self.0.iter().map(|delta| value(delta, slot));
            Some((slot, values.reduce(|one, other| one.or(&other))?))
        };
        let joined: Vec<_> = slots.into_iter().filter_map(join).collect();
        for (slot, value) in joined {
            on.write_entry(slot, value);
        }
    }

    fn apply_pending(&self, on: &mut Architecture) {
        let all: BTreeSet<(u8, u32)> =
            self.0.iter().flat_map(|delta| delta.pending.keys().copied()).collect();
        for (of, intid) in all {
            let pending = &mut on.redistributors[usize::from(of)].pending;
            let before = pending.get(intid);
            let truths = self.0.iter().map(|delta| delta.pending.get(&(of, intid)));
            let truths = truths.map(|truth| truth.copied().unwrap_or(before));
            pending.set(intid, truths.reduce(Truth::or).unwrap_or(Truth::Maybe));
        }
    }

    fn apply_rest(&self, on: &mut Architecture) {
        let Some(first) = self.0.first() else { return };
        for change in self.0.iter().flat_map(|delta| &delta.changes) {
            match change {
                Change::PendingUnknown(of) => {
                    on.redistributors[usize::from(*of)].pending.unknown = true;
                }
                Change::Taint(address, bytes) => on.cells.taint(*address, *bytes),
                _ => {}
            }
        }
        for change in &first.changes {
            let everywhere = self.0.iter().all(|delta| delta.changes.contains(change));
            match change {
                Change::Forget(of, intids) => {
                    if let Some(intids) = self.forgotten(*of, intids.as_deref()) {
                        on.redistributors[usize::from(*of)].forget(intids.as_deref());
                    }
                }
                Change::Settle(its, of) if everywhere => on.settle((*its).into(), *of),
                Change::SettleDevice(its, device_id) if everywhere => {
                    let its = &mut on.its[usize::from(*its)];
                    its.late.retain(|late| late.device_id != *device_id);
                }
                _ => {}
            }
        }
    }

    /// The configuration that is forgotten on every way: `Some(None)` is all.
    fn forgotten(&self, of: u8, intids: Option<&[u32]>) -> Option<Option<Vec<u32>>> {
        let mut least = intids.map(<[u32]>::to_vec);
        for delta in &self.0 {
            let find = |change: &Change| match change {
                Change::Forget(at, intids) if *at == of => Some(intids.clone()),
                _ => None,
            };
            match (delta.changes.iter().find_map(find)?, &mut least) {
                (None, _) => {}
                (Some(other), None) => least = Some(other),
                (Some(other), Some(least)) => least.retain(|intid| other.contains(intid)),
            }
        }
        Some(least)
    }
}

/// Whether what an entry was taken for may come from a cache of an earlier table, and says nothing
/// of its cell.
fn is_mixed(on: &Architecture, slot: Slot) -> bool {
    on.its[usize::from(slot.its())].stale.iter().any(Option::is_some)
}

/// What one way assumed and changes.
struct Delta {
    assumed: BTreeMap<Slot, Entry>,
    entries: BTreeMap<Slot, Possible<Entry>>,
    pending: BTreeMap<(u8, u32), Truth>,
    changes: Vec<Change>,
}

impl From<Path> for Delta {
    fn from(path: Path) -> Self {
        let mut delta = Self {
            assumed: path.assumed.into_iter().collect(),
            entries: BTreeMap::new(),
            pending: BTreeMap::new(),
            changes: path.changes,
        };
        for change in &delta.changes {
            match change {
                Change::Entry(slot, value) => {
                    delta.entries.insert(*slot, value.clone());
                }
                Change::Pending(of, intid, truth) => {
                    delta.pending.insert((*of, *intid), *truth);
                }
                _ => {}
            }
        }
        delta
    }
}

fn undefined(ways: &[Way]) -> Option<Undefined> {
    ways.iter().find_map(|(_, result)| match result {
        Err(Fault::Undefined(why)) => Some(*why),
        _ => None,
    })
}

/// The allowed outcomes, each with the options that lead to it.
fn describe(ways: &[Way]) -> String {
    let mut all: Vec<String> = ways
        .iter()
        .map(|(path, result)| {
            let what = match result {
                Ok(()) => "done".into(),
                Err(Fault::Error(numbers)) if numbers.is_empty() => "any error".into(),
                Err(Fault::Error(numbers)) => format!("error {numbers:x?}"),
                Err(Fault::Undefined(why)) => format!("anything: {why}"),
            };
            let options = path.choices.iter();
            let options =
                options.map(|(freedom, option)| format!(" {}={option}", freedom.facts().name));
            format!("{what}{}", options.collect::<String>())
        })
        .collect();
    all.dedup();
    all.join(", or ")
}
