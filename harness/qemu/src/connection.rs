//! A connection to QEMU that waits for it without sleeping on the socket.
//!
//! QEMU sends each answer by itself. A reader that sleeps on the socket is woken by each of them, by an interrupt to
//! another core more often than not, and QEMU pays for that: a third of its time, as measured. So the reader asks again
//! and again, and in between lets whoever else wants the core have it. Two harnesses with a QEMU each come to share two
//! cores well in that way.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long QEMU may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is asked again at once.
const EAGER: Duration = Duration::from_millis(5);
/// How long to sleep between two attempts after that.
const NAP: Duration = Duration::from_micros(200);

/// A socket whose reads and writes fail when they take too long.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    patience: Duration,
}

impl Connection {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?, PATIENCE)
    }

    fn new(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, patience })
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(self.patience, || (&self.stream).read(buffer))
    }
}

impl Write for &Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        patiently(self.patience, || (&self.stream).write(buffer))
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
        let (near, mut far) = UnixStream::pair().unwrap();
        let connection = Connection::new(near, PATIENCE).unwrap();
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
        let (near, _far) = UnixStream::pair().unwrap();
        let connection = Connection::new(near, EAGER * 2).unwrap();
        let error = (&connection).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = (&connection).write_all(&[0; 1 << 24]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
