//! The Docker engine, through its API: what runs, its logs, its events, what it uses, and changes.
//!
//! `bollard` carries the API; log bodies are read over a connection of our own, because only the raw stream
//! can be decoded without loss (see [`decode`]).

mod body;
mod change;
mod connect;
pub mod decode;
mod events;
mod exec;
mod follow;
mod images;
mod inside;
mod inspect;
mod line;
mod logs;
mod look;
mod page;
mod remembered;
mod settings;
mod stats;
pub(in crate::runtime) mod swarm;

pub use change::{restart_container, start_container, stop_container, tag_image, untag_image};
pub use connect::{DEFAULT_ADDRESS, Engine};
pub use events::watch;
pub use exec::{change_in_container, query_in_container};
pub use images::{load_image, save_image};
pub use inside::ask_inside;
pub use inspect::{image_id, inspect_container};
pub use logs::read_logs;
pub(in crate::runtime) use look::Look;
pub use page::read_page;
pub use settings::{ContainerSettings, Environment, settings};
pub use stats::saturation;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    //! What the fuzz targets reach of this module.

    use super::body::pieces;

    /// Reads an answer of the engine that comes in these pieces: its status, its body as far as it could be read, and
    /// why it could not be read to its end.
    pub fn read_answer<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Option<u16>, Vec<u8>, Option<std::io::ErrorKind>) {
        let answer = pieces::read(pieces);
        (answer.status, answer.body, answer.error)
    }
}
