//! How C sources become an object that the harness sees into.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use super::external::binutils;
use crate::{process, workspace};

/// How a subject is compiled; the guide says the same.
pub(super) const FLAGS: &str = "-std=gnu11 -O2 -g -ffreestanding -fno-common \
     -fno-stack-protector -fno-strict-aliasing -fPIC -fno-omit-frame-pointer";

/// What lets the harness see what it does, with gcc: edges for engines, and each load and store.
pub(super) const SEEN: &str = "-fsanitize-coverage=trace-pc -fsanitize=kernel-address \
     --param=asan-instrumentation-with-call-threshold=0 --param=asan-stack=0 \
     --param=asan-globals=0";

/// The same with clang.
pub(super) const SEEN_BY_CLANG: &str = "-fsanitize-coverage=trace-pc -fsanitize=kernel-address \
     -mllvm -asan-instrumentation-with-call-threshold=0 -mllvm -asan-stack=0 \
     -mllvm -asan-globals=0";

/// What a kernel's sources rely on besides; the guide says the same.
pub(super) const KERNEL: &str = "-fno-strict-overflow -fno-delete-null-pointer-checks \
     -fms-extensions -D__KERNEL__ -D__KVM_NVHE_HYPERVISOR__ -Wall -Wno-pointer-sign \
     -Werror=implicit-function-declaration";

const INCLUDE: &str = "harness/abi/include";

/// A C compiler.
pub(crate) struct Compiler<'a> {
    pub program: &'a str,
    /// Flags besides [`FLAGS`].
    pub flags: Vec<&'a str>,
    /// Folders of headers, before ours.
    pub include: &'a [PathBuf],
}

impl<'a> Compiler<'a> {
    /// Returns one for a kernel's sources, with folders of headers that the sources bring.
    ///
    /// # Errors
    /// There is no such compiler.
    pub(crate) fn of_kernel(program: &'a str, include: &'a [PathBuf]) -> Result<Self> {
        let version = process::text(program, duct::cmd!(program, "--version").stderr_capture());
        let version = version.with_context(|| format!("no C compiler {program}"))?;
        let seen = if version.contains("clang") { SEEN_BY_CLANG } else { SEEN };
        let flags = KERNEL.split_whitespace().chain(seen.split_whitespace()).collect();
        Ok(Self { program, flags, include })
    }

    /// Compiles sources into one object. The error says what the compiler said, and where what is
    /// missing belongs.
    ///
    /// # Errors
    /// A source cannot be compiled.
    pub(crate) fn compile(&self, sources: &[PathBuf], object: &Path) -> Result<()> {
        let folder = workspace::folder_of(object);
        fs::create_dir_all(folder)?;
        let scratch = tempfile::tempdir_in(folder)?;
        let mut parts = Vec::new();
        for (n, source) in sources.iter().enumerate() {
            let part = scratch.path().join(format!("{n}.o"));
            self.compile_one(source, &part)?;
            parts.push(part);
        }
        let options = [Path::new("-r"), Path::new("-o"), object];
        binutils("ld").run(options.into_iter().chain(parts.iter().map(PathBuf::as_path)))?;
        Ok(())
    }

    fn compile_one(&self, source: &Path, object: &Path) -> Result<()> {
        let ours = workspace::root().join(INCLUDE);
        let mut arguments: Vec<&Path> = FLAGS.split_whitespace().map(Path::new).collect();
        arguments.extend(self.flags.iter().map(Path::new));
        for folder in self.include.iter().chain([&ours]) {
            arguments.extend([Path::new("-I"), folder]);
        }
        arguments.extend([Path::new("-c"), source, Path::new("-o"), object]);
        // Hints are for messages in English.
        let command = duct::cmd(self.program, arguments).env("LC_ALL", "C");
        let ended = process::run(self.program, command.stdout_capture().stderr_capture())?;
        let (said, shown) = (ended.stderr.trim_end(), workspace::shown(source));
        ensure!(ended.status.success(), "cannot compile {shown}\n{said}{}", hints(said));
        if !said.is_empty() {
            eprintln!("{said}");
        }
        Ok(())
    }
}

/// Returns a line for each name or header that the compiler missed: where it belongs.
fn hints(said: &str) -> String {
    let missing: BTreeSet<Missing> = said.lines().filter_map(Missing::of).collect();
    let hint = |missing: &Missing| {
        let (what, header) = match missing {
            Missing::Header(header) => (format!("<{header}>"), header.as_str()),
            Missing::Name(name) => (name.clone(), header_of(name)),
        };
        format!(
            "\nmissing: {what}; add it to {INCLUDE}/{header}, or give a folder that has it with \
             --include"
        )
    };
    missing.iter().map(hint).collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Header(String),
    Name(String),
}

impl Missing {
    /// What a message of gcc or clang is about.
    fn of(line: &str) -> Option<Self> {
        let (_, error) = line.split_once("error: ")?;
        let quoted = || error.split('\'').nth(1).map(String::from);
        if let Some((header, _)) = error.split_once(": No such file or directory") {
            return Some(Self::Header(header.into()));
        }
        if error.ends_with("' file not found") {
            return quoted().map(Self::Header);
        }
        let about_name = [
            "implicit declaration of function '",
            "' undeclared",
            "undeclared function '",
            "undeclared identifier '",
            "unknown type name '",
            "undefined type '",
        ];
        let name = || about_name.iter().any(|words| error.contains(words)).then(quoted)?;
        name().map(Self::Name)
    }
}

/// The header that has names of this kind.
fn header_of(name: &str) -> &'static str {
    let is = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    let errno = name.strip_prefix('E').is_some_and(|rest| rest.len() > 2);
    match name {
        _ if is(&["GITS_", "GICR_", "GICD_", "GIC_", "LPI_"]) => "linux/irqchip/arm-gic-v3.h",
        _ if is(&["hyp_spin", "HYP_SPIN", "__HYP_SPIN", "hyp_assert_lock"]) => "nvhe/spinlock.h",
        _ if name.ends_with("_t") => "linux/types.h",
        _ if is(&["__pkvm_", "hyp_pin", "hyp_unpin", "host_", "PKVM_"]) => "nvhe/mem_protect.h",
        _ if is(&["struct pkvm_", "pkvm_"]) => "asm/kvm_pkvm.h",
        _ if is(&["struct kvm_", "is_protected"]) => "asm/kvm_host.h",
        _ if is(&["kvm_", "dcache_", "icache_"]) => "asm/kvm_mmu.h",
        _ if is(&["hyp_", "__hyp_", "kern_hyp", "phys_", "virt_"]) => "asm/memory.h",
        _ if is(&["PAGE_", "PFN_"]) => "asm/page.h",
        _ if is(&["SZ_"]) => "linux/sizes.h",
        _ if is(&["dsb", "dmb", "smp_", "dma_"]) => "asm/barrier.h",
        _ if is(&["read", "write", "ioread", "iowrite", "__raw_"]) => "linux/io.h",
        _ if is(&["mem", "str"]) => "linux/string.h",
        _ if is(&["FIELD_", "u32_", "u64_"]) => "linux/bitfield.h",
        _ if is(&["WARN", "BUG"]) => "linux/bug.h",
        _ if is(&["__"]) => "linux/compiler.h",
        _ if is(&["struct "]) => "linux/types.h",
        _ if errno && name.chars().all(|letter| letter.is_ascii_uppercase()) => "linux/errno.h",
        _ => "linux/kernel.h",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gcc says of a source, and our lines.
    fn refused(source: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.c");
        fs::write(&file, source).unwrap();
        let compiler = Compiler::of_kernel("gcc", &[]).unwrap();
        let error = compiler.compile(&[file], &folder.path().join("a.o")).unwrap_err();
        error.to_string()
    }

    fn missing(source: &str) -> Vec<String> {
        let error = refused(source);
        assert!(error.starts_with("cannot compile "), "{error}");
        let lines = error.lines().filter_map(|line| line.strip_prefix("missing: "));
        lines.map(String::from).collect()
    }

    #[test]
    fn the_guide_compiles_as_we_do() {
        let guide = include_str!("../../../harness/abi/README.md");
        let all = [FLAGS, SEEN, SEEN_BY_CLANG, KERNEL];
        for flag in all.iter().flat_map(|flags| flags.split_whitespace()) {
            assert!(flag.starts_with("-W") || guide.contains(flag), "{flag}");
        }
    }

    #[test]
    fn what_is_missing_has_a_place() {
        let source = "\
#include <linux/types.h>
hyp_rwlock_t lock;
u64 f(void *rd, struct kvm_nobody *nobody)
{
	hyp_spin_trylock(&lock);
	hyp_nowhere(rd);
	return GICR_NOTHING + SZ_3K + nobody->field + -ENOTHERE;
}
";
        insta::assert_snapshot!(missing(source).join("\n"));
    }

    #[test]
    fn a_header_that_is_missing_has_a_place() {
        let source = "#include <nvhe/nothing.h>\n";
        insta::assert_snapshot!(missing(source).join("\n"));
    }

    #[test]
    fn clang_s_words_are_understood() {
        let said = "\
a.c:1:10: fatal error: 'nvhe/nothing.h' file not found
a.c:5:2: error: call to undeclared function 'hyp_spin_trylock'; ISO C99 and later do not
a.c:6:9: error: use of undeclared identifier 'SZ_3K'
a.c:7:1: error: unknown type name 'gfn_range_t'
a.c:8:1: error: expected ';' after 'x'";
        insta::assert_snapshot!(hints(said).trim_start());
    }

    #[test]
    fn other_errors_are_the_compiler_s_alone() {
        let error = refused("int f(void) { return 1 }\n");
        assert!(error.contains("expected ';'") && !error.contains("missing: "), "{error}");
    }

    #[test]
    fn a_compiler_that_is_not_there_is_named() {
        let error = Compiler::of_kernel("itsdiff-cc", &[]).err().unwrap();
        let error = format!("{error:#}");
        insta::assert_snapshot!(error, @"no C compiler itsdiff-cc: itsdiff-cc is not installed");
    }
}
