//! What the ITS did about a command, held against all ways in which it could go.
//!
//! The ways that fit are kept; where they differ, all of their effects are possible, and what each
//! of them took an entry for is learned.

use std::collections::BTreeMap;

use its_gic::Command;
use its_gic::command::Words;
use its_machine::freedom::choice::{Effects, OnError};

use crate::architecture::{Architecture, Late};
use crate::cells::{Entry, Slot};
use crate::commands::{Fault, Way};
use crate::path::{Change, Path, Undefined, explore};
use crate::possible::{Possible, Truth};
use crate::{judgement::Judgement, rules};

/// What the physical ITS did about a command that it fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
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
    /// Done or ignored: that was not seen.
    Taken,
}

impl Fate {
    fn is_error(self) -> bool {
        matches!(self, Self::Ignored(_) | Self::Stalled(_))
    }
}

impl Architecture {
    /// The physical ITS took a command, or stalled on it.
    pub(crate) fn fetched(&mut self, its: usize, fetched: Fetched, judgement: &mut Judgement) {
        judgement.fetched += 1;
        judgement.errors += u32::from(fetched.fate.is_error());
        let Fetched { offset, words, fate } = fetched;
        let registers = self.its[its].registers;
        let freedoms = self.its[its].freedoms;
        if !registers.can_fetch(&freedoms) || registers.offset() != offset {
            let expected = format!("{:#x}, if at all", registers.creadr);
            let path = format!("its{its}.fetch");
            return judgement.hardware(
                &rules::ARCH_FETCH,
                "fetch",
                "CREADR",
                path,
                expected,
                format!("{offset:#x}"),
            );
        }
        let command = Command::decode(words);
        let queues = registers.queues(&freedoms);
        let written = |queue: &its_gic::geometry::Queue| self.memory.command(queue.slot(offset));
        if !queues.iter().map(written).any(|written| written == words) {
            let expected = format!("{:x?}", queues.first().map(written));
            let path = format!("its{its}.slot {offset:#x}");
            judgement.hardware(
                &rules::ARCH_FETCH,
                "fetch",
                command.name(),
                path,
                expected,
                format!("{words:x?}"),
            );
        }
        let ways = match self.ways(its, command) {
            Ok(ways) => ways,
            Err(why) => return judgement.poison(why),
        };
        self.its[its].registers.advance(matches!(fate, Fate::Stalled(_)));
        if let Some(why) = undefined(&ways) {
            return judgement.poison(why);
        }
        let allowed = describe(&ways);
        let fits = |(_, result): &Way| fits(result, fate, &freedoms);
        let paths: Vec<Path> = ways.into_iter().filter(fits).map(|(path, _)| path).collect();
        if paths.is_empty() {
            let path = format!("its{its}.slot {offset:#x} {}", command.name());
            let seen = format!("{fate:x?}");
            return judgement.hardware(
                &rules::ARCH_COMMAND,
                "outcome",
                command.name(),
                path,
                allowed,
                seen,
            );
        }
        if let [path] = &paths[..] {
            judgement.choices.extend(path.choices.iter().copied());
        }
        let deltas: Vec<Delta> = paths.into_iter().map(Delta::from).collect();
        if !fate.is_error() {
            self.note_late(its, command, &deltas);
        }
        self.touch(its, command);
        self.apply(&deltas);
        self.touch(its, command);
    }

    /// Effects::AtSync: MSIs may go by the translation before a command until a SYNC.
    fn note_late(&mut self, its: usize, command: Command, deltas: &[Delta]) {
        let freedoms = self.its[its].freedoms;
        let changes = |delta: &Delta| {
            let entry = |change: &Change| matches!(change, Change::Entry(..));
            delta.changes.iter().any(entry)
        };
        if !freedoms.allow(Effects::AtSync) || !deltas.iter().any(changes) {
            return;
        }
        let id = command.event().unwrap_or_default();
        let (ids, to) = match command {
            Command::Mapti { icid, .. }
            | Command::Mapi { icid, .. }
            | Command::Movi { icid, .. } => (vec![id], self.known_redistributor(its, icid)),
            Command::Discard { .. } => {
                let before = self.translate(its, id.0, id.1).known().flatten();
                (vec![id], before.and_then(|to| to.redistributor))
            }
            Command::Mapc { icid, rdbase, valid } => {
                let events = self.events_of(its, icid).into_iter();
                let to = match valid {
                    true => self.machine.redistributor_of_low_bits(its as u8, rdbase),
                    false => self.known_redistributor(its, icid),
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
            | Command::Raw { .. } => return,
        };
        for (device_id, event_id) in ids {
            let before = self.translate(its, device_id, event_id);
            let late = Late { device_id, event_id, before, redistributor: to };
            self.its[its].late.push(late);
        }
    }

    fn known_redistributor(&self, its: usize, icid: u16) -> Option<u8> {
        let found = explore(&self.its[its].freedoms, |path| self.collection_of(its, icid, path));
        match found.as_deref() {
            Ok([(_, Ok(redistributor))]) => *redistributor,
            _ => None,
        }
    }

    /// Translations that a command may change.
    fn touch(&mut self, its: usize, command: Command) {
        let events: Vec<(u32, u32)> = match command {
            Command::Mapd { device_id, .. } => {
                let mapped = self.mapped_of(its).into_iter();
                let own = mapped.filter(|event| event.0 == device_id);
                own.chain([(device_id, 0)]).collect()
            }
            Command::Mapc { icid, .. } => {
                let events = self.events_of(its, icid).into_iter();
                events.map(|(id, _)| id).collect()
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
            | Command::Raw { .. } => Vec::new(),
        };
        let touched = events.into_iter().map(|event| (its as u8, event.0, event.1));
        self.touched.extend(touched);
    }

    /// Takes what every allowed way did; where they differ, all of it is possible.
    pub(crate) fn apply(&mut self, deltas: &[Delta]) {
        self.narrow(deltas);
        let mut entries: BTreeMap<Slot, Option<Possible<Entry>>> = BTreeMap::new();
        let mut pending: BTreeMap<(u8, u32), Option<Truth>> = BTreeMap::new();
        for delta in deltas {
            entries.extend(delta.entries.keys().map(|slot| (*slot, None)));
            pending.extend(delta.pending.keys().map(|at| (*at, None)));
        }
        for delta in deltas {
            for (slot, joined) in &mut entries {
                let assumed = delta.assumed.get(slot).filter(|_| !self.is_mixed(*slot));
                let assumed = assumed.copied().map(Possible::only);
                let value = delta.entries.get(slot).cloned().or(assumed);
                let value = value.unwrap_or_else(|| self.seen(*slot, self.bytes_of(*slot)));
                *joined = Some(joined.take().map_or(value.clone(), |old| old.or(&value)));
            }
            for ((of, intid), joined) in &mut pending {
                let before = self.redistributors[usize::from(*of)].pending.get(*intid);
                let value = delta.pending.get(&(*of, *intid)).copied().unwrap_or(before);
                *joined = Some(joined.map_or(value, |old| old.or(value)));
            }
        }
        for (slot, value) in entries {
            if let Some(value) = value {
                self.write_entry(slot, value);
            }
        }
        for ((of, intid), truth) in pending {
            let to = &mut self.redistributors[usize::from(of)];
            to.pending.set(intid, truth.unwrap_or(Truth::Maybe));
        }
        self.apply_rest(deltas);
    }

    fn apply_rest(&mut self, deltas: &[Delta]) {
        let Some(first) = deltas.first() else { return };
        for change in deltas.iter().flat_map(|delta| &delta.changes) {
            match change {
                Change::PendingUnknown(of) => {
                    self.redistributors[usize::from(*of)].pending.unknown = true;
                }
                Change::Taint(address, bytes) => self.cells.taint(*address, *bytes),
                _ => {}
            }
        }
        for change in &first.changes {
            let everywhere = deltas.iter().all(|delta| delta.changes.contains(change));
            match change {
                Change::Forget(of, intids) => {
                    if let Some(intids) = forgotten(deltas, *of, intids.as_deref()) {
                        self.redistributors[usize::from(*of)].forget(intids.as_deref());
                    }
                }
                Change::Settle(its, of) if everywhere => self.settle((*its).into(), *of),
                Change::SettleDevice(its, device_id) if everywhere => {
                    let its = &mut self.its[usize::from(*its)];
                    its.late.retain(|late| late.device_id != *device_id);
                }
                _ => {}
            }
        }
    }

    /// Whether what an entry was taken for may come from a cache of an earlier table, and tells
    /// nothing of its cell.
    fn is_mixed(&self, slot: Slot) -> bool {
        let its = &self.its[usize::from(slot.its())];
        its.stale.iter().any(Option::is_some)
    }

    /// Entries that every way took for one of these are one of these.
    fn narrow(&mut self, deltas: &[Delta]) {
        let Some((first, others)) = deltas.split_first() else {
            return;
        };
        for (slot, entry) in &first.assumed {
            if self.is_mixed(*slot) {
                continue;
            }
            let mut values = Possible::only(*entry);
            let taken = |delta: &Delta| delta.assumed.get(slot).copied();
            let Some(rest) = others.iter().map(taken).collect::<Option<Vec<Entry>>>() else {
                continue;
            };
            for other in rest {
                values.join(&Possible::only(other));
            }
            self.cells.narrow(*slot, values);
        }
    }
}

/// The configuration that is forgotten on every way: `Some(None)` is all.
fn forgotten(deltas: &[Delta], of: u8, intids: Option<&[u32]>) -> Option<Option<Vec<u32>>> {
    let mut least = intids.map(<[u32]>::to_vec);
    for delta in deltas {
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

/// What one way assumed and changes.
pub(crate) struct Delta {
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

fn fits(result: &Result<(), Fault>, fate: Fate, freedoms: &its_machine::Freedoms) -> bool {
    let Err(fault) = result else {
        return matches!(fate, Fate::Done | Fate::Taken);
    };
    let Fault::Error(numbers) = fault else {
        return false;
    };
    let right = |number: Option<u32>| {
        number.is_none_or(|number| numbers.is_empty() || numbers.contains(&number))
    };
    match fate {
        Fate::Done => false,
        Fate::Taken => freedoms.allow(OnError::Ignore),
        Fate::Ignored(number) => right(number) && freedoms.allow(OnError::Ignore),
        Fate::Stalled(number) => right(number) && freedoms.allow(OnError::Stall),
    }
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
