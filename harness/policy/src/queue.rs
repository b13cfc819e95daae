//! The pair of queues of a guarded ITS: how far EL2 and the hardware are (P9 to P11).

use its_architecture::STALLED;
use its_gic::command::Words;
use its_gic::geometry::Queue;
use its_machine::Event;

/// The hardware's queue and the host's copy of it, which the host takes for the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    pub(crate) queue: Queue,
    /// Physical address of the host's copy.
    pub(crate) shadow: u64,
    /// Offsets: the hardware's CREADR at the last look, up to where EL2 judged, the host's CWRITER.
    pub(crate) c: u64,
    pub(crate) j: u64,
    pub(crate) w: u64,
    /// The hardware was stalled at the last look.
    pub(crate) stalled: bool,
    /// The command at J was refused.
    pub(crate) refused: bool,
}

impl Queues {
    /// Returns an empty pair at offset 0.
    pub(crate) fn new(queue: Queue, shadow: u64) -> Self {
        Self { queue, shadow, c: 0, j: 0, w: 0, stalled: false, refused: false }
    }

    /// What CREADR shows the host (P10), a refused command too if that `shows`.
    pub(crate) fn creadr(&self, shows: bool) -> u64 {
        let shown = self.refused && shows;
        let stalled = self.stalled || shown && self.c == self.j;
        self.c | if stalled { STALLED } else { 0 }
    }

    /// Whether all was consumed, or the host's next command is refused.
    pub(crate) fn is_settled(&self) -> bool {
        self.c == self.w || self.refused && self.c == self.j
    }

    /// Whether the hardware can have come to an offset: it is one from C to J.
    pub(crate) fn may_reach(&self, offset: u64) -> bool {
        let most = self.queue.distance(self.c, self.j);
        offset < self.queue.bytes && self.queue.distance(self.c, offset) <= most
    }

    /// P11: a CWRITER beyond the queue, or from C to before J, is ignored whole.
    pub(crate) fn accepts(&self, writer: u64) -> bool {
        let judged = self.queue.distance(self.c, self.j);
        writer < self.queue.bytes && self.queue.distance(self.c, writer) >= judged
    }

    /// The first copy that EL2 took of the host's slot, the events from it to the copy of another,
    /// and the rest.
    pub(crate) fn copy<'a>(
        &self,
        offset: u64,
        events: &'a [Event],
    ) -> Option<(Words, &'a [Event], &'a [Event])> {
        let copy = |event: &Event| self.copied(event);
        let (start, words) = events.iter().enumerate().find_map(|(index, event)| {
            let (at, words) = copy(event)?;
            (at == offset).then_some((index, words))
        })?;
        let after = &events[start + 1..];
        let other = |event: &Event| copy(event).is_some_and(|(at, _)| at != offset);
        let (window, rest) = after.split_at(after.iter().position(other).unwrap_or(after.len()));
        Some((words, window, rest))
    }

    /// Whether EL2 copied a slot of the host's.
    pub(crate) fn is_copy(&self, event: &Event) -> bool {
        self.copied(event).is_some()
    }

    /// The offset and the words of a slot of the host's that EL2 copied.
    fn copied(&self, event: &Event) -> Option<(u64, Words)> {
        match event {
            Event::CommandRead { address, words, .. } => {
                let at = address.wrapping_sub(self.shadow);
                (at < self.queue.bytes).then_some((at, *words))
            }
            _ => None,
        }
    }
}
