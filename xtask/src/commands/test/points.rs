//! Points of policy that an emulation may declare: of each, a subject that declares it and does so,
//! one that declares it and does otherwise, and one that does so and does not declare it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use its_reports::triage::{Judged, Outcome};
use its_rules::Finding;

use super::fuzz_well;
use crate::engines::{Engine, Plan};
use crate::subjects::{Program, Subject};
use crate::target::Target;
use crate::workspace;

/// The variable that names what `example:points` does otherwise than POLICY.md.
const POINT: &str = "ITSDIFF_POINT";
/// Drawn cases of each subject that does what it declares.
const CASES: u64 = 150;

/// Checks each point of `harness/abi/examples/points`, and returns how many there are.
pub(super) fn check() -> Result<usize> {
    let program = Subject::external("example:points")?.player()?;
    let files = workspace::scenarios(&workspace::root().join("harness/abi/examples/points"))?;
    for file in &files {
        Point::read(file)?.check(&program).with_context(|| workspace::shown(file))?;
    }
    Ok(files.len())
}

/// A point with another value than POLICY.md's, and a scenario in which that matters.
struct Point {
    file: PathBuf,
    /// `section.key = value`.
    text: String,
    /// POLICY.md's value is one that the declaration allows too.
    allows_policy: bool,
    /// What is expected of who declares it and does otherwise: a text that a finding expects, or
    /// the rule.
    otherwise: String,
}

impl Point {
    /// Reads a scenario whose first comment is a point; `(or POLICY.md's)` may follow it.
    fn read(file: &Path) -> Result<Self> {
        let text = workspace::read(file)?;
        let comment = text.lines().find_map(|line| line.strip_prefix("# "));
        let comment = comment.context("its first comment names no point")?;
        let plain = comment.strip_suffix(" (or POLICY.md's)");
        let name = plain.unwrap_or(comment).to_owned();
        let (key, _) = name.split_once(" = ").context("its point has no value")?;
        let rule = text.lines().find_map(|line| line.strip_prefix("# otherwise "));
        let otherwise = rule.unwrap_or(key).to_owned();
        Ok(Self { file: file.into(), text: name, allows_policy: plain.is_some(), otherwise })
    }

    /// Writes it as a file and returns its path.
    fn declare(&self) -> Result<PathBuf> {
        let (section, value) = self.text.split_once('.').context("its point has no section")?;
        let name = workspace::name(&self.file.with_extension("toml"));
        let path = workspace::root().join("target/points").join(name);
        fs_err::create_dir_all(workspace::folder_of(&path))?;
        workspace::write_whole(&path, format!("version = 1\n[{section}]\n{value}\n"))?;
        Ok(path)
    }

    fn check(&self, program: &Program) -> Result<()> {
        let declaration = self.declare()?.display().to_string();
        let declaring = program.with(its_runner::DECLARATION, &declaration);
        let right = declaring.with(POINT, &self.text);
        let found = self.judge(&right)?;
        ensure!(found.is_empty(), broken!("what is declared is reported: {found:?}"));
        self.fuzz(&right)?;
        let otherwise = self.judge(&declaring)?;
        let named = |finding: &Finding| {
            finding.expected.contains(&self.otherwise) || finding.rule.id == self.otherwise
        };
        ensure!(
            self.allows_policy == otherwise.is_empty()
                && (otherwise.is_empty() || otherwise.iter().any(named)),
            broken!(
                "who declares it and does as POLICY.md has it is not reported by its name: {otherwise:?}"
            )
        );
        let undeclared = self.judge(&program.with(POINT, &self.text))?;
        ensure!(!undeclared.is_empty(), broken!("who does it undeclared is not reported"));
        Ok(())
    }

    fn judge(&self, program: &Program) -> Result<Vec<Finding>> {
        let mut judged = program.judge(std::slice::from_ref(&self.file), None)?;
        match judged.pop().context("one file is judged")? {
            Judged { outcome: Outcome::Played { findings, defects, .. }, .. } => {
                ensure!(defects.is_empty(), defect!("{}", defects.join("; ")));
                Ok(findings)
            }
            Judged { outcome, .. } => Err(broken!("it was not played: {outcome:?}")),
        }
    }

    /// Checks that cases of the target that is about it break nothing.
    fn fuzz(&self, program: &Program) -> Result<()> {
        let (section, _) = self.text.split_once('.').unwrap_or_default();
        let target = Target::find(match section {
            "set-up" | "numbers" => "its_hvc",
            "memory" => "its_tables",
            "queue" => "its_cmdq",
            _ => "its_mmio",
        })?;
        let plan = Plan { runs: CASES, ..Plan::new(program, target) };
        let summary = fuzz_well(&plan, Engine::Random)?;
        ensure!(summary.is_clean(), broken!("{} has findings", target.name));
        Ok(())
    }
}
