//! Where things are in the checkout, and how files there are listed, written and named.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use its_reports::quoted;
use tempfile::NamedTempFile;

/// So many names are listed where none is like the one that was given.
const FEW: usize = 12;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Returns a path as a person can use it where this command was given: short where that is the
/// root.
pub(crate) fn shown(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let is_at_root = std::env::current_dir().is_ok_and(|here| here == root());
    let short = path.strip_prefix(root()).ok().filter(|_| is_at_root);
    short.unwrap_or(&path).display().to_string()
}

/// Reads a file of text; an error names it as people can use it.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", shown(path)))
}

/// Writes a file whole or, on a full disk, not at all: then what was there before stays.
pub(crate) fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let written = part(path, content).and_then(|part| Ok(part.persist(path)?));
    written.map(drop).with_context(|| format!("cannot write {}", shown(path)))
}

/// Writes a file that does not exist, whole or not at all; an error if it exists.
pub(crate) fn write_new(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let written = part(path, content).and_then(|part| Ok(part.persist_noclobber(path)?));
    written.map(drop).with_context(|| format!("cannot write {}", shown(path)))
}

/// Writes a temporary file in the folder of `path`, with the mode of what is there.
fn part(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<NamedTempFile> {
    let mode = std::fs::metadata(path).map(|old| old.permissions());
    let mode = mode.unwrap_or_else(|_| Permissions::from_mode(0o644));
    let mut part = tempfile::Builder::new().permissions(mode).tempfile_in(folder_of(path))?;
    part.write_all(content.as_ref())?;
    Ok(part)
}

/// Makes an empty folder, in place of what was there.
pub(crate) fn empty_folder(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    Ok(fs::create_dir_all(path)?)
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Returns what is in a folder, by name; nothing if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// Returns the files of a folder, by name; none if there is no such folder.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_file()).collect())
}

/// Returns what in a folder has this extension, by name; nothing if there is no such folder.
pub(crate) fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let is = |path: &PathBuf| path.extension().is_some_and(|own| own == extension);
    Ok(entries(folder)?.into_iter().filter(is).collect())
}

/// Returns the scenarios (`*.its`) of a folder, by name; none if there is no such folder.
pub(crate) fn scenarios(folder: &Path) -> Result<Vec<PathBuf>> {
    with_extension(folder, "its")
}

/// Returns the name of a file or folder.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns a text in letters and digits, as a part of a file's name.
pub(crate) fn plain(text: &str) -> String {
    text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// Checks that a name is known; the error has the names that are like it, or all of them.
pub(crate) fn demand_known<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let all: Vec<&str> = known.collect();
    if all.contains(&name) {
        return Ok(());
    }
    let mut alike: Vec<(f64, &str)> =
        all.iter().map(|one| (strsim::jaro_winkler(name, one), *one)).collect();
    alike.sort_by(|one, other| other.0.total_cmp(&one.0));
    let best = alike.first().map_or(0.0, |(likeness, _)| *likeness);
    alike.retain(|(likeness, _)| *likeness > 0.8 && *likeness > best - 0.02);
    let alike: Vec<&str> = alike.into_iter().map(|(_, one)| one).take(3).collect();
    if !alike.is_empty() {
        bail!("no {what} `{name}`; did you mean {}?", alike.join(", "));
    }
    if all.len() > FEW {
        bail!("no {what} `{name}`; `cargo xtask list` shows all");
    }
    bail!("no {what} `{name}`; available: {}", all.join(", "));
}

/// Returns the cargo that runs this.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Returns the version of this tool, with the commit of the checkout where git knows one.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let describe = duct::cmd!("git", "describe", "--always", "--dirty", "--tags");
    match describe.dir(root()).stderr_null().read() {
        Ok(commit) => format!("itsdiff {version} ({commit})"),
        Err(_) => format!("itsdiff {version}"),
    }
}

/// Returns the command that a person typed, for a shell.
pub(crate) fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    format!("cargo xtask {}", words.join(" "))
}
