//! `subject`: makes a subject of C sources.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::exit::Exit;
use crate::subjects::{Compiler, External};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Compiles these C sources, a kernel's as they are, into one object
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    sources: Vec<PathBuf>,
    /// Folders with headers of these sources, before ours
    #[arg(long, num_args = 1.., value_name = "DIR", requires = "sources")]
    include: Vec<PathBuf>,
    /// The C compiler, gcc or clang
    #[arg(long, default_value = "gcc", value_name = "PROGRAM")]
    compiler: String,
}

/// Compiles them, and checks that they are a subject.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { sources, include, compiler } = arguments;
    let object = compile(sources, include, compiler)?;
    let shown = its_reports::quoted(&workspace::shown(&object));
    External::prepare(&object.display().to_string())?;
    say!("{shown}");
    say!("next: cargo xtask replay --subject {shown} corpus/its_cmdq/seeds/*.its");
    Ok(Exit::Clean)
}

/// Compiles sources into an object with the name of the first, and returns its path.
pub(crate) fn compile(sources: &[PathBuf], include: &[PathBuf], compiler: &str) -> Result<PathBuf> {
    for source in sources {
        ensure!(source.is_file(), "no C source {}", source.display());
    }
    for folder in include {
        ensure!(folder.is_dir(), "no folder {} for --include", folder.display());
    }
    let compiler = Compiler::of_kernel(compiler, include)?;
    let name = workspace::name(&sources[0].with_extension("o"));
    let object = workspace::root().join("target/subjects/sources").join(name);
    compiler.compile(sources, &object)?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let refused = |sources: &[&str], include: &[&str]| {
            let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
            compile(&paths(sources), &paths(include), "gcc").unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused(&["nowhere.c"], &[]), @"no C source nowhere.c");
        let here = file!().rsplit_once("src/").map_or("", |(_, file)| file);
        let source = format!("src/{here}");
        let error = refused(&[&source], &["nowhere"]);
        insta::assert_snapshot!(error, @"no folder nowhere for --include");
    }
}
