//! Several CPUs at once: one drives the ITSs, and the others do what no order matters for.

use its_machine::{Action, Direction, Event, Part};
use its_rules::Finding;

use crate::legal::Unpromised;
use crate::service::{After, Service, is_out_of_account, taken};

impl Service {
    /// Follows a race in which at most one agent drives the ITSs. The order of what the others do
    /// is not known.
    ///
    /// # Errors
    ///
    /// As [`Self::follow`], and where two agents drive ITSs.
    pub fn follow_race<I: Iterator<Item = u32>>(
        &mut self,
        parts: &[Part],
        events: &[Event],
        pending: impl Fn(u8) -> I,
    ) -> Result<Option<Finding>, Unpromised> {
        if events.iter().any(is_out_of_account) {
            return Err("the machine did what no host can account for");
        }
        // The host may have asked for it too. The account ends all the same.
        if self.gives_up(events) {
            return Err("the emulation is declared to switch an ITS off, and did");
        }
        let mut driving = parts.iter().filter(|part| drives(&part.action)).map(|part| part.agent);
        let driver = driving.next();
        if driving.any(|agent| Some(agent) != driver) {
            return Err("two CPUs drive ITSs at once");
        }
        let (by_driver, others): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| Some(part.agent) == driver);
        others.into_iter().try_for_each(|part| self.happen_meanwhile(part))?;
        for part in by_driver {
            if let After::Broken(finding) = self.act(&part.action, part.outcome)? {
                return Ok(Some(finding));
            }
        }
        Ok(self.compare_all(pending))
    }

    /// Follows what another agent did, before or after anything that the driver did.
    fn happen_meanwhile(&mut self, part: &Part) -> Result<(), Unpromised> {
        match part.action {
            Action::Hypercall { x0, arguments, .. } => {
                self.call(x0, arguments)?;
            }
            Action::Msi { its, device_id, event_id, .. } => {
                let event = (its.into(), device_id, event_id);
                self.window.raised.insert(event);
                self.hardware.open_event(event);
            }
            Action::Acknowledge { .. } => self.forget_taken(taken(part.outcome)),
            Action::PowerLoss { .. } => return Err("an ITS lost power"),
            Action::EnabledByOther { .. } => {}
            // What it read of an ITS the driver's next read shows as well.
            Action::Device { .. }
            | Action::Load { .. }
            | Action::Store { .. }
            | Action::StoreCommand { .. }
            | Action::Clean { .. }
            | Action::WriteBack { .. }
            | Action::Advance { .. } => {}
        }
        Ok(())
    }
}

/// Whether an action changes what an ITS or a redistributor does.
fn drives(action: &Action) -> bool {
    let writes = |to: &Direction| matches!(to, Direction::Write(_));
    match action {
        Action::Device { direction, .. } => writes(direction),
        Action::Store { .. } | Action::StoreCommand { .. } | Action::Clean { .. } => true,
        Action::Load { .. }
        | Action::Hypercall { .. }
        | Action::Msi { .. }
        | Action::Acknowledge { .. }
        | Action::PowerLoss { .. }
        | Action::EnabledByOther { .. }
        | Action::WriteBack { .. }
        | Action::Advance { .. } => false,
    }
}
