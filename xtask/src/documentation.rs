//! Checks that documents agree with the code: counts, lists and links.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;

use crate::{target, workspace};

/// Documents about the present state. A changelog is about the past.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "corpus", "harness/abi", "harness/emulator"];
    let folders = folders.map(|folder| workspace::root().join(folder));
    let all = folders.map(|folder| workspace::with_extension(&folder, "md").unwrap()).concat();
    all.into_iter().filter(|path| !path.ends_with("CHANGELOG.md")).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(workspace::root().join(name)).unwrap()
}

fn folders(name: &str) -> BTreeSet<String> {
    let entries = workspace::entries(&workspace::root().join(name)).unwrap();
    entries.iter().filter(|path| path.is_dir()).map(|path| workspace::name(path)).collect()
}

/// What documents count, and how many there are.
fn counted() -> [(&'static str, usize); 5] {
    // A test of `its-conformance` compares this table with the files.
    let requirements = read("docs/conformance.md");
    let requirements = requirements.lines().filter(|line| line.starts_with("| ITS-"));
    [
        ("known bugs", folders("corpus/bugs").len()),
        ("breaks", folders("corpus/breaks").len()),
        ("rules", its_rules::catalogue::ALL.len()),
        ("requirements", requirements.count()),
        ("targets", target::ALL.len()),
    ]
}

/// Returns the numbers that stand before `things` in a text: `93` of `93 rules`.
fn numbers(text: &str, things: &str) -> Vec<usize> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '-';
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| word.trim_matches(|letter| !is_part(letter)).to_lowercase())
        .collect();
    let things: Vec<&str> = things.split(' ').collect();
    let number =
        |word: &String| word.parse().ok().or_else(|| WORDS.iter().position(|known| known == word));
    let windows = words.windows(things.len() + 1);
    windows.filter(|window| window[1..] == things[..]).filter_map(|w| number(&w[0])).collect()
}

/// The first cells, without their quotes, of rows whose first cell is quoted.
fn quoted_rows(text: &str) -> BTreeSet<String> {
    let first = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(id, _)| id.to_owned());
    text.lines().filter_map(first).collect()
}

#[test]
fn counts_are_right() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for (things, right) in counted() {
            for found in numbers(&text, things) {
                assert_eq!(
                    found,
                    right,
                    "{} counts {found} {things}; write the number of all, or none",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_readme_counts_what_is_checked() {
    let readme = read("README.md");
    for (things, right) in counted().into_iter().filter(|(things, _)| *things != "targets") {
        assert_eq!(numbers(&readme, things), [right], "README.md: {right} {things}");
    }
}

#[test]
fn the_readme_lists_every_command() {
    let listed = quoted_rows(&read("README.md"));
    let listed: BTreeSet<&str> = listed.iter().filter_map(|row| row.split(' ').next()).collect();
    let command = crate::commands::Arguments::command();
    for command in command.get_subcommands().map(clap::Command::get_name) {
        assert!(listed.contains(command), "README.md has no row of `{command}`");
    }
}

#[test]
fn the_readme_lists_every_target() {
    let readme = read("README.md");
    for target in &target::ALL {
        let row = format!("| `{}` | {} | {} |", target.name, target.feeds, target.asks);
        assert!(readme.lines().any(|line| line == row), "README.md has no row: {row}");
    }
    let listed = readme.lines().filter(|line| line.starts_with("| `its_")).count();
    assert_eq!(listed, target::ALL.len(), "README.md lists a target that is not there");
}

#[test]
fn measured_mistakes_exist() {
    for (page, bank) in
        [("docs/known-bugs.md", "corpus/bugs"), ("docs/planted-mistakes.md", "corpus/breaks")]
    {
        let rows = quoted_rows(&read(page));
        let known = folders(bank);
        let gone: Vec<&String> = rows.difference(&known).collect();
        assert!(!rows.is_empty() && gone.is_empty(), "{page}: {bank} does not have {gone:?}");
    }
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in targets.filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            assert!(file.is_empty() || folder.join(file).exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn numbers_are_found() {
    let text =
        "There are 93\nrules, **94 rules**. Two rules, 5 known bugs (six known bugs): x rules";
    assert_eq!(numbers(text, "rules"), [93, 94, 2]);
    assert_eq!(numbers(text, "known bugs"), [5, 6]);
    assert_eq!(quoted_rows("| `a` b | `c` |\n| d | `e` |"), BTreeSet::from(["a".to_owned()]));
}
