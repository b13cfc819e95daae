//! An emulation that is written elsewhere: its object file or archive, made ready to be linked.
//!
//! All of it becomes one object. Its writable data, read-only data and code are gathered in a
//! section each, whose bounds the linker tells the adapter; the callbacks of instrumented code, and
//! block copies, get names of ours, so that nothing of the C library's or of a sanitizer's takes
//! them; everything but the interface becomes its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};

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

/// What it may define: where its set-up is another than ours.
const DESCRIBES: &str = "its_subject_describe";

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

/// How the examples are compiled; the guide says the same.
const FLAGS: [&str; 12] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-common",
    "-fno-stack-protector",
    "-fno-strict-aliasing",
    "-fPIC",
    "-fno-omit-frame-pointer",
];

/// What lets the harness see what they do.
const SEEN: [&str; 5] = [
    // Edges for libFuzzer.
    "-fsanitize-coverage=trace-pc",
    // Each load and store is announced.
    "-fsanitize=kernel-address",
    "--param=asan-instrumentation-with-call-threshold=0",
    "--param=asan-stack=0",
    "--param=asan-globals=0",
];

/// One that is ready.
pub(crate) struct Foreign {
    /// As artifacts and messages name it.
    pub name: String,
    pub archive: PathBuf,
    pub facts: Facts,
}

/// What it was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Each load and store is announced.
    pub observed: bool,
    /// It says how it wants its set-ups.
    pub described: bool,
    /// It tells its edges by `-fsanitize-coverage=trace-pc`.
    pub traced: bool,
    /// It counts its edges as clang's `-fsanitize-coverage=inline-8bit-counters,pc-table` does.
    pub counted: bool,
}

impl Facts {
    /// As cfgs of the adapter.
    pub(crate) fn cfgs(self) -> String {
        let all = [(self.observed, "observed"), (self.described, "described")];
        let named: Vec<&str> =
            { all.into_iter() }.filter_map(|(is, name)| is.then_some(name)).collect();
        named.join(" ")
    }

    /// Whether its edges guide an engine.
    pub(crate) fn guide(self, engine: Engine) -> bool {
        match engine {
            Engine::Libfuzzer => self.traced || self.counted,
            Engine::Afl | Engine::Honggfuzz => self.traced,
            Engine::Random => false,
        }
    }
}

const GCC: Tool = Tool { program: "gcc", install: "Debian: apt-get install gcc" };

/// One of binutils.
pub(crate) fn binutils(program: &'static str) -> Tool {
    Tool { program, install: "Debian: apt-get install binutils" }
}

/// The file that says what it was compiled with.
/// The archive that its program links.
const ARCHIVE: &str = "libitsdiff_subject.a";

const FACTS: &str = "facts.json";

fn folder() -> PathBuf {
    workspace::root().join("target/subjects")
}

impl Foreign {
    /// Of `example:NAME`, or the path of an object file or archive.
    pub(crate) fn prepare(text: &str) -> Result<Self> {
        let (name, source, object) = match text.strip_prefix("example:") {
            Some(name) => {
                let object = example(name, &SEEN)?;
                (format!("example-{name}"), text.into(), object)
            }
            None => {
                let path = Path::new(text).canonicalize();
                let path = path.with_context(|| format!("no subject {text}"))?;
                let source = path.to_str().context("the subject's path is no text")?;
                (name_of(source), source.to_owned(), path)
            }
        };
        let folder = folder().join(&name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("source"), source)?;
        gather(&object, &folder, &name)
    }

    /// What the adapter's build script is to link, and how.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ITSDIFF_SUBJECT", self.archive.display().to_string()),
            ("ITSDIFF_SUBJECT_FACTS", self.facts.cfgs()),
        ]
    }

    /// An example that is compiled so that nothing is seen of it but its calls.
    pub(crate) fn unseen_example(name: &str) -> Result<Self> {
        let folder_name = format!("example-{name}-unseen");
        let folder = folder().join(&folder_name);
        fs::create_dir_all(&folder)?;
        gather(&example(name, &[])?, &folder, &folder_name)
    }

    /// The one that artifacts with this name are of, if there is one.
    pub(crate) fn named(name: &str) -> Result<Option<Self>> {
        Self::source(name).map(|text| Self::prepare(&text)).transpose()
    }

    /// What the one of this name was compiled with; `None` for what is not written elsewhere.
    pub(crate) fn facts(name: &str) -> Option<Facts> {
        let text = fs::read_to_string(folder().join(name).join(FACTS)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// What `--subject` was given for it, from wherever it is asked.
    pub(crate) fn source(name: &str) -> Option<String> {
        fs::read_to_string(folder().join(name).join("source")).ok()
    }
}

/// A folder name for a file, by all of its path.
fn name_of(path: &str) -> String {
    let plain = path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    format!("c{plain}")
}

/// The names of the examples.
fn examples() -> Result<Vec<String>> {
    let sources = workspace::root().join("harness/abi/examples");
    let mut known: Vec<String> = fs::read_dir(&sources)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    known.sort();
    Ok(known)
}

/// Returns what `--subject` can be given, or was given before in this checkout.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn known() -> Result<Vec<String>> {
    let mut known: Vec<String> =
        examples()?.into_iter().map(|name| format!("example:{name}")).collect();
    if folder().is_dir() {
        for entry in fs::read_dir(folder())? {
            let name = entry?.file_name();
            // What could not be linked is no subject.
            if folder().join(&name).join(ARCHIVE).exists() {
                known.extend(Foreign::source(&name.to_string_lossy()));
            }
        }
    }
    known.sort();
    known.dedup();
    Ok(known)
}

fn example_source(name: &str) -> Result<PathBuf> {
    let known = examples()?;
    workspace::demand_known("example", name, known.iter().map(String::as_str))?;
    Ok(workspace::root().join("harness/abi/examples").join(name).with_extension("c"))
}

/// Compiles an example with these flags beside the usual ones.
fn example(name: &str, more: &[&str]) -> Result<PathBuf> {
    let source = example_source(name)?;
    let folder = folder().join("objects");
    fs::create_dir_all(&folder)?;
    let object = folder.join(format!("{name}.o"));
    let include = workspace::root().join("harness/abi/include");
    let files = [Path::new("-I"), &include, Path::new("-c"), &source, Path::new("-o"), &object];
    let flags = FLAGS.iter().chain(more).map(Path::new);
    GCC.run(flags.chain(files))
        .with_context(|| format!("cannot compile {}", workspace::shown(&source)))?;
    Ok(object)
}

/// Makes one object of it and puts it into an archive.
fn gather(object: &Path, folder: &Path, name: &str) -> Result<Foreign> {
    let layout = folder.join("layout.ld");
    fs::write(&layout, LAYOUT)?;
    let merged = folder.join("merged.o");
    let subject = || format!("cannot use {} as a subject", object.display());
    let link = ["-r", "-d", "-T"].map(Path::new);
    let files = [&layout, Path::new("-o"), &merged, Path::new("--whole-archive"), object];
    binutils("ld").run(link.into_iter().chain(files)).with_context(subject)?;
    let symbols = Symbols::read(&merged).with_context(subject)?;
    symbols.check(object)?;
    let renamed = folder.join("subject.o");
    let mut arguments = symbols.renames();
    let kept = REQUIRED.into_iter().chain([DESCRIBES]);
    arguments.extend(kept.map(|symbol| format!("--keep-global-symbol={symbol}")));
    arguments.extend([merged.display().to_string(), renamed.display().to_string()]);
    binutils("objcopy").run(arguments).with_context(subject)?;
    let archive = folder.join(ARCHIVE);
    let fresh = folder.join("fresh.a");
    let _ = fs::remove_file(&fresh);
    binutils("ar").run([Path::new("crsD"), &fresh, &renamed]).with_context(subject)?;
    // Cargo builds again what links a file that was written.
    if fs::read(&fresh)? != fs::read(&archive).unwrap_or_default() {
        fs::rename(&fresh, &archive)?;
    }
    let facts = symbols.facts();
    fs::write(folder.join(FACTS), serde_json::to_string(&facts)?)?;
    if !facts.observed {
        eprintln!(
            "warning: {} was compiled without -fsanitize=kernel-address: its loads and stores are not seen, and many rules are \
             not judged (harness/abi/README.md)",
            object.display()
        );
    }
    Ok(Foreign { name: name.into(), archive, facts })
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
            let (Some(name), Some(kind)) = (words.next(), words.next()) else {
                continue;
            };
            match kind {
                "U" | "w" => symbols.undefined.push(name.into()),
                _ => symbols.defined.push(name.into()),
            }
        }
        Ok(symbols)
    }

    fn check(&self, object: &Path) -> Result<()> {
        let missing: Vec<&str> = REQUIRED
            .into_iter()
            .filter(|name| !self.defined.iter().any(|defined| defined == name))
            .collect();
        ensure!(
            missing.is_empty(),
            "{} does not define {}; harness/abi/include/itsdiff.h says what a subject must",
            object.display(),
            missing.join(", ")
        );
        Ok(())
    }

    fn facts(&self) -> Facts {
        let calls = |starts: &[&str]| {
            let is = |name: &String| starts.iter().any(|start| name.starts_with(start));
            self.undefined.iter().any(is)
        };
        Facts {
            observed: calls(&["__asan_load", "__asan_store"]),
            described: self.defined.iter().any(|name| name == DESCRIBES),
            traced: { self.undefined.iter() }.any(|name| name == "__sanitizer_cov_trace_pc"),
            counted: calls(&["__sanitizer_cov_8bit_counters_init"]),
        }
    }

    /// Arguments of objcopy.
    fn renames(&self) -> Vec<String> {
        let renamed = self.undefined.iter().filter_map(|name| {
            let ours = ours(name)?;
            Some(format!("--redefine-sym={name}={ours}"))
        });
        renamed.collect()
    }
}

/// What takes the place of a function that instrumented code, or any code, calls: for each another.
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
    fn the_guide_compiles_as_the_examples_are() {
        let guide = include_str!("../../../harness/abi/README.md");
        for flag in FLAGS.iter().chain(&SEEN).filter(|flag| !flag.starts_with("-W")) {
            assert!(guide.contains(flag), "{flag}");
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
