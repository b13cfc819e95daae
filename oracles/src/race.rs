//! The events of a race, sorted by the action that they belong to.

use std::collections::BTreeSet;

use its_el2::{AGENTS, Event, Part};

/// What one action did, and what others did meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub events: Vec<Event>,
    /// Pages that other agents changed.
    pub contested: BTreeSet<u64>,
}

/// For each of the parts, in the same order.
pub(crate) fn by_part(parts: &[Part], events: &[Event]) -> Vec<Own> {
    let mut underway: [Own; AGENTS] = Default::default();
    let mut done = Vec::with_capacity(parts.len());
    let mut agent = 0;
    for event in events {
        match *event {
            Event::Turn { agent: next } => agent = usize::from(next),
            Event::Over => done.push(std::mem::take(&mut underway[agent])),
            Event::Page { pages, result: Ok(()), .. } => {
                for (other, own) in underway.iter_mut().enumerate() {
                    // What has not begun relies on nothing.
                    if other != agent && !own.events.is_empty() {
                        own.contested.extend(pages.iter());
                    }
                }
                underway[agent].events.push(*event);
            }
            // Between a store and its cleaning the ITS sees what was there before, as it may: whether EL2 cleans in time is
            // judged by its own action.
            Event::StaleRead { .. } if others_are_at_work(&underway, agent) => {}
            event => underway[agent].events.push(event),
        }
    }
    done
}

fn others_are_at_work(underway: &[Own], agent: usize) -> bool {
    let mut others = (0..).zip(underway).filter(|(other, _)| *other != agent);
    others.any(|(_, own)| !own.events.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_el2::{Action, Outcome};

    /// CPU 0 begins an action, or not; the world's action has the ITS read what is not cleaned.
    fn stale_reads(cpu0: &[Event]) -> usize {
        let part = |agent, action| Part { agent, action, outcome: Outcome::Done };
        let advance = Action::Advance { its: 0, commands: 1 };
        let load = Action::Load { cpu: 0, address: 0 };
        let parts = [part(2, advance), part(0, load)];
        let mut events = cpu0.to_vec();
        events.extend([
            Event::Turn { agent: 2 },
            Event::StaleRead { address: 0x1000 },
            Event::Over,
            Event::Turn { agent: 0 },
            Event::Over,
        ]);
        let own = by_part(&parts, &events);
        own[0].events.len()
    }

    #[test]
    fn what_el2_is_about_to_clean_may_be_stale() {
        assert_eq!(stale_reads(&[]), 1);
        assert_eq!(stale_reads(&[Event::Ordered]), 0);
    }
}
