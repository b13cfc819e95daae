//! A physical ITS on its board.

mod accounts;
mod caches;
mod commands;
mod effects;
mod registers;

use its_gic::Command;
use its_machine::{Area, ItsConfiguration};

use crate::testing::Bench;
use its_driver::Driver;

const DEVICE: u32 = 9;
const INTID: u32 = 8200;
const ITT: u64 = Area::ITT.page(7);

/// A booted board with the device mapped: 32 events, the first as an LPI of collection 0.
fn mapped(configuration: ItsConfiguration) -> (Bench, Driver) {
    let (mut bench, mut host) = Bench::booted(configuration);
    host.on(0, &mut bench).map_device(DEVICE, 5, ITT);
    host.on(0, &mut bench).map_event(DEVICE, 0, INTID, 0);
    (bench, host)
}

fn mapti(event_id: u32, intid: u32, icid: u16) -> Command {
    Command::Mapti { device_id: DEVICE, event_id, intid, icid }
}

fn mapc(icid: u16, rdbase: u64, valid: bool) -> Command {
    Command::Mapc { icid, rdbase, valid }
}

fn mapd(itt_address: u64, valid: bool) -> Command {
    Command::Mapd { device_id: DEVICE, size: 4, itt_address, valid }
}
