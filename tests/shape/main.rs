//! The rules of the source tree, read from the source tree: layers, file sizes, names, and that the README tells the truth.
//!
//! A rule that only people remember is broken within a month. Each rule here is data plus a small check, and each
//! check is tried on a bad sample as well, because a check that cannot fail guards nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod actions;
mod crates;
mod docs;
mod forbidden;
mod layers;
mod readme;
mod size;
mod source;
