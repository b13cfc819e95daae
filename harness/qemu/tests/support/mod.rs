//! A small driver, for tests and measurements.

use its_device::Step;
use its_gic::geometry::{PAGE_BYTES, PageSize};
use its_gic::redistributor::{CTLR, PENDBASER, PROPBASER};
use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::{AccessSize, Action, Choices, Coherence, Direction, MAX_ITS, Machine, Topology};
use its_qemu::Qemu;

pub(crate) const ITS: u64 = 0x0808_0000;
pub(crate) const REDISTRIBUTORS: [u64; 2] = [0x080a_0000, 0x080e_0000];
pub(crate) const QUEUE: u64 = 0x8000_0000;
pub(crate) const DEVICES: u64 = 0x8001_0000;
pub(crate) const COLLECTIONS: u64 = 0x8003_0000;
pub(crate) const CONFIGURATION: u64 = 0x8004_0000;
pub(crate) const PENDING: [u64; 2] = [0x8005_0000, 0x8006_0000];
pub(crate) const ITT: u64 = 0x8014_0000;

/// Like the board, but without its hole.
pub(crate) fn machine() -> Machine {
    Machine {
        configurations: [its_qemu::configuration(PageSize::K64, Choices::USUAL); MAX_ITS],
        intid_bits: 16,
        memory: Machine::one_region(QUEUE / PAGE_BYTES, 768),
        el2: &[],
        linear_map: 0,
        its: &[ITS],
        redistributors: &REDISTRIBUTORS,
        processor_numbers: Topology::DEFAULT.processor_numbers,
        baser2: Topology::DEFAULT.baser2,
        coherence: Coherence::UNSAID,
    }
}

/// A QEMU with that machine. Where none is installed a line says so, and there is none.
pub(crate) fn start() -> Option<Qemu> {
    match its_qemu::find() {
        Ok(installed) => Some(Qemu::start(&installed, machine()).unwrap()),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            None
        }
    }
}

/// A case in the making.
pub(crate) struct Draft {
    pub(crate) steps: Vec<Step>,
    next: u64,
}

impl Draft {
    /// The ITS is set up with flat tables and enabled, both redistributors take LPIs of this many
    /// bits + 1.
    pub(crate) fn new(id_bits: u64) -> Self {
        let mut draft = Self { steps: Vec::new(), next: 0 };
        for (address, pending) in REDISTRIBUTORS.into_iter().zip(PENDING) {
            draft.write(address + PROPBASER, CONFIGURATION | id_bits);
            draft.write(address + PENDBASER, pending | 1 << 62);
            draft.write_word(address + CTLR, 1);
        }
        for (number, table) in [(0, DEVICES), (1, COLLECTIONS)] {
            let baser = Baser::new().with_page_size_field(2).with_address(table).with_valid(true);
            draft.register(Register::Baser(number), baser.into_bits());
        }
        draft.register(Register::Cbaser, Cbaser::VALID | QUEUE);
        draft.register(Register::Cwriter, 0);
        draft.write_word(ITS, 1);
        draft
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.steps.push(Step::Act(action));
    }

    pub(crate) fn look(&mut self) {
        self.steps.push(Step::Look);
    }

    fn device(&mut self, address: u64, size: AccessSize, direction: Direction) {
        self.act(Action::Device { cpu: 0, address, size, direction });
    }

    pub(crate) fn write(&mut self, address: u64, value: u64) {
        self.device(address, AccessSize::Double, Direction::Write(value));
    }

    pub(crate) fn write_word(&mut self, address: u64, value: u64) {
        self.device(address, AccessSize::Word, Direction::Write(value));
    }

    pub(crate) fn read(&mut self, address: u64, size: AccessSize) {
        self.device(address, size, Direction::Read);
    }

    pub(crate) fn register(&mut self, register: Register, value: u64) {
        self.write(ITS + register.offset(), value);
    }

    pub(crate) fn store(&mut self, address: u64, value: u64) {
        let cpu = 0;
        self.act(Action::Store { cpu, address, value });
    }

    pub(crate) fn put(&mut self, command: Command) {
        self.act(Action::StoreCommand {
            cpu: 0,
            address: QUEUE + self.next,
            words: command.encode(),
        });
        self.next += 0x20;
    }

    /// Posts what is in the queue.
    pub(crate) fn post(&mut self) {
        self.register(Register::Cwriter, self.next);
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.put(command);
        self.post();
    }
}

pub(crate) fn mapd(device_id: u32, itt_address: u64) -> Command {
    Command::Mapd { device_id, size: 4, itt_address, valid: true }
}

pub(crate) fn mapc(icid: u16, rdbase: u64) -> Command {
    Command::Mapc { icid, rdbase, valid: true }
}

pub(crate) fn mapti(device_id: u32, event_id: u32, intid: u32, icid: u16) -> Command {
    Command::Mapti { device_id, event_id, intid, icid }
}

pub(crate) fn int(device_id: u32, event_id: u32) -> Command {
    Command::Int { device_id, event_id }
}
