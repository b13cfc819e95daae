//! C interface and adapter: an ITS emulation that is written elsewhere becomes a
//! [`Subject`](its_el2::Subject).
//!
//! `include/itsdiff.h` is the interface, `README.md` the guide. The program that is built holds one
//! such emulation, linked statically; [`Foreign`] is it, and as many of it as are wanted: its
//! writable data is its state, and is put back and forth.
//!
//! - `interface`: the C side, as Rust sees it; held against the header by a test
//! - `services`: the functions that C calls, on whatever [`El2`](its_el2::El2) the call came from
//! - `access`: each load and store of code that was compiled with outline KASAN callbacks, judged
//!   before it is made
//! - `call`: one call of the emulation, on a stack of its own, so that it can be abandoned anywhere
//! - `descriptor`: a set-up's descriptor in the layout that the emulation wants
//! - `faults`: what the processor traps, and loops that do nothing
//! - `image`: the writable data
//! - `place`: where in its code it is, and the line of its source
//! - `coverage`: edges of code that was compiled with gcc's `-fsanitize-coverage=trace-pc`
//!
//! Targets are its users, through the runner. It knows neither board nor runner. It is the only
//! crate with unsafe code: here is what C code may do to this process, and nowhere else.

mod access;
mod call;
mod coverage;
mod descriptor;
mod faults;
mod image;
mod interface;
mod place;
mod services;
mod subject;

pub use subject::{Foreign, OBSERVED};
