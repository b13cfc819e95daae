//! Which emulator is built: the production emulator, one with a known bug put back, or one that is written elsewhere.
//!
//! A known bug is a patch to `harness/emulator`, a break one to another crate. Its subject is a workspace below
//! `target/bugs/source/<id>`: a copy of the crate with the patch applied, and of what depends on it; all other crates are taken from where they are. Files
//! that did not change keep their times, so that cargo builds only what it must. The copies lie in a folder named by the
//! id: cargo tells packages apart by their path within the workspace, and all subjects share a target directory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::bugs::Bug;
use crate::foreign::Foreign;
use crate::workspace;

/// Crates that can be patched, each with what is copied: the crate and what depends on it.
const PATCHED: [(&str, &[&str]); 4] = [
    (
        "harness/emulator/src/",
        &["harness/emulator", "harness/runner", "harness/conformance", "targets"],
    ),
    ("harness/board/src/", &["harness/board", "harness/runner", "harness/conformance", "targets"]),
    ("harness/model/src/", &["harness/model", "harness/runner", "harness/conformance", "targets"]),
    // Found by its own tests, so nothing else is needed.
    ("harness/gic/src/", &["harness/gic"]),
];

/// The crate that known bugs are patches to.
pub(crate) const EMULATOR: &str = "harness/emulator";

/// The program that plays requirements and compares with QEMU.
const CONFORMANCE: &str = "its-conformance";

/// Half of the time of a build is spent on optimizing.
const NOT_OPTIMIZED: (&str, &str) = ("CARGO_PROFILE_DEV_OPT_LEVEL", "0");

/// The production emulator's name as a subject.
pub(crate) const PRODUCTION: &str = "production";

/// How cargo builds a program.
pub(crate) struct Recipe {
    /// A target directory of its own keeps other builds from being thrown away.
    folder: &'static str,
    cargo: &'static [&'static str],
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Recipe {
    /// `cargo build`, in a folder of this name.
    pub(crate) fn new(folder: &'static str) -> Self {
        Self { folder, cargo: &["build"], arguments: Vec::new(), environment: Vec::new() }
    }

    /// Another command of cargo's that builds.
    pub(crate) fn by(mut self, cargo: &'static [&'static str]) -> Self {
        self.cargo = cargo;
        self
    }

    /// With more arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.into()));
        self
    }

    /// With a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// Which emulator a command is about.
#[derive(clap::Args, Clone)]
pub(crate) struct Which {
    /// The emulator with this known bug put back
    #[arg(long, value_name = "ID")]
    pub bug: Option<String>,
    /// An emulator that is written elsewhere: an object file or archive, or `example:NAME` (harness/abi/README.md)
    #[arg(long, value_name = "PATH", conflicts_with = "bug")]
    pub subject: Option<String>,
}

impl Which {
    /// Built from there.
    pub(crate) fn subject(&self) -> Result<Subject> {
        match &self.subject {
            Some(text) => Ok(Subject::foreign(Foreign::prepare(text)?)),
            None => Subject::new(self.bug.as_deref()),
        }
    }
}

/// The option of a command that makes the subject of a name, with a space before; nothing for the production emulator.
pub(crate) fn option(name: &str) -> String {
    match Foreign::source(name) {
        Some(source) => format!(" --subject {source}"),
        None if name == PRODUCTION => String::new(),
        None => format!(" --bug {name}"),
    }
}

/// Where a subject is built.
pub(crate) struct Subject {
    /// `production`, the id of a known bug, or what [`Foreign::name`] says.
    pub name: String,
    /// The workspace that holds it.
    pub source: PathBuf,
    /// Where in it the crates are.
    crates: PathBuf,
    /// The folder of cargo's target directories for it.
    pub builds: PathBuf,
    /// It is written elsewhere.
    foreign: Option<Foreign>,
}

impl Subject {
    /// The production emulator, or the known bug of an id.
    pub(crate) fn new(bug: Option<&str>) -> Result<Self> {
        match bug {
            None => Ok(Self {
                name: PRODUCTION.into(),
                source: workspace::root().to_owned(),
                crates: workspace::root().to_owned(),
                builds: workspace::root().join("target"),
                foreign: None,
            }),
            Some(id) => Self::with_bug(&Bug::find(id)?),
        }
    }

    /// One that is written elsewhere.
    pub(crate) fn foreign(foreign: Foreign) -> Self {
        Self {
            name: foreign.name.clone(),
            source: workspace::root().to_owned(),
            crates: workspace::root().to_owned(),
            builds: workspace::root().join("target/foreign"),
            foreign: Some(foreign),
        }
    }

    /// The subject whose artifacts have this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match Foreign::named(name)? {
            Some(foreign) => Ok(Self::foreign(foreign)),
            None => Self::new((name != PRODUCTION).then_some(name)),
        }
    }

    /// The production emulator with a known bug put back.
    pub(crate) fn with_bug(bug: &Bug) -> Result<Self> {
        let builds = workspace::root().join("target").join("bugs");
        let source = builds.join("source").join(&bug.id);
        let copied = copied(&bug.patch).with_context(|| format!("the patch of {}", bug.id))?;
        let mut tree = Tree::read(workspace::root(), &bug.id, copied)?;
        tree.apply(&bug.patch)
            .with_context(|| format!("the patch of known bug {} does not apply", bug.id))?;
        tree.write(&source)?;
        Ok(Self {
            name: bug.id.clone(),
            crates: source.join(&bug.id),
            source,
            builds,
            foreign: None,
        })
    }

    /// A workspace of files that were put together.
    pub(crate) fn written(name: &str, tree: &Tree) -> Result<Self> {
        let builds = workspace::root().join("target").join("bugs");
        let source = builds.join("source").join(name);
        tree.write(&source)?;
        Ok(Self { name: name.into(), crates: source.clone(), source, builds, foreign: None })
    }

    /// Runs the tests of a package; what they print, and whether all passed.
    pub(crate) fn test(&self, package: &str) -> Result<(String, bool)> {
        let manifest = self.source.join("Cargo.toml");
        let output = duct::cmd!(
            workspace::cargo(),
            "test",
            "--quiet",
            "--package",
            package,
            "--manifest-path",
            manifest
        )
        .env("CARGO_TARGET_DIR", self.builds.join("tests"))
        .env(NOT_OPTIMIZED.0, NOT_OPTIMIZED.1)
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.success()))
    }

    /// Builds the target that replays files and gives its path.
    pub(crate) fn build_replayer(&self, target: &str) -> Result<PathBuf> {
        self.build(target, &Recipe::new("replay"))
    }

    /// The same for a few files, built fast to play slowly: there are many known bugs and breaks.
    pub(crate) fn build_brief_replayer(&self, target: &str) -> Result<PathBuf> {
        let (name, value) = NOT_OPTIMIZED;
        self.build(target, &Recipe::new("brief").env(name, value))
    }

    /// The same optimized, which takes longer.
    pub(crate) fn build_fast_replayer(&self, target: &str) -> Result<PathBuf> {
        self.build(target, &Recipe::new("release").with(&["--release"]))
    }

    /// The program that plays requirements, for a few of them.
    pub(crate) fn build_brief_conformance(&self) -> Result<PathBuf> {
        self.build_brief_replayer(CONFORMANCE)
    }

    /// Builds the program that plays requirements and compares with QEMU. `release`: optimized, which takes longer.
    pub(crate) fn build_conformance(&self, release: bool) -> Result<PathBuf> {
        match release {
            true => self.build_fast_replayer(CONFORMANCE),
            false => self.build_replayer(CONFORMANCE),
        }
    }

    /// Builds a target by a recipe and gives the program's path.
    pub(crate) fn build(&self, target: &str, recipe: &Recipe) -> Result<PathBuf> {
        let folder = self.folder(recipe);
        let keep = folder.join("kept").join(&self.name);
        fs::create_dir_all(&keep)?;
        let kept = keep.join(target);
        // All subjects share the folder, for the sake of what they have in common, so the program in it may be another
        // subject's unless it was built right now: one build at a time, and a mark until its program is kept.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let mark = keep.join("not-kept");
        let is_kept = kept.exists() && !mark.exists();
        fs::write(&mark, "")?;
        let mut built = self.cargo_build(target, recipe)?;
        if built.fresh && !is_kept {
            // Cargo believes it is there; touched, it is built again.
            let main = self.crates.join(main_of(target));
            let file = File::options().write(true).open(&main)?;
            file.set_modified(SystemTime::now())?;
            built = self.cargo_build(target, recipe)?;
        }
        if !built.fresh {
            let part = keep.join("part");
            fs::copy(&built.program, &part)
                .with_context(|| format!("cannot copy {}", built.program.display()))?;
            fs::rename(&part, &kept)?;
        }
        fs::remove_file(&mark)?;
        Ok(kept)
    }

    /// Cargo's target directory of a recipe.
    pub(crate) fn folder(&self, recipe: &Recipe) -> PathBuf {
        self.builds.join(recipe.folder)
    }

    fn cargo_build(&self, target: &str, recipe: &Recipe) -> Result<Built> {
        let manifest = self.source.join("Cargo.toml").display().to_string();
        let mut all: Vec<&str> = recipe.cargo.to_vec();
        all.extend(["--quiet", "--package", target]);
        all.extend(["--manifest-path", &manifest]);
        all.push("--message-format=json-render-diagnostics");
        all.extend(recipe.arguments.iter().map(String::as_str));
        // Flags of the user's would take the place of the instrumentation. What incremental builds keep, and debug
        // information where nobody looks for it, would be kept for every subject.
        let mut command = duct::cmd(workspace::cargo(), all);
        let mut flags = String::new();
        // What is set first stays.
        for (name, value) in &recipe.environment {
            match name.as_str() {
                "RUSTFLAGS" => flags = value.clone(),
                _ => command = command.env(name, value),
            }
        }
        if let Some(foreign) = &self.foreign {
            flags += " --cfg foreign";
            command = command
                .env("ITSDIFF_SUBJECT", &foreign.archive)
                .env("ITSDIFF_SUBJECT_FACTS", foreign.facts.cfgs());
        }
        if !flags.is_empty() {
            command = command.env("RUSTFLAGS", flags.trim());
        }
        let command = command
            .dir(&self.source)
            .env("CARGO_TARGET_DIR", self.folder(recipe))
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        let text = command
            .read()
            .with_context(|| format!("cannot build {target} with subject {}", self.name))?;
        let built = text.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(Built {
                program: message.get("executable")?.as_str()?.into(),
                fresh: message.get("fresh")?.as_bool()?,
            })
        });
        built.context("cargo built no program")
    }
}

/// Where a program's main file is in its workspace.
fn main_of(program: &str) -> PathBuf {
    let folder = match program {
        CONFORMANCE => "harness/conformance".into(),
        target if target.starts_with("its_") => format!("targets/{target}"),
        package => package.into(),
    };
    Path::new(&folder).join("src/main.rs")
}

/// What cargo says of a program.
struct Built {
    program: PathBuf,
    /// It was there already.
    fresh: bool,
}

/// Source files by their path from the root.
#[derive(Default)]
pub(crate) struct Tree(Vec<(PathBuf, Vec<u8>)>);

impl Tree {
    fn read(root: &Path, id: &str, copied: &[&str]) -> Result<Self> {
        let mut tree = Self::copy(root, copied)?.moved(Path::new(""), Path::new(id));
        tree.add("Cargo.lock".into(), fs::read(root.join("Cargo.lock"))?);
        let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
        let manifest = elsewhere(&manifest, root, id, copied).context("Cargo.toml")?;
        tree.add("Cargo.toml".into(), manifest);
        Ok(tree)
    }

    /// Copies of folders.
    pub(crate) fn copy(root: &Path, copied: &[&str]) -> Result<Self> {
        let mut files = Vec::new();
        for source in copied {
            collect(root, &root.join(source), &mut files)
                .with_context(|| format!("cannot read {source}"))?;
        }
        Ok(Self(files))
    }

    /// What is below `from`, below `to`; the rest stays out.
    pub(crate) fn moved(self, from: &Path, to: &Path) -> Self {
        let moved = |(path, bytes): (PathBuf, Vec<u8>)| {
            let path = path.strip_prefix(from).ok()?;
            Some((to.join(path), bytes))
        };
        Self(self.0.into_iter().filter_map(moved).collect())
    }

    pub(crate) fn add(&mut self, path: PathBuf, contents: impl Into<Vec<u8>>) {
        self.0.push((path, contents.into()));
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// A manifest and a lock of the workspace at `root` for these members; all other crates stay there.
    pub(crate) fn add_workspace(&mut self, root: &Path, members: &[String]) -> Result<()> {
        let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
        let manifest = elsewhere(&manifest, root, "", &[]).context("Cargo.toml")?;
        let mut manifest: toml::Table = manifest.parse()?;
        let workspace = manifest.get_mut("workspace");
        let workspace = workspace.and_then(toml::Value::as_table_mut);
        let workspace = workspace.context("there is no workspace")?;
        workspace.insert("members".into(), members.to_vec().into());
        workspace.remove("exclude");
        self.add("Cargo.toml".into(), toml::to_string(&manifest)?);
        self.add("Cargo.lock".into(), fs::read(root.join("Cargo.lock"))?);
        Ok(())
    }

    /// Gives the one package in it another name.
    pub(crate) fn rename_package(&mut self, from: &str, to: &str) -> Result<()> {
        let manifest = { self.0.iter_mut() }.find(|(path, _)| path.ends_with("Cargo.toml"));
        let (_, bytes) = manifest.context("there is no Cargo.toml")?;
        let text = std::str::from_utf8(bytes)?;
        let (old, new) = (format!("name = \"{from}\""), format!("name = \"{to}\""));
        *bytes = text.replacen(&old, &new, 1).into_bytes();
        Ok(())
    }

    pub(crate) fn apply(&mut self, patch: &str) -> Result<()> {
        for part in split_patch(patch) {
            let patch = diffy::Patch::from_str(&part)?;
            let name = patch
                .modified()
                .map(|name| name.trim_start_matches("b/"))
                .context("a part of the patch names no file")?;
            let file = self.0.iter_mut().find(|(path, _)| path.ends_with(name));
            let Some((_, bytes)) = file else {
                bail!("there is no {name}");
            };
            let text = std::str::from_utf8(bytes)?;
            *bytes = diffy::apply(text, &patch).with_context(|| name.to_owned())?.into_bytes();
        }
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            if fs::read(&path).ok().as_deref() != Some(bytes) {
                fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
                fs::write(&path, bytes)?;
            }
            wanted.insert(path);
        }
        let mut present = Vec::new();
        collect(folder, folder, &mut present)?;
        for (path, _) in present {
            let path = folder.join(path);
            if !wanted.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The workspace's manifest for a folder elsewhere: its members are what is copied, the rest stays at `root`.
fn elsewhere(manifest: &str, root: &Path, id: &str, copied: &[&str]) -> Result<String> {
    let is_copied = |path: &str| copied.iter().any(|copied| path.starts_with(copied));
    let mut manifest: toml::Table = manifest.parse()?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("there is no workspace")?;
    let members = workspace.get_mut("members").and_then(toml::Value::as_array_mut);
    let members = members.context("the workspace has no members")?;
    members.retain(|member| member.as_str().is_some_and(is_copied));
    for member in members {
        *member = format!("{id}/{}", member.as_str().unwrap_or_default()).into();
    }
    let dependencies = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut);
    for (_, dependency) in dependencies.context("the workspace has no dependencies")? {
        let Some(toml::Value::String(path)) = dependency.get_mut("path") else {
            continue;
        };
        *path = if is_copied(path) {
            format!("{id}/{path}")
        } else {
            root.join(&*path).display().to_string()
        };
    }
    Ok(toml::to_string(&manifest)?)
}

/// What must be copied for a patch. It touches one crate.
fn copied(patch: &str) -> Result<&'static [&'static str]> {
    let mut names = patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    let first = names.next().context("it touches no file")?;
    let found = PATCHED.iter().find(|(source, _)| first.starts_with(source));
    let Some((source, copied)) = found else {
        let known: Vec<&str> = PATCHED.iter().map(|(source, _)| *source).collect();
        bail!("it touches {first}; a patch is to one of {}", known.join(", "));
    };
    if let Some(other) = names.find(|name| !name.starts_with(source)) {
        bail!("it touches {other} beside {source}");
    }
    Ok(copied)
}

/// One piece of a patch for each file that it touches.
fn split_patch(patch: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in patch.lines() {
        if line.starts_with("--- ") {
            parts.push(String::new());
        }
        if line.starts_with("diff ") || line.starts_with("index ") {
            continue;
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

fn collect(root: &Path, path: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
    if path.is_file() {
        let relative = path.strip_prefix(root)?.to_owned();
        files.push((relative, fs::read(path)?));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.file_name() != Some(OsStr::new("target")) {
            collect(root, &entry, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/harness/emulator/src/a.rs b/harness/emulator/src/a.rs
index 1..2 100644
--- a/harness/emulator/src/a.rs
+++ b/harness/emulator/src/a.rs
@@ -1,2 +1,2 @@
 one
-two
+three
";

    #[test]
    fn what_is_not_copied_stays_where_it_is() {
        let manifest = "\
[workspace]
members = [\"harness/gic\", \"harness/emulator\", \"targets/its_cmdq\"]
[workspace.dependencies]
its-gic = { path = \"harness/gic\" }
its-emulator = { path = \"harness/emulator\" }
toml = \"1\"
";
        let text = elsewhere(manifest, Path::new("/here"), "a-bug", PATCHED[0].1).unwrap();
        assert!(text.contains("\"/here/harness/gic\""), "{text}");
        assert!(text.contains("path = \"a-bug/harness/emulator\""), "{text}");
        assert!(!text.contains("\"harness/gic\""), "{text}");
    }

    fn tree(text: &str) -> Tree {
        Tree(vec![("harness/emulator/src/a.rs".into(), text.into())])
    }

    #[test]
    fn a_patch_changes_the_emulator() {
        let mut sources = tree("one\ntwo\n");
        sources.apply(PATCH).unwrap();
        assert_eq!(sources.0[0].1, b"one\nthree\n");
    }

    #[test]
    fn a_patch_that_does_not_apply_is_refused() {
        assert!(tree("something else\n").apply(PATCH).is_err());
        assert_eq!(copied(PATCH).unwrap(), PATCHED[0].1);
        let elsewhere = PATCH.replace("harness/emulator", "xtask");
        let error = copied(&elsewhere).unwrap_err();
        assert!(error.to_string().contains("it touches xtask"), "{error}");
        let two = format!("{PATCH}{}", PATCH.replace("harness/emulator", "harness/board"));
        assert!(copied(&two).is_err());
    }
}
