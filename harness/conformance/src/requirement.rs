//! A requirement: one file of `conformance/`, named by its id.

use std::fs;
use std::path::{Path, PathBuf};

use its_machine::Freedom;
use serde::Deserialize;

use crate::script::Script;

/// One sentence of the architecture, and how to see whether it holds.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// `ITS-CMD-MAPD-003`: the file's name. Ids are never reused.
    pub id: String,
    /// One sentence.
    pub text: String,
    /// Who says so.
    pub source: String,
    /// The freedom that it is about: what it demands is one of several things that an ITS may do.
    pub freedom: Option<Freedom>,
    /// At least one.
    pub cases: Vec<Case>,
    /// What the policy makes of it.
    pub emulator: Claim,
    /// What QEMU is known to do about it.
    pub qemu: Claim,
}

/// One way to see it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Options that the ITS must take for it, although some are the usual ones.
    pub options: Vec<(Freedom, u64)>,
    pub script: Script,
}

/// What is known beforehand of a requirement on a subject. A claim is checked as the requirement
/// is: one that does not hold is a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum Claim {
    /// Nothing: it must hold.
    #[default]
    #[serde(skip)]
    Holds,
    /// The subject does otherwise, by this number of its policy, for this reason.
    Refused {
        #[serde(rename = "refused")]
        by: String,
        reason: String,
    },
    /// It makes no sense there, for this reason.
    NotApplicable {
        #[serde(rename = "not-applicable")]
        reason: String,
    },
    /// The subject does otherwise: the difference of this id was looked into and settled.
    Settled {
        #[serde(rename = "differs")]
        difference: String,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {wrong}", path.display())]
pub struct BadRequirement {
    pub path: PathBuf,
    pub wrong: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    text: String,
    source: String,
    freedom: Option<String>,
    #[serde(default)]
    emulator: Claim,
    #[serde(default)]
    qemu: Claim,
    case: Vec<FileCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileCase {
    #[serde(default)]
    options: Vec<String>,
    scenario: String,
}

impl Requirement {
    /// Every requirement below a folder, by id.
    ///
    /// # Errors
    /// The first file that is none, with what is wrong and where.
    pub fn all(folder: &Path) -> Result<Vec<Self>, BadRequirement> {
        let mut files = Vec::new();
        collect(folder, &mut files)?;
        let mut all = files.iter().map(|path| Self::read(path)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|one, other| one.id.cmp(&other.id));
        match all.windows(2).find(|pair| pair[0].id == pair[1].id) {
            Some(pair) => Err(BadRequirement {
                path: folder.to_owned(),
                wrong: format!("{} is there twice", pair[0].id),
            }),
            None => Ok(all),
        }
    }

    fn read(path: &Path) -> Result<Self, BadRequirement> {
        let bad = |wrong: String| BadRequirement { path: path.to_owned(), wrong };
        let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&stem, &text).map_err(bad)
    }

    /// Reads the text of a file that is named by an id.
    pub(crate) fn parse(id: &str, text: &str) -> Result<Self, String> {
        check_id(id)?;
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.case.is_empty() {
            return Err("there is no case; expected at least one [[case]]".into());
        }
        if matches!(file.emulator, Claim::Settled { .. }) {
            return Err("[emulator] differs; only its policy decides: expected refused".into());
        }
        if matches!(file.qemu, Claim::Refused { .. }) {
            return Err("[qemu] refused; it has no policy: expected differs".into());
        }
        let mut cases = Vec::new();
        for (number, case) in (1..).zip(file.case) {
            let within = |wrong: String| format!("case {number}: {wrong}");
            let options = case.options.iter().map(|text| option(text));
            cases.push(Case {
                options: options.collect::<Result<_, _>>().map_err(within)?,
                script: Script::parse(&case.scenario).map_err(within)?,
            });
        }
        let freedom = file.freedom.as_deref().map(freedom_named).transpose()?;
        Ok(Self {
            id: id.into(),
            text: file.text,
            source: file.source,
            freedom,
            cases,
            emulator: file.emulator,
            qemu: file.qemu,
        })
    }
}

/// `ITS-`, words of capitals and digits, a number of three digits.
fn check_id(id: &str) -> Result<(), String> {
    let mut words: Vec<&str> = id.split('-').collect();
    let number = words.pop().unwrap_or_default();
    let capital = |word: &&str| {
        let fits = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit();
        !word.is_empty() && word.chars().all(fits)
    };
    let fits = words.len() >= 2
        && words.first() == Some(&"ITS")
        && words.iter().all(capital)
        && number.len() == 3
        && number.chars().all(|digit| digit.is_ascii_digit());
    if !fits {
        return Err(format!("the file's name {id:?} is no id; expected one like ITS-CMD-MAPD-003"));
    }
    Ok(())
}

pub(crate) fn freedom_named(name: &str) -> Result<Freedom, String> {
    let found = Freedom::ALL.iter().find(|freedom| freedom.facts().name == name);
    found.copied().ok_or_else(|| format!("no freedom {name:?}; docs/freedoms.md lists them"))
}

/// `on-error=ignore`.
pub(crate) fn option(text: &str) -> Result<(Freedom, u64), String> {
    let Some((name, option)) = text.split_once('=') else {
        return Err(format!("{text:?} is no option; expected freedom=option"));
    };
    let freedom = freedom_named(name)?;
    let options = freedom.facts().options;
    match options.iter().position(|known| *known == option) {
        Some(number) => Ok((freedom, number as u64)),
        None => {
            Err(format!("{name} has no option {option:?}; expected one of {}", options.join(", ")))
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BadRequirement> {
    let bad = |error: std::io::Error| BadRequirement {
        path: folder.to_owned(),
        wrong: error.to_string(),
    };
    for entry in fs::read_dir(folder).map_err(bad)? {
        let path = entry.map_err(bad)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
text = \"A device that is mapped is mapped.\"
source = \"MAPD\"
[[case]]
options = [\"on-error=stall\"]
scenario = '''
map-device device=0x2a event-id-bits=3 itt=itt[3]
expect done
'''
";

    #[test]
    fn a_file_is_a_requirement() {
        let read = Requirement::parse("ITS-CMD-MAPD-001", GOOD).unwrap();
        assert_eq!(read.cases[0].options, [(Freedom::OnError, 0)]);
        assert_eq!(read.cases[0].script.scenario.operations.len(), 1);
        assert_eq!(read.emulator, Claim::Holds);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |id: &str, from: &str, to: &str| {
            Requirement::parse(id, &GOOD.replace(from, to)).unwrap_err()
        };
        let id = "ITS-CMD-MAPD-001";
        assert!(wrong("MAPD-1", "", "").contains("is no id"));
        assert!(wrong("ITS-CMD-MAPD-01", "", "").contains("is no id"));
        assert!(wrong(id, "=stall", "=never").contains("expected one of stall, ignore"));
        assert!(wrong(id, "expect done", "expect joy").contains("line 2"));
        assert!(wrong(id, "device=0x2a", "device=x").contains("case 1: line 1"));
        assert!(wrong(id, "source", "sauce").contains("sauce"));
        assert!(wrong(id, "expect done", "").contains("expects nothing"));
        let claimed = GOOD.replace("[[case]]", "[emulator]\nrefused = \"P8\"\n[[case]]");
        assert!(Requirement::parse(id, &claimed).is_err());
        for claim in
            ["[emulator]\ndiffers = \"QEMU-X\"", "[qemu]\nrefused = \"P8\"\nreason = \"x\""]
        {
            let claimed = GOOD.replace("[[case]]", &format!("{claim}\n[[case]]"));
            assert!(Requirement::parse(id, &claimed).unwrap_err().contains("expected"));
        }
    }
}
