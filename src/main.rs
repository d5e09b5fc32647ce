//! The `lastgood` binary.
fn main() {}
