//! All known bugs in one program. Most of what a program with a known bug is made of has no bug: built once, with an
//! emulator for each bug, it takes minutes and a few hundred MB where a program for each takes hours and many GB.
//!
//! The program is a workspace below `target/bugs/source`: for each bug a patched copy of the emulator and a crate
//! that makes it a subject of the board; one package picks subject and target by the environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bugs::{Bank, Bug};
use crate::engine::Engine;
use crate::program::Program;
use crate::subject::{EMULATOR, Subject, Tree};
use crate::workspace;

/// The folder, the package and the program.
const NAME: &str = "all-bugs";

/// Which subject, by the id of its bug.
const SUBJECT: &str = "ITSDIFF_SUBJECT";
/// Which target.
const TARGET: &str = "ITSDIFF_TARGET";

/// The program with all known bugs, built to replay; to fuzz once it is asked for.
pub(crate) struct AllBugs {
    subject: Subject,
    replayer: PathBuf,
    fuzzers: RefCell<BTreeMap<Engine, PathBuf>>,
}

impl AllBugs {
    /// Writes the sources, from the patches as they are, and builds.
    pub(crate) fn new() -> Result<Self> {
        let bugs = Bug::all(Bank::Bugs)?;
        let mut tree = Tree::default();
        for bug in &bugs {
            add_bug(&mut tree, bug).with_context(|| format!("the patch of {}", bug.id))?;
        }
        let ids: Vec<&str> = bugs.iter().map(|bug| bug.id.as_str()).collect();
        tree.add(Path::new(NAME).join("Cargo.toml"), manifest(&ids));
        tree.add(Path::new(NAME).join("src/main.rs"), program(&ids));
        tree.add_workspace(workspace::root(), &members(&ids))?;
        let subject = Subject::written(NAME, &tree)?;
        Ok(Self {
            replayer: subject.build_brief_replayer(NAME)?,
            subject,
            fuzzers: RefCell::default(),
        })
    }

    /// Replays files with a known bug.
    pub(crate) fn replayer(&self, bug: &Bug) -> Result<Program> {
        with(self.replayer.clone(), bug)
    }

    /// Fuzzes with a known bug the target that finds it.
    pub(crate) fn fuzzer(&self, bug: &Bug, engine: Engine) -> Result<Program> {
        let built = self.fuzzers.borrow().get(&engine).cloned();
        let fuzzer = match built {
            Some(built) => built,
            None => engine.build(&self.subject, NAME)?,
        };
        self.fuzzers.borrow_mut().insert(engine, fuzzer.clone());
        with(fuzzer, bug)
    }
}

fn with(path: PathBuf, bug: &Bug) -> Result<Program> {
    let environment = vec![(SUBJECT, bug.id.clone()), (TARGET, bug.target()?.name.into())];
    Ok(Program { path, environment })
}

fn add_bug(tree: &mut Tree, bug: &Bug) -> Result<()> {
    let id = &bug.id;
    let mut emulator = Tree::copy(workspace::root(), &[EMULATOR])?;
    emulator.apply(&bug.patch)?;
    emulator.rename_package("its-emulator", &format!("emulator-{id}"))?;
    tree.append(emulator.moved(Path::new(EMULATOR), &Path::new("emulator").join(id)));
    let crate_name = id.replace('-', "_");
    let manifest = format!(
        "[package]\nname = \"subject-{id}\"\nedition.workspace = true\nversion.workspace = true\n\n\
         [dependencies]\nits-board.workspace = true\nemulator-{id} = {{ path = \"../../emulator/{id}\" }}\n"
    );
    let source = format!(
        "pub fn make(its: &'static [u64]) -> Box<dyn its_board::BoardSubject> {{\n    \
         Box::new(emulator_{crate_name}::Emulator::<its_board::BoardLocks>::new(its))\n}}\n"
    );
    let folder = Path::new("subject").join(id);
    tree.add(folder.join("Cargo.toml"), manifest);
    tree.add(folder.join("src/lib.rs"), source);
    Ok(())
}

fn members(ids: &[&str]) -> Vec<String> {
    let folders = |id: &&str| [format!("emulator/{id}"), format!("subject/{id}")];
    let mut members: Vec<String> = ids.iter().flat_map(folders).collect();
    members.push(NAME.into());
    members
}

fn manifest(ids: &[&str]) -> String {
    let mut text = format!(
        "[package]\nname = \"{NAME}\"\nedition.workspace = true\nversion.workspace = true\n\n\
         [target.'cfg(engine = \"libfuzzer\")'.dependencies]\nlibfuzzer-sys.workspace = true\n\n\
         [dependencies]\nits-board.workspace = true\nits-runner.workspace = true\nits-scenario.workspace = true\n"
    );
    for id in ids {
        text.push_str(&format!("subject-{id} = {{ path = \"../subject/{id}\" }}\n"));
    }
    text
}

fn program(ids: &[&str]) -> String {
    let arms: String = ids
        .iter()
        .map(|id| format!("        \"{id}\" => subject_{}::make(its),\n", id.replace('-', "_")))
        .collect();
    format!(
        "#![cfg_attr(engine = \"libfuzzer\", no_main)]\n\n\
         fn make(its: &'static [u64]) -> Box<dyn its_board::BoardSubject> {{\n    \
         let id = std::env::var(\"{SUBJECT}\").unwrap_or_default();\n    \
         match &*id {{\n{arms}        _ => panic!(\"{SUBJECT} names no known bug\"),\n    }}\n}}\n\n\
         #[cfg(any(engine = \"libfuzzer\", engine = \"afl\", engine = \"honggfuzz\"))]\nfn target() -> its_scenario::FuzzTarget {{\n    \
         let name = std::env::var(\"{TARGET}\").unwrap_or_default();\n    \
         its_scenario::FuzzTarget::named(&name).expect(\"{TARGET} names a target\")\n}}\n\n\
         its_runner::target!(target(), make);\n"
    )
}
