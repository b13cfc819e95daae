//! Two subjects play the same scenarios, judged by no rule. Shows where they differ in what host
//! and hardware see, and what the reference says of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use anyhow::{Result, ensure};
use fs_err as fs;
use its_conformance::compare;
use its_reports::replay::columns;
use its_reports::triage::Outcome;
use its_runner::minimize::shortest;
use its_runner::observe::{Difference, Observed, Seen, difference};
use its_runner::program::{Answer, Request};
use its_runner::replay::load;
use its_scenario::{Most, Scenario};
use serde::Serialize;

use crate::exit::Exit;
use crate::subjects::{Program, Session, Subject, unexpected};
use crate::target::Target;
use crate::{output, stop, workspace};

/// Drawn scenarios that are asked for at a time.
const AT_ONCE: u64 = 64;
/// Scenarios that are tried to make one with a difference shorter.
const BUDGET: u64 = 2_000;
/// Pages that are shown of one action.
const MOST_PAGES: usize = 12;

/// Two subjects, by the names that they were given.
pub(crate) struct Pair<'a> {
    names: [&'a str; 2],
    programs: [Program; 2],
    sessions: Mutex<[Session; 2]>,
    /// The most ITSs and CPUs of a board that both take.
    most: (u32, u32),
}

/// Which scenarios are drawn, and where those with a difference go.
pub(crate) struct Draw<'a> {
    pub target: &'static Target,
    pub seed: u64,
    pub cases: u64,
    pub limit: Duration,
    pub folder: &'a Path,
}

/// Compares on files, or on drawn scenarios of a target.
pub(super) fn run(arguments: &compare::Arguments, target: &'static Target) -> Result<Exit> {
    arguments.demand_scenarios()?;
    let scenarios = { arguments.files.iter() }
        .map(|file| Ok((file.as_path(), load(file)?)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        target.name != "its_race",
        "its_race draws races, which go by the steps of each subject"
    );
    let pair = Pair::new([&arguments.one, &arguments.other])?;
    if !arguments.fuzz {
        return pair.files(&scenarios);
    }
    let summary = pair.fuzz(&Draw {
        target,
        seed: arguments.seed,
        cases: arguments.runs.unwrap_or(u32::MAX.into()),
        limit: Duration::from_secs(arguments.time),
        folder: &arguments.findings,
    })?;
    if arguments.json {
        output::print_json(&summary)?;
    } else {
        summary.print();
    }
    Ok(Exit::found(!summary.differences.is_empty()))
}

impl<'a> Pair<'a> {
    /// Builds and starts both.
    pub(crate) fn new(names: [&'a str; 2]) -> Result<Self> {
        let [one, other] = [Subject::given(names[0])?, Subject::given(names[1])?];
        let programs = [one.player()?, other.player()?];
        let sessions = Mutex::new([programs[0].session()?, programs[1].session()?]);
        let mut pair = Self { names, programs, sessions, most: (u32::MAX, u32::MAX) };
        for observed in pair.observe(&[Scenario::default()])?.into_iter().flatten() {
            let (its, cpus) = pair.most;
            pair.most = (its.min(observed.most.0), cpus.min(observed.most.1));
        }
        Ok(pair)
    }

    /// Returns what is seen of each in these scenarios, on a board that both take.
    fn observe(&self, scenarios: &[Scenario]) -> Result<[Vec<Observed>; 2]> {
        let (its, cpus) = self.most;
        let scenarios =
            scenarios.iter().map(|scenario| scenario.within(Most::boards(its, cpus)).to_string());
        let scenarios: Vec<String> = scenarios.collect();
        let count = scenarios.len();
        let request = Request::Observe { scenarios };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let [one, other] = &mut *sessions;
        let (one, other) =
            rayon::join(|| observed(one, &request, count), || observed(other, &request, count));
        Ok([one?, other?])
    }

    /// Returns how many of these scenarios they play differently.
    pub(crate) fn differences(&self, files: &[PathBuf]) -> Result<usize> {
        let scenarios = files.iter().map(|file| load(file));
        let scenarios = scenarios.collect::<Result<Vec<Scenario>, _>>()?;
        let [one, other] = self.observe(&scenarios)?;
        let pairs = one.iter().zip(&other);
        Ok(pairs.filter(|(one, other)| difference(one, other).is_some()).count())
    }

    fn differ(&self, scenario: &Scenario) -> Result<Option<Difference>> {
        let [one, other] = self.observe(std::slice::from_ref(scenario))?;
        Ok(difference(&one[0], &other[0]))
    }

    fn files(&self, scenarios: &[(&Path, Scenario)]) -> Result<Exit> {
        let mut exit = Exit::Clean;
        for (file, scenario) in scenarios {
            let [one, other] = self.observe(std::slice::from_ref(scenario))?;
            let played = one[0].operations.min(other[0].operations);
            say!("== {}: {played} operations compared", file.display());
            if let Some(why) = &one[0].left_out {
                say!("  the rest is left out: {why}");
            }
            match difference(&one[0], &other[0]) {
                None => say!("  the same"),
                Some(found) => {
                    exit = Exit::Findings;
                    say!("{}", self.describe(&found, scenario));
                    self.say_judgements(file)?;
                }
            }
        }
        Ok(exit)
    }

    fn describe(&self, found: &Difference, scenario: &Scenario) -> String {
        let operation = match found.one.operation.or(found.other.operation) {
            None => "boot".into(),
            Some(index) => match scenario.operations.get(index) {
                Some(operation) => format!("[{index}] {operation}"),
                None => "the end".into(),
            },
        };
        let sides = [lines(&found.one, &found.other), lines(&found.other, &found.one)];
        let columns = columns(self.names, [&sides[0], &sides[1]]);
        let action = [&found.one.action, &found.other.action].into_iter().find(|it| !it.is_empty());
        format!(
            "  DIFFERENCE {} at {operation}\n  {}\n{}",
            found.signature,
            action.map_or("", |action| action),
            strip_str(&columns)
        )
    }

    /// Prints what the reference says of each.
    fn say_judgements(&self, file: &Path) -> Result<()> {
        for (name, program) in self.names.iter().zip(&self.programs) {
            let judged = program.judge(&[file.to_owned()], None)?;
            match (&judged[0].outcome, judged[0].findings().first()) {
                (_, Some(finding)) => say!("  {name}: breaks {}", finding.signature),
                (Outcome::Played { .. }, None) => say!("  {name}: breaks no rule"),
                _ => say!("  {name}: not judged"),
            }
        }
        Ok(())
    }

    /// Compares on drawn scenarios.
    pub(crate) fn fuzz(&self, draw: &Draw) -> Result<Summary> {
        let generator = draw.target.generator()?;
        let start = Instant::now();
        let [one, other] = self.names.map(String::from);
        let (target, seed) = (draw.target.name, draw.seed);
        let mut summary = Summary { one, other, target, seed, ..Summary::default() };
        while summary.cases < draw.cases && start.elapsed() < draw.limit && !stop::asked() {
            let numbers = summary.cases..draw.cases.min(summary.cases + AT_ONCE);
            let scenario = |number| its_generate::numbered(draw.seed << 32 | number, generator);
            let scenarios: Vec<Scenario> = numbers.map(scenario).collect();
            let [one, other] = self.observe(&scenarios)?;
            for (scenario, (one, other)) in scenarios.iter().zip(one.iter().zip(&other)) {
                summary.count(one);
                if let Some(found) = difference(one, other) {
                    self.keep(&found, scenario, draw.folder, &mut summary)?;
                }
            }
        }
        summary.seconds = start.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// Writes the first case of each difference, made as short as it can be.
    fn keep(
        &self,
        found: &Difference,
        scenario: &Scenario,
        folder: &Path,
        summary: &mut Summary,
    ) -> Result<()> {
        if let Some((count, _)) = summary.differences.get_mut(&found.signature) {
            *count += 1;
            return Ok(());
        }
        let shows = |candidate: &Scenario| {
            let differs = self.differ(candidate).ok().flatten();
            differs.is_some_and(|other| other.signature == found.signature)
        };
        let shortest = shortest(scenario.clone(), BUDGET, &shows, |_| {}).scenario;
        let shown = self.differ(&shortest)?;
        let shown = shown.ok_or_else(|| defect!("{} is not steady", found.signature))?;
        let text = self.describe(&shown, &shortest);
        let comments: String = { text.lines() }.map(|line| format!("# {line}\n")).collect();
        let name = self.names.map(workspace::plain).join("+");
        let path = folder.join(name).join(format!("{}.its", found.signature));
        fs::create_dir_all(workspace::folder_of(&path))?;
        workspace::write_whole(&path, format!("{comments}{shortest}"))?;
        eprintln!("{text}");
        let file = workspace::shown(&path);
        summary.differences.insert(found.signature.clone(), (1, file));
        Ok(())
    }
}

fn observed(session: &mut Session, request: &Request, count: usize) -> Result<Vec<Observed>> {
    let answers = session.ask(request, count)?.into_iter();
    let taken = answers.map(|answer| match answer {
        Answer::Observed(observed) => Ok(observed),
        other => Err(unexpected(&other)),
    });
    taken.collect()
}

/// Returns what is shown of one; of pages only those that the other has not.
fn lines(seen: &Seen, other: &Seen) -> String {
    let mut all = vec![seen.result.clone()];
    if seen.action != other.action {
        all.insert(0, seen.action.clone());
    }
    let own: Vec<&String> = seen.pages.iter().filter(|page| !other.pages.contains(page)).collect();
    let pages = own.iter().copied().take(MOST_PAGES);
    all.extend(seen.registers.iter().chain(&seen.commands).chain(pages).cloned());
    if let Some(more) = own.len().checked_sub(MOST_PAGES).filter(|more| *more > 0) {
        all.push(format!("and {more} pages more"));
    }
    all.join("\n")
}

/// What many cases showed.
#[derive(Default, Serialize)]
pub(crate) struct Summary {
    one: String,
    other: String,
    target: &'static str,
    seed: u64,
    seconds: f64,
    cases: u64,
    operations: u64,
    /// Cases that were compared in part.
    cut: u64,
    /// By signature: how many cases, and the first's file.
    pub differences: BTreeMap<String, (u64, String)>,
}

impl Summary {
    fn count(&mut self, observed: &Observed) {
        self.cases += 1;
        self.operations += observed.operations as u64;
        self.cut += u64::from(observed.left_out.is_some());
    }

    fn print(&self) {
        let Self { one, other, target, seed, seconds, cases, operations, cut, .. } = self;
        say!("{one} and {other} on {target}: {cases} cases in {seconds:.0} s, seed {seed}");
        say!("  compared    {operations} operations");
        say!(
            "  cut short   {cut} cases, at a tamper or a failure: it goes by what each subject does"
        );
        for (signature, (count, file)) in &self.differences {
            say!("  DIFFERENCE  {count} times {signature}: {file}");
        }
        if self.differences.is_empty() {
            say!("  no difference");
        }
    }
}
