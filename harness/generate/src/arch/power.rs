//! Down and up again: suspend, loss of power, resume.

use super::driver;
use crate::words::*;

/// By the driver, at rest; the ITS may lose power meanwhile.
pub(crate) fn suspend(draft: &mut Draft<'_, '_>) {
    let mut before = Vec::new();
    draft.suspended(|draft| {
        before.clone_from(&draft.expected.here().collections);
        if let Some((device, event)) = draft.mapped()
            && draft.chance(1, 4)
        {
            // Nobody listens.
            draft.raise(device.device_id, event.event_id);
        }
        if draft.chance(1, 2) {
            draft.lose_power();
        }
    });
    // Without a loss all of them are there.
    remap(draft, &before);
    driver::interrupt(draft);
}

/// Collections that the ITS may have lost are mapped again, those of the CPUs by the driver.
fn remap(draft: &mut Draft<'_, '_>, collections: &[(u16, u8)]) {
    for (icid, redistributor) in collections.iter().copied() {
        if draft.expected.here().redistributor(icid).is_some() {
            continue;
        }
        if icid == redistributor.into() {
            let cpu = redistributor;
            draft.push(Operation::InitCpu { cpu });
            continue;
        }
        let rdbase = Rdbase::Of(redistributor);
        let valid = true;
        draft.command(HostCommand::Mapc { icid, rdbase, valid });
        draft.command(HostCommand::Sync { rdbase });
        draft.command(HostCommand::Invall { icid });
        draft.settle();
    }
}

/// At work or at rest, and programmed anew by somebody else than the driver, or not in its order.
pub(crate) fn lost(draft: &mut Draft<'_, '_>) {
    if draft.chance(1, 2) {
        at_work(draft);
    } else {
        draft.drain();
        draft.maybe(1, 2, |draft| draft.rest());
    }
    let before = draft.expected.here().collections.clone();
    let restored = draft.lose_power();
    match draft.below(4) {
        0 => {
            draft.on_cpu(|cpu| Operation::Resume { cpu });
        }
        // What firmware wrote is all; the queue is gone through again from its start.
        1 if restored => draft.go_on(),
        _ => program(draft),
    }
    if draft.chance(3, 4) {
        remap(draft, &before);
    } else {
        draft.push_all((0..draft.cpus()).map(|cpu| Operation::InitCpu { cpu }));
    }
    draft.drain();
    if let Some((device, event)) = draft.mapped() {
        draft.deliver(device.device_id, event.event_id);
    }
    draft.acknowledge_all();
}

/// Commands are submitted that nobody waits for.
fn at_work(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 3) {
        if let Some((device, event)) = draft.mapped() {
            let (device_id, event_id) = (device.device_id, event.event_id);
            draft.synced(HostCommand::Int { device_id, event_id });
        }
    }
    draft.post();
}

/// Every register that the driver writes, in some order, while the ITS is off.
fn program(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Quiesce { cpu });
    let tables = if draft.chance(1, 2) { [0, 1] } else { [1, 0] };
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
    draft.write("CWRITER", 0);
    draft.go_on();
}
