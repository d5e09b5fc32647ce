//! The files this program owns: configuration, state folder, checkpoints, journals, log lines in memory.

pub mod alerts;
pub mod approval;
pub mod archive;
pub mod backup;
pub mod checkpoint;
pub mod config;
pub mod incident;
pub mod journal;
pub mod lease;
pub mod outbox;
pub mod paths;
pub mod presence;
pub mod ring;
pub mod runbook;
mod sealed;
pub mod signals;

pub use paths::StoreError;
