//! What `cargo xtask` runs: builds the command line, saying so, and becomes it.
//!
//! Without dependencies it is there within a second. Cargo itself would either build the command
//! line silently, or add lines of its own to the output of every command.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Exit code of the command line: the environment is not as it must be.
const USAGE: u8 = 2;

/// Builds, unless a signal comes, and becomes what was built. The standard library handles no
/// signals, a shell does. Exit codes are those of the command line.
const SCRIPT: &str = r#"
program=$1 quiet=$2 manifest=$3; shift 3
"$0" build --locked --package xtask $quiet --manifest-path "$manifest" </dev/null &
cargo=$!
trap 'kill $cargo; echo "error: interrupted by a signal" >&2; exit 4' INT TERM HUP
wait $cargo || { echo "error: cargo could not build the command line" >&2; exit 2; }
trap - INT TERM HUP
exec "$program" "$@"
"#;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("it is below xtask");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
    let program = target.join("debug/xtask");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let first = !program.exists();
    if first {
        eprintln!("building the command line: about 60 s the first time");
    }
    // A person sees cargo's progress the first time.
    let quiet = if first && std::io::stderr().is_terminal() { "" } else { "--quiet" };
    let error = Command::new("sh")
        .args(["-c", SCRIPT])
        .arg(cargo)
        .arg(program)
        .arg(quiet)
        .arg(root.join("Cargo.toml"))
        .args(std::env::args_os().skip(1))
        .exec();
    eprintln!("error: cannot start sh: {error}");
    USAGE.into()
}
