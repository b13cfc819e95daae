//! Plays the pair of scenarios of each check of `harness/emulator/POLICY.md`.
//!
//! What must be seen is written by hand from POLICY.md. Neither the reference nor the emulation
//! says it; both play the scenario and must agree. A row whose two scenarios look the same would
//! show nothing: what is seen in one must not be seen in the other. With `ITSDIFF_JUDGE=service`
//! in the environment there is no reference of the policy, and the rows alone judge by it.

use its_policy_checks::{Case, Row, Seen, rows, scenario_text};
use its_reports::replay::Line;
use its_runner::replay::silence_subject_panics;
use its_runner::trace::Trace;
use its_runner::{Runner, Verdict};
use its_scenario::Scenario;

/// What happened in a scenario.
struct Played {
    lines: Vec<Line>,
    last_step: usize,
}

impl Played {
    fn last(&self) -> impl Iterator<Item = &str> {
        let is_last = |line: &&Line| line.step == Some(self.last_step);
        self.lines.iter().filter(is_last).map(|line| line.text.as_str())
    }

    /// What the host got last.
    fn result(&self) -> Option<&str> {
        self.last().filter_map(|line| line.strip_prefix("-> ")).last()
    }

    /// The value of CREADR that the host read last, in any operation.
    fn creadr(&self) -> Option<u64> {
        let mut lines = self.lines.iter().map(|line| line.text.as_str());
        let mut value = None;
        while let Some(line) = lines.next() {
            if line.contains(" reads CREADR (") {
                value = lines.find_map(|line| line.strip_prefix("-> ")).and_then(number);
            }
        }
        value
    }

    /// The furthest offset up to which the hardware was given commands.
    fn given(&self) -> u64 {
        let written = |line: &Line| number(line.text.strip_prefix("EL2 writes CWRITER := ")?);
        self.lines.iter().filter_map(written).max().unwrap_or(0)
    }

    fn writes(&self) -> Vec<&str> {
        self.last().filter_map(|line| line.strip_prefix("EL2 writes ")).collect()
    }

    fn shows(&self, seen: Seen) -> bool {
        match seen {
            Seen::Returned(x1) => self.result() == Some(&format!("x0 0, x1 {x1}")),
            Seen::Read(value) => self.result() == Some(&format!("{value:#x}")),
            Seen::Abort => self.result().is_some_and(|result| result.starts_with("refused")),
            Seen::Writes(wanted) => self.writes() == wanted,
            Seen::Does(wanted) => {
                let mut lines = self.last();
                wanted.iter().all(|wanted| lines.any(|line| line.starts_with(wanted)))
            }
            Seen::Untouched => {
                let is_access = |line: &str| line.contains(" := ") || line.contains(" = ");
                let touches = |line: &str| line.starts_with("EL2 ") && is_access(line);
                !self.last().any(touches) && matches!(self.result(), None | Some("0x0"))
            }
            Seen::Refused(offset) => self.creadr() == Some(offset | 1) && self.given() <= offset,
            Seen::Forwarded(offset) => self.given() > offset,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

/// Plays a scenario, in which nothing may be broken.
fn play(runner: &mut Runner, case: &Case) -> Result<Played, String> {
    let scenario = Scenario::parse(scenario_text(case)).map_err(|error| error.to_string())?;
    let mut trace = Trace::default();
    let case = runner.play(&scenario, Some(&mut trace));
    if case.verdict != Verdict::Agree || !case.findings.is_empty() || !case.defects.is_empty() {
        let mut replayed = case.replayed(trace);
        replayed.lines.retain(|line| line.step.is_some());
        return Err(replayed.text());
    }
    Ok(Played { lines: trace.into_lines(), last_step: scenario.operations.len() - 1 })
}

/// Whether a scenario shows what it must, and not what its neighbour must.
fn judge(runner: &mut Runner, case: &Case, other: Seen) -> Result<(), String> {
    let (played, seen) = (play(runner, case)?, case.1);
    let last = || played.last().map(|line| format!("\n    {line}")).collect::<String>();
    if !played.shows(seen) {
        let (creadr, given) = (played.creadr(), played.given());
        return Err(format!("not {seen:x?}; CREADR {creadr:x?}, given {given:#x}:{}", last()));
    }
    if played.shows(other) {
        return Err(format!("{other:x?}, as its neighbour:{}", last()));
    }
    Ok(())
}

/// All rows are played; all that are wrong are reported.
#[test]
fn each_check_fails_in_one_scenario_and_holds_in_the_next() {
    silence_subject_panics();
    let mut runner = Runner::new(its_production::make);
    runner.check_account = true;
    let mut wrong = Vec::new();
    let rows = rows();
    for Row { check, fails, holds } in &rows {
        for (case, other) in [(fails, holds.1), (holds, fails.1)] {
            if let Err(why) = judge(&mut runner, case, other) {
                wrong.push(format!("{check}\n  {}\n  {why}", case.0));
            }
        }
    }
    let mut checks: Vec<&str> = rows.iter().map(|row| row.check).collect();
    checks.sort();
    checks.dedup();
    assert_eq!(checks.len(), rows.len(), "two rows have one name");
    assert!(wrong.is_empty(), "{} scenarios are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
