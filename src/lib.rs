//! `lastgood` remembers how production looked before a deploy, shows what the deploy changed,
//! and takes you back.
//!
//! The modules in reading order, each allowed to use only those above it:
//!
//! - [`domain`]: the nouns; plain data, no I/O.
//! - [`analysis`]: pure computations over them: parse, pattern, compare, judge, redact.
//! - [`audit`] and [`store`]: the files this program owns. Only the audit log hands out a [`audit::Permit`],
//!   and nothing that changes a machine can be called without one.
//! - [`host`] and [`runtime`]: machines, and what supervises services there.
//! - [`ops`]: the use cases, one file a verb. `plan` asks and is readable, `execute` acts.
//! - [`cli`] and [`tui`]: two front ends that never see each other nor a socket.
//! - [`demo`]: a small shop of real processes with a good and a bad release.

pub mod domain;

pub mod analysis;

pub mod audit;
pub mod store;

pub mod host;
pub mod runtime;

pub mod ops;

pub mod cli;
pub mod tui;

pub mod demo;
