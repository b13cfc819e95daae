//! One action in, one judgement out: of a host that owns its ITSs.

use its_gic::command::Words;
use its_gic::geometry::PAGE_BYTES;
use its_gic::register::FRAME_BYTES;
use its_gic::{Part, Register};
use its_machine::{Action, Direction, Event, Outcome, Translation};

use crate::architecture::{Architecture, Partial};
use crate::judgement::Judgement;
use crate::names::{its_at, name, redistributor_at, redistributor_register};
use crate::outcome::{Fate, Fetched};
use crate::possible::{Possible, Truth};
use crate::registers::STALLED;
use crate::rules;

/// What ICC_IAR1 reads when no interrupt is offered.
pub const NO_INTERRUPT: u64 = 1023;

/// Where MSIs may go: the redistributor and the INTID, or nowhere.
type Targets = Vec<Option<(u8, u32)>>;

/// A register of an ITS or a redistributor, or a half of it.
pub(crate) enum Named {
    Its(usize, Register, Part),
    Redistributor(usize, u64, Part),
}

/// What was so before the events of an action.
pub enum Before {
    /// Nothing that matters.
    Nothing,
    /// Holds CREADR, if that is what is read.
    Read(Option<u64>),
    /// Holds the event of an MSI, and what it would have raised.
    Msi((usize, u32, u32), Option<Targets>),
}

impl Architecture {
    /// Follows one action of a host that owns its ITSs, and judges what hardware did. ITSs and
    /// redistributors that action and events name must be the machine's.
    pub fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement {
        let mut judgement = Judgement::default();
        self.start_action();
        let before = self.begin(action, outcome, events, &mut judgement);
        self.replay(events, &mut judgement, |_, _, _| {});
        self.end(action, outcome, before, &mut judgement);
        judgement
    }

    /// Follows what an action does before its events. Returns what [`Architecture::end`] needs.
    pub fn begin(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        events: &[Event],
        judgement: &mut Judgement,
    ) -> Before {
        match *action {
            Action::Device { address, direction: Direction::Read, .. } => {
                return Before::Read(self.creadr_at(address));
            }
            Action::Device { address, size, direction: Direction::Write(value), .. } => {
                let write = (value, is_refused(events));
                self.write_device(address, size.bytes(), write, judgement);
            }
            Action::Store { address, value, .. } if self.is_stored(address, outcome) => {
                self.host_store(address, &[value]);
            }
            Action::StoreCommand { address, words, .. } if self.is_stored(address, outcome) => {
                self.host_store(address, &words);
            }
            Action::Clean { address, bytes, .. } if *outcome != Outcome::Refused => {
                self.lines_arrive(address, bytes);
            }
            Action::WriteBack { address } => self.lines_arrive(address, 1),
            Action::Msi { its, device_id, event_id, size } => {
                // GITS_TRANSLATER: 16 bits leave the upper half of EventID zero.
                let event = (usize::from(its), device_id, size.truncate(event_id.into()) as u32);
                return Before::Msi(event, self.msi(event));
            }
            Action::EnabledByOther { its } => {
                self.be_enabled_by_other(usize::from(its), judgement);
            }
            Action::Store { .. }
            | Action::StoreCommand { .. }
            | Action::Clean { .. }
            | Action::Acknowledge { .. }
            | Action::PowerLoss { .. }
            | Action::Load { .. }
            | Action::Hypercall { .. }
            | Action::Advance { .. } => {}
        }
        Before::Nothing
    }

    /// Follows what an action does after its events, and judges what came back.
    pub fn end(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        before: Before,
        judgement: &mut Judgement,
    ) {
        match (action, before) {
            (Action::Device { address, size, .. }, Before::Read(creadr)) => {
                let seen = value_of(outcome);
                self.judge_read(*address, size.bytes(), seen, creadr.as_slice(), judgement);
            }
            (Action::Msi { .. }, Before::Msi(event, before)) => {
                self.pend_either(before, event);
            }
            (Action::Acknowledge { cpu }, _) => {
                self.acknowledge(usize::from(*cpu), taken(outcome), judgement);
            }
            (Action::PowerLoss { its, restored }, _) => {
                self.lose_power(usize::from(*its), *restored);
            }
            (Action::Device { .. } | Action::Msi { .. } | Action::Hypercall { .. }, _)
            | (Action::EnabledByOther { .. }, _)
            | (Action::Load { .. } | Action::Store { .. } | Action::StoreCommand { .. }, _)
            | (Action::Clean { .. } | Action::WriteBack { .. } | Action::Advance { .. }, _) => {}
        }
    }

    fn be_enabled_by_other(&mut self, its: usize, judgement: &mut Judgement) {
        if self.its[its].registers.can_be_enabled_by_other()
            && let Err(why) = self.write_its(its, Register::Ctlr, (Part::Whole, 1), false)
        {
            judgement.poison(why);
        }
    }

    fn is_stored(&self, address: u64, outcome: &Outcome) -> bool {
        *outcome != Outcome::Refused && self.machine.is_memory(address, 8)
    }

    /// Makes pending what an MSI raises. Whether it came before or after the commands consumed in
    /// this action is not known: `before` is what it would have raised before.
    fn pend_either(&mut self, before: Option<Targets>, event: (usize, u32, u32)) {
        match (before, self.msi(event)) {
            (None, _) | (_, None) => self.lose_pending(),
            (Some(mut targets), Some(after)) => {
                targets.extend(after);
                targets.sort_unstable();
                targets.dedup();
                self.pend(&targets);
            }
        }
    }

    /// Where an MSI goes, if anywhere: GITS_TRANSLATER. `None`: that depends on an entry that
    /// somebody else wrote.
    pub(crate) fn msi(
        &self,
        (its, device_id, event_id): (usize, u32, u32),
    ) -> Option<Vec<Option<(u8, u32)>>> {
        if !self.its[its].registers.enabled {
            return Some(vec![None]);
        }
        let Possible::Of(found) = self.tables(its).translate(device_id, event_id) else {
            return None;
        };
        let target = |to: Translation| to.redistributor.map(|of| (of, to.intid));
        let mut targets: Vec<_> = found.into_iter().map(|found| found.and_then(target)).collect();
        targets.sort_unstable();
        targets.dedup();
        Some(targets)
    }

    /// One of these LPIs, or none, becomes pending.
    fn pend(&mut self, targets: &[Option<(u8, u32)>]) {
        let truth = if targets.len() == 1 { Truth::Yes } else { Truth::Maybe };
        for (redistributor, intid) in targets.iter().flatten() {
            self.redistributors[usize::from(*redistributor)].pend(*intid, truth);
        }
    }

    // ---- events

    /// Follows events in order, and judges what hardware did. `change`: what to make of a change
    /// of page ownership and the events after it.
    ///
    /// Poisons what comes after an ITS read memory that was not cleaned: nothing that it does on
    /// such grounds can be judged; whose fault it is, others say.
    pub fn replay(
        &mut self,
        events: &[Event],
        judgement: &mut Judgement,
        mut change: impl FnMut(&Event, &[Event], &mut Judgement),
    ) {
        if events
            .iter()
            .any(|event| matches!(event, Event::StaleRead { .. } | Event::Overwritten { .. }))
        {
            judgement.poison("memory was not cleaned when the ITS read it or stored to it");
        }
        // CREADR before each of the commands just consumed.
        let mut creadr_before = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let later = &events[index + 1..];
            match event {
                Event::Page { .. } => {
                    creadr_before.clear();
                    change(event, later, judgement);
                }
                _ => self.follow(event, later, &mut creadr_before, judgement),
            }
        }
    }

    fn follow(
        &mut self,
        event: &Event,
        later: &[Event],
        creadr_before: &mut Vec<u64>,
        judgement: &mut Judgement,
    ) {
        match *event {
            Event::DeviceRead { address, size, value } => {
                self.judge_read(address, size.bytes(), value, creadr_before, judgement);
            }
            Event::DeviceWrite { address, size, value } => {
                let write = (value, is_refused(later));
                self.write_device(address, size.bytes(), write, judgement);
            }
            Event::Tampered { address, value } => self.host_store(address, &[value]),
            Event::Cleaned { address, bytes } => self.lines_arrive(address, bytes),
            // P4: EL2 stores queue slots and level-1 entries only.
            Event::WordWritten { address, value, .. } => self.write(address, &[value]),
            Event::CommandWritten { address, words } => self.write(address, &words),
            // Private pages may be any of the host's (S6), tables of this ITS too.
            Event::PageZeroed { page } => self.zero_page(page, is_cleaned(page, later)),
            Event::Consumed { its, offset, words, error } => {
                let fate = error.map_or(Fate::Done, |error| Fate::Ignored(error.0));
                return self.take(its, (offset, words, fate), creadr_before, judgement);
            }
            Event::Taken { its, offset, words } => {
                return self.take(its, (offset, words, Fate::Taken), creadr_before, judgement);
            }
            Event::Stalled { its, offset, words, error } => {
                judgement.stalled += 1;
                let fate = error.map_or(Fate::Halted, |error| Fate::Stalled(error.0));
                return self.take(its, (offset, words, fate), creadr_before, judgement);
            }
            // What a command changed of the ITS's reach comes with it.
            Event::Reached(..) | Event::Unreached(_) => return,
            _ => {}
        }
        creadr_before.clear();
    }

    fn take(
        &mut self,
        its: u8,
        (offset, words, fate): (u64, Words, Fate),
        creadr_before: &mut Vec<u64>,
        judgement: &mut Judgement,
    ) {
        let its = usize::from(its);
        creadr_before.push(self.its[its].registers.creadr);
        Fetched { its, offset, words, fate }.follow(self, judgement);
    }

    // ---- registers

    /// The register that an access names. GITS_TRANSLATER is write-only, the rest of its frame
    /// reserved.
    pub(crate) fn named(&self, address: u64, bytes: u64) -> Option<Named> {
        if let Some((its, offset)) = its_at(&self.machine, address) {
            let (register, part) = Register::select(offset, bytes)?;
            return (offset < FRAME_BYTES).then_some(Named::Its(its, register, part));
        }
        let (n, offset) = redistributor_at(&self.machine, address)?;
        let (register, part) = redistributor_register(offset, bytes)?;
        Some(Named::Redistributor(n, register, part))
    }

    /// Follows a write of a register. `refused`: the hardware says that it must not be made.
    pub fn write_device(
        &mut self,
        address: u64,
        bytes: u64,
        (value, refused): (u64, bool),
        judgement: &mut Judgement,
    ) {
        let done = match self.named(address, bytes) {
            Some(Named::Its(its, register, part)) => {
                self.write_its(its, register, (part, value), refused)
            }
            Some(Named::Redistributor(n, register, part)) => {
                self.write_redistributor(n, register, (part, value), refused)
            }
            None => {
                self.note_wrong_access(address);
                Ok(())
            }
        };
        if let Err(why) = done {
            judgement.poison(why);
        }
    }

    fn note_wrong_access(&mut self, address: u64) {
        if let Some((its, _)) = its_at(&self.machine, address) {
            self.its[its].registers.note_wrong_access();
        }
    }

    /// Returns CREADR, if `address` is its.
    pub fn creadr_at(&self, address: u64) -> Option<u64> {
        let (its, offset) = its_at(&self.machine, address)?;
        (Register::at(offset) == Register::Creadr).then(|| self.its[its].registers.creadr)
    }

    /// Judges a read of a register. CREADR may be what it was before any command just consumed.
    pub fn judge_read(
        &mut self,
        address: u64,
        bytes: u64,
        seen: u64,
        creadr_before: &[u64],
        judgement: &mut Judgement,
    ) {
        let (part, expected) = match self.named(address, bytes) {
            Some(Named::Its(its, register, part)) => {
                let expected = self.its[its].read(register);
                self.learn(its, register, part, seen);
                (part, expected)
            }
            Some(Named::Redistributor(n, register, part)) => {
                let freedoms = self.its[0].freedoms;
                (part, self.redistributors[n].read(register, seen, &freedoms))
            }
            None => return self.note_wrong_access(address),
        };
        let differs = |value: u64| (part.extract(value) ^ seen) & part.extract(expected.known) != 0;
        let is_creadr = self.creadr_at(address).is_some();
        let was = is_creadr && creadr_before.iter().any(|earlier| !differs(*earlier));
        if differs(expected.value) && !was {
            let (source, path) = name(&self.machine, address);
            let value = format_args!("{:#x}", part.extract(expected.value));
            let (rule, seen) = (&rules::ARCH_REGISTER, format_args!("{seen:#x}"));
            judgement.hardware(rule, "read", source, path, value, seen);
        }
    }
}

/// What must be so.
impl Architecture {
    /// Whether the n-th ITS may translate an event like this; else how it must.
    pub fn check_translation(
        &self,
        (its, device_id, event_id): (u8, u32, u32),
        seen: Option<Translation>,
    ) -> Result<(), String> {
        let expected = self.tables(its.into()).translate(device_id, event_id);
        if expected.allows(seen) { Ok(()) } else { Err(format!("{expected:?}")) }
    }

    /// (ITS, DeviceID, EventID) whose translation the last action may have changed.
    pub fn touched(&self) -> &[(u8, u32, u32)] {
        &self.touched
    }

    /// Every (DeviceID, EventID) of an ITS that is mapped for sure, ascending.
    pub fn mapped(&self, its: u8) -> Vec<(u32, u32)> {
        self.tables(its.into()).mapped()
    }

    /// Whether these can be all pending LPIs of a redistributor; else which must be.
    pub fn check_pending(
        &self,
        redistributor: u8,
        seen: impl Iterator<Item = u32>,
    ) -> Result<(), String> {
        self.redistributors[usize::from(redistributor)].pending.check(seen)
    }

    /// Whether a redistributor may offer its CPU this LPI, or none; else which it may.
    pub fn check_offered(&self, redistributor: u8, seen: Option<u32>) -> Result<(), String> {
        match self.offers(redistributor.into()) {
            Some(offers) if !offers.contains(&seen) => Err(format!("{offers:?}")),
            _ => Ok(()),
        }
    }

    /// The only way in which an ITS may translate an event; `None` while there are several.
    pub fn translation(
        &self,
        (its, device_id, event_id): (u8, u32, u32),
    ) -> Option<Option<Translation>> {
        self.tables(its.into()).translate(device_id, event_id).known()
    }

    /// The only LPI that a redistributor may offer its CPU, or none; `None` while there are
    /// several.
    pub fn offered(&self, redistributor: u8) -> Option<Option<u32>> {
        match self.offers(redistributor.into())?[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The only set that can be all pending LPIs of a redistributor; `None` while there are
    /// several.
    pub fn pending(&self, redistributor: u8) -> Option<Vec<u32>> {
        self.redistributors[usize::from(redistributor)].pending.known()
    }

    /// What a read of a register of the n-th ITS returns, as far as it is known.
    pub fn register(&self, its: u8, register: Register) -> Partial {
        self.its[usize::from(its)].read(register)
    }

    /// Returns whether nothing more can be expected of the queue of an ITS that its host owns: all
    /// of it was consumed, or the ITS is stalled or disabled.
    pub fn is_settled(&self, its: usize) -> bool {
        let registers = &self.its[its].registers;
        !registers.enabled
            || registers.creadr & STALLED != 0
            // A CWRITER beyond the queue may keep the ITS at rest or not.
            || registers.writer().is_none()
            || !self.its[its].can_fetch()
    }
}

/// Returns the value that an access returned, 0 if there is none.
pub fn value_of(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Value(value) => *value,
        _ => 0,
    }
}

/// Returns the interrupt that an acknowledge returned.
fn taken(outcome: &Outcome) -> Option<u32> {
    match outcome {
        Outcome::Value(intid) if *intid != NO_INTERRUPT => Some(*intid as u32),
        _ => None,
    }
}

/// Returns whether EL2 then cleans all of the page.
fn is_cleaned(page: u64, events: &[Event]) -> bool {
    let start = page.wrapping_mul(PAGE_BYTES);
    events.iter().any(|event| {
        let Event::Cleaned { address, bytes } = *event else {
            return false;
        };
        let end = address.saturating_add(bytes);
        address <= start && end >= start.saturating_add(PAGE_BYTES)
    })
}

/// Returns whether what follows a write says that it must not be made.
fn is_refused(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event::Unpredictable { .. }))
}
