//! The host's side of a scenario: what boot plan and operations are, in actions.

use its_board::host::{DeviceRun, Host, LiveDevice, Perform, Plan};
use its_gic::Register;
use its_gic::register::FRAME_BYTES;
use its_machine::Place;
use its_machine::{AccessSize, Action, CPUS, Direction, Frame, Hypercall, Machine, Outcome};
use its_scenario::{Operation, Rdbase, Scenario, Stage, Target};

/// The driver of each ITS, and to which of them the host has turned. It does to a machine what a
/// scenario says, by way of whoever performs actions.
#[derive(Clone)]
pub struct Hosts {
    machine: Machine,
    drivers: Vec<Host>,
    current: usize,
}

impl Hosts {
    /// Drivers of a scenario's board that have done nothing yet. Live devices are the first ITS's.
    pub fn new(scenario: &Scenario) -> Self {
        let (machine, plan) = (machine(scenario), plan(scenario));
        let driver = |its: u8| {
            let live = if its == 0 { plan.live.clone() } else { Vec::new() };
            let plan = Plan { live, ..plan.clone() };
            Host::new(machine, its, plan)
        };
        Self { machine, drivers: (0..machine.its.len() as u8).map(driver).collect(), current: 0 }
    }

    /// The drivers probe their ITSs, on hardware that nobody guards yet; at [`Stage::Reset`] they
    /// do nothing.
    pub fn probe(&mut self, stage: Stage, on: &mut impl Perform) {
        if stage >= Stage::Probed {
            for host in &mut self.drivers {
                host.probe(on);
            }
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.drivers.iter_mut()
    }

    /// All ITSs are described, then all CPUs finalized.
    pub fn deprivilege(&mut self, on: &mut impl Perform) {
        for host in &mut self.drivers {
            host.describe(0, on);
        }
        for cpu in 0..CPUS {
            self.drivers[0].finalize(cpu, on);
        }
    }

    /// All ITSs are set up, in order; the results that are not success.
    pub fn set_up(&mut self, on: &mut impl Perform) -> Vec<Outcome> {
        let done = Outcome::Returned { x0: 0, x1: 0 };
        let outcomes = self.drivers.iter_mut().map(|host| host.set_up(on));
        outcomes.filter(|outcome| *outcome != done).collect()
    }

    fn current(&mut self) -> &mut Host {
        &mut self.drivers[self.current]
    }

    /// Does one operation. `fail`, `tamper` and `race` are no actions of the host, and nothing
    /// here.
    pub fn operate(&mut self, operation: &Operation, on: &mut impl Perform) {
        match *operation {
            Operation::Its { its } => self.current = usize::from(its) % self.drivers.len(),
            _ => {
                let machine = self.machine;
                act(operation, &machine, self.current(), on);
            }
        }
    }
}

/// The board that a scenario is played on.
pub fn machine(scenario: &Scenario) -> Machine {
    Machine::new(scenario.configurations, scenario.boot.its)
}

fn plan(scenario: &Scenario) -> Plan {
    let live = scenario.boot.live(&scenario.configurations[0]);
    Plan {
        live: live
            .map(|device| LiveDevice {
                device_id: device.device_id,
                event_id_bits: device.event_id_bits,
                itt_address: Place::address(device.itt),
                event_id: device.event_id,
                intid: device.intid,
                icid: device.icid,
            })
            .collect(),
        queue_pages: scenario.boot.queue_pages,
        private_pages: scenario.boot.private_pages,
        table_pages: scenario.boot.table_pages,
        intid_bits: scenario.boot.intid_bits,
        two_level_collections: scenario.boot.two_level_collections,
    }
}

/// What an operation is in actions: an arm for each.
fn act(operation: &Operation, machine: &Machine, host: &mut Host, on: &mut impl Perform) {
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
        Operation::Configure { cpu, intid, value } => host.configure(cpu, intid, value, on),

        Operation::Command { cpu, command } => {
            let rdbase = |rdbase| match rdbase {
                Rdbase::Of(redistributor) => machine.rdbase(its, redistributor),
                Rdbase::Raw(field) => field,
            };
            host.write_command(cpu, command.map(at, rdbase).encode(), on)
        }
        Operation::Rewind { slots } => host.rewind(slots.into()),
        Operation::Post { cpu, retry, double } => {
            let size = if double { AccessSize::Double } else { AccessSize::Word };
            host.post(cpu, retry, size, on)
        }
        Operation::Poll { cpu, times } => (0..times).for_each(|_| {
            host.poll(cpu, on);
        }),
        Operation::FlipSlot { cpu, word, flip } => host.flip_slot(cpu, word, flip, on),

        Operation::WriteCbaser { cpu, flip } => {
            host.write(cpu, Register::Cbaser, host.cbaser() ^ flip, on);
            host.restart()
        }
        Operation::WriteBaser { cpu, index, flip } => {
            host.write(cpu, Register::Baser(index), host.baser(index) ^ flip, on)
        }
        Operation::WriteHalf { cpu, register, high, flip } => {
            host.write_half(cpu, register, high, flip, on)
        }
        Operation::Enable { cpu } => host.enable(cpu, true, on),
        Operation::Disable { cpu } => host.enable(cpu, false, on),
        Operation::Quiesce { cpu } => host.quiesce(cpu, on),

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
        Operation::RawHypercall { cpu, x0, x1, x2, x3, x4 } => {
            act_once(Action::Hypercall { cpu, x0, arguments: [x1, x2, x3, x4] }, on)
        }

        Operation::MapDevice { cpu, device_id, event_id_bits, itt } => {
            host.map_device(cpu, device_id, event_id_bits, at(itt), on)
        }
        Operation::MapDevices { cpu, device_id: first, count, stride, event_id_bits, itt } => {
            let run = DeviceRun { first, count, stride, event_id_bits, itt_address: at(itt) };
            host.map_devices(cpu, &run, on)
        }
        Operation::MapEvent { cpu, device_id, event_id, intid, icid } => {
            host.map_event(cpu, device_id, event_id, intid, icid, on)
        }
        Operation::UnmapDevice { cpu, device_id } => host.unmap_device(cpu, device_id, on),
        Operation::Grow { cpu, device_id, level2, flip } => {
            host.grow(cpu, device_id, at(level2), flip, on)
        }
        Operation::GrowCollection { cpu, icid, level2, flip } => {
            host.grow_collection(cpu, icid, at(level2), flip, on)
        }
        Operation::Describe { cpu } => host.describe(cpu, on),
        Operation::Suspend { cpu } => host.suspend(cpu, on),
        Operation::Resume { cpu } => host.resume(cpu, on),
        Operation::Probe { cpu } => host.probe_its(cpu, on),
        Operation::InitCpu { cpu } => host.init_cpu(cpu, on),
        Operation::Unmask { cpu, device_id, event_id, direct } => {
            host.unmask(cpu, device_id, event_id, direct, on)
        }
        Operation::Mask { cpu, device_id, event_id, direct } => {
            host.mask(cpu, device_id, event_id, direct, on)
        }
        Operation::MoveEvent { cpu, device_id, event_id, to } => {
            host.move_event(cpu, device_id, event_id, to, on)
        }
        Operation::UnmapEvent { cpu, device_id, event_id } => {
            host.unmap_event(cpu, device_id, event_id, on)
        }

        Operation::Msi { device_id, event_id, half } => {
            let size = if half { AccessSize::Half } else { AccessSize::Word };
            act_once(Action::Msi { its, device_id, event_id, size }, on)
        }
        Operation::Acknowledge { cpu } => act_once(Action::Acknowledge { cpu }, on),
        Operation::Advance { commands } => act_once(Action::Advance { its, commands }, on),
        Operation::PowerLoss { restored } => act_once(Action::PowerLoss { its, restored }, on),
        // Whoever plays the scenario does these: they are no actions.
        Operation::Its { .. }
        | Operation::Fail { .. }
        | Operation::Tamper { .. }
        | Operation::Race { .. } => {}
    }
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

/// Accesses a register; nothing happens where the board does not have the ITS.
fn access(cpu: u8, target: Target, direction: Direction, machine: &Machine, on: &mut impl Perform) {
    let its = |number: u8| machine.its.get(usize::from(number)).copied();
    let start = match target.frame {
        Frame::ItsControl(number) => its(number),
        Frame::ItsTranslation(number) => its(number).map(|frame| frame + FRAME_BYTES),
        Frame::Redistributor(n) => Some(its_machine::REDISTRIBUTOR_FRAMES[usize::from(n % CPUS)]),
    };
    if let Some(start) = start {
        let address = start + u64::from(target.offset);
        act_once(Action::Device { cpu, address, size: target.size, direction }, on);
    }
}
