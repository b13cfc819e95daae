//! Down and up again: suspend, loss of power, resume.

use super::driver;
use super::steps::{acknowledge_all, deliver, go_on, mapped, raise, rest, sync_event, write};
use crate::draft::Draft;
use crate::legal::{command, drain, post};
use its_scenario::{CPUS, HostCommand, Operation, Rdbase};

/// By the driver, at rest; the ITS may lose power meanwhile.
pub(crate) fn suspend(draft: &mut Draft<'_, '_>) {
    drain(draft);
    let before = draft.belief.here().collections.clone();
    let cpu = draft.cpu();
    draft.push(Operation::Suspend { cpu });
    match mapped(draft) {
        // Nobody listens.
        Some((device, event)) if draft.chance(1, 4) => {
            raise(draft, device.device_id, event.event_id);
        }
        _ => {}
    }
    let lost = draft.chance(1, 2);
    if lost {
        let restored = draft.chance(1, 2);
        draft.push(Operation::PowerLoss { restored });
    }
    draft.push(Operation::Resume { cpu });
    if lost {
        remap(draft, &before);
    }
    driver::interrupt(draft);
}

/// Collections that the ITS may have held without memory are mapped again, those of the CPUs by the
/// driver.
fn remap(draft: &mut Draft<'_, '_>, collections: &[(u16, u8)]) {
    for (icid, redistributor) in collections.iter().copied() {
        if draft.belief.here().redistributor(icid).is_some() {
            continue;
        }
        if icid == redistributor.into() {
            let cpu = redistributor;
            draft.push(Operation::InitCpu { cpu });
            continue;
        }
        let rdbase = Rdbase::Of(redistributor);
        let valid = true;
        command(draft, HostCommand::Mapc { icid, rdbase, valid });
        command(draft, HostCommand::Sync { rdbase });
        command(draft, HostCommand::Invall { icid });
        post(draft);
        drain(draft);
    }
}

/// At work or at rest, and programmed anew by somebody else than the driver, or not in its order.
pub(crate) fn lost(draft: &mut Draft<'_, '_>) {
    if draft.chance(1, 2) {
        at_work(draft);
    } else {
        drain(draft);
        if draft.chance(1, 2) {
            rest(draft);
        }
    }
    let before = draft.belief.here().collections.clone();
    let restored = draft.chance(1, 2);
    draft.push(Operation::PowerLoss { restored });
    match draft.below(4) {
        0 => {
            let cpu = draft.cpu();
            draft.push(Operation::Resume { cpu });
        }
        // What firmware wrote is all; the queue is gone through again from its start.
        1 if restored => go_on(draft),
        _ => program(draft),
    }
    if draft.chance(3, 4) {
        remap(draft, &before);
    } else {
        for cpu in 0..CPUS {
            draft.push(Operation::InitCpu { cpu });
        }
    }
    drain(draft);
    if let Some((device, event)) = mapped(draft) {
        deliver(draft, device.device_id, event.event_id);
    }
    acknowledge_all(draft);
}

/// Commands are posted that nobody waits for.
fn at_work(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 3) {
        if let Some((device, event)) = mapped(draft) {
            let (device_id, event_id) = (device.device_id, event.event_id);
            command(draft, HostCommand::Int { device_id, event_id });
            sync_event(draft, device_id, event_id);
        }
    }
    post(draft);
}

/// Every register that the driver writes, in some order, while the ITS is off.
fn program(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Quiesce { cpu });
    let tables = match draft.chance(1, 2) {
        true => [0, 1],
        false => [1, 0],
    };
    let queue_first = draft.chance(1, 2);
    if queue_first {
        draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    }
    for index in tables {
        draft.push(Operation::WriteBaser { cpu, index, flip: 0 });
    }
    if !queue_first {
        draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    }
    write(draft, "CWRITER", 0);
    go_on(draft);
}
