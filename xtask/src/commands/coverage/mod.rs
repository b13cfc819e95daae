//! `coverage`: which lines of emulator, model and board a corpus reaches, and what it does not.
//!
//! The target's replayer, compiled with rustc's own coverage, plays the corpus; LLVM's tools of the
//! same version turn what it counted into a table, lcov and HTML. A function is compiled for
//! several types and a line may hold parts of several: what one of them reached is reached.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use its_gic::Command;
use its_runner::Runner;
use its_runner::replay::load;
use its_runner::trace::Trace;
use its_runner::versioned::Versioned;
use its_scenario::{FuzzTarget, Scenario};
use serde::{Deserialize, Serialize};

use crate::commands::corpus;
use crate::engines;
use crate::exit::Exit;
use crate::process;
use crate::subjects::Subject;
use crate::subjects::build::Recipe;
use crate::subjects::program::Program;
use crate::target::{self, Target};
use crate::workspace;

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
const CRATES: [&str; 3] = ["harness/emulator", "harness/model", "harness/board"];

/// The crate whose unreached parts are named.
const NAMED: &str = CRATES[0];

/// What a corpus reaches.
#[derive(Serialize)]
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
    let folder = { workspace::root().join("artifacts/coverage") }.join(&arguments.target);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let report = measure(&tools, &targets, arguments.grown, &folder)?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&Versioned::new(&report))?)?;
    report.print();
    say!("\nlcov: {0}/lcov.info · HTML: {0}/html/index.html", workspace::shown(&folder));
    if arguments.json {
        say!("{}", serde_json::to_string(&Versioned::new(&report))?);
    }
    Ok(Exit::Clean)
}

/// LLVM's tools; those of another version cannot read what rustc writes.
struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let text = engines::RUSTC.run(["-vV"])?;
        let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let version = version.and_then(|version| version.split('.').next());
        let version = version.context("rustc -vV names no LLVM")?;
        let find = |variable: &str, name: &str| {
            let path = match std::env::var_os(variable) {
                Some(path) => PathBuf::from(path),
                None => format!("/usr/lib/llvm-{version}/bin/{name}").into(),
            };
            if !path.exists() {
                bail!(
                    "no {name} of LLVM {version}, which is rustc's: apt-get install --no-install-recommends \
                     llvm-{version}, or name it in {variable}"
                );
            }
            Ok(path)
        };
        Ok(Self {
            profdata: find("LLVM_PROFDATA", "llvm-profdata")?,
            cov: find("LLVM_COV", "llvm-cov")?,
        })
    }
}

fn measure(
    tools: &Tools,
    targets: &[&'static Target],
    grown: bool,
    folder: &Path,
) -> Result<Report> {
    let recipe = Recipe::of("with coverage", "coverage", &["build"])
        .env("RUSTFLAGS", "-Cinstrument-coverage");
    let recipe = recipe.with(&["--target", &crate::engines::host_triple()?]);
    let subject = Subject::production();
    let mut played: Vec<Scenario> = Vec::new();
    let mut programs = Vec::new();
    for target in targets {
        let scenarios = scenarios(target, grown, folder)?;
        let program = Program {
            subject: subject.name.clone(),
            path: subject.build(target, &recipe)?.path,
            environment: vec![(
                "LLVM_PROFILE_FILE",
                folder.join("%p.profraw").display().to_string(),
            )],
        };
        // The smallest process is one for all files; what breaks a rule is played like the rest.
        let judged = program.judge(&scenarios, Some(target))?;
        ensure!(judged.len() == scenarios.len(), "not all could be played");
        for file in &scenarios {
            played.push(load(file)?);
        }
        programs.push(program.path);
    }
    let profile = merge(tools, folder)?;
    let exported = export(tools, &programs, &profile, folder)?;
    let mut report = exported.report()?;
    report.corpus = names(targets);
    report.scenarios = played.len();
    (report.never_carried_out, report.never_in_error) = commands(&played);
    Ok(report)
}

fn names(targets: &[&'static Target]) -> String {
    let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
    names.join(" ")
}

/// The committed seeds and regressions, and what is grown as text, since a grown input's name says
/// nothing.
fn scenarios(target: &Target, grown: bool, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = workspace::scenarios(&target.corpus("seeds"))?;
    all.extend(workspace::scenarios(&target.corpus("regressions"))?);
    if grown {
        let fuzzed = FuzzTarget::named(target.name).context("a target without a generator")?;
        let texts = folder.join("grown").join(target.name);
        fs::create_dir_all(&texts)?;
        for (index, (_, mut scenario)) in corpus::read_grown(target)?.into_iter().enumerate() {
            scenario.fit(fuzzed);
            let path = texts.join(format!("{index}.its"));
            fs::write(&path, scenario.to_string())?;
            all.push(path);
        }
    }
    ensure!(!all.is_empty(), "{} has no corpus", target.name);
    Ok(all)
}

fn merge(tools: &Tools, folder: &Path) -> Result<PathBuf> {
    let profile = folder.join("profile");
    let mut arguments: Vec<PathBuf> = ["merge", "-sparse", "-o"].map(PathBuf::from).into();
    arguments.push(profile.clone());
    let raw = corpus::files(folder)?.into_iter();
    let raw: Vec<PathBuf> = raw
        .filter(|path| path.extension().is_some_and(|extension| extension == "profraw"))
        .collect();
    ensure!(!raw.is_empty(), "the program counted nothing");
    arguments.extend(raw.iter().cloned());
    process::text(&tools.profdata, duct::cmd(&tools.profdata, arguments))?;
    for path in raw {
        fs::remove_file(path)?;
    }
    Ok(profile)
}

fn export(tools: &Tools, programs: &[PathBuf], profile: &Path, folder: &Path) -> Result<Exported> {
    let command = |first: &[&str]| {
        let mut arguments: Vec<String> = first.iter().map(|&one| one.into()).collect();
        arguments.push(format!("-instr-profile={}", profile.display()));
        for (index, program) in programs.iter().enumerate() {
            if index > 0 {
                arguments.push("-object".into());
            }
            arguments.push(program.display().to_string());
        }
        arguments.extend(CRATES.map(|one| workspace::root().join(one).display().to_string()));
        // Functions that only differ in a hash of the build are told apart by some programs: a
        // warning, nothing lost.
        duct::cmd(&tools.cov, arguments).stderr_null()
    };
    let text = |command| process::text(&tools.cov, command);
    let lcov = text(command(&["export", "-format=lcov"]))?;
    fs::write(folder.join("lcov.info"), lcov)?;
    let html = format!("-output-dir={}", folder.join("html").display());
    text(command(&["show", "-format=html", &html]))?;
    let json = text(command(&["export", "-format=text"]))?;
    Ok(serde_json::from_str(&json)?)
}

/// What llvm-cov exports, as far as it is read.
#[derive(Deserialize)]
struct Exported {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    filenames: Vec<PathBuf>,
    /// Line and column of start and end, times, file, expanded file, kind.
    regions: Vec<[u64; 8]>,
}

/// A region of the kind that is code; the others are expansions, gaps and branches.
const CODE: u64 = 0;

/// Where a region is, and how often it was reached by any function that has it.
type Regions = BTreeMap<[u64; 4], u64>;

impl Exported {
    fn report(self) -> Result<Report> {
        let mut files: BTreeMap<String, Regions> = BTreeMap::new();
        let mut functions: BTreeMap<(String, [u64; 4]), (String, u64)> = BTreeMap::new();
        for function in self.data.into_iter().flat_map(|data| data.functions) {
            let Some(file) = function.filenames.first() else {
                continue;
            };
            let file = workspace::shown(file);
            if !CRATES.iter().any(|one| file.starts_with(one)) {
                continue;
            }
            let code = function.regions.iter();
            let code = code.filter(|region| region[7] == CODE && region[5] == 0);
            let regions = files.entry(file.clone()).or_default();
            for (index, region) in code.enumerate() {
                let [a, b, c, d, times, ..] = *region;
                *regions.entry([a, b, c, d]).or_default() += times;
                if index == 0 {
                    let entry = functions.entry((file.clone(), [a, b, c, d]));
                    let name = format!("{:#}", rustc_demangle::demangle(&function.name));
                    entry.or_insert((name, 0)).1 += times;
                }
            }
        }
        let mut report = Report {
            corpus: String::new(),
            scenarios: 0,
            crates: CRATES.map(|one| (one, Lines::default())).into(),
            files: BTreeMap::new(),
            functions: Vec::new(),
            lines: Vec::new(),
            parts: Vec::new(),
            never_carried_out: Vec::new(),
            never_in_error: Vec::new(),
        };
        let entered = |file: &String, line: u64| {
            let within = |((of, at), (_, times)): (&(String, [u64; 4]), &(String, u64))| {
                of == file && *times == 0 && at[0] <= line && line <= at[2]
            };
            !functions.iter().any(within)
        };
        for (file, regions) in &files {
            let source = fs::read_to_string(workspace::root().join(file))?;
            let source: Vec<&str> = source.lines().collect();
            let by_line = lines(regions, &source);
            let reached = by_line.values().filter(|reached| **reached).count() as u64;
            let sum = Lines { all: by_line.len() as u64, reached };
            report.files.insert(file.clone(), sum);
            for (name, total) in &mut report.crates {
                if file.starts_with(name) {
                    total.all += sum.all;
                    total.reached += sum.reached;
                }
            }
            if !file.starts_with(NAMED) {
                continue;
            }
            let named = |line: u64| {
                let text = source.get(line as usize - 1).unwrap_or(&"").trim();
                format!("{file}:{line}: {text}")
            };
            let missed = by_line.iter().filter(|(_, reached)| !**reached);
            let missed = missed.map(|(line, _)| *line);
            report.lines.extend(missed.filter(|line| entered(file, *line)).map(named));
            report.parts.extend(parts(regions, &by_line).into_iter().map(named));
        }
        for ((file, at), (name, times)) in &functions {
            if *times == 0 && file.starts_with(NAMED) {
                report.functions.push(format!("{file}:{}: {name}", at[0]));
            }
        }
        Ok(report)
    }
}

/// Each line that says something, and whether any of the regions that begin or end on it was
/// reached, or the innermost that goes through it; so counts LLVM too.
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

/// Parts of reached lines that were not: where an error goes its way, mostly.
fn parts(regions: &Regions, lines: &BTreeMap<u64, bool>) -> BTreeSet<u64> {
    let missed = regions.iter().filter(|(_, times)| **times == 0);
    let within = missed.map(|(at, _)| at[0]);
    within.filter(|line| lines.get(line) == Some(&true)).collect()
}

/// Commands that no ITS carried out in these scenarios, and that none found in error.
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

impl Report {
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
        say!("commands that no ITS carried out: {}", list(&self.never_carried_out));
        say!("commands that no ITS found in error: {}", list(&self.never_in_error));
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        names => names.join(", "),
    }
}
