//! A QEMU process: started, heard, ended.
//!
//! QEMU runs under a shell that kills it once its own standard input ends, so that it does not
//! outlive a harness that was killed. Its folder is removed as soon as QEMU has opened what is in
//! there. It takes commands from its standard input and answers on its standard output.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use its_machine::AccessSize;
use tempfile::TempDir;

use crate::connection::{Connection, PATIENCE};
use crate::facts::{CPUS, ITS, RAM_BYTES};
use crate::memory::Memory;
use crate::qtest::{Answers, Batch, exchange};
use crate::{Error, Installed};

/// Takes the commands on standard error and a file for it as the first argument. Starts the others,
/// prints their process id, waits for its input to end.
const SHELL: &str = r#"exec 3<&2 2>>"$1"; shift; "$@" <&3 3<&- & echo $!; exec >&- 3<&-
    read -r end; kill -9 $!; wait"#;
/// The most that is kept of what QEMU says on standard error.
const SAID_BYTES: u64 = 4096;

/// A running QEMU.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    id: u32,
    connection: Connection,
    stderr: File,
    pub(crate) memory: Memory,
}

impl Process {
    /// Starts QEMU and waits until it answers.
    pub(crate) fn start(installed: &Installed) -> Result<Self, Error> {
        let folder = folder().map_err(failed("no folder for its files"))?;
        let file = |name| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).open(folder.path().join(name))
        };
        let memory = file("memory").and_then(Memory::new);
        let memory = memory.map_err(failed("no file for its memory"))?;
        let stderr = file("stderr").map_err(failed("no file for what it says"))?;
        let (far, commands) = io::pipe().map_err(failed("no pipe"))?;
        let mut shell = shell(installed, folder.path(), far).spawn().map_err(failed("no shell"))?;
        let connected = connect(&mut shell, commands);
        let (id, connection) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                end(&mut shell);
                return Err(explain(error, &stderr));
            }
        };
        let mut process = Self { shell, id, connection, stderr, memory };
        process.greet()?;
        Ok(process)
    }

    /// Asks something. Once it is answered QEMU has opened all its files.
    fn greet(&mut self) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.read(AccessSize::Word, ITS);
        let mut answers = Answers::default();
        self.exchange(&batch, &mut answers)?;
        answers.value().map(drop)
    }

    /// QEMU's process id.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Sends all commands and waits for all answers.
    pub(crate) fn exchange(&mut self, batch: &Batch, answers: &mut Answers) -> Result<(), Error> {
        exchange(&self.connection, batch, answers).map_err(|error| explain(error, &self.stderr))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.shell);
    }
}

/// Ends QEMU by ending the shell's input.
fn end(shell: &mut Child) {
    drop(shell.stdin.take());
    // Nothing is left to be done about a shell that cannot be waited for.
    let _ = shell.wait();
}

/// A folder in memory where there is such a thing.
fn folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("its-qemu-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir())
}

/// The command that starts QEMU under its shell, away from the signals of a terminal.
fn shell(installed: &Installed, folder: &Path, commands: PipeReader) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", SHELL, "qemu"])
        .arg(folder.join("stderr"))
        .arg(&installed.program)
        .args(arguments(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(commands)
        .process_group(0);
    command
}

/// QEMU's arguments: a stopped machine with an ITS, no devices, memory in a file.
fn arguments(folder: &Path) -> Vec<OsString> {
    let mut memory = OsString::from("memory-backend-file,id=ram,mem-path=");
    memory.push(folder.join("memory"));
    memory.push(format!(",size={RAM_BYTES},share=on"));
    let fixed = "-machine virt,gic-version=3,its=on,memory-backend=ram -cpu cortex-a57 -accel tcg -S \
                 -display none -nodefaults -no-user-config -qtest stdio -qtest-log none -object";
    let mut all: Vec<OsString> = fixed.split(' ').map(OsString::from).collect();
    all.push(memory);
    all.extend(["-m".into(), format!("{}M", RAM_BYTES >> 20).into()]);
    all.extend(["-smp".into(), CPUS.to_string().into()]);
    all
}

/// QEMU's process id and a connection to it.
fn connect(shell: &mut Child, commands: PipeWriter) -> io::Result<(u32, Connection)> {
    let stdout = shell.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let id = line.trim().parse().map_err(io::Error::other)?;
    // Nothing else is in the buffer: QEMU says nothing before it is asked.
    let answers = OwnedFd::from(stdout.into_inner());
    Ok((id, Connection::new(commands, answers.into(), PATIENCE)?))
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Start { what, source }
}

/// What a failure to talk to QEMU means, with the end of what it said.
fn explain(error: io::Error, stderr: &File) -> Error {
    let said = said(stderr);
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Hung { within: PATIENCE, said },
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Error::Died { said },
        _ => Error::Start { what: "no connection", source: error },
    }
}

fn said(stderr: &File) -> String {
    let length = stderr.metadata().map_or(0, |facts| facts.len());
    let mut text = vec![0; length.min(SAID_BYTES) as usize];
    let start = length.saturating_sub(SAID_BYTES);
    match stderr.read_exact_at(&mut text, start) {
        Ok(()) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => format!("({error})"),
    }
}
