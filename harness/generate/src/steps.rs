//! Steps that phrases are made of: the queue, commands and registers, MSIs.

use crate::legal::reset_queue;
use crate::words::*;

/// Returns a MAPD: of an ITT for so many EventID bits, minus 1.
pub(crate) const fn mapd(device_id: u32, size: u8, itt: Place, valid: bool) -> HostCommand {
    HostCommand::Mapd { device_id, size, itt_address: itt, valid }
}

/// Returns a MAPC of a collection to a redistributor, or one that unmaps it.
pub(crate) const fn mapc(icid: u16, redistributor: u8, valid: bool) -> HostCommand {
    HostCommand::Mapc { icid, rdbase: Rdbase::Of(redistributor), valid }
}

/// Returns a SYNC of a redistributor.
pub(crate) const fn sync(redistributor: u8) -> HostCommand {
    HostCommand::Sync { rdbase: Rdbase::Of(redistributor) }
}

/// Returns offset and size of a register of a frame.
pub(crate) fn register_named(frame: Frame, name: &str) -> Option<(u32, AccessSize)> {
    let known = registers(frame).find(|(known, ..)| *known == name);
    known.map(|(_, offset, size)| (offset, size))
}

impl Draft<'_, '_> {
    /// A command in the next slot of the queue.
    pub(crate) fn command(&mut self, command: HostCommand) {
        self.on_cpu(|cpu| Operation::Command { cpu, command });
    }

    /// As Linux does it, mostly.
    pub(crate) fn post(&mut self) {
        let cpu = self.cpu();
        let double = self.chance(1, 4);
        self.push(Operation::WriteCwriter { cpu, retry: false, double });
    }

    /// What was written is submitted, and all of it should be consumed.
    pub(crate) fn settle(&mut self) {
        self.post();
        self.drain();
    }

    /// What was written is submitted and looked at.
    pub(crate) fn post_and_poll(&mut self) {
        self.post();
        self.poll();
    }

    /// The host reads GITS_CREADR a few times.
    pub(crate) fn poll(&mut self) {
        let cpu = self.cpu();
        let times = self.pick(&[1, 1, 2, 8], 1);
        self.push(Operation::Poll { cpu, times });
    }

    /// A command, submitted and looked at.
    pub(crate) fn attempt(&mut self, command: HostCommand) {
        self.command(command);
        self.post_and_poll();
    }

    /// A command, submitted.
    pub(crate) fn send(&mut self, command: HostCommand) {
        self.command(command);
        self.post();
    }

    /// A command on an event, and a SYNC of the redistributor of the event's collection.
    pub(crate) fn synced(&mut self, command: HostCommand) {
        self.command(command);
        if let Some((device_id, event_id)) = command.event() {
            self.sync_event(device_id, event_id);
        }
    }

    /// Often a batch grows.
    pub(crate) fn sometimes_post(&mut self) {
        self.maybe(2, 3, |draft| draft.post());
    }

    /// Waits until so many slots are free.
    pub(crate) fn make_room(&mut self, slots: u32) {
        if self.expected.room() <= slots {
            self.drain();
        }
    }

    /// Nothing is left in the queue.
    pub(crate) fn drain(&mut self) {
        if self.expected.here().written > 0 {
            self.post();
        }
        for _ in 0..40 {
            let submitted = self.expected.here().in_flight;
            let (commands, times) = match self.expected.here().configuration.pace {
                _ if submitted == 0 => return,
                Pace::AtOnce => (0, 2),
                Pace::Late => (0, submitted.min(255) as u8),
                Pace::Never => (64, 1),
            };
            let cpu = self.cpu();
            if commands > 0 {
                self.push(Operation::Advance { commands });
            }
            self.push(Operation::Poll { cpu, times });
        }
    }

    /// The driver suspends, and after something resumes.
    pub(crate) fn suspended(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        self.drain();
        let cpu = self.cpu();
        self.push(Operation::Suspend { cpu });
        meanwhile(self);
        self.push(Operation::Resume { cpu });
    }

    /// Nothing is in the queue, so that what is refused is what comes now.
    pub(crate) fn make_way(&mut self) {
        if self.expected.here().written > 0 || self.expected.room() < 16 {
            self.drain();
        }
    }

    /// A command that could be refused, in a batch or not, and the way out if it was.
    pub(crate) fn risk(&mut self, odd: HostCommand) {
        self.make_way();
        self.command(odd);
        self.outlive();
    }

    /// Posts a last command that could be refused, and gets the ITS on again if it stalls.
    pub(crate) fn outlive(&mut self) {
        let after = if self.chance(1, 3) { self.between(1, 3) } else { 0 };
        for _ in 0..after {
            self.harmless();
        }
        self.settle();
        self.maybe(1, 2, |draft| draft.on_cpu(|cpu| Operation::Poll { cpu, times: 1 }));
        match self.below(10) {
            0 => reset_queue(self),
            1 => {
                self.retry();
                self.rewrite(after);
            }
            _ => self.rewrite(after),
        }
        self.drain();
    }

    /// The refused command and those after it become others; read only if one was refused.
    pub(crate) fn rewrite(&mut self, after: u64) {
        let slots = after.saturating_add(1) as u8;
        self.push(Operation::Rewind { slots });
        for _ in 0..slots {
            self.harmless();
        }
        self.retry();
    }

    pub(crate) fn retry(&mut self) {
        self.on_cpu(|cpu| Operation::WriteCwriter { cpu, retry: true, double: false });
    }

    /// A command that no ITS refuses.
    pub(crate) fn harmless(&mut self) {
        let (icid, redistributor) = self.some_collection();
        let mapped = self.expected.here().redistributor(icid).is_some();
        if mapped && self.chance(1, 4) {
            self.command(HostCommand::Invall { icid })
        } else {
            self.sync_with(redistributor)
        }
    }

    pub(crate) fn sync_with(&mut self, redistributor: u8) {
        let rdbase = Rdbase::Of(redistributor);
        self.command(HostCommand::Sync { rdbase });
    }

    /// A SYNC for the redistributor of an event's collection.
    pub(crate) fn sync_event(&mut self, device_id: u32, event_id: u32) {
        let redistributor = self.expected.redistributor_of(device_id, event_id);
        self.sync_with(redistributor);
    }

    /// A device raises an event.
    pub(crate) fn raise(&mut self, device_id: u32, event_id: u32) {
        let half = event_id <= u16::MAX.into() && self.chance(1, 6);
        self.push(Operation::Msi { device_id, event_id, half });
    }

    pub(crate) fn acknowledge(&mut self, cpu: u8) {
        self.push(Operation::Acknowledge { cpu });
    }

    /// Both CPUs take what they are offered.
    pub(crate) fn acknowledge_all(&mut self) {
        for cpu in 0..self.cpus() {
            self.acknowledge(cpu);
        }
    }

    /// An event is raised and taken where it should be.
    pub(crate) fn deliver(&mut self, device_id: u32, event_id: u32) {
        self.raise(device_id, event_id);
        let cpu = self.expected.redistributor_of(device_id, event_id);
        self.acknowledge(cpu);
    }

    /// The ITS comes to rest.
    pub(crate) fn rest(&mut self) {
        let cpu = self.cpu();
        self.push(Operation::Disable { cpu });
        self.push(Operation::Quiesce { cpu });
    }

    /// The ITS goes on.
    pub(crate) fn go_on(&mut self) {
        self.on_cpu(|cpu| Operation::Enable { cpu });
    }

    /// Reads or writes a register by name; what is no register is left out.
    pub(crate) fn access(&mut self, frame: Frame, name: &str, direction: Direction) {
        if let Some(at) = register_named(frame, name) {
            self.access_at(frame, at, direction);
        }
    }

    /// Writes a register by name, and reads what became of it.
    pub(crate) fn write_and_read(&mut self, frame: Frame, name: &str, value: u64) {
        self.access(frame, name, Direction::Write(value));
        self.access(frame, name, Direction::Read);
    }

    /// Writes a register of 64 bits by name: whole, or in halves.
    pub(crate) fn write_whole_or_in_halves(&mut self, frame: Frame, name: &str, value: u64) {
        match register_named(frame, name) {
            Some((offset, _)) if self.chance(1, 4) => self.in_halves(frame, offset, value),
            _ => self.access(frame, name, Direction::Write(value)),
        }
    }

    pub(crate) fn access_at(
        &mut self,
        frame: Frame,
        (offset, size): (u32, AccessSize),
        direction: Direction,
    ) {
        self.on_cpu(|cpu| Operation::access(cpu, frame, (offset, size), direction));
    }

    pub(crate) fn read(&mut self, name: &str) {
        let frame = self.frame();
        self.access(frame, name, Direction::Read);
    }

    pub(crate) fn write(&mut self, name: &str, value: u64) {
        let frame = self.frame();
        self.access(frame, name, Direction::Write(value));
    }

    /// GITS_CWRITER := a value, 64 bits, by a CPU that is given.
    pub(crate) fn write_cwriter(&mut self, cpu: u8, value: u64) {
        let at = (Register::Cwriter.offset() as u32, AccessSize::Double);
        self.push(Operation::access(cpu, self.frame(), at, Direction::Write(value)));
    }

    /// The ITS loses power; whether firmware restores its registers.
    pub(crate) fn lose_power(&mut self) -> bool {
        let restored = self.chance(1, 2);
        self.push(Operation::PowerLoss { restored });
        restored
    }

    /// One of the next so many changes of page ownership fails.
    pub(crate) fn fail(&mut self, changes: &[PageChange], otherwise: PageChange, most: u64) {
        let change = self.pick(changes, otherwise);
        let nth = self.between(1, most) as u8;
        self.push(Operation::Fail { change, nth });
    }

    /// Writes a register of 64 bits in halves, in either order.
    pub(crate) fn in_halves(&mut self, frame: Frame, offset: u32, value: u64) {
        let mut halves = [(offset, value), (offset.saturating_add(4), value >> 32)];
        if self.chance(1, 2) {
            halves.reverse();
        }
        for (offset, half) in halves {
            let half = Direction::Write(half & 0xffff_ffff);
            self.access_at(frame, (offset, AccessSize::Word), half);
            self.maybe(1, 6, |draft| draft.poll());
        }
    }
}
