//! MSIs between a command and its SYNC.

use its_gic::{Command, Register};
use its_machine::freedom::choice::Effects;
use its_machine::{AccessSize, Choices, View};

use super::*;
use crate::testing::{Bench, choosing};

fn at_sync() -> (Bench, Driver) {
    mapped(choosing(Choices::USUAL.with(Effects::AtSync)))
}

fn target(bench: &Bench, event_id: u32) -> Option<Option<u8>> {
    let translation = bench.board.translate(0, DEVICE, event_id)?;
    Some(translation.redistributor)
}

fn sync(bench: &mut Bench, host: &mut Driver, rdbase: u64) {
    assert_eq!(bench.command(host, Command::Sync { rdbase }), None);
}

#[test]
fn a_mapping_is_seen_after_the_sync_of_its_redistributor() {
    let (mut bench, mut host) = at_sync();
    assert_eq!(target(&bench, 0), Some(Some(0)));
    bench.command(&mut host, mapti(1, INTID + 1, 1));
    bench.msi(DEVICE, 1, AccessSize::Word);
    assert_eq!(bench.board.pending(1).count(), 0);
    let int = Command::Int { device_id: DEVICE, event_id: 1 };
    assert_eq!(bench.command(&mut host, int), None, "commands see it");
    assert!(bench.board.pending(1).eq([INTID + 1]));
    sync(&mut bench, &mut host, 0);
    assert_eq!(target(&bench, 1), None);
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 1), Some(Some(1)));
}

#[test]
fn a_move_and_a_discard_wait_too() {
    let (mut bench, mut host) = at_sync();
    let movi = Command::Movi { device_id: DEVICE, event_id: 0, icid: 1 };
    bench.command(&mut host, movi);
    assert_eq!(target(&bench, 0), Some(Some(0)));
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 0), Some(Some(1)));
    let discard = Command::Discard { device_id: DEVICE, event_id: 0 };
    bench.command(&mut host, discard);
    sync(&mut bench, &mut host, 0);
    bench.msi(DEVICE, 0, AccessSize::Word);
    assert!(bench.board.pending(1).eq([INTID]), "it still goes the old way");
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 0), None);
}

#[test]
fn changes_are_seen_in_their_order() {
    let (mut bench, mut host) = at_sync();
    let discard = Command::Discard { device_id: DEVICE, event_id: 0 };
    bench.command(&mut host, discard);
    bench.command(&mut host, mapti(0, INTID, 1));
    assert_eq!(target(&bench, 0), Some(Some(0)));
    sync(&mut bench, &mut host, 0);
    assert_eq!(target(&bench, 0), None, "discarded, and not yet mapped again");
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 0), Some(Some(1)));
}

#[test]
fn a_collection_takes_its_events_along() {
    let (mut bench, mut host) = at_sync();
    bench.command(&mut host, mapc(0, 1, true));
    sync(&mut bench, &mut host, 0);
    assert_eq!(target(&bench, 0), Some(Some(0)));
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 0), Some(Some(1)));
    bench.command(&mut host, mapc(0, 0, false));
    assert_eq!(target(&bench, 0), Some(Some(1)));
    sync(&mut bench, &mut host, 1);
    assert_eq!(target(&bench, 0), Some(None));
}

#[test]
fn mapd_and_disabling_settle_everything() {
    let (mut bench, mut host) = at_sync();
    bench.command(&mut host, mapti(1, INTID + 1, 1));
    bench.write(Register::Ctlr, 0);
    assert_eq!(target(&bench, 1), Some(Some(1)));
    bench.write(Register::Ctlr, 1);
    bench.command(&mut host, mapti(2, INTID + 2, 1));
    assert_eq!(target(&bench, 2), None);
    bench.command(&mut host, mapd(ITT, true));
    assert_eq!(target(&bench, 2), Some(Some(1)));
}
