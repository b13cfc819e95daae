//! The production emulator with the known bugs of `corpus/bugs`, of which `ITSDIFF_MISTAKE` puts
//! one back.
#![no_std]
#![forbid(unsafe_code)]
#![allow(warnings, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/lib.rs"));
