//! External emulations: an object file or archive is made ready to be linked to the adapter for C.
//!
//! All of it becomes one object. Its writable data, read-only data and code are each gathered in a
//! section, whose bounds the linker passes to the adapter. Callbacks of instrumented code and block
//! copies get names of ours, so that neither the C library nor a sanitizer defines them. All other
//! symbols but the interface become local.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::compile::{Compiler, SEEN};
use super::declared::DeclarationFile;
use super::lines;
use crate::engines::Engine;
use crate::process::Tool;
use crate::workspace;

/// What a subject must define (`harness/abi/include/itsdiff.h`).
const REQUIRED: [&str; 8] = [
    "its_subject_abi",
    "its_subject_create",
    "its_subject_destroy",
    "its_subject_reset",
    "its_subject_policy",
    "its_subject_set_up",
    "its_subject_trap",
    "its_subject_allows_donation",
];

/// What it may define, where its set-up differs from ours.
const DESCRIBES: &str = "its_subject_describe";
/// What it may define, where redistributors have a set-up of their own.
const SETS_UP_REDISTRIBUTORS: &str = "its_subject_set_up_redistributors";

/// What it may define, where the emulation of an ITS can end.
const TEARS_DOWN: &str = "its_subject_tear_down";
/// What it may define, where it sets ITSs up at the last finalize.
const IS_FINALIZED: &str = "its_subject_finalized";

/// Block copies that compilers call. Where a subject brings its own they stay its own, instrumented
/// as the rest.
const COPIES: [&str; 3] = ["memcpy", "memmove", "memset"];

const LAYOUT: &str = "\
SECTIONS {
  itsdiff_text : { *(.text .text.*) }
  itsdiff_rodata : { *(.rodata .rodata.*) }
  itsdiff_data : { *(.data .data.* .bss .bss.* COMMON) }
}
";

/// With what the examples are compiled besides.
const WARNINGS: &str = "-Wall -Wextra -Werror";

/// An external emulation that is ready to be linked.
pub(crate) struct External {
    /// As artifacts and messages name it.
    pub name: String,
    /// What it declares of its policy.
    pub declaration: Option<DeclarationFile>,
    archive: PathBuf,
    facts: Facts,
}

/// What it was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Each load and store is announced.
    pub observed: bool,
    /// It says how it wants its set-ups.
    described: bool,
    /// Redistributors have a set-up of their own.
    redistributors: bool,
    /// The emulation of an ITS can end.
    tear_down: bool,
    /// It does something when a CPU is finalized.
    finalized: bool,
    /// It announces its edges, by `-fsanitize-coverage=trace-pc`.
    traced: bool,
    /// It counts its edges, by clang's `-fsanitize-coverage=inline-8bit-counters,pc-table`.
    counted: bool,
}

impl Facts {
    /// Returns whether its edges guide some engine.
    pub(crate) fn is_guide(self) -> bool {
        self.traced || self.counted
    }

    pub(crate) fn guide(self, engine: Engine) -> bool {
        match engine {
            Engine::Libfuzzer => self.is_guide(),
            Engine::Afl | Engine::Honggfuzz => self.traced,
            Engine::Random => false,
        }
    }
}

pub(crate) fn binutils(program: &'static str) -> Tool {
    Tool { program, install: "Debian: apt-get install binutils" }
}

/// The archive that its program links.
const ARCHIVE: &str = "libitsdiff_subject.a";
/// The file that says what it was compiled with.
const FACTS: &str = "facts.json";
/// The file that says which line of its source each instruction comes from.
const LINES: &str = "lines";

fn folder() -> PathBuf {
    workspace::root().join("target/subjects")
}

fn examples_folder() -> PathBuf {
    workspace::root().join("harness/abi/examples")
}

impl External {
    /// Makes `example:NAME`, or the object file or archive of a path, ready to be linked.
    pub(crate) fn prepare(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("example:") {
            let declaration = DeclarationFile::beside(&examples_folder().join(name))?;
            let linked = link(&example(name, SEEN)?, format!("example-{name}"), Some(text))?;
            return Ok(Self { declaration, ..linked });
        }
        let path = Path::new(text).canonicalize();
        let path = path.with_context(|| format!("no subject {text}"))?;
        let declaration = DeclarationFile::beside(workspace::folder_of(&path))?;
        let source = path.to_str().context("the subject's path is no text")?;
        let linked = link(&path, format!("c{}", workspace::plain(source)), Some(source))?;
        Ok(Self { declaration, ..linked })
    }

    /// Returns what the adapter's build script is to link, and how.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let Facts { observed, described, redistributors, tear_down, finalized, .. } = self.facts;
        let cfgs = [
            (observed, "observed"),
            (described, "described"),
            (redistributors, "redistributors"),
            (tear_down, "tear_down"),
            (finalized, "finalized"),
        ];
        let cfgs: Vec<&str> = cfgs.into_iter().filter_map(|(is, cfg)| is.then_some(cfg)).collect();
        vec![
            ("ITSDIFF_SUBJECT", self.archive.display().to_string()),
            ("ITSDIFF_SUBJECT_FACTS", cfgs.join(" ")),
        ]
    }

    /// Makes an example ready that is compiled so that nothing is seen of it but its calls.
    pub(crate) fn unseen_example(name: &str) -> Result<Self> {
        link(&example(name, "")?, format!("example-{name}-unseen"), None)
    }

    /// Returns what `--subject` can be given, or was given before in this checkout.
    pub(crate) fn known() -> Result<Vec<String>> {
        let mut known: Vec<String> =
            examples()?.iter().map(|name| format!("example:{name}")).collect();
        for folder in workspace::entries(&folder())? {
            // What could not be linked is no subject.
            if folder.join(ARCHIVE).exists() {
                known.extend(Self::source(&workspace::name(&folder)));
            }
        }
        known.sort();
        known.dedup();
        Ok(known)
    }

    /// Returns what the one of this name was compiled with; `None` if there is none.
    pub(crate) fn facts(name: &str) -> Option<Facts> {
        let text = fs::read_to_string(folder().join(name).join(FACTS)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Returns what `--subject` was given for the one of this name; `None` if there is none.
    pub(crate) fn source(name: &str) -> Option<String> {
        fs::read_to_string(folder().join(name).join("source")).ok()
    }
}

fn examples() -> Result<Vec<String>> {
    let sources = workspace::with_extension(&examples_folder(), "c")?;
    Ok(sources.iter().map(|path| workspace::name(&path.with_extension(""))).collect())
}

/// Compiles an example with these flags and the usual ones.
fn example(name: &str, more: &str) -> Result<PathBuf> {
    workspace::demand_known("example", name, examples()?.iter().map(String::as_str))?;
    let source = examples_folder().join(name).with_extension("c");
    let object = folder().join("objects").join(format!("{name}.o"));
    let flags = WARNINGS.split_whitespace().chain(more.split_whitespace()).collect();
    Compiler { program: "gcc", flags, include: &[] }.compile(&[source], &object)?;
    Ok(object)
}

/// Makes one object of it and puts it into an archive. The source is what `--subject` was given.
fn link(object: &Path, name: String, source: Option<&str>) -> Result<External> {
    let folder = folder().join(&name);
    fs::create_dir_all(&folder)?;
    if let Some(source) = source {
        fs::write(folder.join("source"), source)?;
    }
    // Two commands may link the same at a time.
    let scratch = tempfile::tempdir_in(&folder)?;
    let scratch = scratch.path();
    let layout = scratch.join("layout.ld");
    fs::write(&layout, LAYOUT)?;
    let merged = scratch.join("merged.o");
    let subject = || format!("cannot use {} as a subject", object.display());
    let options = ["-r", "-d", "-T"].map(Path::new);
    let files = [&layout, Path::new("-o"), &merged, Path::new("--whole-archive"), object];
    binutils("ld").run(options.into_iter().chain(files)).with_context(subject)?;
    let symbols = Symbols::read(&merged).with_context(subject)?;
    symbols.check(object)?;
    let renamed = scratch.join("subject.o");
    let mut arguments = symbols.renames();
    let kept =
        REQUIRED.into_iter().chain([DESCRIBES, SETS_UP_REDISTRIBUTORS, TEARS_DOWN, IS_FINALIZED]);
    arguments.extend(kept.map(|symbol| format!("--keep-global-symbol={symbol}")));
    arguments.extend([merged.display().to_string(), renamed.display().to_string()]);
    binutils("objcopy").run(arguments).with_context(subject)?;
    let linked = scratch.join("linked");
    let lines = lines::table(&merged, &layout, &linked).unwrap_or_else(|error| {
        eprintln!("warning: findings name no line of {}: {error:#}", object.display());
        String::new()
    });
    write_changed(&folder.join(LINES), &lines)?;
    let archive = folder.join(ARCHIVE);
    let fresh = scratch.join("fresh.a");
    binutils("ar").run([Path::new("crsD"), &fresh, &renamed]).with_context(subject)?;
    // Cargo builds again what links a file that was written.
    if fs::read(&fresh)? != fs::read(&archive).unwrap_or_default() {
        fs::rename(&fresh, &archive)?;
    }
    let facts = symbols.facts();
    fs::write(folder.join(FACTS), serde_json::to_string(&facts)?)?;
    if !facts.observed {
        eprintln!(
            "warning: {} was compiled without -fsanitize=kernel-address: its loads and stores are \
             not seen, and many rules are not judged (harness/abi/README.md)",
            object.display()
        );
    }
    Ok(External { name, declaration: None, archive, facts })
}

/// Writes a file that cargo looks at, if it is another.
fn write_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).ok().as_deref() != Some(text.as_bytes()) {
        workspace::write_whole(path, text)?;
    }
    Ok(())
}

/// Names in an object.
struct Symbols {
    defined: Vec<String>,
    undefined: Vec<String>,
}

impl Symbols {
    fn read(object: &Path) -> Result<Self> {
        let options = ["--extern-only", "--format=posix"].map(Path::new);
        let text = binutils("nm").run(options.into_iter().chain([object]))?;
        let mut symbols = Self { defined: Vec::new(), undefined: Vec::new() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some(name), Some("U" | "w")) => symbols.undefined.push(name.into()),
                (Some(name), Some(_)) => symbols.defined.push(name.into()),
                _ => {}
            }
        }
        Ok(symbols)
    }

    fn check(&self, object: &Path) -> Result<()> {
        let is_missing = |name: &&str| !self.defined.iter().any(|defined| defined == name);
        let missing: Vec<&str> = REQUIRED.into_iter().filter(is_missing).collect();
        let (object, names) = (object.display(), missing.join(", "));
        ensure!(
            missing.is_empty(),
            "{object} does not define {names}; harness/abi/include/itsdiff.h says what a subject \
             must, and itsdiff_linux.h defines it for a kernel's sources"
        );
        Ok(())
    }

    fn facts(&self) -> Facts {
        let defines = |symbol| self.defined.iter().any(|name| name == symbol);
        let calls = |start: &str| self.undefined.iter().any(|name| name.starts_with(start));
        Facts {
            observed: calls("__asan_load") || calls("__asan_store"),
            described: defines(DESCRIBES),
            redistributors: defines(SETS_UP_REDISTRIBUTORS),
            tear_down: defines(TEARS_DOWN),
            finalized: defines(IS_FINALIZED),
            traced: self.undefined.iter().any(|name| name == "__sanitizer_cov_trace_pc"),
            counted: calls("__sanitizer_cov_8bit_counters_init"),
        }
    }

    /// Returns arguments of objcopy.
    fn renames(&self) -> Vec<String> {
        let rename = |name: &String| Some(format!("--redefine-sym={name}={}", ours(name)?));
        self.undefined.iter().filter_map(rename).collect()
    }
}

/// Returns our name for a callback of instrumented code or a block copy.
fn ours(name: &str) -> Option<String> {
    if COPIES.contains(&name) {
        return Some(format!("itsdiff_{name}"));
    }
    let plain = match name {
        "__sanitizer_cov_trace_pc" => "trace_pc",
        "__sanitizer_cov_8bit_counters_init" => "counters",
        "__sanitizer_cov_pcs_init" => "edges",
        _ => {
            let plain = name.strip_prefix("__asan_")?;
            let access = plain.strip_suffix("_noabort").unwrap_or(plain);
            match access {
                "handle_no_return" => "no_return",
                "loadN" => "load_n",
                "storeN" => "store_n",
                _ if COPIES.contains(&access) => return Some(format!("itsdiff_asan_{access}")),
                _ if access.starts_with("load") || access.starts_with("store") => access,
                _ => return None,
            }
        }
    };
    Some(format!("itsdiff_{plain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_and_copies_are_ours() {
        let same = [
            ("__asan_load8_noabort", Some("itsdiff_load8")),
            ("__asan_store16", Some("itsdiff_store16")),
            ("__asan_loadN_noabort", Some("itsdiff_load_n")),
            ("__asan_memcpy", Some("itsdiff_asan_memcpy")),
            ("memcpy", Some("itsdiff_memcpy")),
            ("memset", Some("itsdiff_memset")),
            ("__sanitizer_cov_trace_pc", Some("itsdiff_trace_pc")),
            ("__sanitizer_cov_8bit_counters_init", Some("itsdiff_counters")),
            ("its_lock", None),
            ("strlen", None),
        ];
        for (name, expected) in same {
            assert_eq!(ours(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let symbols = Symbols { defined: vec!["its_subject_abi".into()], undefined: Vec::new() };
        let error = symbols.check(Path::new("x.o")).unwrap_err().to_string();
        assert!(
            error.contains("its_subject_trap") && !error.contains("its_subject_abi,"),
            "{error}"
        );
    }
}
