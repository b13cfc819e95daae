//! Whatever is done to two ITSs, their accounts are what is found from nothing, and an MSI goes
//! where [`View::translate`] says.

use its_gic::geometry::{Level1Entry, PageSize};
use its_gic::{Baser, Command, Creadr, Register};
use its_machine::{
    AccessSize, Action, Area, Choices, Freedom, ItsConfiguration, Machine, Pace, Topology, View,
};

use crate::testing::{Bench, driver};
use its_driver::{Driver, Perform};

/// A few bits after another, always the same (xorshift).
struct Bits(u64);

impl Bits {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn configuration(&mut self) -> ItsConfiguration {
        let mut choices = Choices::USUAL;
        for freedom in Freedom::ALL {
            choices = choices.with_number(*freedom, self.below(6));
        }
        ItsConfiguration {
            field_order: self.below(6) as u8,
            itt_entry_bytes: 8 + self.below(9) as u8,
            device_entry_bytes: [8, 16][self.below(2) as usize],
            collection_entry_bytes: [8, 16][self.below(2) as usize],
            device_id_bits: [11, 16][self.below(2) as usize],
            page_size: [PageSize::K4, PageSize::K16, PageSize::K64][self.below(3) as usize],
            two_level: self.one_in(2),
            pace: [Pace::AtOnce, Pace::AtOnce, Pace::Late][self.below(3) as usize],
            hardware_collections: self.below(3) as u8,
            cumulative_collections: self.one_in(2),
            two_level_collections: self.one_in(2),
            invalidates: self.one_in(2),
            choices,
            ..ItsConfiguration::DEFAULT
        }
    }

    fn event(&mut self) -> u32 {
        [1, 2, 3, 31, 40][self.below(5) as usize]
    }

    fn command(&mut self) -> Command {
        let device_id = [9, 9, 9, 2, 600, 9000][self.below(6) as usize];
        let event_id = self.event();
        let icid = [0, 1, 0, 1, 2, 700][self.below(6) as usize];
        let intid = 8191 + self.below(8) as u32;
        let rdbase = self.below(3);
        match self.below(16) {
            0..4 => Command::Mapd {
                device_id,
                size: [4, 4, 15][self.below(3) as usize],
                itt_address: self.memory(),
                valid: !self.one_in(4),
            },
            4..6 => Command::Mapc { icid, rdbase, valid: !self.one_in(3) },
            6..10 => Command::Mapti { device_id, event_id, intid, icid },
            10 => Command::Movi { device_id, event_id, icid },
            11 => Command::Discard { device_id, event_id },
            12 => Command::Int { device_id, event_id },
            13 => Command::Invall { icid },
            14 => Command::Movall { from_rdbase: rdbase, to_rdbase: self.below(2) },
            _ => Command::Sync { rdbase },
        }
    }

    /// Somewhere where tables and ITTs are, sometimes on each other.
    fn memory(&mut self) -> u64 {
        let blocks = [
            Area::ITT.page(0),
            Area::ITT.page(16),
            Area::ITT.page(32) + 0x700,
            Area::LEVEL2.page(0),
            Area::LEVEL2.page(16),
            Area::DEVICE_TABLE.address(),
            Area::DEVICE_TABLE.of_its(1).address(),
            Area::HIGH.page(16),
            Area::HOLE.address(),
        ];
        let likely = if self.one_in(8) { 9 } else { 3 };
        blocks[self.below(likely) as usize]
    }

    /// A word in a table, and something for it.
    fn store(&mut self) -> (u64, u64) {
        let tables = [
            Area::DEVICE_TABLE.address(),
            Area::DEVICE_TABLE.of_its(1).address(),
            Area::COLLECTION_TABLE.address(),
            Area::LEVEL2.page(0),
            Area::LEVEL2.page(16),
            Area::ITT.page(0),
        ];
        let address = tables[self.below(6) as usize] + self.below(20) * 8;
        let blocks = [Area::LEVEL2.page(0), Area::LEVEL2.page(16), Area::HIGH.page(16)];
        let block = Level1Entry::valid(blocks[self.below(3) as usize]).0;
        let value = [0, block, block, u64::MAX][self.below(4) as usize];
        (address, value)
    }
}

fn start(its: u8, host: &mut Driver, bench: &mut Bench) {
    bench.write_its(its, Register::Cbaser, host.cbaser());
    bench.write_its(its, Register::Cwriter, 0);
    host.restart();
    bench.write_its(its, Register::Ctlr, 1);
}

/// One thing that a host without manners could do.
fn act(bits: &mut Bits, bench: &mut Bench, hosts: &mut [Driver; 2]) {
    let its = bits.below(2) as u8;
    let host = &mut hosts[usize::from(its)];
    match bits.below(24) {
        0..15 => {
            let command = bits.command();
            host.on(0, bench).write_command(command.encode());
            host.on(0, bench).post(false, AccessSize::Word);
            if Creadr::from_bits(bench.board.register(its, Register::Creadr)).stalled() {
                host.on(0, bench).quiesce();
                start(its, host, bench);
            }
        }
        15..18 => {
            let (address, value) = bits.store();
            bench.store(address, value);
        }
        18 => bench.write_its(its, Register::Ctlr, 0),
        19 => start(its, host, bench),
        20 => {
            let n = bits.below(2) as u8;
            let baser = Baser::from_bits(host.baser(n))
                .with_valid(!bits.one_in(3))
                .with_indirect(bits.one_in(2));
            bench.write_its(its, Register::Baser(n), baser.into_bits());
        }
        21 => {
            let restored = !bits.one_in(3);
            bench.perform(Action::PowerLoss { its, restored });
            if bits.one_in(2) {
                host.on(0, bench).resume();
            }
        }
        22 => {
            host.on(0, bench).suspend();
            host.on(0, bench).resume();
        }
        _ => {
            let cpu = bits.below(2) as u8;
            bench.perform(Action::Acknowledge { cpu });
        }
    }
}

/// Sends an MSI and checks where it went.
fn signal(bits: &mut Bits, bench: &mut Bench) {
    let its = bits.below(2) as u8;
    let device_id = [9, 9, 2][bits.below(3) as usize];
    let event_id = bits.event();
    let enabled = bench.board.register(its, Register::Ctlr) & 1 == 1;
    let translation = bench.board.translate(its, device_id, event_id);
    assert_eq!(bench.board.translate(its, device_id, event_id), translation);
    let pending = |bench: &Bench| [0, 1].map(|n| bench.board.pending(n).collect::<Vec<_>>());
    let mut expected = pending(bench);
    let target = translation.filter(|_| enabled).and_then(|translation| {
        let redistributor = translation.redistributor?;
        Some((usize::from(redistributor), translation.intid))
    });
    if let Some((redistributor, intid)) = target
        && !expected[redistributor].contains(&intid)
    {
        expected[redistributor].push(intid);
        expected[redistributor].sort_unstable();
    }
    bench.perform(Action::Msi { its, device_id, event_id, size: AccessSize::Word });
    assert_eq!(pending(bench), expected);
}

#[test]
fn accounts_follow_whatever_is_done() {
    let mut translated = 0;
    for seed in 1..100_u64 {
        let mut bits = Bits(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let configurations = std::array::from_fn(|_| bits.configuration());
        let machine = Machine::new(configurations, Topology::with_its(2));
        let (mut bench, _) = Bench::new(ItsConfiguration::DEFAULT);
        bench.board.reset(machine, Box::new(crate::testing::Nobody));
        let mut hosts = [0, 1].map(|its| driver(machine, its));
        for host in &mut hosts {
            host.probe(&mut bench);
            host.on(0, &mut bench).map_device(9, 5, Area::ITT.page(0));
        }
        for step in 0..120 {
            act(&mut bits, &mut bench, &mut hosts);
            for its in [0, 1] {
                let kept: Vec<_> = bench.board.reach(its).map(|(reach, _)| reach).collect();
                assert_eq!(kept, bench.board.walk(its), "seed {seed}, step {step}");
                translated += usize::from(bench.board.translate(its, 9, 3).is_some());
            }
            signal(&mut bits, &mut bench);
        }
    }
    assert!(translated > 250, "{translated} translations were seen");
}
