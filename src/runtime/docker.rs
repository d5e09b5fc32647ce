//! The Docker engine, through its API: what runs, its logs, its events, what it uses, and changes.
//!
//! `bollard` carries the API; log bodies are read over a connection of our own, because only the raw stream
//! can be decoded without loss (see [`decode`]).

mod body;
mod change;
mod connect;
pub mod decode;
mod events;
mod follow;
mod inspect;
mod logs;
mod page;
mod stats;

pub use change::{restart_container, start_container, stop_container, tag_image};
pub use connect::{DEFAULT_ADDRESS, Engine};
pub use events::watch;
pub use inspect::{discover, image_id, inspect_container};
pub use logs::read_logs;
pub use page::read_page;
pub use stats::saturation;
