//! A crate as one file.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::{Attribute, Item};

use crate::Sources;

/// Returns the crate whose root is the file at `root` as one text, for `include!`: with its modules
/// in place, without what is for tests, and without the attributes of the root.
///
/// # Errors
/// A module has no file at `<folder>/<module>.rs`, or a file is no Rust.
pub fn inline(sources: &Sources, root: &str) -> Result<String, String> {
    let (folder, _) = root.rsplit_once('/').unwrap_or(("", root));
    let text = sources.get(root).ok_or_else(|| format!("there is no {root}"))?;
    let file = syn::parse_file(text).map_err(|error| format!("{root}: {error}"))?;
    let mut edits: Vec<(Range<usize>, String)> =
        file.attrs.iter().map(|one| (one.span().byte_range(), String::new())).collect();
    for item in &file.items {
        if attributes(item).iter().any(is_for_tests) {
            edits.push((item.span().byte_range(), String::new()));
            continue;
        }
        let Item::Mod(module) = item else { continue };
        let Some(end) = &module.semi else { continue };
        let path = format!("{folder}/{}.rs", module.ident);
        let within = sources.get(&path).ok_or_else(|| format!("there is no {path}"))?;
        edits.push((end.span.byte_range(), format!(" {{\n{within}\n}}")));
    }
    let mut text = text.clone();
    edits.sort_by_key(|(range, _)| range.start);
    for (range, with) in edits.into_iter().rev() {
        text.replace_range(range, &with);
    }
    Ok(text)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_stand_in_place() {
        let root = "//! A crate.\n#![no_std]\nmod a;\n#[cfg(test)]\nmod tests;\nfn f() {}\n";
        let sources = Sources::from([
            ("src/lib.rs".into(), root.into()),
            ("src/a.rs".into(), "//! A module.\nfn g() {}\n".into()),
        ]);
        let text = inline(&sources, "src/lib.rs").unwrap();
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>().join(" "),
            "mod a { //! A module. fn g() {} } fn f() {}"
        );
        let lost = Sources::from([("src/lib.rs".into(), root.into())]);
        assert!(inline(&lost, "src/lib.rs").unwrap_err().contains("src/a.rs"));
    }
}
