//! What a program plays on: the production emulator, one with a mistake put in, or an emulation
//! that is written elsewhere.
//!
//! Known bugs stand in one program, `targets/known_bugs`, and breaks of the harness in programs of
//! a copy of the workspace below `target/breaks`; the environment picks the mistake.

pub(crate) mod breaks;
pub(crate) mod build;
pub(crate) mod external;
pub(crate) mod mistakes;
pub(crate) mod program;

use std::path::PathBuf;

use anyhow::Result;

use crate::subjects::build::{Package, Recipe};
use crate::subjects::external::Foreign;
use crate::subjects::mistakes::{Bank, Bug};
use crate::subjects::program::Program;
use crate::target::Target;
use crate::workspace;

/// The production emulator's name as a subject.
pub(crate) const PRODUCTION: &str = "production";

/// Which emulator a command is about.
#[derive(clap::Args, Clone)]
pub(crate) struct Which {
    /// Puts this known bug back into the emulator, or this break into the harness
    #[arg(long, value_name = "ID")]
    pub bug: Option<String>,
    /// Judges an emulation of your own: an object file or archive, or `example:NAME`
    /// (harness/abi/README.md)
    #[arg(long, value_name = "PATH", conflicts_with = "bug")]
    pub subject: Option<String>,
}

impl Which {
    /// Returns the subject that is meant.
    ///
    /// # Errors
    /// There is no such bug, file or example.
    pub(crate) fn subject(&self) -> Result<Subject> {
        match &self.subject {
            Some(text) => Ok(Subject::foreign(Foreign::prepare(text)?)),
            None => Subject::new(self.bug.as_deref()),
        }
    }
}

/// Returns the option that makes the subject of a name, with a space before; nothing for the
/// production emulator.
pub(crate) fn option(name: &str) -> String {
    match Foreign::source(name) {
        Some(source) => format!(" --subject {}", workspace::quoted(&source)),
        None if name == PRODUCTION => String::new(),
        None => format!(" --bug {name}"),
    }
}

/// What a program plays on.
pub(crate) struct Subject {
    /// `production`, the id of a mistake, or what [`Foreign::name`] says.
    pub name: String,
    kind: Kind,
}

enum Kind {
    Production,
    KnownBug,
    Break,
    Foreign(Foreign),
}

impl Subject {
    /// Returns the production emulator, or the subject with the mistake of an id.
    ///
    /// # Errors
    /// There is no such mistake.
    pub(crate) fn new(bug: Option<&str>) -> Result<Self> {
        match bug {
            None => Ok(Self::production()),
            Some(id) => Ok(Self::with_bug(&Bug::find(id)?)),
        }
    }

    /// Returns the production emulator.
    pub(crate) fn production() -> Self {
        Self { name: PRODUCTION.into(), kind: Kind::Production }
    }

    /// Returns one that is written elsewhere.
    pub(crate) fn foreign(foreign: Foreign) -> Self {
        Self { name: foreign.name.clone(), kind: Kind::Foreign(foreign) }
    }

    /// Returns the subject whose artifacts have this name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match Foreign::named(name)? {
            Some(foreign) => Ok(Self::foreign(foreign)),
            None => Self::new((name != PRODUCTION).then_some(name)),
        }
    }

    /// Returns the subject with a mistake put in.
    pub(crate) fn with_bug(bug: &Bug) -> Self {
        let kind = match bug.bank {
            Bank::Bugs => Kind::KnownBug,
            Bank::Breaks => Kind::Break,
        };
        Self { name: bug.id.clone(), kind }
    }

    /// Builds the program that replays, answers requests, is the random engine, and plays
    /// requirements. One program does it for all targets.
    ///
    /// # Errors
    /// It cannot be built, or this process must stop.
    pub(crate) fn player(&self) -> Result<Program> {
        self.build(&crate::target::ALL[0], &Recipe::play())
    }

    /// Builds the same faster where it is slower to play: there it is used for a few scenarios.
    ///
    /// # Errors
    /// It cannot be built, or this process must stop.
    pub(crate) fn brief_player(&self) -> Result<Program> {
        let recipe = match self.kind {
            Kind::Break => Recipe::brief(),
            Kind::Production | Kind::KnownBug | Kind::Foreign(_) => Recipe::play(),
        };
        self.build(&crate::target::ALL[0], &recipe)
    }

    /// Builds the program of a target by a recipe.
    ///
    /// # Errors
    /// It cannot be built, or this process must stop.
    pub(crate) fn build(&self, target: &Target, recipe: &Recipe) -> Result<Program> {
        let root = workspace::root();
        let mut package = Package {
            name: target.name,
            workspace: root,
            apart: None,
            environment: Vec::new(),
            locked: true,
        };
        let copy: PathBuf;
        match &self.kind {
            Kind::Production => {}
            Kind::KnownBug => package.name = "known_bugs",
            Kind::Break => {
                copy = breaks::write()?;
                package.workspace = &copy;
                package.locked = false;
                package.apart = Some(root.join("target/breaks"));
            }
            Kind::Foreign(foreign) => {
                package.name = "foreign";
                package.apart = Some(root.join("target/subjects").join(&self.name));
                package.environment = foreign.environment();
            }
        }
        let path = package.build(recipe)?;
        let mut environment = vec![("ITSDIFF_TARGET", target.name.to_owned())];
        if matches!(self.kind, Kind::KnownBug | Kind::Break) {
            environment.push(("ITSDIFF_MISTAKE", self.name.clone()));
        }
        Ok(Program { path, subject: self.name.clone(), environment })
    }
}
