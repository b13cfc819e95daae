//! What `cargo xtask` runs: builds the command line, saying so, and becomes it.
//!
//! Without dependencies it is there within a second. Cargo itself would either build the command
//! line silently, or add lines of its own to the output of every command.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, exit};

/// Exit code of the command line: the environment is not as it must be.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("it is below xtask");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
    let program = target.join("debug/xtask");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(&cargo);
    build.args(["build", "--locked", "--package", "xtask", "--manifest-path"]);
    build.arg(root.join("Cargo.toml"));
    let first = !program.exists();
    if first {
        eprintln!("building the command line: about 30 s the first time");
    }
    // A person sees cargo's progress the first time.
    if !first || !std::io::stderr().is_terminal() {
        build.arg("--quiet");
    }
    match build.status() {
        Ok(status) if status.success() => {}
        // Cargo says why; a signal reached it as well.
        Ok(status) => exit(if status.code().is_some() { USAGE.into() } else { 4 }),
        Err(error) => {
            eprintln!("error: cannot start {}: {error}", cargo.display());
            return USAGE.into();
        }
    }
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    eprintln!("error: cannot start {}: {error}", program.display());
    USAGE.into()
}
