//! The events of a race, sorted by the action that they belong to.

use std::collections::BTreeSet;

use its_machine::{AGENTS, Event, Part};

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
            // Between a store and its cleaning the ITS sees what was there before, as it may:
            // whether EL2 cleans in time is judged by its own action.
            Event::StaleRead { .. } if others_are_at_work(&underway, agent) => {}
            event => underway[agent].events.push(event),
        }
    }
    done
}

/// The events in the order of happening, cut where an agent gives way or ends an action, each with
/// that action.
pub(crate) fn slices<'a>(
    parts: &'a [Part],
    events: &'a [Event],
) -> impl Iterator<Item = (&'a Part, &'a [Event])> {
    let (mut agent, mut ended) = (0, [0; AGENTS]);
    let is_end = |event: &Event| matches!(event, Event::Turn { .. } | Event::Over);
    events.split_inclusive(is_end).filter_map(move |slice| {
        let mut own = parts.iter().filter(|part| usize::from(part.agent) == agent);
        // What belongs to no action is judged all the same.
        let part = own.nth(ended[agent]).or(parts.first())?;
        match slice.last() {
            Some(Event::Turn { agent: next }) => agent = usize::from(*next),
            Some(Event::Over) => ended[agent] += 1,
            _ => {}
        }
        Some((part, slice))
    })
}

fn others_are_at_work(underway: &[Own], agent: usize) -> bool {
    let mut others = (0..).zip(underway).filter(|(other, _)| *other != agent);
    others.any(|(_, own)| !own.events.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{Action, Outcome};

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
    fn slices_keep_the_order_and_name_the_action() {
        let part = |agent, action| Part { agent, action, outcome: Outcome::Done };
        let load = |cpu| Action::Load { cpu, address: 0 };
        let lost = Action::PowerLoss { its: 0, restored: true };
        let parts = [part(2, lost), part(1, load(1)), part(0, load(0)), part(1, load(1))];
        let turn = |agent| Event::Turn { agent };
        let events = [
            vec![turn(1), Event::Ordered, turn(2), Event::Ordered, Event::Over],
            vec![turn(0), Event::Ordered, turn(1), Event::Over, turn(0), Event::Over],
            vec![turn(1), Event::Ordered, Event::Over],
        ]
        .concat();
        let ordered = slices(&parts, &events).filter(|(_, slice)| slice[0] == Event::Ordered);
        let agents: Vec<u8> = ordered.map(|(part, _)| part.agent).collect();
        assert_eq!(agents, [1, 2, 0, 1]);
        let whole: Vec<Event> =
            slices(&parts, &events).flat_map(|(_, slice)| slice.iter().copied()).collect();
        assert_eq!(whole, events);
    }

    #[test]
    fn what_el2_is_about_to_clean_may_be_stale() {
        assert_eq!(stale_reads(&[]), 1);
        assert_eq!(stale_reads(&[Event::Ordered]), 0);
    }
}
