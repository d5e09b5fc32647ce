//! Copies of the images of a checkpoint, where the configuration asks for them: a tag keeps an image from a plain prune,
//! a copy outlives every other one.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::note;
use crate::domain::checkpoint::SavedService;
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::short_id;
use crate::ops::services::host_of;
use crate::ops::{Context, OpsError};
use crate::runtime::docker;
use crate::store::checkpoint::Staging;

/// `images/523ac975abcd.tar.zst`: services of one image share a copy.
fn place(image: &str) -> PathBuf {
    Path::new("images").join(format!("{}.tar.zst", short_id(image)))
}

/// Saves the image of every row that has one, and says so in it. Returns what could not be saved: the checkpoint is
/// whole without, but what was pruned cannot be brought back.
///
/// # Errors
/// The checkpoint cannot be written.
pub(super) async fn save_all(
    ctx: &Context,
    staging: &Staging,
    rows: &mut [SavedService],
    progress: &mpsc::Sender<Progress>,
) -> Result<Vec<SafeText>, OpsError> {
    let mut problems = Vec::new();
    for at in 0..rows.len() {
        let row = &rows[at];
        let Some(image) = row
            .release
            .digest
            .clone()
            .filter(|_| super::pin::has_image(row))
        else {
            continue;
        };
        let place = place(&image);
        let is_there = rows
            .iter()
            .any(|row| row.image_copy.as_ref() == Some(&place));
        if !is_there {
            let id = &rows[at].id;
            note(progress, &format!("saving the image of {id}"));
            // By the tag that pins it, which it gets back with it.
            let name = rows[at].pinned.as_deref().unwrap_or(&image);
            let file = staging.create(&place)?;
            if let Err(error) = docker::save_image(host_of(ctx, id)?, name, file).await {
                let _ = std::fs::remove_file(staging.place(&place));
                let why = SafeText::from_error(&error);
                let text = format!("{id}: no copy of its image was saved: {why}");
                problems.push(SafeText::from_text(&text));
                continue;
            }
        }
        rows[at].image_copy = Some(place);
    }
    Ok(problems)
}
