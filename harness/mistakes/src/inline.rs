//! A crate as one file.

use quote::ToTokens;
use syn::{Attribute, Item};

use crate::Sources;
use crate::functions::parse;

/// Returns the crate whose root is the file at `root` as one text, for `include!`: with its modules
/// in place, without what is for tests, and without the attributes of the root.
///
/// # Errors
/// A module has no file at `<folder>/<module>.rs`, or a file is no Rust.
pub fn inline(sources: &Sources, root: &str) -> Result<String, String> {
    let (folder, _) = root.rsplit_once('/').unwrap_or(("", root));
    let read = |path: &str| {
        let text = sources.get(path).ok_or_else(|| format!("there is no {path}"))?;
        let mut file = parse(text).map_err(|error| format!("{path}: {error}"))?;
        file.items.retain(|item| !attributes(item).iter().any(is_for_tests));
        Ok::<_, String>(file)
    };
    let mut file = read(root)?;
    file.attrs.clear();
    for item in &mut file.items {
        if let Item::Mod(module) = item
            && module.content.is_none()
        {
            let within = read(&format!("{folder}/{}.rs", module.ident))?;
            module.attrs.extend(within.attrs);
            module.content = Some((syn::token::Brace::default(), within.items));
        }
    }
    Ok(file.into_token_stream().to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
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
        let mut sources = Sources::from([
            ("src/lib.rs".into(), root.into()),
            (
                "src/a.rs".into(),
                "//! A module.\nfn g() {}\n#[cfg(test)]\nmod tests { fn t() {} }\n".into(),
            ),
        ]);
        let text = inline(&sources, "src/lib.rs").unwrap();
        assert_eq!(text, "mod a { # ! [doc = \" A module.\"] fn g () { } } fn f () { }");
        sources.remove("src/a.rs");
        assert!(inline(&sources, "src/lib.rs").unwrap_err().contains("src/a.rs"));
    }
}
