//! Subjects: what a program plays on, and how such a program is built and asked.
//!
//! A subject is the production emulator, the same with a known bug, the production emulator in a
//! harness with a break, or an external emulation. Known bugs are in one program,
//! `targets/known_bugs`; breaks in programs of a copy of the workspace below `target/breaks`; the
//! environment picks the mistake.

pub(crate) mod boot;
pub(crate) mod breaks;
mod build;
mod compile;
mod copy;
mod declared;
mod external;
mod lines;
mod mistakes;
pub(crate) mod mutants;
mod points;
mod program;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use its_reports::quoted;
use its_rules::Layers;

use crate::target::{self, Target};
use crate::workspace;
use build::Package;

pub(crate) use build::Recipe;
pub(crate) use compile::Compiler;
pub(crate) use declared::DeclarationFile;
pub(crate) use external::{External, binutils};
pub(crate) use mistakes::{Bank, Bug, FoundBy};
pub(crate) use points::Point;
pub(crate) use program::{Program, Session, unexpected};

/// The production emulator's name as a subject.
pub(crate) const PRODUCTION: &str = "production";

/// Which subject a command is about.
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
    /// Returns the subject that is meant; an error if there is no such bug, file or example.
    pub(crate) fn subject(&self) -> Result<Subject> {
        match &self.subject {
            Some(text) => Subject::external(text),
            None => Subject::new(self.bug.as_deref()),
        }
    }
}

/// Which subject a command is about, and what it is judged by.
#[derive(clap::Args, Clone)]
pub(crate) struct JudgedSubject {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub judged: Judged,
}

impl JudgedSubject {
    /// Returns the subject that is meant; an error if there is no such bug, file or example.
    pub(crate) fn subject(&self) -> Result<Subject> {
        Ok(self.which.subject()?.judged_by(self.judged.layers()))
    }
}

/// What a subject is judged by.
#[derive(clap::Args, Clone)]
pub(crate) struct Judged {
    /// Judges these layers of rules only: safety, service, policy, architecture
    #[arg(long, value_name = "LAYERS")]
    judge: Option<Layers>,
}

impl Judged {
    pub(crate) fn layers(&self) -> Layers {
        self.judge.unwrap_or(Layers::ALL)
    }
}

/// Returns the command that replays a file on the subject of a name, without the file.
pub(crate) fn replay_command(name: &str, layers: Layers) -> String {
    let option = match External::source(name) {
        Some(source) => format!(" --subject {}", quoted(&source)),
        None if name == PRODUCTION => String::new(),
        None => format!(" --bug {name}"),
    };
    let judge = if layers == Layers::ALL { String::new() } else { format!(" --judge {layers}") };
    format!("cargo xtask replay{option}{judge}")
}

/// What a program plays on.
pub(crate) struct Subject {
    /// `production`, the id of a mistake, or the name of an external emulation.
    pub name: String,
    /// What it is judged by.
    pub layers: Layers,
    kind: Kind,
}

enum Kind {
    Production,
    KnownBug,
    Break,
    External(Box<External>),
}

impl Subject {
    /// Returns the production emulator, or the subject with the mistake of an id.
    pub(crate) fn new(bug: Option<&str>) -> Result<Self> {
        Ok(match bug {
            None => Self::production(),
            Some(id) => Self::with_bug(&Bug::find(id)?),
        })
    }

    pub(crate) fn production() -> Self {
        Self { name: PRODUCTION.into(), layers: Layers::ALL, kind: Kind::Production }
    }

    /// Returns an external emulation, of `example:NAME` or the path of an object file or archive.
    pub(crate) fn external(text: &str) -> Result<Self> {
        External::prepare(text).map(Self::from)
    }

    /// Returns the subject that `production`, the id of a mistake, an example or a path names.
    pub(crate) fn given(text: &str) -> Result<Self> {
        if text.starts_with("example:") || Path::new(text).is_file() {
            return Self::external(text);
        }
        Self::new((text != PRODUCTION).then_some(text)).with_context(|| {
            format!("`{text}` is not production, no known bug, no file and no example")
        })
    }

    /// Returns the subject whose artifacts have this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match External::source(name) {
            Some(text) => Self::external(&text),
            None => Self::new((name != PRODUCTION).then_some(name)),
        }
    }

    /// Returns the subject with a mistake put in.
    pub(crate) fn with_bug(bug: &Bug) -> Self {
        let kind = match bug.bank {
            Bank::Bugs => Kind::KnownBug,
            Bank::Breaks => Kind::Break,
        };
        Self { name: bug.id.clone(), layers: Layers::ALL, kind }
    }

    /// Returns how an external emulation was given.
    pub(crate) fn source(&self) -> Option<String> {
        External::source(&self.name)
    }

    /// Returns the same, judged by these layers.
    pub(crate) fn judged_by(self, layers: Layers) -> Self {
        Self { layers, ..self }
    }

    /// Builds the program that replays, answers requests, is the random engine, and plays
    /// requirements. One program does it for all targets.
    pub(crate) fn player(&self) -> Result<Program> {
        self.build(&target::ALL[0], &Recipe::play())
    }

    /// Builds the same faster where it is slower to play: there it is used for a few scenarios.
    pub(crate) fn brief_player(&self) -> Result<Program> {
        let recipe = match self.kind {
            Kind::Break => Recipe::brief(),
            Kind::Production | Kind::KnownBug | Kind::External(_) => Recipe::play(),
        };
        self.build(&target::ALL[0], &recipe)
    }

    pub(crate) fn build(&self, target: &Target, recipe: &Recipe) -> Result<Program> {
        let target_folder = workspace::root().join("target");
        let mut package = Package::new(target.name);
        let copy: PathBuf;
        let mut declaration = None;
        let mut environment = vec![("ITSDIFF_TARGET", target.name.to_owned())];
        if self.layers != Layers::ALL {
            environment.push((its_runner::LAYERS, self.layers.to_string()));
        }
        match &self.kind {
            Kind::Production => {}
            Kind::KnownBug => {
                package.name = "known_bugs";
                environment.push(("ITSDIFF_MISTAKE", self.name.clone()));
            }
            Kind::Break => {
                copy = breaks::write()?;
                package.workspace = &copy;
                package.apart = Some(target_folder.join("breaks"));
                environment.push(("ITSDIFF_MISTAKE", self.name.clone()));
            }
            Kind::External(external) => {
                declaration = external.declaration.clone();
                package.name = "foreign";
                package.apart = Some(target_folder.join("subjects").join(&self.name));
                package.environment = external.environment();
            }
        }
        let path = package.build(recipe)?;
        if let Some(file) = &declaration {
            environment.push((its_runner::DECLARATION, file.path.display().to_string()));
        }
        let (subject, layers) = (self.name.clone(), self.layers);
        Ok(Program { path, subject, layers, declaration, environment })
    }
}

impl From<External> for Subject {
    fn from(external: External) -> Self {
        Self {
            name: external.name.clone(),
            layers: Layers::ALL,
            kind: Kind::External(Box::new(external)),
        }
    }
}
