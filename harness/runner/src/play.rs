//! One case: boot, operations, and the end in which the queue must come to rest.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::sync::LazyLock;

use its_board::BoardSubject;
use its_declaration::Declaration;
use its_machine::{Freedoms, Machine};
use its_oracles::Oracles;
use its_policy::Policy;
use its_reports::replay::{Line, Replayed};
use its_reports::summary::Counts;
use its_rules::{Finding, Layers, catalogue as rules};
use its_scenario::Scenario;

use crate::lockstep::{Judges, Lockstep};
use crate::replay::USAGE;
use crate::session::Session;
use crate::trace::Trace;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Agree,
    /// No operation had anything to do with EL2 or an ITS: no access to a register, event or
    /// hypercall, and no command.
    Skipped,
    /// The architecture no longer says what must happen; the rest was dropped.
    Poisoned(&'static str),
    Diverged,
    Defect,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Agree => f.write_str("agree"),
            Self::Skipped => f.write_str("skipped, neither EL2 nor an ITS had anything to do"),
            Self::Poisoned(why) => write!(f, "poisoned, {why}"),
            Self::Diverged => f.write_str("diverged"),
            Self::Defect => f.write_str("a defect of the harness itself"),
        }
    }
}

#[derive(Debug)]
pub struct Case {
    pub verdict: Verdict,
    /// What was broken, in order, each rule and class once.
    pub findings: Vec<Finding>,
    /// Where the harness contradicts itself: board and reference, not the subject.
    pub defects: Vec<String>,
    pub counts: Counts,
    /// Every load and store of the subject was seen. Else rules could not be judged that need it.
    pub observed: bool,
    /// What the subject declares as unprotected.
    pub unprotected: Vec<&'static str>,
}

impl Case {
    /// Returns what people see of it: with the lines of its trace, if there is one.
    pub fn replayed(self, trace: Trace) -> Replayed {
        Replayed {
            lines: trace.into_lines(),
            verdict: self.text(),
            observed: self.observed,
            defects: self.defects,
            findings: self.findings,
        }
    }

    /// The verdict, and what is unprotected all the same.
    fn text(&self) -> String {
        if self.unprotected.is_empty() {
            return self.verdict.to_string();
        }
        format!("{}; declared unprotected: {}", self.verdict, self.unprotected.join(", "))
    }
}

/// Makes a subject for a machine.
pub type Make = fn(&Machine) -> Box<dyn BoardSubject>;

/// A board with a subject, judged.
pub struct Runner {
    session: Session<Judges>,
    /// Compare the account of the ITS's pointers with a full walk after every action.
    pub check_account: bool,
    /// Allow every option of every freedom of the architecture, not only those that the board is
    /// known to pick.
    pub all_freedoms: bool,
    /// What is judged. Without the policy there is no reference once EL2 takes over.
    pub layers: Layers,
}

impl Runner {
    /// With any subject, which is made for a machine.
    pub fn new(subject: impl Fn(&Machine) -> Box<dyn BoardSubject> + 'static) -> Self {
        Self {
            session: Session::new(subject),
            check_account: false,
            all_freedoms: false,
            layers: judged_layers(),
        }
    }

    /// Plays one case. With a trace, everything after the driver's probe is written into it.
    pub fn play(&mut self, scenario: &Scenario, trace: Option<&mut Trace>) -> Case {
        if trace.is_some() {
            // What is shown must happen.
            self.session.forget_boot(scenario);
        }
        let Self { check_account, all_freedoms, layers, .. } = *self;
        let declared = self.session.declared();
        let lockstep = self.session.play(scenario, |machine, kept: Option<&Judges>| {
            let judges = kept.cloned().unwrap_or_else(|| Judges {
                reference: Some(model(machine, declared.policy, all_freedoms)),
                oracles: Oracles::new(&machine, declared.policy),
                service: None,
                findings: Vec::new(),
                given_up: BTreeSet::new(),
            });
            Lockstep::new((machine, declared), judges, trace, layers, check_account)
        });
        lockstep.finish(self.session.board())
    }

    /// Plays a case twice, from before boot, and demands that both go the same. The trace and all
    /// else is the first's.
    pub fn play_twice(&mut self, scenario: &Scenario, trace: &mut Trace) -> Case {
        let mut again = Trace::default();
        let mut case = self.play(scenario, Some(trace));
        self.play(scenario, Some(&mut again));
        let differ = trace.first_difference(&again);
        case.findings
            .extend(differ.map(unsteady).filter(|found| self.layers.has(found.rule.layer)));
        if case.verdict != Verdict::Defect && !case.findings.is_empty() {
            case.verdict = Verdict::Diverged;
        }
        case
    }
}

fn model(machine: Machine, declared: Declaration, all_freedoms: bool) -> Policy {
    Policy::new(machine, declared, |its| {
        if all_freedoms {
            Freedoms::ALL
        } else {
            Freedoms::only(machine.configuration(its).choices)
        }
    })
}

/// The variable that says which layers a program judges; without it, all.
pub const LAYERS: &str = "ITSDIFF_JUDGE";

/// Returns what [`LAYERS`] says, once for the process; ends the process where it is no layer.
fn judged_layers() -> Layers {
    static JUDGED: LazyLock<Layers> = LazyLock::new(|| {
        let Ok(text) = std::env::var(LAYERS) else {
            return Layers::ALL;
        };
        text.parse().unwrap_or_else(|error| {
            eprintln!("error: {LAYERS}: {error}");
            std::process::exit(USAGE.into())
        })
    });
    *JUDGED
}

/// The finding that a scenario which was played twice did not go the same, with the first lines of
/// the traces that differ.
fn unsteady((first, second): (Line, Line)) -> Finding {
    let path = "the trace of the same scenario, played again";
    let operation = first.step.or(second.step).unwrap_or(0);
    let finding = Finding::new(&rules::EL2_STEADY, "twice", path, first.text, second.text);
    finding.at((operation, "case"), "all")
}

/// Of so many cases of a run one is played twice.
pub(crate) const ONE_IN: u64 = 512;

/// Plays a stored scenario. External subjects are played twice, because state kept outside their
/// data section would make the second run differ.
pub(crate) fn replay(scenario: &Scenario, make: Make, trace: &mut Trace) -> Case {
    let mut runner = Runner::new(make);
    if runner.session.board().is_external() {
        return runner.play_twice(scenario, trace);
    }
    runner.play(scenario, Some(trace))
}

/// Plays a case on a board that each thread keeps.
pub(crate) fn play_here(scenario: &Scenario, make: Make) -> Case {
    on_kept_board(make, |runner| runner.play(scenario, None))
}

pub(crate) fn play_here_twice(scenario: &Scenario, make: Make) -> Case {
    on_kept_board(make, |runner| runner.play_twice(scenario, &mut Trace::default()))
}

fn on_kept_board(make: Make, play: impl FnOnce(&mut Runner) -> Case) -> Case {
    thread_local! {
        static RUNNER: RefCell<Option<(Make, Runner)>> = const { RefCell::new(None) };
    }
    RUNNER.with_borrow_mut(|slot| play(kept(slot, make, Runner::new)))
}

/// Returns what a slot keeps for what makes subjects; new where it was for another.
pub(crate) fn kept<T>(slot: &mut Option<(Make, T)>, make: Make, new: fn(Make) -> T) -> &mut T {
    if !matches!(slot, Some((old, _)) if std::ptr::fn_addr_eq(*old, make)) {
        *slot = None;
    }
    &mut slot.get_or_insert_with(|| (make, new(make))).1
}
