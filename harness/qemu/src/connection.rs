//! A connection to QEMU that waits for it without sleeping on it.
//!
//! QEMU sends each answer by itself. Into a pipe that costs little; over a socket a comparison took
//! 30 % more CPU time. A reader that sleeps on the pipe is woken by an answer, by an interrupt to
//! another core more often than not, and QEMU pays for that: 30 % more, as measured, and 20 % with
//! naps of 60 us. So the reader asks again and again, and in between lets whoever else wants the
//! core have it. Two harnesses with a QEMU each come to share two cores well in that way.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;

/// How long QEMU may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is asked again at once.
const EAGER: Duration = Duration::from_millis(5);
/// How long to sleep between two attempts after that.
const NAP: Duration = Duration::from_micros(200);

/// Two pipes whose reads and writes fail when they take too long.
#[derive(Debug)]
pub(crate) struct Connection {
    commands: PipeWriter,
    answers: PipeReader,
    patience: Duration,
}

impl Connection {
    pub(crate) fn new(
        commands: PipeWriter,
        answers: PipeReader,
        patience: Duration,
    ) -> io::Result<Self> {
        ioctl_fionbio(&commands, true)?;
        ioctl_fionbio(&answers, true)?;
        Ok(Self { commands, answers, patience })
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(self.patience, || (&self.answers).read(buffer))
    }
}

impl Write for &Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        patiently(self.patience, || (&self.commands).write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Attempts something until it would not have to wait.
fn patiently(
    patience: Duration,
    mut attempt: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut start = None;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let waited = start.get_or_insert_with(Instant::now).elapsed();
        if waited > patience {
            return Err(io::ErrorKind::TimedOut.into());
        } else if waited > EAGER {
            thread::sleep(NAP);
        } else {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_until_there_is_something() {
        let (_commands, near) = io::pipe().unwrap();
        let (answers, mut far) = io::pipe().unwrap();
        let connection = Connection::new(near, answers, PATIENCE).unwrap();
        let writer = thread::spawn(move || {
            thread::sleep(EAGER * 2);
            far.write_all(b"OK\n").unwrap();
        });
        let mut buffer = [0; 8];
        assert_eq!((&connection).read(&mut buffer).unwrap(), 3);
        writer.join().unwrap();
        assert_eq!((&connection).read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn does_not_wait_for_ever() {
        let (_commands, near) = io::pipe().unwrap();
        let (answers, _far) = io::pipe().unwrap();
        let connection = Connection::new(near, answers, EAGER * 2).unwrap();
        let error = (&connection).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = (&connection).write_all(&[0; 1 << 24]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
