//! The reference: what must happen
