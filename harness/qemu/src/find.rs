//! Whether QEMU is on this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// The program that emulates the machine.
const PROGRAM: &str = "qemu-system-aarch64";
/// The oldest version whose table formats are those that this crate decodes.
const OLDEST: (u32, u32) = (7, 2);

/// A QEMU that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub program: PathBuf,
    /// As it prints it: `7.2.22`.
    pub version: String,
}

/// Why there is no QEMU to start.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error(
        "{PROGRAM} is not in PATH; on Debian: apt-get install -y --no-install-recommends qemu-system-arm"
    )]
    NotInstalled,
    #[error("{} cannot be run", program.display())]
    NotRunnable {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} prints no version of QEMU but: {said}", program.display())]
    NotQemu { program: PathBuf, said: String },
    #[error("QEMU {version} is too old: {}.{} or newer is needed", OLDEST.0, OLDEST.1)]
    TooOld { version: String },
}

/// Looks for QEMU in PATH and asks its version.
pub fn find() -> Result<Installed, Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    let program = search(&path).ok_or(Missing::NotInstalled)?;
    let output = Command::new(&program).arg("--version").output();
    let output =
        output.map_err(|source| Missing::NotRunnable { program: program.clone(), source })?;
    judge(&program, &String::from_utf8_lossy(&output.stdout))
}

fn search(path: &OsStr) -> Option<PathBuf> {
    let candidates = env::split_paths(path).map(|folder| folder.join(PROGRAM));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// What `--version` printed, judged.
fn judge(program: &Path, said: &str) -> Result<Installed, Missing> {
    let first = said.lines().next().unwrap_or_default();
    let strange = || Missing::NotQemu { program: program.to_owned(), said: first.to_owned() };
    let rest = first.strip_prefix("QEMU emulator version ");
    let version = rest.and_then(|rest| rest.split_whitespace().next());
    let version = version.ok_or_else(strange)?.to_owned();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(strange());
    };
    if (major, minor) < OLDEST {
        return Err(Missing::TooOld { version });
    }
    Ok(Installed { program: program.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged() {
        let found = |said| judge(Path::new("/bin/q"), said);
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(found(debian).unwrap().version, "7.2.22");
        assert_eq!(found("QEMU emulator version 10.0.2").unwrap().version, "10.0.2");
        assert!(matches!(found("QEMU emulator version 6.2.0"), Err(Missing::TooOld { .. })));
        for strange in ["", "hello", "QEMU emulator version x.y"] {
            assert!(matches!(found(strange), Err(Missing::NotQemu { .. })));
        }
    }

    #[test]
    fn an_empty_path_has_none() {
        assert_eq!(search(OsStr::new("/nonexistent")), None);
        let text = Missing::NotInstalled.to_string();
        assert!(text.contains("apt-get install -y --no-install-recommends qemu-system-arm"));
    }
}
