//! What must hold for any bytes that come through lastgood's doors.
//!
//! Each module here is the whole of one fuzz target: `check` takes an [`Input`] and panics where a promise of the
//! product is broken. A promise is more than "no panic": most are held against a slow and simple reading of the same
//! bytes, and all of them against the same bytes cut elsewhere.

pub mod decoder;
mod input;
mod memory;
pub mod parser;
pub mod sanitiser;

pub use input::{Input, Stretch};
