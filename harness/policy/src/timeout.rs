//! What EL2 does if its polls run out (the point `timeout`).

use its_declaration::Timeout;
use its_gic::{Ctlr, Register};
use its_machine::Event;

use crate::guarded::{GuardedIts, Stop};
use crate::mappings::Effect;
use crate::rules;
use crate::trap::{ItsTrap, device_reads, of};

impl GuardedIts {
    /// Follows what EL2 does after so many polls, if the ITS still works. Returns the events after
    /// that.
    pub(crate) fn give_up<'a>(
        &mut self,
        polls: u32,
        events: &'a [Event],
        trap: &mut ItsTrap,
    ) -> &'a [Event] {
        let timeout = self.declared().queue.timeout;
        if !self.is_waiting() || timeout == Timeout::Kept {
            return events;
        }
        self.stop = Stop::Lost;
        trap.account.writes.push(self.write_of_ctlr(false, timeout.source()));
        if timeout == Timeout::Off {
            return events;
        }
        let base = self.base;
        let clears =
            |event: &Event| matches!(event, Event::DeviceWrite { address, .. } if *address == base);
        let Some(start) = events.iter().position(clears) else {
            return events;
        };
        let events = &events[start + 1..];
        let writes = |event: &Event| matches!(event, Event::DeviceWrite { .. });
        let end = events.iter().position(writes).unwrap_or(events.len());
        let (stopped, rest) = events.split_at(end);
        if self.comes_to_rest(polls, stopped, trap) {
            self.roll_back(stopped, trap);
        }
        rest
    }

    /// Whether the ITS is at rest after so many reads of CTLR at most (P11).
    fn comes_to_rest(&mut self, polls: u32, events: &[Event], trap: &mut ItsTrap) -> bool {
        let reads = device_reads(self.base, events).filter_map(of(Register::Ctlr));
        let ctlr: Vec<Ctlr> = reads.map(|value| Ctlr::from_bits(value as u32)).collect();
        let first = ctlr.iter().position(|ctlr| ctlr.quiescent());
        if first.is_none() && ctlr.len() >= polls as usize {
            return false;
        }
        if first.is_none_or(|first| first >= polls as usize) {
            let (rule, source) = (&rules::DIV_LOOK, self.declared().queue.timeout.source());
            let path = format_args!("its{}.polls", self.its);
            let expected = format_args!("{polls} reads of CTLR, or Quiescent");
            let seen = format_args!("{} reads", ctlr.len());
            trap.account.judgement.disagree(rule, source, path, expected, seen);
            return false;
        }
        self.stop = Stop::Stopping;
        self.notice_rest(events);
        let rests = self.stop == Stop::AtRest;
        self.stop = Stop::Lost;
        rests
    }

    /// What is left in flight is taken back, and the ITS is enabled again.
    fn roll_back(&mut self, events: &[Event], trap: &mut ItsTrap) {
        let source = self.declared().queue.timeout.source();
        if let Some(creadr) =
            device_reads(self.base, events).filter_map(of(Register::Creadr)).last()
        {
            self.consume(creadr, trap);
        }
        if self.is_waiting() {
            for effect in std::mem::take(&mut self.mappings.in_flight) {
                if let Effect::Map { itt, .. } = effect {
                    trap.ledger.release_itt(itt);
                }
            }
            (self.queues.j, self.queues.refused) = (self.queues.c, true);
            let writer = self.forwarded(Register::Cwriter, self.queues.j, u64::MAX, source);
            trap.account.writes.push(writer);
        }
        trap.account.writes.push(self.write_of_ctlr(true, source));
        self.stop = Stop::Running;
    }
}
