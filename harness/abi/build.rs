//! Links the subject: what `ITSDIFF_SUBJECT` names, an archive that `cargo xtask` prepared, or one
//! that does nothing.

use std::fs;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=ITSDIFF_SUBJECT");
    println!("cargo:rerun-if-env-changed=ITSDIFF_SUBJECT_FACTS");
    let lines = Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("lines");
    let Ok(archive) = std::env::var("ITSDIFF_SUBJECT") else {
        fs::write(&lines, "").expect("OUT_DIR is a folder");
        println!("cargo:rerun-if-changed=examples/null.c");
        println!("cargo:rerun-if-changed=include/itsdiff.h");
        cc::Build::new().file("examples/null.c").include("include").compile("itsdiff_null");
        return;
    };
    println!("cargo:rerun-if-changed={archive}");
    // What the archive has, in the words of the configuration.
    let facts = std::env::var("ITSDIFF_SUBJECT_FACTS").unwrap_or_default();
    for fact in facts.split_whitespace() {
        println!("cargo:rustc-cfg={fact}");
    }
    let archive = Path::new(&archive);
    let folder = archive.parent().expect("a file is in a folder");
    let source = folder.join("lines");
    println!("cargo:rerun-if-changed={}", source.display());
    fs::copy(&source, &lines).expect("the lines of the subject's source lie with its archive");
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static=itsdiff_subject");
}
