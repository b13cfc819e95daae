//! Whether a signal asked this command to end before its work is done.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::exit::Interrupted;

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Makes SIGINT, SIGTERM and SIGHUP requests to stop: children are ended, and what was done until
/// then is reported. A second signal ends this process at once.
///
/// # Errors
/// The signals cannot be handled.
pub(crate) fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if SIGNALS.fetch_add(1, Ordering::Relaxed) > 0 {
            std::process::exit(crate::exit::INTERRUPTED.into());
        }
    })?;
    Ok(())
}

/// Returns whether there was a signal.
pub(crate) fn asked() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// Goes on only if nobody asked to stop.
///
/// # Errors
/// [`Interrupted`] if somebody did.
pub(crate) fn check() -> Result<()> {
    if asked() {
        return Err(Interrupted.into());
    }
    Ok(())
}
