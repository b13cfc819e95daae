//! `coverage`: which lines of emulator, model and board a corpus reaches, and what it does not.
//!
//! The target's replayer, compiled with rustc's own coverage, plays the corpus; LLVM's tools of the
//! same version turn what it counted into a table, lcov and HTML. A function is compiled for
//! several types and a line may hold parts of several: what one of them reached is reached.

mod llvm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err as fs;
use its_gic::Command;
use its_reports::pretty_json;
use its_runner::Runner;
use its_runner::replay::load;
use its_runner::trace::Trace;
use its_scenario::Scenario;
use serde::Serialize;

use super::corpus;
use crate::engines::host_triple;
use crate::exit::Exit;
use crate::subjects::{Program, Recipe, Subject};
use crate::target::{self, Target};
use crate::{output, workspace};
use llvm::{Function, Place, Regions, Tools};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target whose corpus is played, or `all`
    target: String,
    /// Plays also what fuzzing has grown, `artifacts/<target>/corpus`
    #[arg(long)]
    grown: bool,
    /// Prints the report as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// Crates that are looked at.
const CRATES: [&str; 4] =
    ["harness/emulator", "harness/policy", "harness/architecture", "harness/board"];

/// The crate whose unreached parts are named.
const NAMED: &str = CRATES[0];

/// What a corpus reaches.
#[derive(Default, Serialize)]
struct Report {
    corpus: String,
    scenarios: usize,
    crates: BTreeMap<&'static str, Lines>,
    files: BTreeMap<String, Lines>,
    /// Functions of the emulator that nothing enters.
    functions: Vec<String>,
    /// Lines of the emulator in functions that something enters: `file:line: source`.
    lines: Vec<String>,
    /// Lines of the emulator that are reached, but not all that is on them: mostly ways of errors.
    parts: Vec<String>,
    /// Commands that no ITS carried out, and that no ITS found in error.
    never_carried_out: Vec<&'static str>,
    never_in_error: Vec<&'static str>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Lines {
    all: u64,
    reached: u64,
}

impl Lines {
    fn percent(self) -> f64 {
        100.0 * self.reached as f64 / self.all.max(1) as f64
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let targets: Vec<&'static Target> = match arguments.target.as_str() {
        "all" => target::ALL.iter().collect(),
        name => vec![Target::find(name)?],
    };
    let tools = Tools::find()?;
    let folder = workspace::root().join("artifacts/coverage").join(&arguments.target);
    workspace::empty_folder(&folder)?;
    let report = measure(&tools, &targets, arguments.grown, &folder)?;
    fs::write(folder.join("report.json"), pretty_json(&report)?)?;
    report.print();
    say!("\nlcov: {0}/lcov.info · HTML: {0}/html/index.html", workspace::shown(&folder));
    if arguments.json {
        output::print_json(&report)?;
    }
    Ok(Exit::Clean)
}

fn measure(
    tools: &Tools,
    targets: &[&'static Target],
    grown: bool,
    folder: &Path,
) -> Result<Report> {
    let recipe = Recipe::of("with coverage", "coverage", &["build"])
        .env("RUSTFLAGS", "-Cinstrument-coverage")
        .with(&["--target", &host_triple()?]);
    let profile = folder.join("%p.profraw").display().to_string();
    let mut played: Vec<Scenario> = Vec::new();
    let mut programs = Vec::new();
    for target in targets {
        let scenarios = scenarios(target, grown, folder)?;
        let program = Program {
            environment: vec![("LLVM_PROFILE_FILE", profile.clone())],
            ..Subject::production().build(target, &recipe)?
        };
        // The smallest process is one for all files; what breaks a rule is played like the rest.
        let judged = program.judge(&scenarios, Some(target))?;
        ensure!(judged.len() == scenarios.len(), "not all could be played");
        for file in &scenarios {
            played.push(load(file)?);
        }
        programs.push(program.path);
    }
    let profile = tools.merge(folder)?;
    let mut report = Report::new(&tools.export(&programs, &profile, folder)?)?;
    report.corpus = targets.iter().map(|target| target.name).collect::<Vec<_>>().join(" ");
    report.scenarios = played.len();
    (report.never_carried_out, report.never_in_error) = commands(&played);
    Ok(report)
}

/// Returns the committed seeds and regressions, and what is grown as text, since a grown input's
/// name says nothing.
fn scenarios(target: &Target, grown: bool, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = target.scenarios("seeds")?;
    all.extend(target.scenarios("regressions")?);
    if grown {
        let generator = target.generator()?;
        let texts = folder.join("grown").join(target.name);
        fs::create_dir_all(&texts)?;
        for (index, (_, mut scenario)) in corpus::read_grown(target)?.into_iter().enumerate() {
            scenario.fit(generator);
            let path = texts.join(format!("{index}.its"));
            fs::write(&path, scenario.to_string())?;
            all.push(path);
        }
    }
    ensure!(!all.is_empty(), "{} has no corpus", target.name);
    Ok(all)
}

/// Where functions are: the file, and the first region. By that their name, and how often any
/// instance of them was entered.
type Functions = BTreeMap<(String, Place), (String, u64)>;

impl Report {
    fn new(all: &[Function]) -> Result<Self> {
        let mut files: BTreeMap<String, Regions> = BTreeMap::new();
        let mut functions = Functions::new();
        for function in all {
            let Some(file) = function.file() else { continue };
            if !CRATES.iter().any(|one| file.starts_with(one)) {
                continue;
            }
            let regions = files.entry(file.clone()).or_default();
            for (index, (place, times)) in function.code().enumerate() {
                *regions.entry(place).or_default() += times;
                if index == 0 {
                    let name = format!("{:#}", rustc_demangle::demangle(&function.name));
                    functions.entry((file.clone(), place)).or_insert((name, 0)).1 += times;
                }
            }
        }
        functions.retain(|(file, _), (_, times)| *times == 0 && file.starts_with(NAMED));
        let crates = CRATES.map(|one| (one, Lines::default())).into();
        let mut report = Self { crates, ..Self::default() };
        for (file, regions) in &files {
            report.add(file, regions, &functions)?;
        }
        let entry = |((file, at), (name, _)): (&(String, Place), &(String, u64))| {
            format!("{file}:{}: {name}", at[0])
        };
        report.functions = functions.iter().map(entry).collect();
        Ok(report)
    }

    /// Adds a file, in which these functions of the emulator were never entered.
    fn add(&mut self, file: &str, regions: &Regions, never: &Functions) -> Result<()> {
        let source = fs::read_to_string(workspace::root().join(file))?;
        let source: Vec<&str> = source.lines().collect();
        let by_line = lines(regions, &source);
        let reached = by_line.values().filter(|reached| **reached).count() as u64;
        let sum = Lines { all: by_line.len() as u64, reached };
        self.files.insert(file.into(), sum);
        for (_, total) in self.crates.iter_mut().filter(|(name, _)| file.starts_with(**name)) {
            total.all += sum.all;
            total.reached += sum.reached;
        }
        if !file.starts_with(NAMED) {
            return Ok(());
        }
        let entered = |line: &u64| {
            !never.keys().any(|(of, at)| of == file && at[0] <= *line && *line <= at[2])
        };
        let named = |line: u64| {
            let text = source.get(line as usize - 1).unwrap_or(&"").trim();
            format!("{file}:{line}: {text}")
        };
        let missed = by_line.iter().filter(|(_, reached)| !**reached).map(|(line, _)| *line);
        self.lines.extend(missed.filter(entered).map(named));
        self.parts.extend(parts(regions, &by_line).into_iter().map(named));
        Ok(())
    }

    fn print(&self) {
        say!("{} scenarios of {}", self.scenarios, self.corpus);
        say!("\n{:>7}  {:>13}  ", "lines", "reached");
        let row = |name: &str, lines: &Lines| {
            say!("{:>6.1}%  {:>6} / {:<5} {name}", lines.percent(), lines.reached, lines.all);
        };
        for (name, lines) in &self.crates {
            row(name, lines);
            for (file, lines) in &self.files {
                if file.starts_with(name) {
                    row(&format!("  {file}"), lines);
                }
            }
        }
        say!("\nnot reached in {NAMED}: {} functions", self.functions.len());
        self.functions.iter().for_each(|one| say!("  {one}"));
        say!("and {} lines of others", self.lines.len());
        self.lines.iter().for_each(|one| say!("  {one}"));
        say!("and parts of {} lines", self.parts.len());
        self.parts.iter().for_each(|one| say!("  {one}"));
        let [never, never_in_error] = [&self.never_carried_out, &self.never_in_error]
            .map(|names| if names.is_empty() { "none".into() } else { names.join(", ") });
        say!("commands that no ITS carried out: {never}");
        say!("commands that no ITS found in error: {never_in_error}");
    }
}

/// Returns each line that says something, and whether any of the regions that begin or end on it
/// was reached, or the innermost that goes through it; so counts LLVM too.
fn lines(regions: &Regions, source: &[&str]) -> BTreeMap<u64, bool> {
    let mut lines: BTreeMap<u64, bool> = BTreeMap::new();
    // Larger ones first: what is within them has the last word.
    let mut sorted: Vec<(&[u64; 4], &u64)> = regions.iter().collect();
    sorted.sort_by_key(|(at, _)| std::cmp::Reverse(at[2] - at[0]));
    for ([first, _, last, _], times) in sorted {
        for line in *first..=*last {
            let text = source.get(line as usize - 1).unwrap_or(&"").trim();
            if !text.chars().any(char::is_alphanumeric) || text.starts_with("//") {
                continue;
            }
            let reached = *times > 0;
            let entry = lines.entry(line).or_insert(reached);
            let is_edge = line == *first || line == *last;
            *entry = reached || is_edge && *entry;
        }
    }
    lines
}

/// Returns the reached lines of which a part was not: where an error goes its way, mostly.
fn parts(regions: &Regions, lines: &BTreeMap<u64, bool>) -> BTreeSet<u64> {
    let missed = regions.iter().filter(|(_, times)| **times == 0);
    let within = missed.map(|(at, _)| at[0]);
    within.filter(|line| lines.get(line) == Some(&true)).collect()
}

/// Returns the commands that no ITS carried out in these scenarios, and that none found in error.
fn commands(played: &[Scenario]) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut seen = BTreeSet::new();
    let mut runner = Runner::new(its_production::make);
    for scenario in played {
        let mut trace = Trace::default();
        runner.play(scenario, Some(&mut trace));
        seen.extend(trace.commands().iter().copied());
    }
    let never = |in_error: bool| {
        let names = Command::known().map(Command::name);
        names.filter(|name| !seen.contains(&(name, in_error))).collect()
    };
    (never(false), never(true))
}
