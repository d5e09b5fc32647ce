//! The nouns of the field: plain data and the rules that hold for it.
//!
//! No I/O, no clock, no async, no terminal. Everything above this module speaks in these types, so a word
//! found here is the word used on screen, in JSON and in the documentation.

pub mod alert;
pub mod backup;
pub mod before_after;
pub mod change;
pub mod check;
pub mod checkpoint;
pub mod comparison;
pub mod digest;
pub mod health;
pub mod host;
pub mod incident;
pub mod log;
pub mod nearest;
pub mod operation;
pub mod outcome;
pub mod own_signal;
pub mod pm2;
pub mod policy;
pub mod reading;
pub mod runbook;
pub mod safe_text;
pub mod service;
pub mod settings;
pub mod side_by_side;
pub mod signal;
pub mod sink;
pub mod swarm;
pub mod time;
pub mod time_buckets;
pub mod timeline;
pub mod verdict;
