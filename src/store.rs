//! The files this program owns: configuration, state folder, checkpoints, journals, log lines in memory.

pub mod config;
pub mod paths;
pub mod runbook;
