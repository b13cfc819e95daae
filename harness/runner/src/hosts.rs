//! The host's side of a scenario: what boot plan and operations are, in actions.

use its_board::host::{DeviceRun, Host, LiveDevice, Perform, Plan};
use its_board::layout;
use its_el2::{AccessSize, Action, Direction, Frame, Hypercall, Machine, Outcome};
use its_gic::Command;
use its_gic::Register;
use its_gic::register::FRAME_BYTES;
use its_scenario::{HostCommand, Operation, Place, Rdbase, Scenario, Stage, Width};

use crate::place;

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
        for cpu in 0..layout::CPUS {
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
    layout::machine(scenario.characters, scenario.boot.its)
}

fn plan(scenario: &Scenario) -> Plan {
    let live = scenario.boot.live(&scenario.characters[0]);
    Plan {
        live: live
            .map(|device| LiveDevice {
                device_id: device.device_id,
                event_id_bits: device.event_id_bits,
                itt_address: place::address(device.itt),
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

fn act(operation: &Operation, machine: &Machine, host: &mut Host, on: &mut impl Perform) {
    match *operation {
        Operation::Access { cpu, frame, offset, size, direction } => {
            let Some(start) = frame_address(frame, machine) else {
                return;
            };
            let address = start + u64::from(offset);
            on.perform(Action::Device { cpu, address, size, direction });
        }
        Operation::Load { cpu, at } => {
            let address = place::address(at);
            on.perform(Action::Load { cpu, address });
        }
        Operation::Store { cpu, at, value } => {
            let address = place::address(at);
            on.perform(Action::Store { cpu, address, value });
        }
        Operation::StoreAddress { cpu, at, of, physical } => {
            let (address, of) = (place::address(at), place::address(of));
            let value = if physical { of } else { host.linear(of) };
            on.perform(Action::Store { cpu, address, value });
        }
        Operation::Command { cpu, command } => {
            let words = hardware_command(command, host.its(), machine).encode();
            host.write_command(cpu, words, on);
        }
        Operation::RawCommand { cpu, words } => host.write_command(cpu, words, on),
        Operation::FlipSlot { cpu, word, flip } => host.flip_slot(cpu, word, flip, on),
        Operation::Rewind { slots } => host.rewind(slots.into()),
        Operation::Post { cpu, retry, width } => {
            let size = match width {
                Width::Word => AccessSize::Word,
                Width::Double => AccessSize::Double,
            };
            host.post(cpu, retry, size, on);
        }
        Operation::Poll { cpu, times } => {
            for _ in 0..times {
                host.poll(cpu, on);
            }
        }
        Operation::Msi { device_id, event_id, half } => {
            on.perform(Action::Msi {
                its: host.its(),
                device_id,
                event_id,
                size: if half { AccessSize::Half } else { AccessSize::Word },
            });
        }
        Operation::Acknowledge { cpu } => {
            on.perform(Action::Acknowledge { cpu });
        }
        Operation::Advance { commands } => {
            let its = host.its();
            on.perform(Action::Advance { its, commands });
        }
        Operation::PowerLoss { restored } => {
            let its = host.its();
            on.perform(Action::PowerLoss { its, restored });
        }
        Operation::Its { .. }
        | Operation::Fail { .. }
        | Operation::Tamper { .. }
        | Operation::Race { .. } => {}
        _ => {
            registers(operation, host, on);
            hypercalls(operation, host, on);
            driver(operation, host, on);
        }
    }
}

fn registers(operation: &Operation, host: &mut Host, on: &mut impl Perform) {
    match *operation {
        Operation::WriteCbaser { cpu, flip } => {
            host.write(cpu, Register::Cbaser, host.cbaser() ^ flip, on);
            host.restart();
        }
        Operation::WriteBaser { cpu, index, flip } => {
            let value = host.baser(index) ^ flip;
            host.write(cpu, Register::Baser(index), value, on);
        }
        Operation::WriteHalf { cpu, register, high, flip } => {
            let (register, whole) = match register {
                8 => (Register::Cbaser, host.cbaser()),
                n => (Register::Baser(n), host.baser(n)),
            };
            let shift = if high { 32 } else { 0 };
            let address = host.register(register) + shift / 8;
            on.perform(Action::Device {
                cpu,
                address,
                size: AccessSize::Word,
                direction: Direction::Write((whole >> shift ^ flip) & 0xffff_ffff),
            });
        }
        Operation::Enable { cpu, enabled } => host.enable(cpu, enabled, on),
        Operation::Quiesce { cpu } => host.quiesce(cpu, on),
        _ => {}
    }
}

fn hypercalls(operation: &Operation, host: &mut Host, on: &mut impl Perform) {
    let frame_number = |page: Place| [place::address(page) >> 12, 0, 0, 0];
    let (cpu, call, arguments) = match *operation {
        Operation::Share { cpu, page } => (cpu, Hypercall::HostShareHyp, frame_number(page)),
        Operation::Unshare { cpu, page } => (cpu, Hypercall::HostUnshareHyp, frame_number(page)),
        Operation::DonateGuest { cpu, page } => {
            (cpu, Hypercall::HostDonateGuest, frame_number(page))
        }
        Operation::ReclaimGuest { cpu, page } => {
            (cpu, Hypercall::ReclaimGuestPage, frame_number(page))
        }
        Operation::Finalize { cpu } => (cpu, Hypercall::ProtFinalize, [0; 4]),
        Operation::SetUp { cpu, private, descriptor, private_pages, device_flip } => {
            let arguments = [
                host.control_frame() ^ device_flip,
                host.linear(place::address(private)),
                host.linear(place::address(descriptor)),
                private_pages.into(),
            ];
            (cpu, Hypercall::InitItsEmulation, arguments)
        }
        Operation::RawHypercall { cpu, x0, arguments } => {
            on.perform(Action::Hypercall { cpu, x0, arguments });
            return;
        }
        _ => return,
    };
    host.hypercall(cpu, call, arguments, on);
}

fn driver(operation: &Operation, host: &mut Host, on: &mut impl Perform) {
    match *operation {
        Operation::MapDevice { cpu, device_id, event_id_bits, itt } => {
            host.map_device(cpu, device_id, event_id_bits, place::address(itt), on)
        }
        Operation::MapDevices { cpu, device_id, count, stride, event_id_bits, itt } => {
            let run = DeviceRun {
                first: device_id,
                count,
                stride,
                event_id_bits,
                itt_address: place::address(itt),
            };
            host.map_devices(cpu, &run, on);
        }
        Operation::MapEvent { cpu, device_id, event_id, intid, icid } => {
            host.map_event(cpu, device_id, event_id, intid, icid, on)
        }
        Operation::UnmapDevice { cpu, device_id } => host.unmap_device(cpu, device_id, on),
        Operation::Grow { cpu, device_id, level2, flip } => {
            host.grow(cpu, device_id, place::address(level2), flip, on)
        }
        Operation::GrowCollection { cpu, icid, level2, flip } => {
            host.grow_collection(cpu, icid, place::address(level2), flip, on)
        }
        Operation::Describe { cpu } => host.describe(cpu, on),
        Operation::Probe { cpu } => host.probe_its(cpu, on),
        Operation::InitCpu { cpu } => host.init_cpu(cpu, on),
        Operation::Configure { cpu, intid, value } => host.configure(cpu, intid, value, on),
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
        Operation::Suspend { cpu } => host.suspend(cpu, on),
        Operation::Resume { cpu } => host.resume(cpu, on),
        _ => {}
    }
}

/// Where a frame starts; `None` for that of an ITS that the board does not have.
fn frame_address(frame: Frame, machine: &Machine) -> Option<u64> {
    let its = |number: u8| machine.its.get(usize::from(number)).copied();
    match frame {
        Frame::ItsControl(number) => its(number),
        Frame::ItsTranslation(number) => Some(its(number)? + FRAME_BYTES),
        Frame::Redistributor(n) => Some(layout::REDISTRIBUTORS[usize::from(n % layout::CPUS)]),
    }
}

fn hardware_command(command: HostCommand, its: u8, machine: &Machine) -> Command {
    let rdbase = |rdbase| match rdbase {
        Rdbase::Of(redistributor) => machine.rdbase(its, redistributor),
        Rdbase::Raw(field) => field,
    };
    match command {
        HostCommand::Movi { device_id, event_id, icid } => {
            Command::Movi { device_id, event_id, icid }
        }
        HostCommand::Int { device_id, event_id } => Command::Int { device_id, event_id },
        HostCommand::Clear { device_id, event_id } => Command::Clear { device_id, event_id },
        HostCommand::Sync { rdbase: of } => Command::Sync { rdbase: rdbase(of) },
        HostCommand::Mapd { device_id, size, itt, valid } => {
            Command::Mapd { device_id, size, itt_address: place::address(itt), valid }
        }
        HostCommand::Mapc { icid, rdbase: of, valid } => {
            Command::Mapc { icid, rdbase: rdbase(of), valid }
        }
        HostCommand::Mapti { device_id, event_id, intid, icid } => {
            Command::Mapti { device_id, event_id, intid, icid }
        }
        HostCommand::Mapi { device_id, event_id, icid } => {
            Command::Mapi { device_id, event_id, icid }
        }
        HostCommand::Inv { device_id, event_id } => Command::Inv { device_id, event_id },
        HostCommand::Invall { icid } => Command::Invall { icid },
        HostCommand::Movall { from, to } => {
            Command::Movall { from_rdbase: rdbase(from), to_rdbase: rdbase(to) }
        }
        HostCommand::Discard { device_id, event_id } => Command::Discard { device_id, event_id },
    }
}
