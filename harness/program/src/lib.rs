//! The entry points of a program that holds one subject.
//!
//! `--cfg engine="libfuzzer|afl|honggfuzz"` compiles a program for that engine: it fuzzes. Without
//! an engine the program answers the command line: it replays files, answers requests, is the
//! random engine ([`its_runner::program`]), and plays requirements and QEMU ([`its_conformance`]).
//!
//! The packages of `targets/` are its users, one macro call each. It knows no subject.

use its_scenario::FuzzTarget;

#[doc(hidden)]
pub use its_runner;

/// The environment variable that names the fuzz target of a program for all targets.
pub const TARGET: &str = "ITSDIFF_TARGET";

/// Returns the fuzz target that [`TARGET`] names.
///
/// # Panics
/// If the variable names none: whoever starts the program for an engine sets it.
pub fn target() -> FuzzTarget {
    let name = std::env::var(TARGET).unwrap_or_default();
    FuzzTarget::named(&name).unwrap_or_else(|| panic!("{TARGET} names no fuzz target: `{name}`"))
}

/// Defines the entry points of a program for [`FuzzTarget`] `$target` on the subject that `$make`
/// makes: those of the engine that it is compiled for, or [`main`].
#[macro_export]
macro_rules! program {
    ($target:expr, $make:expr) => {
        #[cfg(engine = "libfuzzer")]
        $crate::its_runner::libfuzzer_target!($target, $make);

        #[cfg(engine = "afl")]
        fn main() {
            $crate::its_runner::campaign::afl::run($target, $make)
        }

        #[cfg(engine = "honggfuzz")]
        fn main() {
            $crate::its_runner::campaign::honggfuzz::run($target, $make)
        }

        #[cfg(not(any(engine = "libfuzzer", engine = "afl", engine = "honggfuzz")))]
        fn main() -> ::std::process::ExitCode {
            $crate::main($make)
        }
    };
}

/// Does what the command line says on the subject that `make` makes.
#[cfg(not(any(engine = "libfuzzer", engine = "afl", engine = "honggfuzz")))]
pub fn main(make: its_runner::Make) -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("conform" | "compare") => its_conformance::main(make),
        _ => its_runner::program::main(make),
    }
}
