//! The simulated machine
