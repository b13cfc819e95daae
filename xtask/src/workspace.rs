//! Where things are.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// A path as a person can use it where this command was given: short where that is the root.
pub(crate) fn shown(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let is_at_root = std::env::current_dir().is_ok_and(|here| here == root());
    let short = path.strip_prefix(root()).ok().filter(|_| is_at_root);
    short.unwrap_or(&path).display().to_string()
}

/// Writes a file whole or, on a full disk, not at all.
///
/// # Errors
/// The file cannot be written; what was there before stays.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let persist = || -> std::io::Result<()> {
        part(path, text)?.persist(path)?;
        Ok(())
    };
    persist().with_context(|| format!("cannot write {}", shown(path)))
}

/// Writes a file that does not exist, whole or not at all.
///
/// # Errors
/// It exists, or it cannot be written.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<()> {
    let persist = || -> std::io::Result<()> {
        part(path, text)?.persist_noclobber(path)?;
        Ok(())
    };
    persist().with_context(|| format!("cannot write {}", shown(path)))
}

/// The text in a temporary file where it is to be.
fn part(path: &Path, text: &str) -> std::io::Result<NamedTempFile> {
    let mut part = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder_of(path))?;
    part.write_all(text.as_bytes())?;
    Ok(part)
}

/// Returns the folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The scenarios (`*.its`) of a folder, by name; none if there is no such folder.
pub(crate) fn scenarios(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", shown(folder)))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "its") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// So many names are listed where none is like the one that was given.
const FEW: usize = 12;

/// Checks that a name is known.
///
/// # Errors
/// It is not: with the names that are like it, or all of them.
pub(crate) fn demand_known<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<()> {
    if known.clone().any(|one| one == name) {
        return Ok(());
    }
    let mut alike: Vec<(f64, &str)> =
        known.clone().map(|one| (strsim::jaro_winkler(name, one), one)).collect();
    alike.sort_by(|one, other| other.0.total_cmp(&one.0));
    let best = alike.first().map_or(0.0, |(likeness, _)| *likeness);
    alike.retain(|(likeness, _)| *likeness > 0.8 && *likeness > best - 0.02);
    let alike: Vec<&str> = alike.into_iter().map(|(_, one)| one).take(3).collect();
    let all: Vec<&str> = known.collect();
    if !alike.is_empty() {
        bail!("no {what} `{name}`; did you mean {}?", alike.join(", "));
    }
    if all.len() > FEW {
        bail!("no {what} `{name}`; `cargo xtask list` shows all");
    }
    bail!("no {what} `{name}`; available: {}", all.join(", "));
}

/// The cargo that runs this.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Returns the version of this tool, with the commit of the checkout where git knows one.
pub(crate) fn version() -> String {
    let described = duct::cmd!("git", "describe", "--always", "--dirty", "--tags")
        .dir(root())
        .stderr_null()
        .read();
    match described {
        Ok(commit) => format!("itsdiff {} ({commit})", env!("CARGO_PKG_VERSION")),
        Err(_) => format!("itsdiff {}", env!("CARGO_PKG_VERSION")),
    }
}

/// Quotes a word of a command that a person is to copy into a shell.
pub(crate) fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.into(), String::from)
}

/// Returns the command that a person typed, for a shell.
pub(crate) fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    format!("cargo xtask {}", words.join(" "))
}
