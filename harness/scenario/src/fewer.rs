//! Scenarios with fewer operations than one: some left out, or several made one, and numbers that
//! depend on that adapted.
//!
//! Like the steps of `simplify` none knows what a scenario is for, and each has fewer operations.

use std::ops::Range;

use its_gic::Register;
use its_gic::command::COMMAND_BYTES;
use its_gic::register::OFFSET_MASK;
use its_machine::{Area, AreaKind, Frame, Place};

use crate::header::Boot;
use crate::operation::Operation;
use crate::scenario::Scenario;
use crate::target::Target;

/// A DeviceID that no boot has given to a live device.
const FRESH_DEVICE: u32 = 0x100;
/// ITTs from this page on are apart from those that scenarios use.
const FAR_ITTS: u16 = 160;
/// The most operations of which pairs are left out: their number goes with the square.
const PAIRED: usize = 32;

impl Scenario {
    /// Without these operations. A race loses those of its members, and goes with the last.
    #[must_use]
    pub fn without(&self, gone: Range<usize>) -> Self {
        self.without_where(|index| gone.contains(&index))
    }

    fn without_where(&self, is_gone: impl Fn(usize) -> bool) -> Self {
        let mut operations = Vec::with_capacity(self.operations.len());
        // Where the operation's race is, and how many of its members are still to come.
        let mut race: Option<(usize, u8)> = None;
        for (index, operation) in self.operations.iter().enumerate() {
            let is_gone = is_gone(index);
            if let Operation::Race { operations: members, .. } = *operation {
                race = (!is_gone).then_some((operations.len(), members));
            } else if let Some((at, members)) = race {
                if is_gone {
                    lose_member(&mut operations, at);
                }
                race = members.checked_sub(1).filter(|left| *left > 0).map(|left| (at, left));
            }
            if !is_gone {
                operations.push(*operation);
            }
        }
        operations.retain(|operation| !matches!(operation, Operation::Race { operations: 0, .. }));
        Self { operations, ..*self }
    }

    /// Without these operations, and CWRITER offsets and rewinds behind them less by the commands
    /// that are gone; `None` where that is nothing else than [`Scenario::without`].
    pub fn without_commands(&self, gone: Range<usize>) -> Option<Self> {
        let commands = self.operations.get(gone.clone())?.iter().map(commands_of);
        let commands = commands.fold(0, u64::saturating_add);
        let mut adapted = self.clone();
        for operation in adapted.operations.iter_mut().skip(gone.end) {
            count_fewer(operation, commands);
        }
        let any = adapted.operations != self.operations;
        any.then(|| adapted.without(gone))
    }

    /// Without all operations that equal one, for each that comes several times.
    pub fn without_equals(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            let equals = |other: &&Operation| *other == operation;
            let is_first = self.operations.iter().position(|other| other == operation);
            if is_first == Some(index) && self.operations.iter().filter(equals).count() > 1 {
                let is_gone = |at| self.operations.get(at) == Some(operation);
                all.push(self.without_where(is_gone));
            }
        }
        all
    }

    /// Without two operations that may mean something only together; none of a long scenario.
    pub fn without_pairs(&self) -> Vec<Self> {
        let length = self.operations.len();
        if length > PAIRED {
            return Vec::new();
        }
        let pairs = (0..length)
            .flat_map(|one| (one.saturating_add(1)..length).map(move |other| (one, other)));
        pairs
            .map(|(one, other)| self.without_where(|index| index == one || index == other))
            .collect()
    }

    /// The longest runs of operations that [`Scenario::folded`] makes one of.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        let kind = |operation: &Operation| (fills(operation), describes(operation));
        for run in self.operations.chunk_by(|one, other| kind(one) == kind(other)) {
            let end = usize::saturating_add(start, run.len());
            if run.first().is_some_and(|first| kind(first) != (false, false)) {
                runs.push(start..end);
            }
            start = end;
        }
        runs
    }

    /// With one operation for several: a run of devices for what only puts commands into the queue,
    /// as many or twice as many, and the driver's descriptor for stores into it.
    pub fn folded(&self, run: Range<usize>) -> Vec<Self> {
        let Some(operations) = self.operations.get(run.clone()) else { return Vec::new() };
        let commands = operations.iter().map(commands_of).fold(0, u64::saturating_add);
        if operations.len() > 1 && operations.iter().all(describes) {
            return self.with_descriptor(run);
        }
        if operations.len() < 2 || !operations.iter().all(fills) {
            return Vec::new();
        }
        let mut counts = vec![commands, commands.saturating_mul(2)];
        counts.dedup();
        let runs = counts.into_iter().flat_map(|count| runs_of_devices(operations, count));
        runs.filter_map(|devices| self.with_one_for(run.clone(), devices)).collect()
    }

    /// With the driver's descriptor for these stores: in their place, and ahead of earlier stores.
    fn with_descriptor(&self, stores: Range<usize>) -> Vec<Self> {
        let Some(in_place) = self.with_one_for(stores.clone(), Operation::Describe { cpu: 0 })
        else {
            return Vec::new();
        };
        let before = self.operations.iter().take(stores.start).rev();
        let before = before.take_while(|operation| describes(operation)).count();
        let mut ahead = in_place.clone();
        let moved = stores.start.saturating_sub(before)..stores.start.saturating_add(1);
        if let Some(moved) = ahead.operations.get_mut(moved) {
            moved.rotate_right(1);
        }
        vec![in_place, ahead]
    }

    fn with_one_for(&self, run: Range<usize>, operation: Operation) -> Option<Self> {
        let mut scenario = self.without(run.start.saturating_add(1)..run.end);
        *scenario.operations.get_mut(run.start)? = operation;
        let length = scenario.operations.len();
        scenario.fix_up();
        (scenario.operations.len() == length).then_some(scenario)
    }

    /// With the shortest queue, in which fewer commands come to the end; `None` where it is that.
    pub fn with_shortest_queue(&self) -> Option<Self> {
        let boot = Boot { queue_pages: 1, ..self.boot };
        (boot != self.boot).then(|| Self { boot, ..self.clone() })
    }
}

fn lose_member(operations: &mut [Operation], race: usize) {
    if let Some(Operation::Race { operations, .. }) = operations.get_mut(race) {
        *operations = operations.saturating_sub(1);
    }
}

/// Commands that an operation puts into the queue; 0 of one that does something else.
fn commands_of(operation: &Operation) -> u64 {
    match operation {
        Operation::Command { .. }
        | Operation::MapDevice { .. }
        | Operation::MapEvent { .. }
        | Operation::UnmapDevice { .. } => 1,
        Operation::MapDevices { count, .. } => u64::from(*count),
        _ => 0,
    }
}

fn fills(operation: &Operation) -> bool {
    commands_of(operation) > 0
}

/// Whether it writes into a descriptor.
fn describes(operation: &Operation) -> bool {
    let (Operation::Store { at, .. } | Operation::StoreAddress { at, .. }) = operation else {
        return matches!(operation, Operation::Describe { .. });
    };
    matches!(at, Place::In { area: Area { kind: AreaKind::Descriptor, .. }, .. })
}

fn count_fewer(operation: &mut Operation, commands: u64) {
    match operation {
        Operation::Rewind { slots } => {
            let fewer = u64::from(*slots).saturating_sub(commands).max(1);
            *slots = fewer as u8;
        }
        Operation::Write {
            target: Target { frame: Frame::ItsControl(_), offset, .. },
            value,
            ..
        } if Register::at((*offset).into()) == Register::Cwriter => {
            let back = commands.saturating_mul(COMMAND_BYTES);
            let offset = (*value & OFFSET_MASK).saturating_sub(back);
            *value = *value & !OFFSET_MASK | offset;
        }
        _ => {}
    }
}

/// Runs of so many devices, like the first that these operations map, or of a free DeviceID.
fn runs_of_devices(operations: &[Operation], count: u64) -> Vec<Operation> {
    let run = |cpu, device_id, stride, event_id_bits, itt| Operation::MapDevices {
        cpu,
        device_id,
        count: u16::try_from(count).unwrap_or(u16::MAX),
        stride,
        event_id_bits,
        itt,
    };
    let first = operations.iter().find_map(|operation| match *operation {
        Operation::MapDevice { cpu, device_id, event_id_bits, itt } => {
            Some((cpu, device_id, event_id_bits, itt))
        }
        Operation::MapDevices { cpu, device_id, event_id_bits, itt, .. } => {
            Some((cpu, device_id, event_id_bits, itt))
        }
        _ => None,
    });
    let apart = Place::page(Area::ITT, FAR_ITTS);
    let far = first.map(|(cpu, device_id, ..)| (cpu, device_id, 1, apart));
    let fresh = (0, FRESH_DEVICE, 1, apart);
    [first, far, Some(fresh)]
        .into_iter()
        .flatten()
        .flat_map(|(cpu, id, bits, itt)| [0, 1].map(|stride| run(cpu, id, stride, bits, itt)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(text: &str) -> Scenario {
        Scenario::parse(format!("itsdiff 2\n{text}")).unwrap()
    }

    #[test]
    fn a_race_loses_members_and_goes_with_the_last() {
        let race = operations("race 2 turns=3\nwrite-cwriter\nwrite-cwriter cpu=1\npoll 1\n");
        assert_eq!(race.without(1..2), operations("race 1 turns=3\nwrite-cwriter cpu=1\npoll 1\n"));
        assert_eq!(race.without(1..3), operations("poll 1\n"));
        assert_eq!(race.without(0..1), operations("write-cwriter\nwrite-cwriter cpu=1\npoll 1\n"));
        assert_eq!(
            race.without(3..4),
            operations("race 2 turns=3\nwrite-cwriter\nwrite-cwriter cpu=1\n")
        );
    }

    #[test]
    fn offsets_behind_fewer_commands_are_less() {
        let sync = "command SYNC rdbase=redistributor0\n";
        let before = format!("{sync}{sync}write its0 CWRITER 0x61\nrewind 2\npoll 1\n");
        let after = format!("{sync}write its0 CWRITER 0x41\nrewind 1\npoll 1\n");
        assert_eq!(operations(&before).without_commands(0..1), Some(operations(&after)));
        assert_eq!(operations(&before).without_commands(4..5), None);
    }

    #[test]
    fn commands_fold_into_a_run_of_devices() {
        let sync = "command SYNC rdbase=redistributor0\n";
        let folded = operations(&format!("{}write-cwriter\n", sync.repeat(3))).folded(0..3);
        let run = "map-devices device=0x100 count=3 stride=0x0 event-id-bits=1 itt=itt[160]\nwrite-cwriter\n";
        assert!(folded.contains(&operations(run)), "{folded:?}");
        let maps = "map-device device=0x4 event-id-bits=5 itt=itt[3]\nmap-device device=0x5 event-id-bits=5 itt=itt[3]\n";
        let run = "map-devices device=0x4 count=2 stride=0x1 event-id-bits=5 itt=itt[3]\n";
        assert!(operations(maps).folded(0..2).contains(&operations(run)));
        assert!(operations("poll 1\npoll 1\n").folded(0..2).is_empty());
        let runs = operations(&format!("poll 1\n{sync}{sync}write-cwriter\n{sync}")).runs();
        assert_eq!(runs, [1..3, 4..5]);
    }

    #[test]
    fn stores_into_the_descriptor_become_the_driver_s() {
        let stores = "store descriptor[0] value=0x1\nstore descriptor[0]+0x8 value=0x2\n";
        let scenario = operations(&format!("{stores}store host[0] value=0x1\n"));
        assert_eq!(scenario.runs(), [Range { start: 0, end: 2 }]);
        let described = operations("describe\nstore host[0] value=0x1\n");
        assert_eq!(scenario.folded(0..2)[0], described);
        let more = operations(&format!("{stores}{stores}")).folded(2..4);
        assert_eq!(more[1], operations(&format!("describe\n{stores}")));
    }

    #[test]
    fn equals_and_pairs_go_at_once() {
        let scenario = operations("poll 1\nwrite-cwriter\npoll 1\nsuspend\n");
        assert_eq!(scenario.without_equals(), [operations("write-cwriter\nsuspend\n")]);
        assert!(scenario.without_pairs().contains(&operations("write-cwriter\npoll 1\n")));
        assert_eq!(scenario.without_pairs().len(), 6);
    }
}
