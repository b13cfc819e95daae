//! What can be asked of something that plays a case, and whether it is what was expected.

use its_gic::register::OFFSET_MASK;
use its_machine::{CommandError, Event, Outcome, Translation};

use crate::script::Expectation;

/// How what is seen fits what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is that.
    Is,
    /// It may be that, and something else too: only the reference says so.
    MayBe,
    /// It is this instead.
    IsNot(String),
    /// It cannot be seen here, for this reason.
    Hidden(&'static str),
}

impl Fit {
    pub(crate) fn of<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Self {
        if seen == expected { Self::Is } else { Self::IsNot(format!("{seen:x?}")) }
    }
}

/// What became of a command that an ITS came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Ignored(CommandError),
    Stalled(CommandError),
    /// Done, or ignored over an error.
    Taken,
}

impl Fate {
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match *event {
            Event::Consumed { error: None, .. } => Some(Self::Done),
            Event::Consumed { error: Some(error), .. } => Some(Self::Ignored(error)),
            Event::Taken { .. } => Some(Self::Taken),
            Event::Stalled { error, .. } => error.map(Self::Stalled),
            _ => None,
        }
    }
}

/// What came of actions, until somebody asks.
#[derive(Default)]
pub(crate) struct Noted {
    /// What the last access returned, and which bits of it are certain.
    pub(crate) value: Option<(u64, u64)>,
    /// What became of commands since this was last asked.
    pub(crate) fates: Vec<Fate>,
    /// It could have been something else.
    pub(crate) open: bool,
}

impl Noted {
    /// Notes what came of an action, of whose value these bits are certain.
    pub(crate) fn add(&mut self, outcome: Outcome, certain: u64, events: &[Event]) {
        self.value = match outcome {
            Outcome::Value(value) => Some((value, certain)),
            _ => None,
        };
        self.fates.extend(events.iter().filter_map(Fate::of));
    }

    fn take_fates(&mut self) -> (Vec<Fate>, bool) {
        (std::mem::take(&mut self.fates), std::mem::take(&mut self.open))
    }
}

/// Something that plays a case, between two operations.
pub(crate) trait Observed {
    fn noted(&mut self) -> &mut Noted;
    /// GITS_CREADR and GITS_CWRITER.
    fn queue(&mut self) -> (u64, u64);
    /// Whether a command may be refused before it comes to an ITS.
    fn may_refuse(&self) -> bool {
        false
    }
    fn translation(&mut self, event: (u32, u32), expected: Option<Translation>) -> Fit;
    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit;
    fn offered(&mut self, cpu: u8, expected: Option<u32>) -> Fit;
}

/// Holds one expectation against what is seen.
pub(crate) fn check(expected: &Expectation, on: &mut impl Observed) -> Fit {
    match expected {
        Expectation::Value { value, mask } => check_value(*value, *mask, on),
        Expectation::Done => check_done(on),
        Expectation::Error(number) => check_error(*number, on),
        Expectation::Translation { device_id, event_id, to } => {
            on.translation((*device_id, *event_id), *to)
        }
        Expectation::Pending { cpu, intids } => on.pending(*cpu, intids),
        Expectation::Offered { cpu, intid } => on.offered(*cpu, *intid),
    }
}

fn check_value(expected: u64, mask: u64, on: &mut impl Observed) -> Fit {
    let Some((seen, certain)) = on.noted().value else {
        return Fit::IsNot("no value: the last action returned none".into());
    };
    if (seen ^ expected) & mask & certain != 0 {
        return Fit::IsNot(format!("{seen:#x}"));
    }
    match mask & !certain {
        0 => Fit::Is,
        _ => Fit::MayBe,
    }
}

fn check_done(on: &mut impl Observed) -> Fit {
    let (fates, open) = on.noted().take_fates();
    let (creadr, cwriter) = on.queue();
    let failed = |fate: &&Fate| matches!(fate, Fate::Ignored(_) | Fate::Stalled(_));
    if let Some(fate) = fates.iter().find(failed) {
        return Fit::IsNot(format!("a command error: {fate:x?}"));
    }
    if creadr != cwriter & OFFSET_MASK {
        return Fit::IsNot(format!("CREADR {creadr:#x}, CWRITER {cwriter:#x}"));
    }
    if fates.is_empty() {
        return Fit::IsNot("no command: none was taken".into());
    }
    if fates.contains(&Fate::Taken) {
        return Fit::Hidden(UNSEEN);
    }
    if open { Fit::MayBe } else { Fit::Is }
}

/// CREADR went on, and tables and pending LPIs have to show the rest.
const UNSEEN: &str = "whether a command was in error";

fn check_error(expected: Option<u32>, on: &mut impl Observed) -> Fit {
    let (fates, open) = on.noted().take_fates();
    let (creadr, cwriter) = on.queue();
    let stalled = creadr & 1 != 0;
    let seen = match fates.last() {
        Some(Fate::Stalled(error)) if stalled => *error,
        Some(Fate::Ignored(error)) if !stalled => *error,
        Some(Fate::Taken) if creadr == cwriter & OFFSET_MASK => return Fit::Hidden(UNSEEN),
        _ if on.may_refuse() && stalled => return Fit::Is,
        other => {
            return Fit::IsNot(format!("{other:x?}, CREADR {creadr:#x}, CWRITER {cwriter:#x}"));
        }
    };
    match (expected, seen.0) {
        (Some(expected), Some(seen)) if expected != seen => {
            Fit::IsNot(format!("error {seen:#08x}"))
        }
        (Some(_), None) => Fit::IsNot("an error without a number".into()),
        _ if open => Fit::MayBe,
        _ => Fit::Is,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CREADR, CWRITER, what was noted, and whether EL2 may refuse.
    struct Queue(u64, u64, Noted, bool);

    fn queue(creadr: u64, cwriter: u64, fates: Vec<Fate>, may_refuse: bool) -> Queue {
        Queue(creadr, cwriter, Noted { value: Some((0x12, 0xf0)), fates, open: false }, may_refuse)
    }

    impl Observed for Queue {
        fn noted(&mut self) -> &mut Noted {
            &mut self.2
        }
        fn queue(&mut self) -> (u64, u64) {
            (self.0, self.1)
        }
        fn may_refuse(&self) -> bool {
            self.3
        }
        fn translation(&mut self, _: (u32, u32), _: Option<Translation>) -> Fit {
            Fit::Is
        }
        fn pending(&mut self, _: u8, _: &[u32]) -> Fit {
            Fit::Is
        }
        fn offered(&mut self, _: u8, _: Option<u32>) -> Fit {
            Fit::Is
        }
    }

    fn done(mut queue: Queue) -> Fit {
        check(&Expectation::Done, &mut queue)
    }

    fn error(number: u32, mut queue: Queue) -> Fit {
        check(&Expectation::Error(Some(number)), &mut queue)
    }

    fn is_not(fit: &Fit) -> bool {
        matches!(fit, Fit::IsNot(_))
    }

    const E: CommandError = CommandError(Some(0x1_0801));

    #[test]
    fn done_is_no_error_and_an_empty_queue() {
        assert_eq!(done(queue(0x40, 0x40, vec![Fate::Done], false)), Fit::Is);
        assert!(is_not(&done(queue(0x20, 0x40, vec![Fate::Done], false))));
        assert!(is_not(&done(queue(0x41, 0x40, vec![], false))));
        assert!(is_not(&done(queue(0x40, 0x40, vec![Fate::Ignored(E)], false))));
        assert!(is_not(&done(queue(0x40, 0x40, vec![], false))));
        let unseen = done(queue(0x40, 0x40, vec![Fate::Taken], false));
        assert!(matches!(unseen, Fit::Hidden(_)));
    }

    #[test]
    fn an_error_is_its_number_and_the_stall_or_none() {
        let stalled = || vec![Fate::Done, Fate::Stalled(E)];
        assert_eq!(error(0x1_0801, queue(0x21, 0x40, stalled(), false)), Fit::Is);
        assert!(is_not(&error(0x1_0802, queue(0x21, 0x40, stalled(), false))));
        assert!(is_not(&error(0x1_0801, queue(0x20, 0x40, stalled(), false))));
        let ignored = vec![Fate::Ignored(E)];
        assert_eq!(error(0x1_0801, queue(0x40, 0x40, ignored, false)), Fit::Is);
        assert!(is_not(&error(0x1_0801, queue(0x40, 0x40, vec![Fate::Done], false))));
        // EL2's refusal is a stall that the hardware knows nothing of.
        assert_eq!(error(0x1_0801, queue(0x21, 0x40, vec![], true)), Fit::Is);
        assert!(is_not(&error(0x1_0801, queue(0x21, 0x40, vec![], false))));
    }

    #[test]
    fn a_value_is_compared_where_it_is_certain() {
        let value = |value, mask| {
            check(&Expectation::Value { value, mask }, &mut queue(0, 0, vec![], false))
        };
        assert_eq!(value(0x10, 0xf0), Fit::Is);
        assert_eq!(value(0x13, 0xff), Fit::MayBe);
        assert!(is_not(&value(0x20, 0xf0)));
    }
}
