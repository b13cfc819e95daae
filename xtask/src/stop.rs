//! Why a command must end before its work is done: a signal, or a budget that is used up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::exit::{Failure, INTERRUPTED};

/// How long children may take to be killed after a second signal.
const GRACE: Duration = Duration::from_secs(1);

static SIGNALS: AtomicU32 = AtomicU32::new(0);
static DEADLINE: OnceLock<Instant> = OnceLock::new();
static REPORTING: AtomicBool = AtomicBool::new(false);

/// Makes SIGINT, SIGTERM and SIGHUP requests to stop: children are ended, and what was done until
/// then is reported. After a second signal children are killed, and this process ends soon,
/// whatever it does.
pub(crate) fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if SIGNALS.fetch_add(1, Ordering::Relaxed) > 0 {
            sleep(GRACE);
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(())
}

/// Bounds everything that this process still does but its report.
pub(crate) fn after(budget: Duration) {
    let _ = DEADLINE.set(Instant::now() + budget);
}

/// Lets what a report needs go on although this process must stop.
pub(crate) fn report() {
    REPORTING.store(true, Ordering::Relaxed);
}

/// Returns whether there was a signal.
pub(crate) fn asked() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// Returns whether there was a second signal: somebody is in a hurry.
pub(crate) fn asked_twice() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 1
}

/// Returns how long this process may go on.
pub(crate) fn left() -> Duration {
    let now = Instant::now();
    DEADLINE.get().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now))
}

/// Returns whether nothing may begin that a report can do without.
pub(crate) fn is_over() -> bool {
    asked() || left().is_zero()
}

/// Returns an error if this process must stop.
pub(crate) fn check() -> Result<()> {
    if REPORTING.load(Ordering::Relaxed) {
        return Ok(());
    }
    if asked() {
        return Err(Failure::Interrupted.into());
    }
    if left().is_zero() {
        return Err(Failure::OutOfTime.into());
    }
    Ok(())
}
