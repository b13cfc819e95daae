//! Which file and line each instruction of a subject comes from, as its debug information says.

use std::path::Path;

use addr2line::{Loader, Location};
use anyhow::{Result, anyhow};

use super::external::binutils;

/// Where the code begins in the linked copy. Debug information takes low addresses for code that
/// is gone.
const BASE: u64 = 0x10_0000;

/// The section that holds all code.
pub(super) const TEXT: &str = "itsdiff_text";

/// Returns a line `offset file:line` for each run of instructions of one line, ascending from the
/// start of the code; nothing where there is no debug information. `object` has its parts in their
/// sections; `linked` is written.
///
/// # Errors
/// It cannot be linked, or what it says of itself makes no sense.
pub(super) fn table(object: &Path, layout: &Path, linked: &Path) -> Result<String> {
    let start = format!("--section-start={TEXT}={BASE:#x}");
    let options = ["--unresolved-symbols=ignore-all", "--no-warnings", "-e", "0", &start, "-T"];
    let files = [layout, Path::new("-o"), linked, object];
    binutils("ld").run(options.map(Path::new).into_iter().chain(files))?;
    let why = |error: Box<dyn std::error::Error>| anyhow!("its debug information: {error}");
    let loader = Loader::new(linked).map_err(why)?;
    let all = loader.find_location_range(BASE, u64::MAX).map_err(why)?;
    let (mut text, mut end, mut last) = (String::new(), BASE, String::new());
    for (address, bytes, _) in all {
        if address > end && !last.is_empty() {
            // Code in between has none.
            text += &format!("{} \n", end - BASE);
            last.clear();
        }
        let mut source = None;
        let mut frames = loader.find_frames(address).map_err(why)?;
        while let Some(frame) = frames.next().map_err(|error| why(error.into()))? {
            source = frame.location.as_ref().and_then(shown).or(source);
            if frame.location.is_some_and(|location| !is_ours(&location)) {
                break;
            }
        }
        let source = source.unwrap_or_default();
        if source != last {
            text += &format!("{} {source}\n", address - BASE);
        }
        (end, last) = (address + bytes, source);
    }
    Ok(text)
}

/// Whether it is code of the headers that we ship: what calls it says more.
fn is_ours(location: &Location<'_>) -> bool {
    location.file.is_some_and(|file| file.contains("harness/abi/include/"))
}

/// Returns the name of the file, without folders, and the line.
fn shown(location: &Location<'_>) -> Option<String> {
    let (_, name) = location.file?.rsplit_once('/').unwrap_or(("", location.file?));
    Some(format!("{name}:{}", location.line?))
}
