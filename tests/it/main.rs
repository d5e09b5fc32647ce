//! Integration tests: the binary, as a user calls it, on real components.
//!
//! Everything here is black box: commands, exit codes, JSON and files, against Docker, Compose, PM2, tmux and a terminal.
//! One binary, because each one more would be linked against the whole dependency tree. The tests wait more than they
//! compute, so a few run side by side; each has its own state directory, its own project and its own images.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr
)]

mod harness;

mod backup;
mod backup_files;
mod backup_places;
mod certificates;
mod checkpoint;
mod compose_story;
mod console;
mod copies;
mod crash;
mod crossings;
mod demo;
mod downgrade;
mod engine_cost;
mod files;
mod filter_files;
mod follow;
mod follow_scale;
mod guard;
mod incident;
mod incident_demo;
mod log_files;
mod log_pane;
mod logs;
mod machine_crosses;
mod notify;
mod notify_exact;
mod own_signals;
mod pages;
mod pairing;
mod pm2;
mod pm2_roll_back;
mod policy;
mod preflight;
mod preflight_machine;
mod prune;
mod quiet;
mod races;
mod refusals;
mod resume;
mod roll_back;
mod rolling;
mod runbook;
mod runbook_probes;
mod saturation;
mod secrets;
mod shop;
mod signals;
mod ssh;
mod ssh_leases;
mod ssh_links;
mod ssh_many;
mod ssh_order;
mod ssh_rights;
mod ssh_shell;
mod ssh_start;
mod ssh_story;
mod swarm;
mod switch;
mod switch_by_steps;
mod take_out;
mod unread_journal;
mod wall;
mod watch;
mod watch_away;
