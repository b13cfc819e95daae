//! The account of what a host did, and what must have come of it.

use std::collections::BTreeSet;

use its_architecture::{
    Architecture, NO_INTERRUPT, Truth, its_at, overlap, redistributor_at, redistributor_register,
};
use its_declaration::{Declaration, Level2Contents, Level2Tables, Resume, Timeout};
use its_gic::geometry::{CACHE_LINE_BYTES, Level1Entry, PAGE_BYTES, PageSize, Pages};
use its_gic::redistributor as gicr;
use its_gic::register::{Baser, Cbaser, FRAME_BYTES, OFFSET_MASK};
use its_gic::{Command, Part, Register};
use its_machine::freedom::choice::{Effects, LpiCache};
use its_machine::{Action, Direction, Event, Freedoms, Hypercall, Outcome};
use its_rules::{Finding, catalogue as rules};

use crate::legal::{Legal, Unpromised, posted};

/// What the driver of an ITS gave EL2 to guard, by the hypercall interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrusted {
    /// Where the host writes commands from now on: physical address.
    pub queue: u64,
    /// Where it writes level-1 entries of devices and of collections.
    pub level1: [u64; 2],
    /// The driver's memory for level-2 tables.
    pub level2: Pages,
    /// The driver's memory for ITTs.
    pub itts: Pages,
    /// The most devices that the emulation holds for this ITS.
    pub records: usize,
}

/// The account.
#[derive(Clone, Debug)]
pub struct Service {
    /// The ITSs as the host sees them.
    pub(crate) hardware: Architecture,
    /// The same once all commands that were posted are completed.
    ahead: Architecture,
    entrusted: Vec<Entrusted>,
    pub(crate) legal: Legal,
    pub(crate) window: Window,
    /// Lines of memory that the host stored to and did not clean, by address.
    uncleaned: BTreeSet<u64>,
}

/// What happened while commands were not known to be completed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// MSIs: ITS, DeviceID, EventID.
    pub(crate) raised: BTreeSet<(usize, u32, u32)>,
    /// INTIDs that a CPU took.
    taken: BTreeSet<u32>,
}

/// What an action leaves to be judged.
pub(crate) enum After {
    Nothing,
    /// What is pending at the redistributors.
    Pending,
    /// The action itself broke a rule.
    Broken(Finding),
}

pub(crate) type Followed = Result<After, Unpromised>;

const NOTHING: Followed = Ok(After::Nothing);

impl Service {
    /// Returns the account of a host from the moment that EL2 guards all of its ITSs. `hardware`:
    /// the machine before that; `declared`: what the emulation refuses; `entrusted`: of each ITS.
    pub fn new(
        mut hardware: Architecture,
        declared: Declaration,
        entrusted: Vec<Entrusted>,
    ) -> Self {
        hardware.allow(|freedoms| freedoms.and(Effects::AtSync).and(LpiCache::Kept));
        for (its, own) in entrusted.iter().enumerate() {
            take_over_queue(&mut hardware, its, own.queue);
        }
        let mut legal = Legal::new(declared);
        for its in 0..hardware.its.len() {
            for (device_id, event_id) in hardware.mapped(its as u8) {
                let to = hardware.translation((its as u8, device_id, event_id)).flatten();
                legal.intids.extend(to.map(|to| (to.intid, (its, device_id, event_id))));
            }
        }
        let mut ahead = hardware.clone();
        // What a driver sends is carried out by every ITS.
        ahead.allow(|_| Freedoms::ALL);
        let (window, uncleaned) = (Window::default(), BTreeSet::new());
        Self { hardware, ahead, entrusted, legal, window, uncleaned }
    }

    /// Follows an action. Returns the rule that was broken, if one was. `pending` gives the LPIs
    /// that are pending at a redistributor after it.
    ///
    /// # Errors
    ///
    /// Where nothing more is promised; then the account ends.
    pub fn follow<I: Iterator<Item = u32>>(
        &mut self,
        action: &Action,
        outcome: Outcome,
        events: &[Event],
        pending: impl Fn(u8) -> I,
    ) -> Result<Option<Finding>, Unpromised> {
        if events.iter().any(is_out_of_account) {
            return Err("the machine did what no host can account for");
        }
        if !self.asks_to_stop(action) && self.gives_up(events) {
            return Err("the emulation is declared to switch an ITS off, and did");
        }
        match self.act(action, outcome)? {
            After::Broken(finding) => Ok(Some(finding)),
            After::Nothing => Ok(None),
            After::Pending => Ok(self.compare_all(pending)),
        }
    }

    /// The point `timeout`: whether EL2 cleared Enabled of an ITS after it read CREADR as often as
    /// polls are declared.
    pub(crate) fn gives_up(&self, events: &[Event]) -> bool {
        let Declaration { queue, .. } = self.legal.declared;
        if queue.timeout == Timeout::Kept {
            return false;
        }
        let is_clear = |event: &Event| match *event {
            Event::DeviceWrite { address, value, .. } => self.clears_enabled(address, value),
            _ => false,
        };
        let is_poll = |event: &&Event| match **event {
            Event::DeviceRead { address, .. } => self.register(address) == Some(Register::Creadr),
            _ => false,
        };
        let last = events.iter().rposition(is_clear);
        last.is_some_and(|last| {
            events[..last].iter().filter(is_poll).count() >= queue.polls as usize
        })
    }

    /// Whether an action asks EL2 to clear Enabled of an ITS.
    fn asks_to_stop(&self, action: &Action) -> bool {
        match *action {
            Action::Device { address, direction: Direction::Write(value), .. } => {
                self.clears_enabled(address, value)
            }
            _ => false,
        }
    }

    fn clears_enabled(&self, address: u64, value: u64) -> bool {
        self.register(address) == Some(Register::Ctlr) && value & 1 == 0
    }

    /// The register of an ITS at an address.
    fn register(&self, address: u64) -> Option<Register> {
        its_at(&self.hardware.machine, address).map(|(_, offset)| Register::at(offset))
    }

    pub(crate) fn act(&mut self, action: &Action, outcome: Outcome) -> Followed {
        if !self.uncleaned.is_empty() && relies_on_memory(action) {
            return Err("the host did not clean what it stored");
        }
        match *action {
            Action::Device { address, size, direction, .. } => {
                if outcome == Outcome::Refused || outcome == Outcome::Stopped {
                    return Err("an access was refused");
                }
                self.access(address, size.bytes(), direction, outcome)
            }
            Action::Store { address, value, .. } => self.store(address, &[value], outcome),
            Action::StoreCommand { address, words, .. } => self.store(address, &words, outcome),
            Action::Hypercall { x0, arguments, .. } => self.call(x0, arguments),
            Action::Msi { its, device_id, event_id, .. } => {
                self.raise(action, (its.into(), device_id, event_id))
            }
            Action::Acknowledge { cpu } => self.take(cpu, outcome),
            Action::PowerLoss { .. } => Err("an ITS lost power"),
            Action::Clean { address, bytes, .. } if outcome != Outcome::Refused => {
                self.lines_arrive(address, bytes)
            }
            Action::WriteBack { address } => self.lines_arrive(address, 1),
            // It has no effect but after a loss of power.
            Action::EnabledByOther { .. } => NOTHING,
            Action::Clean { .. } | Action::Load { .. } | Action::Advance { .. } => NOTHING,
        }
    }

    /// Compares what is pending at each redistributor, unless commands are under way.
    pub(crate) fn compare_all<I: Iterator<Item = u32>>(
        &mut self,
        pending: impl Fn(u8) -> I,
    ) -> Option<Finding> {
        if self.is_busy() {
            return None;
        }
        self.window = Window::default();
        let mut cpus = self.hardware.machine.cpus();
        cpus.find_map(|cpu| self.compare(cpu, pending(cpu)))
    }

    /// Whether commands are not known to be completed.
    fn is_busy(&self) -> bool {
        (0..self.entrusted.len()).any(|its| self.expects_more(its))
    }

    // ---- memory

    /// Lines arrive in memory.
    fn lines_arrive(&mut self, address: u64, bytes: u64) -> Followed {
        let end = address.saturating_add(bytes);
        self.uncleaned.retain(|line| line + CACHE_LINE_BYTES <= address || *line >= end);
        NOTHING
    }

    fn store(&mut self, address: u64, words: &[u64], outcome: Outcome) -> Followed {
        if outcome != Outcome::Done {
            return NOTHING;
        }
        let stored_at = address;
        let address = self.meant(address, words)?;
        let stored = (address, 8 * words.len() as u64);
        let is_level2 = |one: &Entrusted| one.level2.contains(address / PAGE_BYTES);
        let has_contents = words.iter().any(|word| *word != 0);
        if self.checks_level2() && has_contents && self.entrusted.iter().any(is_level2) {
            return Err("the host stores to memory for level-2 tables");
        }
        if self.hardware.pending_tables().any(|table| overlap(table, stored)) {
            return Err("the host stores to a pending table");
        }
        self.hardware.store(address, words);
        self.ahead.store(address, words);
        if self.hardware.machine.coherence.caches_host() {
            self.uncleaned.insert(stored_at & !(CACHE_LINE_BYTES - 1));
        }
        NOTHING
    }

    /// Whether the host is declared to zero level-2 tables.
    fn checks_level2(&self) -> bool {
        self.legal.declared.memory.level2_contents == Level2Contents::Checked
    }

    /// Where a host that writes to its copy of a queue or of a level-1 table means to write.
    fn meant(&self, address: u64, words: &[u64]) -> Result<u64, Unpromised> {
        for (its, entrusted) in self.entrusted.iter().enumerate() {
            let registers = &self.hardware.its[its].registers;
            let queue = registers.queue();
            let at = address.wrapping_sub(entrusted.queue);
            if at < queue.bytes {
                let posted = registers.writer().unwrap_or_default();
                let ahead = queue.distance(registers.offset(), at & OFFSET_MASK);
                if ahead < queue.distance(registers.offset(), posted) {
                    return Err("the host stores to a command that it posted");
                }
                return Ok(queue.address + at);
            }
            for (n, copy) in entrusted.level1.into_iter().enumerate() {
                let table = registers.baser(n);
                let at = address.wrapping_sub(copy);
                if table.valid() && table.indirect() && at < table.bytes() {
                    let meant = table.address() + at;
                    self.check_growth(entrusted, table.page_size(), (meant, words))?;
                    return Ok(meant);
                }
            }
        }
        Ok(address)
    }

    /// A level-1 entry stays, or names a level-2 table of the driver that nothing else names.
    fn check_growth(
        &self,
        entrusted: &Entrusted,
        page_size: PageSize,
        (address, words): (u64, &[u64]),
    ) -> Result<(), Unpromised> {
        let [entry] = *words else {
            return Err("several level-1 entries are stored at once");
        };
        let (before, table) = (self.hardware.word(address), Level1Entry(entry));
        if before == entry {
            return Ok(());
        }
        if self.legal.declared.memory.level2 == Level2Tables::Fixed {
            return Err("the emulation is declared to add no level-2 tables");
        }
        let level2 = (table.address(page_size), page_size.bytes());
        if self.checks_level2()
            && self.hardware.words(level2.0, level2.1).any(|(_, word)| word != 0)
        {
            return Err("the emulation is declared to refuse a level-2 table with contents");
        }
        let mut pages = Pages::under(level2.0, level2.1).iter();
        let is_driver_s = pages.all(|page| entrusted.level2.contains(page));
        let is_new = !self.ahead.level2_tables().any(|other| overlap(other, level2));
        let is_entry = table.is_valid() && table.other_bits(page_size) == 0;
        if Level1Entry(before).is_valid() || !(is_entry && is_driver_s && is_new) {
            return Err("a level-1 entry is not one of the driver's");
        }
        Ok(())
    }

    /// Whether an ITT lies on a page whose MAPD the driver does not know to be completed.
    fn has_posted_itt(&self, page: u64) -> bool {
        let all = 0..self.ahead.its.len();
        let mut posted = all.flat_map(|its| posted((&self.ahead, its), &self.hardware));
        posted.any(|(_, itt)| itt.contains(page))
    }

    pub(crate) fn call(&mut self, x0: u64, arguments: [u64; 4]) -> Followed {
        match Hypercall::from_function_id(x0) {
            Some(Hypercall::InitItsEmulation) => Err("an ITS is set up again"),
            Some(Hypercall::FiniItsEmulation) => Err("the host asks that an emulation ends"),
            Some(
                Hypercall::HostShareHyp
                | Hypercall::HostUnshareHyp
                | Hypercall::HostDonateGuest
                | Hypercall::ReclaimGuestPage,
            ) => {
                let page = arguments[0];
                if self.entrusted.iter().any(|one| one.level2.contains(page)) {
                    return Err("the host gives memory for level-2 tables away");
                }
                if x0 == Hypercall::HostDonateGuest.function_id() && self.has_posted_itt(page) {
                    return Err("the host gives an ITT away that it posted");
                }
                self.legal.given.insert(page);
                NOTHING
            }
            Some(Hypercall::ProtFinalize | Hypercall::InitRedistributorEmulation) | None => NOTHING,
        }
    }

    // ---- registers

    fn access(
        &mut self,
        address: u64,
        bytes: u64,
        direction: Direction,
        outcome: Outcome,
    ) -> Followed {
        let Some((its, offset)) = its_at(&self.hardware.machine, address) else {
            return self.access_redistributor(address, bytes, direction);
        };
        let register = Register::select(offset, bytes).filter(|_| offset < FRAME_BYTES);
        match (direction, register) {
            (Direction::Read, Some((Register::Creadr, Part::Low | Part::Whole))) => match outcome {
                Outcome::Value(creadr) => self.look(its, creadr & OFFSET_MASK),
                _ => Err("CREADR was not read"),
            },
            (Direction::Read, Some((Register::Ctlr, part))) => {
                if let Outcome::Value(ctlr) = outcome {
                    self.hardware.learn(its, Register::Ctlr, part, ctlr);
                    self.ahead.learn(its, Register::Ctlr, part, ctlr);
                }
                NOTHING
            }
            (Direction::Read, _) => NOTHING,
            (Direction::Write(value), Some((Register::Cwriter, Part::Low | Part::Whole))) => {
                self.post(its, value)
            }
            (Direction::Write(value), Some((register, Part::Whole))) => {
                self.suspend_or_resume(its, register, value)
            }
            (Direction::Write(_), _) => Err("the host writes to a guarded ITS"),
        }
    }

    /// The writes of a driver that stops its ITS when nothing is posted, programs what it
    /// programmed before, and starts it again.
    fn suspend_or_resume(&mut self, its: usize, register: Register, value: u64) -> Followed {
        let resumes = self.legal.declared.registers.resume != Resume::None;
        if !resumes && matches!(register, Register::Cbaser | Register::Baser(_)) {
            return Err("the emulation is declared not to let the host resume");
        }
        let registers = &self.hardware.its[its].registers;
        if registers.forbids(register, value) != Truth::No {
            return Err("the host did not wait until the ITS was quiescent");
        }
        let is_as_before = match register {
            Register::Ctlr => !self.hardware.has_commands(its),
            Register::Cbaser => (value ^ registers.cbaser.value) & Cbaser::WRITABLE == 0,
            Register::Baser(n @ 0..=1) => {
                let before = registers.baser(n.into()).into_bits();
                (value ^ before) & Baser::WRITABLE == 0
            }
            _ => false,
        };
        if !is_as_before {
            return Err("the host writes a register of a guarded ITS");
        }
        self.write(its, register, value)?;
        NOTHING
    }

    fn write(&mut self, its: usize, register: Register, value: u64) -> Result<(), Unpromised> {
        self.hardware.write_its(its, register, (Part::Whole, value), false)?;
        self.ahead.write_its(its, register, (Part::Whole, value), false)
    }

    fn access_redistributor(&mut self, address: u64, bytes: u64, to: Direction) -> Followed {
        let Direction::Write(value) = to else {
            return NOTHING;
        };
        let named = redistributor_at(&self.hardware.machine, address)
            .and_then(|(n, offset)| Some((n, redistributor_register(offset, bytes)?)));
        let Some((n, (register @ (gicr::INVLPIR | gicr::INVALLR), part))) = named else {
            return Err("the host writes a register of a redistributor");
        };
        self.hardware.write_redistributor(n, register, (part, value), false)?;
        NOTHING
    }

    /// GITS_CWRITER: the host posts the commands up to an offset.
    fn post(&mut self, its: usize, value: u64) -> Followed {
        let registers = &self.hardware.its[its].registers;
        let (queue, from) = (registers.queue(), registers.offset());
        let now = value & OFFSET_MASK;
        // A driver that resumes starts at the beginning, as CBASER does.
        let before = if registers.enabled { registers.writer().unwrap_or(from) } else { from };
        if !registers.enabled && now != from {
            return Err("commands are posted while the ITS is disabled");
        }
        if now >= queue.bytes || queue.distance(from, now) < queue.distance(from, before) {
            return Err("CWRITER leaves the queue, or goes back");
        }
        self.write(its, Register::Cwriter, now)?;
        // Bounded by the queue's slots.
        while self.ahead.has_commands(its) {
            let words = self.ahead.next_command(its);
            let entrusted = &self.entrusted[its];
            self.legal.command((&self.ahead, its), &self.hardware, words, entrusted)?;
            self.ahead.execute_next(its)?;
        }
        NOTHING
    }

    /// GITS_CREADR: the host sees that commands are completed.
    fn look(&mut self, its: usize, creadr: u64) -> Followed {
        let registers = &self.hardware.its[its].registers;
        let (queue, from) = (registers.queue(), registers.offset());
        let posted = registers.writer().unwrap_or(from);
        if creadr >= queue.bytes || queue.distance(from, creadr) > queue.distance(from, posted) {
            let (path, expected) =
                (format!("its{its}.creadr"), format!("{from:#x} to {posted:#x}"));
            let seen = format!("{creadr:#x}");
            let finding = Finding::new(&rules::SVC_QUEUE, "creadr", path, expected, seen);
            return Ok(After::Broken(finding));
        }
        if creadr == from {
            return NOTHING;
        }
        // Bounded by the queue's slots.
        while self.hardware.its[its].registers.offset() != creadr {
            self.complete(its)?;
        }
        Ok(After::Pending)
    }

    /// The command at CREADR is completed.
    fn complete(&mut self, its: usize) -> Result<(), Unpromised> {
        let command = Command::decode(self.hardware.next_command(its));
        self.hardware.execute_next(its)?;
        match command {
            Command::Mapc { .. } | Command::Mapd { valid: false, .. } => self.open_all(),
            Command::Mapd { .. }
            | Command::Mapti { .. }
            | Command::Mapi { .. }
            | Command::Movi { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Discard { .. }
            | Command::Invall { .. }
            | Command::Movall { .. }
            | Command::Sync { .. }
            | Command::Raw { .. } => {}
        }
        // The order of what happened meanwhile and the command is not known.
        for event in &self.window.raised {
            self.hardware.open_event(*event);
        }
        for intid in self.window.taken.clone() {
            self.open_everywhere(intid);
        }
        Ok(())
    }

    /// Unmapping a device or a collection, and moving one, promises nothing of what is pending.
    fn open_all(&mut self) {
        for cpu in self.hardware.machine.cpus() {
            let pending: Vec<_> = self.hardware.pending_lpis(cpu).collect();
            pending.into_iter().for_each(|(intid, _)| self.open_everywhere(intid));
        }
    }

    /// Whether an LPI is pending anywhere is not known from now on.
    fn open_everywhere(&mut self, intid: u32) {
        for cpu in self.hardware.machine.cpus() {
            self.hardware.open_pending(cpu, intid);
        }
    }

    // ---- interrupts

    fn raise(&mut self, action: &Action, event: (usize, u32, u32)) -> Followed {
        let judgement = self.hardware.judge(action, &Outcome::Done, &[]);
        if let Some(why) = judgement.poisoned {
            return Err(why);
        }
        if self.is_busy() {
            self.window.raised.insert(event);
            self.hardware.open_event(event);
        }
        Ok(After::Pending)
    }

    fn take(&mut self, cpu: u8, outcome: Outcome) -> Followed {
        if !matches!(outcome, Outcome::Value(_)) {
            return NOTHING;
        }
        let taken = taken(outcome);
        if self.is_busy() {
            self.forget_taken(taken);
            return NOTHING;
        }
        let offers = self.hardware.offers(cpu.into());
        if let Some(offers) = offers.filter(|offers| !offers.contains(&taken)) {
            let path = format!("redistributor{cpu}.offered");
            let (expected, seen) = (format!("{offers:?}"), format!("{taken:?}"));
            let finding = Finding::new(&rules::SVC_TAKEN, "taken", path, expected, seen);
            return Ok(After::Broken(finding));
        }
        self.hardware.judge(&Action::Acknowledge { cpu }, &outcome, &[]);
        Ok(After::Pending)
    }

    /// A CPU took an LPI; whether it is pending again is not known.
    pub(crate) fn forget_taken(&mut self, taken: Option<u32>) {
        if let Some(intid) = taken {
            self.window.taken.insert(intid);
            self.open_everywhere(intid);
        }
    }

    fn compare(&self, cpu: u8, seen: impl Iterator<Item = u32>) -> Option<Finding> {
        let path = || format!("redistributor{cpu}.pending");
        let seen: BTreeSet<u32> = seen.collect();
        let is_sure = |(intid, truth)| (truth == Truth::Yes).then_some(intid);
        let mut sure = self.hardware.pending_lpis(cpu).filter_map(is_sure);
        if let Some(intid) = sure.find(|intid| !seen.contains(intid)) {
            let (expected, seen) = (format!("{intid}"), format!("{seen:?}"));
            return Some(Finding::new(&rules::SVC_LOST, "lost", path(), expected, seen));
        }
        let mut seen = seen.into_iter();
        let stray = seen.find(|intid| self.hardware.is_pending(cpu, *intid) == Truth::No)?;
        let expected = "no LPI that nobody raised there since it was last taken";
        Some(Finding::new(&rules::SVC_STRAY, "stray", path(), expected, format!("{stray}")))
    }

    // ---- the end

    /// Returns whether the host waits for commands of an ITS to be completed.
    pub fn expects_more(&self, its: usize) -> bool {
        self.hardware.its[its].registers.enabled && self.hardware.has_commands(its)
    }

    /// Judges a queue that had all the time that it needs.
    pub fn rested(&self, its: usize) -> Option<Finding> {
        if !self.expects_more(its) {
            return None;
        }
        let registers = &self.hardware.its[its].registers;
        let expected = format!("{:#x}, CWRITER", registers.writer().unwrap_or_default());
        let (path, seen) = (format!("its{its}.creadr"), format!("{:#x}", registers.offset()));
        Some(Finding::new(&rules::SVC_QUEUE, "wedged", path, expected, seen))
    }
}

/// What was in the hardware's queue is EL2's; from now on the host's copy is the queue.
fn take_over_queue(hardware: &mut Architecture, its: usize, copy: u64) {
    let queue = hardware.its[its].registers.queue();
    let written: Vec<_> = hardware.words(copy, queue.bytes).collect();
    for page in Pages::under(queue.address, queue.bytes).iter() {
        hardware.zero_page(page, true);
    }
    for (address, word) in written {
        hardware.store(address - copy + queue.address, &[word]);
    }
}

/// Whether what a device or EL2 does about an action depends on memory.
fn relies_on_memory(action: &Action) -> bool {
    match action {
        Action::Device { .. }
        | Action::Hypercall { .. }
        | Action::Msi { .. }
        | Action::Acknowledge { .. }
        | Action::PowerLoss { .. }
        | Action::EnabledByOther { .. }
        | Action::Advance { .. } => true,
        Action::Load { .. }
        | Action::Store { .. }
        | Action::StoreCommand { .. }
        | Action::Clean { .. }
        | Action::WriteBack { .. } => false,
    }
}

/// The INTID that a CPU took, if it took one.
pub(crate) fn taken(outcome: Outcome) -> Option<u32> {
    match outcome {
        Outcome::Value(value) if value != NO_INTERRUPT => Some(value as u32),
        _ => None,
    }
}

/// Whether something happened that a scenario makes happen, or that hardware does when it stops:
/// a host's driver may not count on anything then.
pub(crate) fn is_out_of_account(event: &Event) -> bool {
    matches!(
        event,
        Event::Tampered { .. }
            | Event::Injected
            | Event::Stalled { .. }
            | Event::StaleRead { .. }
            | Event::Overwritten { .. }
            | Event::Unpredictable { .. }
    )
}
