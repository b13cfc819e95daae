//! Writes the emulator's sources with the patches of `corpus/bugs` planted in them.

use std::fs;
use std::path::{Path, PathBuf};

use its_mistakes::{Mistake, Sources, Switch, inline, plant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Sources::new();
    for file in entries(&root, "harness/emulator/src")? {
        if file.ends_with(".rs") {
            sources.insert(file.clone(), read(&root, &file)?);
        }
    }
    let mut mistakes = Vec::new();
    for folder in entries(&root, "corpus/bugs")? {
        let name = folder.rsplit('/').next().unwrap_or_default().to_owned();
        mistakes.push(Mistake { name, patch: read(&root, &format!("{folder}/bug.patch"))? });
    }
    plant(&mut sources, &mistakes, Switch::Mistake)?;
    let names: Vec<&String> = mistakes.iter().map(|mistake| &mistake.name).collect();
    let text = format!(
        "{}\n/// The known bugs, by name.\npub const MISTAKES: [&str; {}] = {names:?};\n",
        inline(&sources, "harness/emulator/src/lib.rs")?,
        names.len()
    );
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("lib.rs"), text)?;
    Ok(())
}

/// Returns what is in a folder, by name, as paths from the root.
fn entries(root: &Path, folder: &str) -> Result<Vec<String>> {
    println!("cargo:rerun-if-changed={}", root.join(folder).display());
    let mut all = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let name = entry?.file_name().into_string().map_err(|name| format!("{name:?}"))?;
        all.push(format!("{folder}/{name}"));
    }
    all.sort();
    Ok(all)
}

fn read(root: &Path, path: &str) -> Result<String> {
    println!("cargo:rerun-if-changed={}", root.join(path).display());
    fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}").into())
}
