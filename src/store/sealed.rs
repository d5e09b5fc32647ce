//! The lines of a journal that several people append to: each is numbered, sealed, and names the hash of the line
//! before, so that an edited, moved, dropped or repeated line is found and its place is known.
//!
//! What cannot be found from the file alone is that its last lines are missing; whoever keeps the newest hash can tell.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::digest;

/// The hash before the first line.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line as it stands on the disk, without its hash.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<E> {
    /// Its number, from 1.
    pub(super) seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub(super) event: E,
    /// The hash of the line before.
    pub(super) prev: String,
}

/// The line of an event, its break included, and its hash.
pub(super) fn seal<E: Serialize>(seq: u64, event: E, prev: &str) -> io::Result<(Vec<u8>, String)> {
    let prev = prev.to_owned();
    let object = serde_json::to_vec(&Line { seq, event, prev })?;
    Ok(digest::seal(&object))
}

/// Holds a line, without its break, against its own hash and against the line before.
///
/// # Errors
/// What does not agree, in words.
pub(super) fn check<E: DeserializeOwned>(
    text: &[u8],
    number: u64,
    prev: &str,
) -> Result<(E, String), String> {
    let Some(hash) = digest::unseal(text) else {
        return Err("it was edited: it does not agree with its hash".into());
    };
    let line: Line<E> = serde_json::from_slice(text)
        .map_err(|error| format!("it is no event of this journal: {error}"))?;
    if line.seq != number || line.prev != prev {
        return Err(format!(
            "it says that it is line {} and does not continue the line before: lines are missing, were moved or replaced",
            line.seq
        ));
    }
    Ok((line.event, hash.to_owned()))
}
