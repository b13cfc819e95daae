//! Everything on the board but the subject, and how one part of it reaches another.

use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::redistributor::FRAMES_BYTES;
use its_gic::register::FRAME_BYTES;
use its_machine::{
    Barrier, Direction, Event, Frame, LockName, Machine, Misconduct, PageChange, PageState,
    Purpose, Reach,
};

use crate::board::{Failure, Progress, Tamper};
use crate::direct::Direct;
use crate::flat::Flat;
use crate::its::{Bus, PhysicalIts, Stored, exposure};
use crate::lines::Storer;
use crate::memory::Memory;
use crate::ownership::Ownership;
use crate::race::Race;
use crate::redistributor::{Redistributor, Written};

/// The INTID that says that there is none.
const NO_INTERRUPT: u64 = 1023;

#[derive(Clone)]
pub(crate) struct State {
    pub machine: Machine,
    pub memory: Memory,
    pub ownership: Ownership,
    pub its: Vec<PhysicalIts>,
    pub redistributors: Vec<Redistributor>,
    pub finalized: Vec<bool>,
    pub cpu: u8,
    /// A call of EL2 panicked on the board's side.
    pub board_panicked: bool,
    pub held: Vec<LockName>,
    /// While several agents act at once: `cpu`, `held` and `work` are those of the agent whose turn
    /// it is.
    pub race: Option<Race>,
    pub events: Vec<Event>,
    /// Where in the subject's code it is; 0 where nobody says it.
    pub place: u64,
    /// From which event on, by its number in this action, the subject was where.
    pub places: Vec<(usize, u64)>,
    pub direct: Direct,
    /// What ITSs stored in the middle of an action, for the accounts of all of them.
    stores: Vec<Stored>,
    pub work: u32,
    pub shared_reads: u32,
    /// How long EL2 waited: reads of registers and microseconds of delay.
    pub waited: u64,
    pub progress: Vec<Progress>,
    pub tampers: Vec<Tamper>,
    pub failures: Vec<Failure>,
}

impl State {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            memory: Memory::new(Flat::of(&machine)),
            ownership: Ownership::new(&machine),
            its: PhysicalIts::all(&machine),
            redistributors: Redistributor::all(&machine),
            finalized: vec![false; machine.redistributors.len()],
            cpu: 0,
            board_panicked: false,
            held: Vec::new(),
            race: None,
            events: Vec::new(),
            place: 0,
            places: Vec::new(),
            direct: Direct::default(),
            stores: Vec::new(),
            work: 0,
            shared_reads: 0,
            waited: 0,
            progress: Vec::new(),
            tampers: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Lets one ITS do something to itself and what it is connected to; `None` where there is no
    /// such ITS.
    pub(crate) fn with_its<R>(
        &mut self,
        number: u8,
        act: impl FnOnce(&mut PhysicalIts, &mut Bus<'_>) -> R,
    ) -> Option<R> {
        self.with_bus(false, |all, bus| {
            let result = act(all.get_mut(usize::from(number))?, bus);
            for (index, its) in all.iter_mut().enumerate() {
                let own = index == usize::from(number);
                for stored in bus.stores.clone() {
                    if !(own && stored.accounted) {
                        its.word_changed(stored.address, bus);
                    }
                }
            }
            bus.stores.clear();
            Some(result)
        })
    }

    /// Looks at one ITS. A look at the machine is no event on it.
    pub(crate) fn look<R>(
        &mut self,
        number: u8,
        look: impl FnOnce(&mut PhysicalIts, &mut Bus<'_>) -> R,
    ) -> Option<R> {
        let reported = self.events.len();
        let result =
            self.with_bus(true, |all, bus| Some(look(all.get_mut(usize::from(number))?, bus)));
        self.events.truncate(reported);
        result
    }

    fn with_bus<R>(
        &mut self,
        looking: bool,
        act: impl FnOnce(&mut [PhysicalIts], &mut Bus<'_>) -> R,
    ) -> R {
        let mut bus = Bus {
            machine: &self.machine,
            memory: &mut self.memory,
            ownership: &self.ownership,
            redistributors: &mut self.redistributors,
            events: &mut self.events,
            stores: &mut self.stores,
            looking,
        };
        act(&mut self.its, &mut bus)
    }

    /// A store by the host.
    pub(crate) fn host_store(&mut self, address: u64, value: u64) {
        if self.machine.coherence.caches_host() {
            self.memory.write_uncleaned(Storer::Host, address, value);
        } else {
            self.memory.write(address, value);
        }
        self.word_changed(address);
    }

    /// A clean by the host.
    pub(crate) fn host_clean(&mut self, address: u64, bytes: u64) {
        self.memory.clean(Storer::Host, address, bytes);
        self.note_overwritten();
    }

    /// Somebody stored to a word, 8-byte aligned.
    pub(crate) fn word_changed(&mut self, address: u64) {
        self.with_bus(false, |all, bus| {
            all.iter_mut().for_each(|its| its.word_changed(address, bus))
        });
    }

    pub(crate) fn page_rewritten(&mut self, page: u64) {
        self.with_bus(false, |all, bus| {
            all.iter_mut().for_each(|its| its.page_rewritten(page, bus))
        });
    }

    /// What redistributors can reach. It is reported with the first ITS's.
    pub(crate) fn lpi_tables(&self) -> impl Iterator<Item = Reach> {
        let numbered = (0..).zip(&self.redistributors);
        let on = numbered.filter(|(_, redistributor)| redistributor.lpis_are_on());
        on.flat_map(|(number, redistributor)| lpi_tables(number, redistributor))
    }

    /// EL2 orders memory.
    pub(crate) fn order(&mut self, barrier: Barrier) {
        self.events.push(Event::Ordered(barrier));
        if barrier.completes_cleans() {
            self.complete_cleans();
        }
    }

    pub(crate) fn complete_cleans(&mut self) {
        self.memory.complete_cleans();
        self.note_overwritten();
    }

    /// The line at an address leaves the cache.
    pub(crate) fn write_back(&mut self, address: u64) {
        self.memory.write_back(address);
        self.note_overwritten();
    }

    fn note_overwritten(&mut self) {
        for (address, host) in std::mem::take(&mut self.memory.overwritten) {
            self.events.push(Event::Overwritten { address, host });
            self.word_changed(address);
        }
    }

    /// Records a change of ownership and reports reachable pages that it touched.
    pub(crate) fn page_event(
        &mut self,
        change: PageChange,
        pages: Pages,
        result: Result<(), its_machine::Errno>,
    ) {
        self.events.push(Event::Page { change, pages, result });
        if result.is_err() {
            return;
        }
        for page in pages.iter() {
            self.page_changed(page);
        }
    }

    pub(crate) fn page_changed(&mut self, page: u64) {
        let Some(state) = self.ownership.state(page) else {
            return;
        };
        for its in &self.its {
            its.page_changed(page, state, &mut self.events);
        }
        let reached: Vec<Reach> = self
            .lpi_tables()
            .filter(|reach| Pages::under(reach.address, reach.bytes).contains(page))
            .collect();
        let reported = |reach| Event::ReachedPage { reach, page, state };
        self.events.extend(reached.into_iter().map(reported));
    }

    fn redistributor_write(&mut self, n: u8, offset: u64, bytes: u64, value: u64) {
        let redistributor = &mut self.redistributors[usize::from(n)];
        let tables = lpi_tables(n, redistributor);
        match redistributor.write(offset, bytes, value, &mut self.memory) {
            Written::Nothing => {}
            Written::Unpredictable(offset) => {
                let address = self.machine.redistributors[usize::from(n)] + offset;
                self.events.push(Event::Unpredictable { address });
            }
            Written::Started => {
                for reach in tables {
                    let exposure = exposure(&reach, &self.memory, &self.ownership);
                    self.events.push(Event::Reached(reach, exposure));
                }
            }
            Written::Stopped => {
                self.events.extend(tables.map(Event::Unreached));
                let [_, pending] = tables;
                for page in Pages::under(pending.address, pending.bytes).iter() {
                    self.page_rewritten(page);
                }
            }
        }
    }

    /// Which device region holds an address, and the offset in it.
    pub(crate) fn frame(&self, address: u64) -> Option<(Frame, u64)> {
        let offset_in = |(number, start): (u8, &u64)| (number, address.wrapping_sub(*start));
        for (number, offset) in (0..).zip(self.machine.its).map(offset_in) {
            match offset / FRAME_BYTES {
                0 => return Some((Frame::ItsControl(number), offset)),
                1 => return Some((Frame::ItsTranslation(number), offset - FRAME_BYTES)),
                _ => {}
            }
        }
        let mut redistributors = (0..).zip(self.machine.redistributors).map(offset_in);
        let (number, offset) = redistributors.find(|(_, offset)| *offset < FRAMES_BYTES)?;
        Some((Frame::Redistributor(number), offset))
    }

    /// An access that hardware sees. A CPU has no DeviceID, so the translation frame ignores it.
    pub(crate) fn hardware(
        &mut self,
        frame: Frame,
        offset: u64,
        bytes: u64,
        direction: Direction,
    ) -> u64 {
        match (frame, direction) {
            (Frame::ItsControl(n), Direction::Read) => {
                self.with_its(n, |its, bus| its.read(offset, bytes, bus)).unwrap_or(0)
            }
            (Frame::ItsControl(n), Direction::Write(value)) => {
                self.with_its(n, |its, bus| its.write(offset, bytes, value, bus));
                0
            }
            (Frame::ItsTranslation(_), _) => 0,
            (Frame::Redistributor(_), _) if !Redistributor::has_access(offset, bytes) => 0,
            (Frame::Redistributor(n), Direction::Read) => {
                self.redistributors[usize::from(n)].read(offset, bytes)
            }
            (Frame::Redistributor(n), Direction::Write(value)) => {
                self.redistributor_write(n, offset, bytes, value);
                0
            }
        }
    }

    pub(crate) fn acknowledge(&mut self, cpu: u8) -> u64 {
        let redistributor = self.redistributors.get_mut(usize::from(cpu));
        let taken = redistributor.and_then(|found| found.acknowledge(&self.memory));
        taken.map_or(NO_INTERRUPT, u64::from)
    }

    /// Whether a CPU can access memory at an address, where its host `can` by the page's state.
    pub(crate) fn host_reaches(
        &self,
        cpu: u8,
        address: u64,
        can: impl Fn(PageState) -> bool,
    ) -> bool {
        let Some(state) = self.ownership.state(address / PAGE_BYTES) else {
            return false;
        };
        !self.finalized[usize::from(cpu)] || can(state)
    }

    /// Makes the host's change that is due after this many shared reads.
    pub(crate) fn tamper(&mut self) {
        if self.tampers.is_empty() {
            return;
        }
        let now = self.shared_reads;
        for tamper in self.tampers.clone() {
            if tamper.after != now
                || !self.host_reaches(self.cpu, tamper.address, PageState::host_can_store)
            {
                continue;
            }
            self.host_store(tamper.address, tamper.value);
            self.events.push(Event::Tampered { address: tamper.address, value: tamper.value });
        }
    }

    /// EL2 waits so much longer: ITSs go on for which it is time.
    pub(crate) fn go_on(&mut self, time: u64) {
        self.waited = self.waited.saturating_add(time);
        let now = self.waited;
        let due = self.progress.iter().copied().filter(|progress| progress.after <= now);
        for Progress { its, commands, .. } in due.collect::<Vec<_>>() {
            self.with_its(its, |its, bus| its.advance(commands, bus));
            self.events.push(Event::Advanced { its, commands });
        }
        self.progress.retain(|progress| progress.after > now);
    }

    /// Events from now on are made at a place of the subject's code.
    pub(crate) fn mark(&mut self, place: u64) {
        if self.places.last().is_none_or(|(_, last)| *last != place) {
            self.places.push((self.events.len(), place));
        }
    }

    /// An action begins.
    pub(crate) fn forget_places(&mut self) {
        self.place = 0;
        self.places.clear();
        self.memory.device_stores.clear();
    }

    pub(crate) fn misconduct(&mut self, misconduct: Misconduct) {
        self.events.push(Event::Misconduct(misconduct));
    }
}

fn lpi_tables(number: u8, redistributor: &Redistributor) -> [Reach; 2] {
    let [configuration, pending] = redistributor.tables();
    let reach = |purpose, (address, bytes)| Reach { its: 0, purpose, address, bytes };
    [
        reach(Purpose::LpiConfiguration(number), configuration),
        reach(Purpose::LpiPending(number), pending),
    ]
}

#[cfg(test)]
mod tests {
    use its_el2::{El2, Mapped, Subject, SubjectPolicy, Trap};
    use its_gic::{Command, Register};
    use its_machine::{AccessSize, Action, ITS_FRAMES, ItsConfiguration, Outcome, Pace};

    use super::*;
    use crate::board::Board;
    use crate::testing::{driver, machine};
    use its_driver::Perform;

    const CREADR: u64 = ITS_FRAMES[0] + Register::Creadr.offset();

    /// Reads CREADR three times, then waits for 5 µs and reads it again.
    #[derive(Clone)]
    struct Waits;

    impl Subject<Board> for Waits {
        fn policy(&self) -> SubjectPolicy {
            SubjectPolicy::default()
        }
        fn set_up(&self, _: &Board, _: [u64; 4]) -> i64 {
            0
        }
        fn trap(&self, board: &Board, _: Trap) -> u64 {
            let creadr = || board.read_device(CREADR, AccessSize::Double);
            let reads = [creadr(), creadr(), creadr()];
            board.wait(5);
            reads.into_iter().chain([creadr()]).fold(0, |all, read| all << 16 | read)
        }
        fn allows_donation(&self, _: &Board) -> bool {
            true
        }
    }

    struct Host(Board, Vec<Event>);

    impl Perform for Host {
        fn perform(&mut self, action: Action) -> Outcome {
            self.0.perform(&action, &mut self.1)
        }
    }

    /// What a read that traps returns on a board whose ITS has three commands and no time.
    fn reads(progress: &[(u64, u16)]) -> (u64, Vec<Event>) {
        let machine = machine(ItsConfiguration { pace: Pace::Never, ..ItsConfiguration::DEFAULT });
        let mut host = Host(Board::new(machine, Box::new(Waits)), Vec::new());
        let mut driver = driver(machine, 0);
        driver.probe(&mut host);
        for _ in 0..3 {
            driver.on(0, &mut host).write_command(Command::Sync { rdbase: 0 }.encode());
        }
        driver.on(0, &mut host).post(false, AccessSize::Word);
        let finalize = its_machine::Hypercall::ProtFinalize.function_id();
        host.perform(Action::Hypercall { cpu: 0, x0: finalize, arguments: [0; 4] });
        for (after, commands) in progress {
            host.0.arm_progress(Progress { its: 0, after: *after, commands: *commands });
        }
        host.1.clear();
        let (size, direction) = (AccessSize::Double, Direction::Read);
        let read = Action::Device { cpu: 0, address: CREADR, size, direction };
        let Outcome::Value(value) = host.perform(read) else { panic!("a read returns a value") };
        (value, host.1)
    }

    #[test]
    fn hardware_goes_on_while_el2_waits() {
        let first = reads(&[]).0 & 0xffff;
        let shown = |progress: &[(u64, u16)]| {
            let value = reads(progress).0;
            [48, 32, 16, 0].map(|shift| ((value >> shift & 0xffff) - first) / 32)
        };
        assert_eq!(shown(&[]), [0; 4]);
        assert_eq!(shown(&[(0, 1)]), [1; 4]);
        assert_eq!(shown(&[(1, 1), (2, 1)]), [0, 1, 2, 2]);
        // Three reads and 5 µs, or one read and 5 µs.
        assert_eq!(shown(&[(8, 3)]), [0, 0, 0, 3]);
        assert_eq!(shown(&[(9, 3)]), [0; 4]);
        assert_eq!(shown(&[(1, 0xffff)]), [0, 3, 3, 3]);
        let advanced = Event::Advanced { its: 0, commands: 1 };
        assert!(reads(&[(1, 1)]).1.contains(&advanced));
    }
}
