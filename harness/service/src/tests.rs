use its_architecture::testing::{
    FREE, ITS, LEVEL1, LPI_CONFIGURATION, QUEUE, SHADOW, SHADOW_LEVEL1, SYNC, World, at, cbaser,
    mapc, mapd, mapti, unmapd,
};
use its_architecture::{Architecture, NO_INTERRUPT};
use its_declaration::{
    Declaration, IttAlignment, IttPages, Level2Tables, MappedCollection, Opcode, Remap, Resume,
    Timeout, Unmap,
};
use its_el2::SubjectPolicy;
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{Level1Entry, Pages};
use its_gic::{Command, Register};
use its_machine::{AccessSize, Action, Direction, Event, Hypercall, Outcome, Part};
use its_rules::Finding;

use crate::{Entrusted, Service, Unpromised};

type Followed = Result<Option<&'static str>, Unpromised>;

const INTID: u32 = 0x2007;
const DEVICE: u32 = 2;

/// A host after a boot, on hardware that has these LPIs pending at redistributor 0.
struct Host {
    service: Service,
    written: u64,
    pending: Vec<u32>,
}

impl Host {
    fn new() -> Self {
        let numbers = SubjectPolicy { event_id_bits: 16, ..SubjectPolicy::default() };
        let declared = Declaration::of(numbers);
        let World { model, .. } = World::<Architecture>::booted();
        let written = model.its[0].registers.creadr;
        let entrusted = Entrusted {
            queue: at(SHADOW),
            level1: [at(SHADOW_LEVEL1), 0],
            level2: Pages { first: FREE, count: 16 },
            itts: Pages { first: FREE + 16, count: 16 },
            records: 4,
        };
        let service = Service::new(model, declared, vec![entrusted]);
        Self { service, written, pending: Vec::new() }
    }

    fn act(&mut self, action: Action, outcome: Outcome) -> Followed {
        let pending = &self.pending;
        let at = |cpu| pending.iter().copied().filter(move |_| cpu == 0);
        let found = self.service.follow(&action, outcome, &[], at)?;
        Ok(found.map(|Finding { rule, .. }| rule.id))
    }

    fn access(&mut self, register: Register, direction: Direction, outcome: Outcome) -> Followed {
        let address = ITS + register.offset();
        let size = if register.width() == 8 { AccessSize::Double } else { AccessSize::Word };
        self.act(Action::Device { cpu: 0, address, size, direction }, outcome)
    }

    fn write(&mut self, register: Register, value: u64) -> Followed {
        self.access(register, Direction::Write(value), Outcome::Done)
    }

    fn looks(&mut self, creadr: u64) -> Followed {
        self.access(Register::Creadr, Direction::Read, Outcome::Value(creadr))
    }

    fn posts(&mut self, commands: &[Command]) -> Followed {
        for command in commands {
            let (address, words) = (at(SHADOW) + self.written, command.encode());
            self.act(Action::StoreCommand { cpu: 0, address, words }, Outcome::Done)?;
            self.written += COMMAND_BYTES;
        }
        self.write(Register::Cwriter, self.written)
    }

    /// Posts commands and sees that they are completed.
    fn sends(&mut self, commands: &[Command]) -> Followed {
        self.posts(commands)?;
        self.looks(self.written)
    }

    fn raises(&mut self) -> Followed {
        let size = AccessSize::Word;
        let event = Action::Msi { its: 0, device_id: DEVICE, event_id: 7, size };
        self.act(event, Outcome::Done)
    }

    fn takes(&mut self, intid: Option<u32>) -> Followed {
        let value = intid.map_or(NO_INTERRUPT, u64::from);
        self.act(Action::Acknowledge { cpu: 0 }, Outcome::Value(value))
    }

    fn configures(&mut self, enabled: bool) -> Followed {
        let address = at(LPI_CONFIGURATION);
        let value = u64::from(enabled) << ((INTID - 8192) * 8);
        self.act(Action::Store { cpu: 0, address, value }, Outcome::Done)
    }

    /// A host with an event that is mapped to redistributor 0.
    fn mapped() -> Self {
        let mut host = Self::new();
        let itt = mapd(DEVICE, 4, FREE + 16);
        let all = [mapc(0, 0), itt, mapti(DEVICE, 7, INTID, 0), SYNC];
        assert_eq!(host.sends(&all), Ok(None));
        host
    }
}

impl Host {
    /// CPU 0 posts a command and looks while the other agents do this.
    fn races(&mut self, command: Command, others: &[(Action, Outcome)]) -> Followed {
        let words = command.encode();
        let address = at(SHADOW) + self.written;
        self.written += COMMAND_BYTES;
        let at = |register: Register| ITS + register.offset();
        let size = AccessSize::Double;
        let write = Direction::Write(self.written);
        let driver = [
            (Action::StoreCommand { cpu: 0, address, words }, Outcome::Done),
            (
                Action::Device { cpu: 0, address: at(Register::Cwriter), size, direction: write },
                Outcome::Done,
            ),
            (
                Action::Device {
                    cpu: 0,
                    address: at(Register::Creadr),
                    size,
                    direction: Direction::Read,
                },
                Outcome::Value(self.written),
            ),
        ];
        let parts: Vec<Part> = { driver.iter().chain(others) }
            .map(|&(action, outcome)| Part { agent: action.agent(), action, outcome })
            .collect();
        let pending = &self.pending;
        let at = |cpu| pending.iter().copied().filter(move |_| cpu == 0);
        let found = self.service.follow_race(&parts, &[], at)?;
        Ok(found.map(|Finding { rule, .. }| rule.id))
    }
}

const INV: Command = Command::Inv { device_id: DEVICE, event_id: 7 };
const CLEAR: Command = Command::Clear { device_id: DEVICE, event_id: 7 };
const DISCARD: Command = Command::Discard { device_id: DEVICE, event_id: 7 };

#[test]
fn what_is_raised_is_pending_until_it_is_taken() {
    let mut host = Host::mapped();
    assert_eq!(host.raises(), Ok(Some("SVC-LOST")));
    let mut host = Host::mapped();
    host.pending = vec![INTID];
    assert_eq!(host.raises(), Ok(None));
    host.configures(true).unwrap();
    assert_eq!(host.sends(&[INV, SYNC]), Ok(None));
    host.pending.clear();
    assert_eq!(host.takes(Some(INTID)), Ok(None));
    assert_eq!(host.takes(Some(INTID)), Ok(Some("SVC-TAKEN")));
}

#[test]
fn what_nobody_raised_is_not_pending() {
    let mut host = Host::mapped();
    host.pending = vec![INTID + 1];
    assert_eq!(host.sends(&[SYNC]), Ok(Some("SVC-STRAY")));
}

#[test]
fn nothing_is_pending_after_a_completed_clear_or_discard() {
    for command in [CLEAR, DISCARD] {
        let mut host = Host::mapped();
        host.pending = vec![INTID];
        assert_eq!(host.raises(), Ok(None));
        host.posts(&[command, SYNC]).unwrap();
        assert_eq!(host.looks(host.written), Ok(Some("SVC-STRAY")), "{command:?}");
    }
}

#[test]
fn what_is_raised_while_a_clear_is_under_way_may_be_pending_or_not() {
    for pending in [Vec::new(), vec![INTID]] {
        let mut host = Host::mapped();
        host.posts(&[CLEAR, SYNC]).unwrap();
        assert_eq!(host.raises(), Ok(None));
        host.pending = pending;
        assert_eq!(host.looks(host.written), Ok(None));
    }
}

#[test]
fn an_interrupt_is_enabled_and_masked_once_inv_is_completed() {
    let mut host = Host::mapped();
    host.pending = vec![INTID];
    host.raises().unwrap();
    assert_eq!(host.takes(Some(INTID)), Ok(Some("SVC-TAKEN")), "it was never enabled");
    let mut host = Host::mapped();
    host.pending = vec![INTID];
    host.raises().unwrap();
    host.configures(true).unwrap();
    assert_eq!(host.takes(None), Ok(None), "the enable is not known yet");
    host.sends(&[INV, SYNC]).unwrap();
    assert_eq!(host.takes(None), Ok(Some("SVC-TAKEN")));
}

#[test]
fn unmapping_a_device_promises_nothing_of_what_is_pending() {
    for pending in [Vec::new(), vec![INTID]] {
        let mut host = Host::mapped();
        host.pending = vec![INTID];
        host.raises().unwrap();
        host.posts(&[unmapd(DEVICE)]).unwrap();
        host.pending = pending;
        assert_eq!(host.looks(host.written), Ok(None));
    }
}

#[test]
fn a_queue_comes_to_its_end_and_creadr_stays_in_what_was_posted() {
    let mut host = Host::mapped();
    assert_eq!(host.service.rested(0), None);
    host.posts(&[INV, SYNC]).unwrap();
    assert!(host.service.rested(0).is_some());
    assert_eq!(host.looks(host.written + COMMAND_BYTES), Ok(Some("SVC-QUEUE")));
}

#[test]
fn a_driver_that_suspends_and_resumes_goes_on() {
    let suspended = || {
        let mut host = Host::mapped();
        let quiescent = Outcome::Value(1 << 31);
        assert_eq!(host.write(Register::Ctlr, 0), Ok(None));
        assert_eq!(host.access(Register::Ctlr, Direction::Read, quiescent), Ok(None));
        host
    };
    assert!(suspended().write(Register::Cbaser, cbaser() ^ 1 << 12).is_err());
    for (register, value) in [(Register::Cbaser, cbaser()), (Register::Ctlr, 1)] {
        let mut hasty = Host::mapped();
        assert_eq!(hasty.write(Register::Ctlr, 0), Ok(None));
        assert!(hasty.write(register, value).is_err(), "{register:?}: not quiescent yet");
    }
    let mut host = suspended();
    assert_eq!(host.write(Register::Cbaser, cbaser()), Ok(None));
    host.written = 0;
    assert_eq!(host.write(Register::Cwriter, 0), Ok(None));
    assert_eq!(host.write(Register::Ctlr, 1), Ok(None));
    assert_eq!(host.sends(&[INV, SYNC]), Ok(None));
}

#[test]
fn nothing_is_promised_after_what_no_driver_does() {
    let itt = FREE + 16;
    let unpromised: [&[Command]; 9] = [
        &[mapd(DEVICE, 4, itt + 1)],
        &[mapd(3, 4, itt)],
        &[mapd(3, 4, FREE)],
        &[mapd(3, 4, itt + 1), mapd(4, 4, itt + 2), mapd(5, 4, itt + 3)],
        &[unmapd(3)],
        &[mapti(DEVICE, 8, INTID, 0)],
        &[mapti(DEVICE, 8, INTID + 1, 2)],
        &[mapc(2, 0)],
        &[Command::Raw { words: [0x20, 0, 0, 0] }],
    ];
    for commands in unpromised {
        assert!(Host::mapped().posts(commands).is_err(), "{commands:?}");
    }
    let mut host = Host::mapped();
    let x0 = Hypercall::HostDonateGuest.function_id();
    let arguments = [itt + 1, 0, 0, 0];
    let gone = Outcome::Returned { x0: 0, x1: 0 };
    assert_eq!(host.act(Action::Hypercall { cpu: 0, x0, arguments }, gone), Ok(None));
    assert!(host.posts(&[mapd(3, 4, itt + 1)]).is_err());
}

#[test]
fn a_level_1_entry_names_a_table_of_the_driver_once() {
    let store = |index: u64, entry: u64| {
        let address = at(SHADOW_LEVEL1) + 8 * index;
        Host::mapped().act(Action::Store { cpu: 0, address, value: entry }, Outcome::Done)
    };
    let entry = Level1Entry::valid(at(FREE)).0;
    assert_eq!(store(3, entry), Ok(None));
    assert!(store(0, entry).is_err(), "the entry was valid");
    assert!(store(3, entry | 1).is_err());
    assert!(store(3, Level1Entry::valid(at(LEVEL1)).0).is_err());
}

#[test]
fn nothing_is_promised_where_the_scenario_changes_the_machine() {
    let mut host = Host::mapped();
    let load = Action::Load { cpu: 0, address: at(QUEUE) };
    let none = |_| std::iter::empty();
    let events = [Event::Injected];
    assert!(host.service.follow(&load, Outcome::Value(0), &events, none).is_err());
}

const RAISED: (Action, Outcome) =
    (Action::Msi { its: 0, device_id: DEVICE, event_id: 7, size: AccessSize::Word }, Outcome::Done);

#[test]
fn what_is_raised_in_a_race_may_be_pending_or_not_and_the_rest_is_as_before() {
    for pending in [Vec::new(), vec![INTID]] {
        let mut host = Host::mapped();
        host.pending = pending;
        assert_eq!(host.races(CLEAR, &[RAISED]), Ok(None));
        host.pending = vec![INTID + 1];
        assert_eq!(host.sends(&[SYNC]), Ok(Some("SVC-STRAY")));
    }
}

#[test]
fn what_was_pending_before_a_race_stays_so_unless_another_cpu_takes_it() {
    let raised = || {
        let mut host = Host::mapped();
        host.pending = vec![INTID];
        assert_eq!(host.raises(), Ok(None));
        host.pending.clear();
        host
    };
    assert_eq!(raised().races(INV, &[]), Ok(Some("SVC-LOST")));
    let takes = (Action::Acknowledge { cpu: 1 }, Outcome::Value(INTID.into()));
    assert_eq!(raised().races(INV, &[takes]), Ok(None));
}

#[test]
fn nothing_is_promised_where_two_cpus_drive() {
    let store = Action::Store { cpu: 1, address: at(LPI_CONFIGURATION), value: 1 };
    assert!(Host::mapped().races(INV, &[(store, Outcome::Done)]).is_err());
    let load = Action::Load { cpu: 1, address: at(LPI_CONFIGURATION) };
    assert_eq!(Host::mapped().races(INV, &[(load, Outcome::Value(0))]), Ok(None));
}

/// An emulation that switches an ITS off by itself ends the account where that is declared.
#[test]
fn an_its_that_is_switched_off_promises_nothing_where_that_is_declared() {
    let off = Event::DeviceWrite { address: ITS, size: AccessSize::Word, value: 0 };
    for (timeout, expected) in [(Timeout::Kept, true), (Timeout::Off, false)] {
        let mut host = Host::new();
        host.service.legal.declared.queue.timeout = timeout;
        let none = |_| std::iter::empty();
        let looks = Action::Device {
            cpu: 0,
            address: ITS + Register::Creadr.offset(),
            size: AccessSize::Double,
            direction: Direction::Read,
        };
        let creadr = Outcome::Value(host.written);
        let address = ITS + Register::Creadr.offset();
        let poll = Event::DeviceRead { address, size: AccessSize::Double, value: 0 };
        host.service.legal.declared.queue.polls = 2;
        assert!(host.service.follow(&looks, creadr, &[poll, off], none).is_ok());
        let followed = host.service.follow(&looks, creadr, &[poll, poll, off], none);
        assert_eq!(followed.is_ok(), expected, "{timeout:?}");
        let mut host = Host::new();
        host.service.legal.declared.queue.timeout = timeout;
        let clears = Action::Device {
            cpu: 0,
            address: ITS,
            size: AccessSize::Word,
            direction: Direction::Write(0),
        };
        assert!(host.service.follow(&clears, Outcome::Done, &[off], none).is_ok());
    }
}

/// What an emulation is declared to refuse has no promise; all else has.
#[test]
fn what_is_declared_to_be_refused_is_no_longer_promised() {
    let itt = |offset| Command::Mapd {
        device_id: DEVICE + 1,
        size: 0,
        itt_address: at(FREE + 16) + offset,
        valid: true,
    };
    let unmaps = |host: &mut Host| host.posts(&[unmapd(DEVICE), mapd(DEVICE, 4, FREE + 17)]);
    let grows = |host: &mut Host| {
        let entry = Level1Entry::valid(at(FREE)).0;
        host.act(
            Action::Store { cpu: 0, address: at(SHADOW_LEVEL1) + 8, value: entry },
            Outcome::Done,
        )
    };
    let resumes = |host: &mut Host| {
        let cbaser = host.service.hardware.its[0].registers.cbaser.value;
        host.write(Register::Ctlr, 0)?;
        host.access(Register::Ctlr, Direction::Read, Outcome::Value(1 << 31))?;
        host.write(Register::Cbaser, cbaser)
    };
    type Declares = fn(&mut Declaration);
    type Does<'a> = &'a dyn Fn(&mut Host) -> Followed;
    // In one batch nothing is known to be unmapped yet.
    let again = |host: &mut Host| {
        let new = DEVICE + 1;
        host.posts(&[mapd(new, 4, FREE + 17), unmapd(new), mapd(new, 4, FREE + 18)])
    };
    let all: [(Declares, Does); 10] = [
        (|d| d.queue.refused_commands = [Opcode::Sync].into_iter().collect(), &|host| {
            host.posts(&[SYNC])
        }),
        (|d| d.queue.mapped_collection = MappedCollection::Refused, &|host| {
            host.posts(&[mapc(0, 0)])
        }),
        (|d| d.memory.itt_alignment = IttAlignment::Page, &|host| host.posts(&[itt(0x800)])),
        (|d| d.memory.itt_pages = IttPages::Own, &|host| host.posts(&[itt(0x800)])),
        (|d| d.memory.remap = Remap::Refused, &unmaps),
        (|d| d.memory.remap = Remap::Refused, &again),
        (|d| d.queue.unmap = Unmap::ByCommand, &|host| host.posts(&[unmapd(DEVICE)])),
        (|d| d.numbers.event_id_bits = 5, &|host| host.posts(&[mapd(DEVICE + 1, 5, FREE + 17)])),
        (|d| d.memory.level2 = Level2Tables::Fixed, &grows),
        (|d| d.registers.resume = Resume::None, &resumes),
    ];
    for (declares, does) in all {
        let mapped = [mapc(0, 0), mapd(DEVICE, 4, FREE + 16)];
        let mut host = Host::new();
        assert_eq!(host.sends(&mapped), Ok(None));
        assert_eq!(does(&mut host), Ok(None));
        let mut host = Host::new();
        assert_eq!(host.sends(&mapped), Ok(None));
        declares(&mut host.service.legal.declared);
        let refused = does(&mut host).unwrap_err();
        assert!(refused.contains("declared"), "{refused}");
    }
}

/// An ITT whose MAPD is not known to be completed may not be borrowed yet.
#[test]
fn an_itt_that_was_posted_is_not_given_away() {
    let gives = |host: &mut Host| {
        let call = Hypercall::HostDonateGuest.function_id();
        let arguments = [FREE + 17, 0, 0, 0];
        let refused = Outcome::Returned { x0: 0, x1: -1 };
        host.act(Action::Hypercall { cpu: 0, x0: call, arguments }, refused)
    };
    let mut host = Host::new();
    assert_eq!(host.sends(&[mapc(0, 0)]), Ok(None));
    assert_eq!(host.posts(&[mapd(DEVICE, 4, FREE + 17)]), Ok(None));
    assert!(gives(&mut host).is_err());
    let mut host = Host::new();
    assert_eq!(host.sends(&[mapc(0, 0), mapd(DEVICE, 4, FREE + 17)]), Ok(None));
    assert_eq!(gives(&mut host), Ok(None));
}
