//! `compare A B` of two subjects: the same scenarios on both, judged by nobody, and where they
//! differ in what host and hardware see, side by side. What the reference says of each is told
//! beside it.

use fs_err as fs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use anyhow::{Context, Result, ensure};
use its_conformance::compare::Arguments;
use its_runner::minimize::shortest;
use its_runner::observe::{Difference, Observed, Seen, difference};
use its_runner::program::{Answer, Outcome, Request};
use its_runner::replay::load;
use its_runner::versioned::Versioned;
use its_scenario::{FuzzTarget, Scenario};
use serde::Serialize;

use crate::commands::replay::timeline;
use crate::exit::{Defect, Exit};
use crate::stop;
use crate::subjects::Subject;
use crate::subjects::external::Foreign;
use crate::subjects::program::{Program, Session};
use crate::target::Target;
use crate::workspace;

/// Drawn scenarios that are asked for at a time.
const AT_ONCE: u64 = 64;
/// Scenarios that are tried to make one with a difference shorter.
const BUDGET: u64 = 2_000;

/// Two subjects, by the names that they were given.
struct Pair<'a> {
    names: [&'a str; 2],
    programs: [Program; 2],
    sessions: Mutex<[Session; 2]>,
}

/// Compares.
pub(crate) fn run(arguments: &Arguments, target: Option<&str>) -> Result<Exit> {
    arguments.demand_scenarios()?;
    let scenarios = { arguments.files.iter() }
        .map(|file| Ok((file.as_path(), load(file)?)))
        .collect::<Result<Vec<_>>>()?;
    let target = Target::find(target.unwrap_or("its_cmdq"))?;
    ensure!(
        target.name != "its_race",
        "its_race draws races, which go by the steps of each subject"
    );
    let pair = Pair::new([&arguments.one, &arguments.other])?;
    match arguments.fuzz {
        true => pair.fuzz(arguments, target),
        false => pair.files(&scenarios),
    }
}

/// How many of these scenarios two subjects play differently.
pub(crate) fn different(names: [&str; 2], files: &[PathBuf]) -> Result<usize> {
    let pair = Pair::new(names)?;
    let scenarios = files.iter().map(|file| load(file));
    let scenarios = scenarios.collect::<Result<Vec<Scenario>, _>>()?;
    let [one, other] = pair.observe(&scenarios)?;
    let pairs = one.iter().zip(&other);
    Ok(pairs.filter(|(one, other)| difference(one, other).is_some()).count())
}

/// The subject that is meant by `production`, the id of a known bug, an example or a path.
fn subject(text: &str) -> Result<Subject> {
    let is_foreign = text.starts_with("example:") || Path::new(text).is_file();
    match text {
        "production" => Ok(Subject::production()),
        _ if is_foreign => Ok(Subject::foreign(Foreign::prepare(text)?)),
        id => Subject::new(Some(id)).with_context(|| {
            format!("`{id}` is not production, no known bug, no file and no example")
        }),
    }
}

impl<'a> Pair<'a> {
    fn new(names: [&'a str; 2]) -> Result<Self> {
        let [one, other] = [subject(names[0])?, subject(names[1])?];
        let programs = [one.player()?, other.player()?];
        let sessions = Mutex::new([programs[0].session()?, programs[1].session()?]);
        Ok(Self { names, programs, sessions })
    }

    /// What is seen of each in these scenarios.
    fn observe(&self, scenarios: &[Scenario]) -> Result<[Vec<Observed>; 2]> {
        let request =
            Request::Observe { scenarios: scenarios.iter().map(Scenario::to_string).collect() };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let [one, other] = &mut *sessions;
        let count = scenarios.len();
        let (one, other) =
            rayon::join(|| observed(one, &request, count), || observed(other, &request, count));
        Ok([one?, other?])
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
        let columns = [lines(&found.one, &found.other), lines(&found.other, &found.one)];
        let beside = timeline::beside(self.names, [&columns[0], &columns[1]]);
        format!(
            "  DIFFERENCE {} at {operation}\n  {}\n{}",
            found.signature,
            match found.one.action.is_empty() {
                true => &found.other.action,
                false => &found.one.action,
            },
            strip_str(&beside)
        )
    }

    /// What the reference says of each.
    fn say_judgements(&self, file: &Path) -> Result<()> {
        for (name, program) in self.names.iter().zip(&self.programs) {
            let judged = program.judge(&[file.to_owned()], None)?;
            let says = match judged.first().map(|judged| &judged.outcome) {
                Some(Outcome::Played { findings, .. }) => match findings.first() {
                    Some(finding) => format!("breaks {}", finding.signature),
                    None => "breaks no rule".into(),
                },
                _ => "not judged".into(),
            };
            say!("  {name}: {says}");
        }
        Ok(())
    }

    fn fuzz(&self, arguments: &Arguments, target: &Target) -> Result<Exit> {
        let fuzz_target = FuzzTarget::named(target.name).context("no such target")?;
        let start = Instant::now();
        let limit = Duration::from_secs(arguments.time);
        let most = arguments.runs.unwrap_or(u64::from(u32::MAX));
        let mut summary = Summary::new(self.names, target.name, arguments.seed);
        while summary.cases < most && start.elapsed() < limit && !stop::asked() {
            let numbers = summary.cases..most.min(summary.cases + AT_ONCE);
            let scenarios: Vec<Scenario> = numbers
                .map(|number| Scenario::numbered(arguments.seed << 32 | number, fuzz_target))
                .collect();
            let [one, other] = self.observe(&scenarios)?;
            for (scenario, (one, other)) in scenarios.iter().zip(one.iter().zip(&other)) {
                summary.count(one);
                if let Some(found) = difference(one, other) {
                    self.keep(&found, scenario, &arguments.findings, &mut summary)?;
                }
            }
        }
        summary.seconds = start.elapsed().as_secs_f64();
        match arguments.json {
            true => say!("{}", serde_json::to_string(&Versioned::new(&summary))?),
            false => summary.print(),
        }
        Ok(match summary.differences.is_empty() {
            true => Exit::Clean,
            false => Exit::Findings,
        })
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
        let shown = shown.ok_or_else(|| Defect(format!("{} is not steady", found.signature)))?;
        let text = self.describe(&shown, &shortest);
        let comments: String = { text.lines() }.map(|line| format!("# {line}\n")).collect();
        let name = self.names.map(file_name).join("+");
        let path = folder.join(name).join(format!("{}.its", found.signature));
        fs::create_dir_all(path.parent().context("it is in a folder")?)?;
        fs::write(&path, format!("{comments}{shortest}"))
            .with_context(|| format!("cannot write {}", path.display()))?;
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
        other => Err(Defect(format!("an answer to another question: {other:?}")).into()),
    });
    taken.collect()
}

/// What is shown of one; of pages only those that the other has not.
fn lines(seen: &Seen, other: &Seen) -> String {
    let mut all = Vec::new();
    if seen.action != other.action {
        all.push(seen.action.clone());
    }
    all.push(seen.result.clone());
    all.extend(seen.registers.iter().cloned());
    all.extend(seen.commands.iter().cloned());
    let mut own: Vec<String> =
        { seen.pages.iter() }.filter(|page| !other.pages.contains(page)).cloned().collect();
    let more = own.len().saturating_sub(MOST_PAGES);
    own.truncate(MOST_PAGES);
    all.extend(own);
    if more > 0 {
        all.push(format!("and {more} pages more"));
    }
    all.join("\n")
}

/// Pages that are shown of one action.
const MOST_PAGES: usize = 12;

/// A part of a file's name for a subject.
fn file_name(subject: &str) -> String {
    subject.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// What many cases came to.
#[derive(Serialize)]
struct Summary {
    one: String,
    other: String,
    target: String,
    seed: u64,
    seconds: f64,
    cases: u64,
    operations: u64,
    /// Cases that were compared in part.
    cut: u64,
    /// By signature: how many cases, and the first's file.
    differences: BTreeMap<String, (u64, String)>,
}

impl Summary {
    fn new([one, other]: [&str; 2], target: &str, seed: u64) -> Self {
        Self {
            one: one.into(),
            other: other.into(),
            target: target.into(),
            seed,
            seconds: 0.0,
            cases: 0,
            operations: 0,
            cut: 0,
            differences: BTreeMap::new(),
        }
    }

    fn count(&mut self, observed: &Observed) {
        self.cases += 1;
        self.operations += observed.operations as u64;
        self.cut += u64::from(observed.left_out.is_some());
    }

    fn print(&self) {
        say!(
            "{} and {} on {}: {} cases in {:.0} s, seed {}",
            self.one,
            self.other,
            self.target,
            self.cases,
            self.seconds,
            self.seed
        );
        say!("  compared    {} operations", self.operations);
        say!(
            "  cut short   {} cases, at a tamper or a failure: it goes by what each subject does",
            self.cut
        );
        for (signature, (count, file)) in &self.differences {
            say!("  DIFFERENCE  {count} times {signature}: {file}");
        }
        if self.differences.is_empty() {
            say!("  no difference");
        }
    }
}
