//! The step `no-panic`: the emulator links without the panic machinery, and a program that can
//! panic does not.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::process::{self, Tool};
use crate::subjects::binutils;
use crate::workspace;

/// Name of the library's package, as symbols have it.
const CRATE: &str = "its_emulator_no_panic";
/// What the panic handler is called in a linked program.
const HANDLER: &str = "rust_begin_unwind";

/// Proves it, and that the proof can fail.
pub(super) fn check() -> Result<String> {
    let clean = symbols(&[])?;
    ensure!(clean.contains("its_emulator"), "the emulator is not in the program");
    ensure!(!clean.contains(HANDLER), "the emulator can reach the panic handler");
    let planted = symbols(&["--features", "planted"])?;
    ensure!(planted.contains(HANDLER), "a planted panic was not noticed");
    Ok("2 programs".into())
}

/// Returns the symbols of the program that starts at the library's entry and keeps only what that
/// reaches.
fn symbols(features: &[&str]) -> Result<String> {
    let folder = workspace::root().join("target").join("no-panic");
    let manifest = workspace::root().join("harness/emulator/no-panic/Cargo.toml");
    let build = ["build", "--quiet", "--locked", "--release", "--manifest-path"].map(Path::new);
    let features = features.iter().map(Path::new);
    let arguments = build.into_iter().chain([manifest.as_path()]).chain(features);
    let ended = process::cargo(arguments, |command| command.env("CARGO_TARGET_DIR", &folder))?;
    ensure!(ended.status.success(), "cargo could not build the static library");
    let library = folder.join("release").join(format!("lib{CRATE}.a"));
    let entry = entry(&library)?;
    let visible = folder.join("visible.a");
    let program = folder.join("program");
    let globalize = format!("--globalize-symbol={entry}");
    binutils("objcopy").run([Path::new(&globalize), &library, &visible])?;
    let start = format!("-Wl,--gc-sections,-e,{entry},-u,{entry}");
    let link = ["-nostartfiles", &start, "-o"].map(Path::new);
    let cc = Tool { program: "cc", install: "Debian: apt-get install gcc" };
    cc.run(link.into_iter().chain([program.as_path(), &visible]))
        .context("cannot link the static library")?;
    binutils("nm").run([&program])
}

/// Returns the mangled name of the library's entry.
fn entry(library: &Path) -> Result<String> {
    let text = binutils("nm").run([library])?;
    let is_entry =
        |name: &&str| name.starts_with("_ZN") && name.contains(&format!("{CRATE}5entry17h"));
    let name = text.split_whitespace().find(is_entry);
    Ok(name.context("the static library has no entry")?.to_owned())
}
