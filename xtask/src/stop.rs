//! Whether somebody asked us to stop: SIGINT, SIGTERM or SIGHUP. What runs is then ended in order, and what it came to is told.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on these signals do not end this process; whoever calls this looks at [`asked`] from time to time.
pub(crate) fn listen() -> Result<()> {
    match ctrlc::set_handler(|| ASKED.store(true, Ordering::Relaxed)) {
        // Listening twice is listening.
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there was such a signal.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
