//! The queue of a guarded ITS: what EL2 must take, release, judge, borrow and pass on (P5 to P11).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;

use its_gic::command::Words;
use its_gic::geometry::{Level1Entry, Location, PAGE_BYTES, Pages, Queue, Table, itt_bytes};
use its_gic::register::{Baser, Cbaser, OFFSET_MASK, TableType};
use its_gic::{Command, Register};
use its_machine::{Errno, Event, PageChange};

use crate::account::Account;
use crate::policy::Policy;
use crate::{Rule, rules};
use its_architecture::STALLED;

/// What an accepted command changes for the records once it is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Map { device_id: u32, itt: Pages },
    Unmap { device_id: u32 },
    Nothing,
}

/// How far the ITS is on its way to rest (at rest, below P11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Running,
    /// The host cleared Enabled.
    Stopping,
    /// Then Quiescent read 1, CBASER as EL2 left it, and CREADR from C to J.
    AtRest,
    /// It stopped in another way: it lost power at work, and stays off.
    Lost,
}

/// What EL2 must know of an ITS in the phase Guarded.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// As at set-up.
    pub(crate) cbaser: u64,
    pub(crate) baser: [u64; 8],
    /// CTLR as at set-up, without Enabled and Quiescent.
    pub(crate) ctlr: u64,
    /// The Valid bits last accepted.
    pub(crate) cbaser_valid: bool,
    pub(crate) baser_valid: [bool; 8],
    pub(crate) queue: Queue,
    /// Physical addresses of the host's copies of the queue and of level-1 tables.
    pub(crate) shadow_queue: u64,
    pub(crate) shadow_level1: [u64; 8],
    /// Physical addresses of valid level-1 entries.
    pub(crate) level1: BTreeSet<u64>,
    /// Offsets: C, J and W.
    pub(crate) c: u64,
    pub(crate) j: u64,
    pub(crate) w: u64,
    /// The hardware was stalled at the last look.
    pub(crate) stalled: bool,
    /// The command at J was refused.
    pub(crate) refused: bool,
    pub(crate) stop: Stop,
    /// Slots from C to J, oldest first.
    pub(crate) in_flight: VecDeque<Effect>,
    /// The ITT of each device, as of what was consumed.
    pub(crate) records: BTreeMap<u32, Pages>,
    /// Records that fit in the private pages (P7).
    pub(crate) capacity: u64,
}

impl Guard {
    /// P7: each MAPD V=1 holds a record of its own from submission.
    pub(crate) fn records_used(&self) -> usize {
        let maps = |effect: &&Effect| matches!(effect, Effect::Map { .. });
        self.records.len() + self.in_flight.iter().filter(maps).count()
    }

    /// What CREADR shows the host (P10).
    pub(crate) fn creadr(&self) -> u64 {
        let stalled = self.stalled || self.refused && self.c == self.j;
        self.c | if stalled { STALLED } else { 0 }
    }

    /// What an ITS that is quiescent came to, by CBASER and CREADR as EL2 read them. After a loss
    /// of power CBASER is not as it was left, or firmware restored it and CREADR is 0.
    pub(crate) fn stopped(&self, cbaser: Option<u64>, creadr: Option<u64>) -> Stop {
        let (Some(cbaser), left) = (cbaser, self.cbaser_value()) else {
            return Stop::Stopping;
        };
        if (cbaser ^ left) & Cbaser::WRITABLE != 0 {
            return Stop::Lost;
        }
        let Some(creadr) = creadr else {
            return Stop::Stopping;
        };
        let offset = creadr & OFFSET_MASK;
        let at = self.queue.distance(self.c, offset);
        match offset < self.queue.bytes && at <= self.in_flight.len() as u64 {
            true => Stop::AtRest,
            false => Stop::Lost,
        }
    }

    /// Whether a CREADR of 0 is one that it can come to rest with.
    pub(crate) fn may_rest_at_zero(&self) -> bool {
        self.queue.distance(self.c, 0) <= self.in_flight.len() as u64
    }

    /// Whether EL2 copied the host's slot J.
    pub(crate) fn copies_j(&self, events: &[Event]) -> bool {
        find_copy(events, self.shadow_queue, self.queue, self.j).is_some()
    }

    /// What CBASER shows the host, and how EL2 left it.
    pub(crate) fn cbaser_value(&self) -> u64 {
        self.cbaser & !Baser::VALID | u64::from(self.cbaser_valid) << 63
    }

    /// What `BASER<n>` shows the host.
    pub(crate) fn baser_value(&self, n: usize) -> u64 {
        self.baser[n] & !Baser::VALID | u64::from(self.baser_valid[n]) << 63
    }

    /// The tables of one type that were Valid at set-up.
    pub(crate) fn tables(&self, kind: TableType) -> impl Iterator<Item = Table> + use<'_> {
        let basers = self.baser.iter().map(|value| Baser::from_bits(*value));
        let of_type = move |baser: &Baser| baser.valid() && baser.table_type() == kind;
        basers.filter(of_type).map(Table::new)
    }

    /// The effect of a consumed command on the records; the pages that it releases.
    pub(crate) fn complete(&mut self, effect: Effect) -> Option<Pages> {
        match effect {
            Effect::Map { device_id, itt } => self.records.insert(device_id, itt),
            Effect::Unmap { device_id } => self.records.remove(&device_id),
            Effect::Nothing => None,
        }
    }
}

/// One look at the hardware: CREADR, then CTLR (P9).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    creadr: u64,
    enabled: bool,
}

impl Look {
    /// The first look among these events.
    fn find(base: u64, events: &[Event]) -> Option<Self> {
        let read = |register: Register| {
            move |event: &Event| match event {
                Event::DeviceRead { address, value, .. } => {
                    (*address == base.wrapping_add(register.offset())).then_some(*value)
                }
                _ => None,
            }
        };
        let mut rest = events.iter();
        let creadr = rest.find_map(read(Register::Creadr))?;
        let ctlr = rest.find_map(read(Register::Ctlr))?;
        Some(Self { creadr, enabled: ctlr & 1 != 0 })
    }
}

/// What EL2 did about a level-2 table that a command needs (P8).
enum Level2 {
    /// The id is beyond the table.
    Beyond,
    Present,
    /// The host offers this.
    Offered {
        entry: u64,
        pages: Pages,
    },
    /// The host offers nothing usable.
    Unusable,
    /// EL2 did not read what the host offers.
    Unread,
}

impl Policy {
    /// P9: a look among `events`. C is taken and what was consumed is released. Whether EL2 must
    /// judge.
    pub(crate) fn look(&mut self, its: usize, events: &[Event], account: &mut Account) -> bool {
        let Some(look) = Look::find(self.machine.its[its], events) else {
            let path = format_args!("its{its}.look");
            account.judgement.disagree(
                &rules::DIV_LOOK,
                "P9",
                path,
                "CREADR, then CTLR",
                "no such reads",
            );
            return false;
        };
        let Some(guard) = &mut self.guards[its] else {
            return false;
        };
        // P11: C and Stalled stay.
        if !look.enabled || guard.stop == Stop::Lost {
            return false;
        }
        guard.stalled = look.creadr & STALLED != 0;
        let consumed = guard.queue.distance(guard.c, look.creadr & OFFSET_MASK);
        if consumed > guard.in_flight.len() as u64 {
            let path = format_args!("its{its}.creadr");
            let expected = format_args!("from {:#x} to {:#x}", guard.c, guard.j);
            let seen = format_args!("{:#x}", look.creadr);
            account.judgement.hardware(&rules::ARCH_REGISTER, "read", "P9", path, expected, seen);
            return false;
        }
        guard.c = look.creadr & OFFSET_MASK;
        for _ in 0..consumed {
            let effect = guard.in_flight.pop_front().unwrap_or(Effect::Nothing);
            if let Some(released) = guard.complete(effect) {
                self.ledger.give_back(released);
            }
        }
        true
    }

    /// P9, P10: judges from J towards W. `events` start where EL2 may begin to.
    pub(crate) fn judge_queue(&mut self, its: usize, mut events: &[Event], account: &mut Account) {
        loop {
            let Some(guard) = &self.guards[its] else {
                return;
            };
            let (j, shadow, queue) = (guard.j, guard.shadow_queue, guard.queue);
            let full = guard.in_flight.len() >= self.policy.commands_in_flight as usize;
            if j == guard.w || guard.refused || full {
                return;
            }
            let Some((words, window, rest)) = find_copy(events, shadow, queue, j) else {
                let path = format_args!("its{its}.slot {j:#x}");
                account.judgement.disagree(
                    &rules::DIV_UNJUDGED,
                    "P9",
                    path,
                    "copied and judged",
                    "not copied",
                );
                return;
            };
            events = rest;
            let effect = self.judge_slot(its, j, words, window, account);
            let Some(guard) = &mut self.guards[its] else {
                return;
            };
            match effect {
                None => guard.refused = true,
                Some(effect) => {
                    guard.in_flight.push_back(effect);
                    guard.j = queue.after(j);
                }
            }
        }
    }

    /// P10: the slot that the hardware stalled at is copied and judged afresh. Whether it passes.
    pub(crate) fn judge_stalled(
        &mut self,
        its: usize,
        events: &[Event],
        account: &mut Account,
    ) -> bool {
        let Some(guard) = &self.guards[its] else {
            return false;
        };
        let c = guard.c;
        let Some((words, window, _)) = find_copy(events, guard.shadow_queue, guard.queue, c) else {
            let path = format_args!("its{its}.slot {c:#x}");
            account.judgement.disagree(
                &rules::DIV_UNJUDGED,
                "P10",
                path,
                "copied and judged",
                "not copied",
            );
            return false;
        };
        let effect = self.judge_slot(its, c, words, window, account);
        let (Some(guard), Some(effect)) = (&mut self.guards[its], effect) else {
            return false;
        };
        let old = guard.in_flight.front_mut();
        if let Some(Effect::Map { itt, .. }) = old.map(|old| std::mem::replace(old, effect)) {
            self.ledger.give_back(itt);
        }
        true
    }

    /// Judges one copied command against what EL2 did about it, which is in `window`.
    fn judge_slot(
        &mut self,
        its: usize,
        offset: u64,
        words: Words,
        window: &[Event],
        account: &mut Account,
    ) -> Option<Effect> {
        account.judgement.judged += 1;
        self.ledger.witness(window);
        let command = Command::decode(words);
        let effect = self.judge_command(its, command, window, account);
        account.judgement.refused += u32::from(effect.is_none());
        let slot = self.guards[its].as_ref()?.queue.slot(offset);
        let mut written = window.iter().filter_map(|event| match event {
            Event::CommandWritten { address, words } if *address == slot => Some(*words),
            _ => None,
        });
        let first = written.next();
        account.slots += u32::from(first.is_some());
        let (rule, expected, seen) = match (effect, first) {
            (None, Some(_)) => {
                let rule: &'static Rule = &rules::DIV_COMMAND;
                (rule, "refused".into(), "accepted".into())
            }
            (Some(_), None) => (&rules::DIV_REFUSED, "accepted".into(), "refused".into()),
            (Some(_), Some(passed)) if passed != canonical(command).encode() => {
                let words = canonical(command).encode();
                (&rules::DIV_BYTES, format!("{words:x?}"), format!("{passed:x?}"))
            }
            _ => return effect,
        };
        let path = format_args!("its{its}.slot {offset:#x} {}", command.name());
        account.judgement.disagree(rule, command.name(), path, expected, seen);
        effect
    }

    /// The command table of the policy, row by row: what the command does once consumed, `None` if
    /// it is refused.
    fn judge_command(
        &mut self,
        its: usize,
        command: Command,
        window: &[Event],
        account: &mut Account,
    ) -> Option<Effect> {
        let typer = self.hardware.its[its].typer;
        let known = |rdbase| self.machine.redistributor(its as u8, rdbase).is_some();
        let pass = |passes: bool| passes.then_some(Effect::Nothing);
        let injected = refused_by_injection(window);
        match command {
            Command::Mapd { device_id, size, itt_address, valid: true } => {
                let bytes = itt_bytes(size, typer.itt_entry_bytes());
                let itt = Pages::under(itt_address, bytes);
                // P6, P7: as many EventID bits as the subject takes; a record of its own.
                let passes = !injected
                    && u64::from(device_id) < typer.device_ids()
                    && size <= typer.id_bits()
                    && u32::from(size) < self.policy.event_id_bits
                    && self.machine.is_memory(itt_address, bytes)
                    && self.has_record(its)
                    && self.ledger.can_borrow(itt);
                let level2 = (0, device_id);
                let passes = self.judge_level2(its, level2, Some(itt), passes, window, account);
                (passes && self.ledger.borrow(itt).is_ok())
                    .then_some(Effect::Map { device_id, itt })
            }
            Command::Mapd { device_id, .. } => {
                let in_range = u64::from(device_id) < typer.device_ids();
                (in_range && self.has_entry(its, 0, device_id))
                    .then_some(Effect::Unmap { device_id })
            }
            Command::Mapc { icid, valid, .. } if !valid => {
                let in_range = u64::from(icid) < typer.collection_ids();
                pass(in_range && self.has_entry(its, 1, icid.into()))
            }
            Command::Mapc { icid, rdbase, .. } => {
                let in_range = u64::from(icid) < typer.collection_ids();
                let passes = !injected && in_range && known(rdbase);
                let level2 = (1, icid.into());
                pass(self.judge_level2(its, level2, None, passes, window, account))
            }
            Command::Mapti { .. }
            | Command::Mapi { .. }
            | Command::Movi { .. }
            | Command::Discard { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Invall { .. } => pass(true),
            Command::Movall { from_rdbase, to_rdbase } => {
                pass(known(from_rdbase) && known(to_rdbase))
            }
            Command::Sync { rdbase } => pass(known(rdbase)),
            Command::Raw { .. } => None,
        }
    }

    fn has_record(&self, its: usize) -> bool {
        let guard = self.guards[its].as_ref();
        guard.is_some_and(|guard| (guard.records_used() as u64) < guard.capacity)
    }

    /// Whether an id is within its table (or held by the ITS), level-2 present or not.
    fn has_entry(&self, its: usize, n: usize, id: u32) -> bool {
        let held = n == 1 && id < u32::from(self.hardware.its[its].typer.hcc());
        held || self.table(its, n).is_some_and(|table| u64::from(id) < table.capacity())
    }

    /// A table that was Valid at set-up, as recorded then.
    pub(crate) fn table(&self, its: usize, n: usize) -> Option<Table> {
        let recorded = Baser::from_bits(self.guards[its].as_ref()?.baser[n]);
        recorded.valid().then(|| Table::new(recorded))
    }

    /// P8: the level-2 table of a V=1 command, whose other checks pass or not. Whether the command
    /// passes.
    fn judge_level2(
        &mut self,
        its: usize,
        (n, id): (usize, u32),
        itt: Option<Pages>,
        others_pass: bool,
        window: &[Event],
        account: &mut Account,
    ) -> bool {
        let held = n == 1 && id < u32::from(self.hardware.its[its].typer.hcc());
        let table = self.table(its, n).filter(|_| !held);
        let table = table.filter(|table| u64::from(id) < table.capacity());
        let level1_entry = match table.map(|table| table.locate(id)) {
            Some(Location::Indirect { level1_entry, .. }) => level1_entry,
            _ => return others_pass && self.has_entry(its, n, id),
        };
        let level2 = self.level2(its, n, id, level1_entry, window);
        let write = window.iter().enumerate().find_map(|(index, event)| match event {
            Event::WordWritten { address, value, .. } if *address == level1_entry => {
                Some((index, *value))
            }
            _ => None,
        });
        account.growths += u32::from(write.is_some());
        let mut tell = |rule: &'static Rule, expected: &dyn Display, seen: &dyn Display| {
            let path = format_args!("its{its}.level1 entry {level1_entry:#x}");
            account.judgement.disagree(rule, "P8", path, expected, seen);
        };
        let mut disagree = |expected: &dyn Display, seen: &dyn Display| {
            tell(&rules::DIV_GROWTH, expected, seen);
        };
        let (entry, pages) = match level2 {
            Level2::Offered { entry, pages } => (entry, pages),
            Level2::Present => {
                if write.is_some() {
                    disagree(&"kept", &"written");
                }
                return others_pass;
            }
            Level2::Unread if others_pass => {
                disagree(&"the host's entry read", &"not read");
                return false;
            }
            Level2::Unread | Level2::Unusable | Level2::Beyond => {
                if write.is_some() {
                    disagree(&"left invalid", &"written");
                }
                return false;
            }
        };
        let overlap = |itt: Pages| pages.iter().any(|page| itt.contains(page));
        let passes = others_pass && !itt.is_some_and(overlap);
        let Some((index, value)) = write else {
            if passes {
                disagree(&format_args!("{entry:#x}"), &"not written");
            }
            return passes;
        };
        // P4: zeroed before its entry is written.
        let zeroed = |page| window[..index].contains(&Event::PageZeroed { page });
        if let Some(page) = pages.iter().find(|page| !zeroed(*page)) {
            disagree(&format_args!("page {page:#x} zeroed before"), &"not zeroed");
        }
        if value != entry {
            let texts = (format!("{entry:#x}"), format!("{value:#x}"));
            tell(&rules::DIV_ENTRY, &texts.0, &texts.1);
        }
        // P12: the growth of a refused command may stay.
        let owned = self.ledger.own(pages);
        debug_assert_eq!(owned, Ok(()), "level2() found them free");
        if let Some(guard) = &mut self.guards[its] {
            guard.level1.insert(level1_entry);
        }
        passes
    }

    fn level2(&self, its: usize, n: usize, id: u32, level1_entry: u64, window: &[Event]) -> Level2 {
        let (Some(table), Some(guard)) = (self.table(its, n), &self.guards[its]) else {
            return Level2::Beyond;
        };
        if n == 0 && u64::from(id) >= self.hardware.its[its].typer.device_ids() {
            return Level2::Beyond;
        }
        if guard.level1.contains(&level1_entry) {
            return Level2::Present;
        }
        let shadow = guard.shadow_level1[n] + (level1_entry - table.address);
        let offered = window.iter().find_map(|event| event.word_read(shadow));
        let Some(entry) = offered else {
            return Level2::Unread;
        };
        let address = Level1Entry(entry).address(table.page_size);
        let pages =
            Pages { first: address / PAGE_BYTES, count: table.page_size.bytes() / PAGE_BYTES };
        let usable = Level1Entry(entry).is_valid()
            && Level1Entry(entry).other_bits(table.page_size) == 0
            && self.machine.is_memory(address, table.page_size.bytes())
            && self.ledger.is_free(pages);
        match usable {
            true => Level2::Offered { entry, pages },
            false => Level2::Unusable,
        }
    }
}

/// The first copy that EL2 took of the host's slot, the events from it to the copy of another, and
/// the rest.
fn find_copy(
    events: &[Event],
    shadow: u64,
    queue: Queue,
    offset: u64,
) -> Option<(Words, &[Event], &[Event])> {
    let copy = |event: &Event| match event {
        Event::CommandRead { address, words, .. } => {
            let at = address.wrapping_sub(shadow);
            (at < queue.bytes).then_some((at, *words))
        }
        _ => None,
    };
    let (start, words) = events.iter().enumerate().find_map(|(index, event)| {
        let (at, words) = copy(event)?;
        (at == offset).then_some((index, words))
    })?;
    let after = &events[start + 1..];
    let other = |event: &Event| copy(event).is_some_and(|(at, _)| at != offset);
    let next = after.iter().position(other);
    let (window, rest) = after.split_at(next.unwrap_or(after.len()));
    Some((words, window, rest))
}

/// Whether the scenario made a share, pin or donation fail here: the command is refused then. A
/// share that was not needed, because the page was shared, is followed by its pin.
pub(crate) fn refused_by_injection(events: &[Event]) -> bool {
    let pinned = |pages: Pages, after: &[Event]| {
        after.contains(&Event::Page { change: PageChange::Pin, pages, result: Ok(()) })
    };
    events.windows(2).enumerate().any(|(index, pair)| match pair {
        [Event::Page { change, pages, result: Err(Errno::Enomem) }, Event::Injected] => {
            match change {
                PageChange::Share => !pinned(*pages, &events[index..]),
                PageChange::Pin | PageChange::Donate => true,
                PageChange::Unshare | PageChange::Unpin | PageChange::Reclaim => false,
            }
        }
        _ => false,
    })
}

/// The command as EL2 must pass it on: reserved bits, and what means nothing at V=0, cleared.
fn canonical(command: Command) -> Command {
    match command {
        Command::Mapd { device_id, valid: false, .. } => {
            Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }
        }
        Command::Mapc { icid, valid: false, .. } => Command::Mapc { icid, rdbase: 0, valid: false },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use its_machine::freedom::choice::Effects;
    use its_machine::{AccessSize, Freedoms, Outcome};

    use super::*;
    use crate::policy::Position;
    use crate::testing::*;

    const DONE: Outcome = Outcome::Done;
    const CWRITER: u64 = ITS + 0x88;
    const CREADR: u64 = ITS + 0x90;

    fn post(offset: u64) -> its_machine::Action {
        write(CWRITER, AccessSize::Double, offset)
    }

    fn moves(offset: u64) -> Vec<Event> {
        vec![writes(Register::Cwriter, offset)]
    }

    /// Posts one command at 0x80, with these events in place of right ones.
    fn posts_one(events: &[Vec<Event>]) -> (its_machine::Action, Vec<Event>) {
        (post(0xa0), join(events.iter().cloned()))
    }

    #[test]
    fn one_command_from_post_to_release() {
        let mut world = World::guarded();
        world.posts(0xa0, &[look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE]), moves(0xa0)]);
        assert!(!world.model.is_settled(0));
        assert_eq!(world.model.records(0), Some((2, 3)));
        world.consumes(0x80, &[mapd(2, 4, FREE)]);
        world.shows(CREADR, 0xa0, &look(0xa0));
        assert!(world.model.is_settled(0));
        world.posts(0xc0, &[look(0xa0), accepts(0xa0, unmapd(2), &[]), moves(0xc0)]);
        world.consumes(0xa0, &[unmapd(2)]);
        let kept = read(CREADR, AccessSize::Double);
        // P9: released before the access returns.
        world.differ(kept, Outcome::Value(0xc0), &look(0xc0), &rules::DIV_SHARED, "page 0x80400");
        let all = join([look(0xc0), releases(&[FREE])]);
        world.shows(CREADR, 0xc0, &all);
        assert_eq!(world.model.records(0), Some((1, 3)));
    }

    #[test]
    fn each_step_of_a_post_is_demanded() {
        let world = World::guarded();
        let map = mapd(2, 4, FREE);
        let cases: &[(&[Vec<Event>], &'static Rule, &str)] = &[
            (&[accepts(0x80, map, &[FREE]), moves(0xa0)], &rules::DIV_LOOK, "look"),
            (&[look(0x80)], &rules::DIV_UNJUDGED, "slot 0x80"),
            (&[look(0x80), vec![copied(0x80, map.encode())]], &rules::DIV_REFUSED, "MAPD"),
            (&[look(0x80), accepts(0x80, map, &[FREE])], &rules::DIV_FORWARD, "cwriter"),
            (
                &[look(0x80), accepts(0x80, map, &[FREE]), moves(0xc0)],
                &rules::DIV_FORWARD,
                "cwriter",
            ),
            (
                &[look(0x80), accepts(0x80, map, &[FREE]), moves(0xa0), moves(0xa0)],
                &rules::DIV_FORWARD,
                "cwriter",
            ),
            (
                &[look(0x80), accepts(0x80, map, &[]), moves(0xa0)],
                &rules::DIV_SHARED,
                "page 0x80400.host",
            ),
            (
                &[
                    look(0x80),
                    accepts(0x80, map, &[FREE]),
                    borrows(&[])[..].to_vec(),
                    vec![page(PageChange::Pin, FREE)],
                    moves(0xa0),
                ],
                &rules::DIV_PINS,
                "page 0x80400.pins",
            ),
            (
                &[
                    look(0x80),
                    vec![copied(0x80, map.encode())],
                    borrows(&[FREE]),
                    vec![passed_on(0x80, mapd(2, 5, FREE).encode())],
                    moves(0xa0),
                ],
                &rules::DIV_BYTES,
                "MAPD",
            ),
            (
                &[
                    look(0x80),
                    accepts(0x80, map, &[FREE]),
                    vec![passed_on(0xa0, map.encode())],
                    moves(0xa0),
                ],
                &rules::DIV_BESIDE,
                "queue",
            ),
        ];
        for (events, rule, path) in cases {
            let (action, events) = posts_one(events);
            world.differ(action, DONE, &events, rule, path);
        }
        // CTLR read first is no look: CREADR may be a reset value by then.
        let backwards = vec![reads(Register::Ctlr, 1), reads(Register::Creadr, 0x80)];
        let (action, events) = posts_one(&[backwards, accepts(0x80, SYNC, &[]), moves(0xa0)]);
        world.differ(action, DONE, &events, &rules::DIV_LOOK, "look");
        let (action, events) = posts_one(&[look(0xa0)]);
        world.differ(action, DONE, &events, &rules::ARCH_REGISTER, "");
    }

    #[test]
    fn the_first_copy_counts() {
        let world = World::guarded();
        let (first, second) = (mapti(1, 9, 8201, 1).encode(), SYNC.encode());
        let both = vec![copied(0x80, first), copied(0x80, second)];
        let right = join([look(0x80), both.clone(), vec![passed_on(0x80, first)], moves(0xa0)]);
        world.clone().agree(post(0xa0), DONE, &right);
        let wrong = join([look(0x80), both, vec![passed_on(0x80, second)], moves(0xa0)]);
        world.differ(post(0xa0), DONE, &wrong, &rules::DIV_BYTES, "MAPTI");
    }

    #[test]
    fn out_of_range_and_backwards_writers_are_ignored_whole() {
        let mut world = World::guarded();
        // 0x1000 is the queue's size.
        for beyond in [0x1000, 0xf_ffe0, 0x1001] {
            world.clone().posts(beyond, &[look(0x80)]);
            let accepted = join([look(0x80), accepts(0x80, SYNC, &[]), moves(0xa0)]);
            world.differ(post(beyond), DONE, &accepted, &rules::DIV_FORWARD, "cwriter");
        }
        let both =
            join([look(0x80), accepts(0x80, SYNC, &[]), accepts(0xa0, SYNC, &[]), moves(0xc0)]);
        world.agree(post(0xc0), DONE, &both);
        for passed in [0x80, 0xa0] {
            world.clone().posts(passed, &[look(0x80)]);
            assert_eq!(world.model.position(0).unwrap().w, 0xc0);
        }
        world.shows(CWRITER, 0xc0, &[]);
        world.differ(
            read(CWRITER, AccessSize::Double),
            Outcome::Value(0x80),
            &[],
            &rules::DIV_REGISTER,
            "its0.",
        );
    }

    #[test]
    fn sixty_four_in_flight_and_once_around_the_ring() {
        let mut world = World::guarded();
        let ring =
            |from: u64, count: u64| (0..count).map(move |index| (from + 32 * index) % 0x1000);
        let accept = |from, count| join(ring(from, count).map(|offset| accepts(offset, SYNC, &[])));
        // 100 commands, of which 64 fit.
        let w = 0x80 + 100 * 32;
        let (first, second) = (0x80 + 64 * 32, w);
        let too_many = join([look(0x80), accept(0x80, 65), moves(first + 32)]);
        world.differ(post(w), DONE, &too_many, &rules::DIV_FORWARD, "cwriter");
        world.posts(w, &[look(0x80), accept(0x80, 64), moves(first)]);
        world.shows(CREADR, 0x80, &look(0x80));
        world.consumes(0x80, &[SYNC; 64]);
        let again = join([look(first), accept(0x80, 1), moves(first + 32)]);
        world.differ(
            read(CREADR, AccessSize::Double),
            Outcome::Value(first),
            &again,
            &rules::DIV_UNJUDGED,
            "slot",
        );
        world.shows(CREADR, first, &join([look(first), accept(first, 36), moves(second)]));
        assert_eq!(world.model.position(0), Some(Position { c: first, j: w, w }));
        // Over the end of the ring.
        world.consumes(first, &[SYNC; 36]);
        world.posts(0x40, &[look(w), accept(w, 26), moves(0x40)]);
        let last: Vec<Event> = ring(w, 26).map(|offset| consumed(offset, SYNC)).collect();
        world.agree(ADVANCE, DONE, &last);
        world.shows(CREADR, 0x40, &look(0x40));
    }

    #[test]
    fn the_command_table() {
        let rows: &[(Command, bool, &[u64])] = &[
            (mapd(2, 15, FREE), true, &[]),
            (mapd(2, 16, FREE), false, &[]),
            (mapd(0x1_0000, 4, FREE), false, &[]),
            (mapd(2, 4, 0x7ffff), false, &[]),
            (mapd(2, 15, 0x80fff), false, &[]),
            (mapd(2, 4, QUEUE), false, &[]),
            (mapd(2, 4, 0x80000), false, &[]),
            (unmapd(77), true, &[]),
            (unmapd(0x1000), true, &[]),
            (unmapd(0x1_0000), false, &[]),
            (mapc(511, 1), true, &[]),
            (mapc(512, 1), false, &[]),
            (mapc(0, 2), false, &[]),
            (mapc(0, 0xf_0000_0000), false, &[]),
            (mapti(9, 9, 1, 9), true, &[]),
            (Command::Invall { icid: 0xffff }, true, &[]),
            (Command::Int { device_id: !0, event_id: !0 }, true, &[]),
            (Command::Sync { rdbase: 1 }, true, &[]),
            (Command::Sync { rdbase: 2 }, false, &[]),
            (Command::Movall { from_rdbase: 0, to_rdbase: 1 }, true, &[]),
            (Command::Movall { from_rdbase: 0, to_rdbase: 2 }, false, &[]),
            (Command::Movall { from_rdbase: 2, to_rdbase: 0 }, false, &[]),
            (Command::Raw { words: [0x29, 0, 0, 0] }, false, &[]),
        ];
        let world = World::guarded();
        for (command, accepted, _) in rows {
            let pages: Vec<u64> = match command {
                Command::Mapd { size: 15, .. } if *accepted => (FREE..FREE + 128).collect(),
                _ => Vec::new(),
            };
            let pass = join([look(0x80), accepts(0x80, *command, &pages), moves(0xa0)]);
            let refuse = join([look(0x80), vec![copied(0x80, command.encode())]]);
            let (right, wrong) = if *accepted { (pass, refuse) } else { (refuse, pass) };
            let mut right_world = world.clone();
            let judgement = right_world.play(post(0xa0), DONE, &right);
            assert_eq!(judgement.findings, [], "{command:x?}");
            assert_eq!((judgement.judged, judgement.refused), (1, u32::from(!accepted)));
            let judgement = world.clone().play(post(0xa0), DONE, &wrong);
            assert_ne!(judgement.findings, [], "{command:x?}");
            if !accepted {
                assert!(right_world.model.is_settled(0));
                right_world.shows(CREADR, 0x81, &look(0x80));
            }
        }
    }

    #[test]
    fn reserved_bits_and_meaningless_fields_are_cleared() {
        let world = World::guarded();
        let raw = [
            ([0x2_0000_ff08, !0, 0x7fff_ffff_ffff_ffff, !0], unmapd(2).encode()),
            ([0xff_ffff_ff09, !0, 0x7fff_ffff_ffff_0001, !0], [9, 0, 1, 0]),
            ([0x2_ffff_ff0a, 3 << 32 | 5, !0, !0], [0x2_0000_000a, 3 << 32 | 5, 0xffff, 0]),
        ];
        for (given, passed) in raw {
            let events = |passed| {
                join([look(0x80), vec![copied(0x80, given), passed_on(0x80, passed)], moves(0xa0)])
            };
            world.clone().agree(post(0xa0), DONE, &events(passed));
            world.differ(post(0xa0), DONE, &events(given), &rules::DIV_BYTES, "slot");
        }
    }

    #[test]
    fn a_refused_slot_waits_for_retry() {
        let mut world = World::guarded();
        let bad = mapd(2, 16, FREE).encode();
        let tried = vec![copied(0x80, bad)];
        world.posts(0xc0, &[look(0x80), tried.clone()]);
        // Not judged again without Retry, and Stalled shows.
        world.shows(CREADR, 0x81, &look(0x80));
        world.differ(
            read(CREADR, AccessSize::Double),
            Outcome::Value(0x80),
            &look(0x80),
            &rules::DIV_CREADR,
            "its0.",
        );
        world.posts(0xc0, &[look(0x80)]);
        let unasked = join([look(0x80), accepts(0x80, SYNC, &[]), moves(0xa0)]);
        world.differ(post(0xc0), DONE, &unasked, &rules::DIV_FORWARD, "cwriter");
        world.clone().posts(0xc1, &[look(0x80), tried]);
        // No Retry goes to hardware that is not stalled.
        let retried = [look(0x80), accepts(0x80, SYNC, &[]), accepts(0xa0, SYNC, &[])];
        let told = join([retried.concat(), moves(0x81), moves(0xc0)]);
        world.differ(post(0xc1), DONE, &told, &rules::DIV_FORWARD, "cwriter");
        world.posts(0xc1, &[retried.concat(), moves(0xc0)]);
        world.shows(CREADR, 0x80, &look(0x80));
    }

    #[test]
    fn retry_of_a_hardware_stall_judges_slot_c_afresh() {
        let mut world = World::guarded();
        let wrong = mapti(9, 0, 8193, 0);
        world.posts(
            0xc0,
            &[look(0x80), accepts(0x80, wrong, &[]), accepts(0xa0, SYNC, &[]), moves(0xc0)],
        );
        let error = stalled(0x80, wrong, Some(0x1_0a04));
        assert_eq!(world.clone().play(ADVANCE, DONE, std::slice::from_ref(&error)).stalled, 1);
        world.agree(ADVANCE, DONE, &[error]);
        assert!(world.model.is_settled(0));
        world.shows(CREADR, 0x81, &look(0x81));
        let map = mapd(2, 4, FREE);
        let retry = |value| vec![writes(Register::Cwriter, value)];
        // Not without a fresh judgement, and not if it fails.
        let blind = join([look(0x81), retry(0xc1)]);
        world.differ(post(0xc1), DONE, &blind, &rules::DIV_UNJUDGED, "slot 0x80");
        let bad = join([look(0x81), vec![copied(0x80, mapd(2, 16, FREE).encode())], retry(0xc1)]);
        world.differ(post(0xc1), DONE, &bad, &rules::DIV_FORWARD, "cwriter");
        world.clone().agree(post(0xc1), DONE, &bad[..3]);
        // Both stalls at once: a new command after J, in one write or in two.
        let fixed = [look(0x81), accepts(0x80, map, &[FREE])].concat();
        let more = accepts(0xc0, SYNC, &[]);
        let two = join([fixed.clone(), retry(0xc1), more.clone(), retry(0xe0)]);
        world.clone().agree(post(0xe1), DONE, &two);
        world.clone().agree(post(0xe1), DONE, &join([fixed.clone(), more, retry(0xe1)]));
        world.posts(0xc1, &[fixed, retry(0xc1)]);
        world.consumes(0x80, &[map, SYNC]);
        world.shows(CREADR, 0xc0, &look(0xc0));
        assert_eq!(world.model.records(0), Some((2, 3)));
    }

    #[test]
    fn itts_share_pages_and_a_remap_holds_both() {
        let mut world = World::guarded();
        let (old, new) = (mapd(2, 4, FREE), mapd(2, 4, FREE + 1));
        // Device 3's ITT is on the same page, which the host shared itself.
        let share = hypercall(0, its_machine::Hypercall::HostShareHyp, [FREE, 0, 0, 0]);
        world.agree(share, Outcome::Returned { x0: 0, x1: 0 }, &[page(PageChange::Share, FREE)]);
        let Command::Mapd { itt_address, .. } = old else { unreachable!() };
        let other =
            Command::Mapd { device_id: 3, size: 0, itt_address: itt_address + 0xf00, valid: true };
        let pin = |of| vec![page(PageChange::Pin, of)];
        let slot = |offset, command: Command, pages: Vec<Event>| {
            join([
                vec![copied(offset, command.encode())],
                pages,
                vec![passed_on(offset, command.encode())],
            ])
        };
        let first = [look(0x80), slot(0x80, old, pin(FREE)), slot(0xa0, other, pin(FREE))].concat();
        world.posts(0xc0, &[first, moves(0xc0)]);
        assert_eq!(world.model.page(FREE).unwrap().pins, 2);
        world.consumes(0x80, &[old, other]);
        // No record is left: capacity 3.
        let full = join([look(0xc0), vec![copied(0xc0, new.encode())]]);
        world.clone().agree(post(0xe0), DONE, &full);
        let extra = join([look(0xc0), accepts(0xc0, new, &[FREE + 1]), moves(0xe0)]);
        world.differ(post(0xe0), DONE, &extra, &rules::DIV_COMMAND, "MAPD");
        world.posts(0xe0, &[look(0xc0), accepts(0xc0, unmapd(3), &[]), moves(0xe0)]);
        world.consumes(0xc0, &[unmapd(3)]);
        let unpin = vec![page(PageChange::Unpin, FREE)];
        let remap = [look(0xe0), unpin.clone(), accepts(0xe0, new, &[FREE + 1]), moves(0x100)];
        world.posts(0x100, &remap);
        assert_eq!(world.model.page(FREE).unwrap().pins, 1);
        world.consumes(0xe0, &[new]);
        // The host's own share stays.
        let unshared = [look(0x100), releases(&[FREE])].concat();
        world.differ(
            read(CREADR, AccessSize::Double),
            Outcome::Value(0x100),
            &unshared,
            &rules::DIV_SHARED,
            "0x80400",
        );
        world.shows(CREADR, 0x100, &[look(0x100), unpin].concat());
    }

    #[test]
    fn level2_growth() {
        let world = World::guarded();
        let map = mapd(0x200, 4, FREE);
        let (entry_at, shadow) = (at(LEVEL1) + 8, at(SHADOW_LEVEL1) + 8);
        let entry = Level1Entry::valid(at(FREE + 1)).0;
        let grown = |value| Event::WordWritten { address: entry_at, value, shared: false };
        let donate = page(PageChange::Donate, FREE + 1);
        let zero = Event::PageZeroed { page: FREE + 1 };
        let tail = [
            borrows(&[FREE]),
            vec![passed_on(0x80, map.encode()), writes(Register::Cwriter, 0xa0)],
        ]
        .concat();
        let with = |middle: &[Event], tail: &[Event]| {
            join([look(0x80), vec![copied(0x80, map.encode())], middle.to_vec(), tail.to_vec()])
        };
        let right = [word_read(shadow, entry), donate, zero, grown(entry)];
        let mut grown_world = world.clone();
        grown_world.agree(post(0xa0), DONE, &with(&right, &tail));
        // There now, for the next one and for the hardware.
        grown_world.posts(
            0xc0,
            &[look(0x80), accepts(0xa0, mapd(0x201, 4, FREE + 2), &[FREE + 2]), moves(0xc0)],
        );
        grown_world.consumes(0x80, &[map]);
        let wrong: &[(&[Event], &[Event])] = &[
            (&[], &tail),
            (&right[..1], &tail),
            (&[word_read(shadow, entry), donate, grown(entry)], &tail),
            (&[word_read(shadow, entry), donate, zero, grown(entry | 1 << 55)], &tail),
            (&[word_read(shadow, entry | 2), donate, zero, grown(entry)], &tail),
            (&[word_read(shadow, entry & !Baser::VALID), donate, zero, grown(entry)], &tail),
        ];
        for (index, (middle, tail)) in wrong.iter().enumerate() {
            let kind = if index == 3 { &rules::DIV_ENTRY } else { &rules::DIV_GROWTH };
            world.differ(post(0xa0), DONE, &with(middle, tail), kind, "level1 entry");
        }
        for unusable in [
            0,
            entry & !Baser::VALID,
            Level1Entry::valid(at(ITT)).0,
            entry | 2,
            Level1Entry::valid(at(QUEUE)).0,
            Level1Entry::valid(at(0x7ffff)).0,
        ] {
            world.clone().agree(post(0xa0), DONE, &with(&[word_read(shadow, unusable)], &[]));
        }
        // A command that is refused anyway needs no growth.
        let Command::Mapd { device_id, .. } = map else { unreachable!() };
        let foreign = mapd(device_id, 4, QUEUE).encode();
        let events = [look(0x80), vec![copied(0x80, foreign), word_read(shadow, entry)]].concat();
        world.clone().agree(post(0xa0), DONE, &events);
        // P12: growth may stay if the command is refused after it.
        let huge = [word_read(shadow, Level1Entry::valid(at(FREE)).0)];
        world.clone().agree(post(0xa0), DONE, &with(&huge, &[]));
        let stray = [look(0x80), vec![grown(entry)]].concat();
        world.differ(
            read(CREADR, AccessSize::Double),
            Outcome::Value(0x80),
            &stray,
            &rules::DIV_GROWTH,
            "level-1",
        );
    }

    #[test]
    fn an_injected_failure_refuses_the_command_and_is_undone() {
        let world = World::guarded();
        let map = mapd(2, 4, FREE);
        let failed = |change| Event::Page {
            change,
            pages: Pages { first: FREE, count: 1 },
            result: Err(Errno::Enomem),
        };
        let start =
            [look(0x80), vec![copied(0x80, map.encode()), page(PageChange::Share, FREE)]].concat();
        let pin_fails = [start, vec![failed(PageChange::Pin), Event::Injected]].concat();
        let undone = [pin_fails.clone(), vec![page(PageChange::Unshare, FREE)]].concat();
        world.clone().agree(post(0xa0), DONE, &undone);
        world.differ(post(0xa0), DONE, &pin_fails, &rules::DIV_SHARED, "page 0x80400");
        // P13: a give back that fails leaves the page as it is, for good or until the host unshares
        // it.
        let stuck = [pin_fails, vec![failed(PageChange::Unshare), Event::Injected]].concat();
        let mut world = world;
        world.agree(post(0xa0), DONE, &stuck);
        let unshare = hypercall(0, its_machine::Hypercall::HostUnshareHyp, [FREE, 0, 0, 0]);
        world.agree(
            unshare,
            Outcome::Returned { x0: 0, x1: 0 },
            &[page(PageChange::Unshare, FREE)],
        );
    }

    #[test]
    fn a_failing_share_of_a_shared_page_changes_nothing() {
        let mut world = World::guarded();
        let share = hypercall(0, its_machine::Hypercall::HostShareHyp, [FREE, 0, 0, 0]);
        let done = Outcome::Returned { x0: 0, x1: 0 };
        world.agree(share, done, &[page(PageChange::Share, FREE)]);
        let map = mapd(2, 4, FREE);
        let fails = Event::Page {
            change: PageChange::Share,
            pages: Pages { first: FREE, count: 1 },
            result: Err(Errno::Enomem),
        };
        let copy = vec![copied(0x80, map.encode()), fails, Event::Injected];
        let pin = vec![page(PageChange::Pin, FREE), passed_on(0x80, map.encode())];
        world.posts(0xa0, &[look(0x80), copy, pin, moves(0xa0)]);
    }

    #[test]
    fn at_most_16_event_id_bits() {
        let mut machine = machine();
        machine.configurations[0].event_id_bits = 20;
        let mut world = World::guarded_on(machine);
        let wide = vec![copied(0x80, mapd(2, 16, FREE).encode())];
        world.posts(0xa0, &[look(0x80), wide]);
    }

    #[test]
    fn retry_before_the_refused_slot_is_reached_has_no_effect() {
        let mut world = World::guarded();
        let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
        world.posts(0xc0, &[look(0x80), accepts(0x80, SYNC, &[]), bad.clone(), moves(0xa0)]);
        world.posts(0xc1, &[look(0x80)]);
        let again = join([look(0x80), accepts(0xa0, SYNC, &[]), moves(0xc0)]);
        world.differ(post(0xc1), DONE, &again, &rules::DIV_FORWARD, "cwriter");
        world.consumes(0x80, &[SYNC]);
        world.posts(0xc1, &[look(0xa0), bad]);
    }

    #[test]
    fn stalled_shows_only_at_the_refused_slot() {
        let mut world = World::guarded();
        let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
        world.posts(0xc0, &[look(0x80), accepts(0x80, SYNC, &[]), bad, moves(0xa0)]);
        world.shows(CREADR, 0x80, &look(0x80));
        world.consumes(0x80, &[SYNC]);
        world.shows(CREADR, 0xa1, &look(0xa0));
    }

    #[test]
    fn commands_run_when_they_are_consumed() {
        let prompt = Freedoms::ALL.fix(Effects::AtOnce);
        let mut world = World::allowing(machine(), prompt).boot().guard();
        let map = mapti(1, 9, 8201, 1);
        world.posts(0xa0, &[look(0x80), accepts(0x80, map, &[]), moves(0xa0)]);
        assert_eq!(world.translation(1, 9), None);
        world.consumes(0x80, &[map]);
        assert!(world.model.hardware.touched().contains(&(0, 1, 9)));
        assert_eq!(world.translation(1, 9), Some((8201, Some(1))));
    }
}
