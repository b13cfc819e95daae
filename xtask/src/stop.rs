//! Why a command must end before its work is done: a signal, or a budget that is used up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::Result;

use crate::exit::{Interrupted, OutOfTime};

static SIGNALS: AtomicU32 = AtomicU32::new(0);
static DEADLINE: OnceLock<Instant> = OnceLock::new();

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

/// Bounds everything that this process still does but its report.
pub(crate) fn at(deadline: Instant) {
    let _ = DEADLINE.set(deadline);
}

/// Returns whether there was a signal.
pub(crate) fn asked() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// Returns whether the deadline has passed.
pub(crate) fn is_out_of_time() -> bool {
    DEADLINE.get().is_some_and(|deadline| Instant::now() >= *deadline)
}

/// Goes on only if nobody asked to stop and there is time left.
///
/// # Errors
/// [`Interrupted`] or [`OutOfTime`].
pub(crate) fn check() -> Result<()> {
    if asked() {
        return Err(Interrupted.into());
    }
    if is_out_of_time() {
        return Err(OutOfTime.into());
    }
    Ok(())
}
