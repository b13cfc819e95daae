//! What boot plan and operations of a scenario are in actions.

use its_gic::Register;
use its_gic::register::FRAME_BYTES;
use its_machine::{
    AccessSize, Action, Direction, Frame, Hypercall, Machine, Outcome, PageChange, Place,
};
use its_scenario::{Operation, Rdbase, Scenario, Stage, Target};

use crate::Perform;
use crate::commands::DeviceRun;
use crate::driver::Driver;

/// The driver of each ITS, and to which of them the host has turned. It does to a machine what a
/// scenario says, by way of whoever performs actions.
#[derive(Clone)]
pub struct Drivers {
    machine: Machine,
    drivers: Vec<Driver>,
    current: usize,
}

/// What an operation leaves to whoever plays the scenario: it is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// The host turned to this ITS.
    Its(u8),
    /// What the board does once it is due.
    Arm(Armed),
    /// So many of the next operations are done at once.
    Race {
        operations: u8,
    },
}

/// What a board does later, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// The n-th such change of page ownership fails.
    Fail { change: PageChange, nth: u8 },
    /// After so many reads of shared memory by EL2 the host changes the word at an address.
    Tamper { after: u8, address: u64, value: u64 },
    /// Once EL2 has waited so long in the next operation, an ITS gets time for so many commands.
    Progress { its: u8, after: u16, commands: u16 },
    /// An ITS stalls at the n-th command that it fetches.
    Stall { its: u8, nth: u16 },
}

/// What the set-ups of a boot returned.
pub struct SetUps {
    /// By ITS.
    pub its: Vec<Outcome>,
    pub redistributors: Outcome,
}

impl SetUps {
    /// Returns the first result that is not success, of so many ITSs and, where they have a set-up
    /// of their own, of redistributors.
    pub fn refused(&self, its: u32, redistributors: bool) -> Option<Outcome> {
        let mut all = self.its.iter().take(its as usize).copied();
        let refused = |outcome: &Outcome| *outcome != Outcome::Returned { x0: 0, x1: 0 };
        all.find(refused)
            .or(Some(self.redistributors).filter(|outcome| redistributors && refused(outcome)))
    }
}

/// Returns the board that a scenario is played on.
pub fn machine(scenario: &Scenario) -> Machine {
    Machine::new(scenario.configurations, scenario.boot.topology())
}

impl Drivers {
    /// Returns drivers of a scenario's board that have done nothing yet.
    pub fn new(scenario: &Scenario) -> Self {
        let machine = machine(scenario);
        let all = 0..machine.its.len() as u8;
        let drivers = all.map(|its| Driver::new(machine, its, scenario.boot)).collect();
        Self { machine, drivers, current: 0 }
    }

    /// Lets the drivers probe their ITSs, on hardware that nobody guards yet. At [`Stage::Reset`]
    /// they do nothing.
    pub fn probe(&mut self, stage: Stage, performer: &mut impl Perform) {
        if stage >= Stage::Probed {
            self.drivers.iter_mut().for_each(|driver| driver.probe(performer));
        }
    }

    /// Returns the driver of each ITS, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Driver> {
        self.drivers.iter()
    }

    /// Returns the driver of each ITS, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Driver> {
        self.drivers.iter_mut()
    }

    /// Describes all ITSs, then finalizes all CPUs.
    pub fn deprivilege(&mut self, performer: &mut impl Perform) {
        self.describe(performer);
        self.finalize(performer);
    }

    /// Describes all ITSs in memory.
    pub fn describe(&mut self, performer: &mut impl Perform) {
        for driver in &mut self.drivers {
            driver.on(0, performer).describe();
        }
    }

    /// Finalizes all CPUs.
    pub fn finalize(&mut self, performer: &mut impl Perform) {
        for cpu in self.drivers[0].machine.cpus() {
            self.drivers[0].on(cpu, performer).finalize();
        }
    }

    /// Sets all ITSs up, in order, then the redistributors, which not every emulation supports.
    pub fn set_up(&mut self, performer: &mut impl Perform) -> SetUps {
        let its = self.set_up_its(performer);
        SetUps { its, redistributors: self.set_up_redistributors(performer) }
    }

    /// Makes the hypercall that sets up an ITS for each, in order. Returns what they returned.
    pub fn set_up_its(&mut self, performer: &mut impl Perform) -> Vec<Outcome> {
        self.drivers.iter_mut().map(|driver| driver.on(0, performer).set_up()).collect()
    }

    /// Makes the hypercall that sets up redistributors. Returns what it returned.
    pub fn set_up_redistributors(&mut self, performer: &mut impl Perform) -> Outcome {
        self.drivers[0].on(0, performer).set_up_redistributors()
    }

    /// Does one operation. Returns what it leaves to whoever plays the scenario.
    pub fn operate(&mut self, operation: &Operation, performer: &mut impl Perform) -> Left {
        let (machine, current) = (self.machine, self.current);
        let left = operate(operation, &machine, &mut self.drivers[current], performer);
        if let Left::Its(its) = left {
            self.current = usize::from(its) % self.drivers.len();
        }
        left
    }
}

/// What an operation is in actions: an arm for each.
fn operate(
    operation: &Operation,
    machine: &Machine,
    host: &mut Driver,
    on: &mut impl Perform,
) -> Left {
    let at = Place::address;
    let its = host.its();
    match *operation {
        Operation::Read { cpu, target } => access(cpu, target, Direction::Read, machine, on),
        Operation::Write { cpu, target, value } => {
            access(cpu, target, Direction::Write(value), machine, on)
        }
        Operation::Load { cpu, at: place } => {
            act_once(Action::Load { cpu, address: at(place) }, on)
        }
        Operation::Store { cpu, at: place, value } => {
            act_once(Action::Store { cpu, address: at(place), value }, on)
        }
        Operation::StoreAddress { cpu, at: place, of, physical } => {
            let value = if physical { at(of) } else { host.linear(at(of)) };
            act_once(Action::Store { cpu, address: at(place), value }, on)
        }
        Operation::Configure { cpu, intid, value } => host.on(cpu, on).configure(intid, value),

        Operation::Command { cpu, command } => {
            let rdbase = |rdbase| match rdbase {
                Rdbase::Of(redistributor) => machine.rdbase(its, redistributor),
                Rdbase::Raw(field) => field,
            };
            host.on(cpu, on).write_command(command.map(at, rdbase).encode())
        }
        Operation::Rewind { slots } => host.rewind(slots.into()),
        Operation::WriteCwriter { cpu, retry, double } => {
            let size = if double { AccessSize::Double } else { AccessSize::Word };
            host.on(cpu, on).post(retry, size)
        }
        Operation::Poll { cpu, times } => (0..times).for_each(|_| {
            host.on(cpu, on).poll();
        }),
        Operation::FlipSlot { cpu, word, flip } => host.on(cpu, on).flip_slot(word, flip),

        Operation::WriteCbaser { cpu, flip } => {
            let value = host.cbaser() ^ flip;
            host.on(cpu, on).write(Register::Cbaser, value);
            host.restart()
        }
        Operation::WriteBaser { cpu, index, flip } => {
            let value = host.baser(index) ^ flip;
            host.on(cpu, on).write(Register::Baser(index), value)
        }
        Operation::WriteHalf { cpu, register, high, flip } => {
            host.on(cpu, on).write_half(register, high, flip)
        }
        Operation::Enable { cpu } => host.on(cpu, on).enable(true),
        Operation::Disable { cpu } => host.on(cpu, on).enable(false),
        Operation::Quiesce { cpu } => host.on(cpu, on).quiesce(),

        Operation::Share { cpu, page } => call_about(cpu, Hypercall::HostShareHyp, page, on),
        Operation::Unshare { cpu, page } => call_about(cpu, Hypercall::HostUnshareHyp, page, on),
        Operation::DonateGuest { cpu, page } => {
            call_about(cpu, Hypercall::HostDonateGuest, page, on)
        }
        Operation::ReclaimGuest { cpu, page } => {
            call_about(cpu, Hypercall::ReclaimGuestPage, page, on)
        }
        Operation::Finalize { cpu } => call(cpu, Hypercall::ProtFinalize, [0; 4], on),
        Operation::SetUp { cpu, private, descriptor, private_pages, device_flip } => {
            let [private, descriptor] = [private, descriptor].map(|place| host.linear(at(place)));
            let device = host.control_frame() ^ device_flip;
            let arguments = [device, private, descriptor, private_pages.into()];
            call(cpu, Hypercall::InitItsEmulation, arguments, on)
        }
        Operation::TearDown { cpu } => {
            host.on(cpu, on).tear_down();
        }
        Operation::SetUpRedistributors { cpu } => {
            call(cpu, Hypercall::InitRedistributorEmulation, [0; 4], on)
        }
        Operation::RawHypercall { cpu, x0, x1, x2, x3, x4 } => {
            act_once(Action::Hypercall { cpu, x0, arguments: [x1, x2, x3, x4] }, on)
        }

        Operation::MapDevice { cpu, device_id, event_id_bits, itt } => {
            host.on(cpu, on).map_device(device_id, event_id_bits, at(itt))
        }
        Operation::MapDevices { cpu, device_id: first, count, stride, event_id_bits, itt } => {
            let run = DeviceRun { first, count, stride, event_id_bits, itt_address: at(itt) };
            host.on(cpu, on).map_devices(&run)
        }
        Operation::MapEvent { cpu, device_id, event_id, intid, icid } => {
            host.on(cpu, on).map_event(device_id, event_id, intid, icid)
        }
        Operation::UnmapDevice { cpu, device_id } => host.on(cpu, on).unmap_device(device_id),
        Operation::Grow { cpu, device_id, level2, flip } => {
            host.on(cpu, on).grow(device_id, at(level2), flip)
        }
        Operation::GrowCollection { cpu, icid, level2, flip } => {
            host.on(cpu, on).grow_collection(icid, at(level2), flip)
        }
        Operation::Describe { cpu } => host.on(cpu, on).describe(),
        Operation::Suspend { cpu } => host.on(cpu, on).suspend(),
        Operation::Resume { cpu } => host.on(cpu, on).resume(),
        Operation::Probe { cpu } => host.on(cpu, on).probe_its(),
        Operation::InitCpu { cpu } => host.on(cpu, on).init_cpu(),
        Operation::Unmask { cpu, device_id, event_id, direct } => {
            host.on(cpu, on).unmask(device_id, event_id, direct)
        }
        Operation::Mask { cpu, device_id, event_id, direct } => {
            host.on(cpu, on).mask(device_id, event_id, direct)
        }
        Operation::MoveEvent { cpu, device_id, event_id, to } => {
            host.on(cpu, on).move_event(device_id, event_id, to)
        }
        Operation::UnmapEvent { cpu, device_id, event_id } => {
            host.on(cpu, on).unmap_event(device_id, event_id)
        }

        Operation::Msi { device_id, event_id, half } => {
            let size = if half { AccessSize::Half } else { AccessSize::Word };
            act_once(Action::Msi { its, device_id, event_id, size }, on)
        }
        Operation::Acknowledge { cpu } => act_once(Action::Acknowledge { cpu }, on),
        Operation::Clean { cpu, at: place, bytes } => {
            act_once(Action::Clean { cpu, address: at(place), bytes: bytes.into() }, on)
        }
        Operation::WriteBack { at: place } => {
            act_once(Action::WriteBack { address: at(place) }, on)
        }
        Operation::Advance { commands } => act_once(Action::Advance { its, commands }, on),
        Operation::PowerLoss { restored } => act_once(Action::PowerLoss { its, restored }, on),
        Operation::EnableByOther {} => act_once(Action::EnabledByOther { its }, on),
        Operation::SelectIts { its } => return Left::Its(its),
        Operation::Fail { change, nth } => return Left::Arm(Armed::Fail { change, nth }),
        Operation::Tamper { after, at: place, value } => {
            return Left::Arm(Armed::Tamper { after, address: at(place) & !7, value });
        }
        Operation::Progress { after, commands } => {
            return Left::Arm(Armed::Progress { its, after, commands });
        }
        Operation::Stall { nth } => return Left::Arm(Armed::Stall { its, nth }),
        Operation::Race { operations, .. } => return Left::Race { operations },
    }
    Left::Nothing
}

fn act_once(action: Action, on: &mut impl Perform) {
    on.perform(action);
}

fn call(cpu: u8, call: Hypercall, arguments: [u64; 4], on: &mut impl Perform) {
    act_once(Action::Hypercall { cpu, x0: call.function_id(), arguments }, on);
}

fn call_about(cpu: u8, which: Hypercall, page: Place, on: &mut impl Perform) {
    call(cpu, which, [Place::address(page) >> 12, 0, 0, 0], on);
}

/// Accesses a register; nothing happens where the board does not have the device.
fn access(cpu: u8, target: Target, direction: Direction, machine: &Machine, on: &mut impl Perform) {
    let its = |number: u8| machine.its.get(usize::from(number)).copied();
    let start = match target.frame {
        Frame::ItsControl(number) => its(number),
        Frame::ItsTranslation(number) => its(number).map(|frame| frame + FRAME_BYTES),
        Frame::Redistributor(n) => machine.redistributors.get(usize::from(n)).copied(),
    };
    if let Some(start) = start {
        let address = start + u64::from(target.offset);
        act_once(Action::Device { cpu, address, size: target.size, direction }, on);
    }
}
