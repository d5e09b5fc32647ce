//! Copies of images: written to a file, compressed on the way, and given back to an engine that has lost them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bollard::query_parameters::ImportImageOptions;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::connect::{Engine, explain};
use crate::audit::Permit;
use crate::host::Host;
use crate::runtime::RuntimeError;

/// Fast, and layers are mostly compressed no further.
const ZSTD_LEVEL: i32 = 1;
/// Read at once.
const PIECE: usize = 256 * 1024;
/// Pieces on their way between the engine and the file.
const PIECES: usize = 16;

/// Writes an image as `docker save` does, compressed, and flushes it. By a tag the image gets that tag back when it is
/// loaded. Returns the file's size.
///
/// # Errors
/// No such image, a full disk, or the engine is unreachable.
pub async fn save_image(host: &Host, name: &str, to: File) -> Result<u64, RuntimeError> {
    let engine = Engine::connect(host).await?;
    let docker = engine.patient();
    let (pieces, mut from) = mpsc::channel::<Bytes>(PIECES);
    let writer = tokio::task::spawn_blocking(move || -> io::Result<u64> {
        let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL)?;
        while let Some(piece) = from.blocking_recv() {
            encoder.write_all(&piece)?;
        }
        let file = encoder.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    });
    let mut body = docker.export_image(name);
    let mut failed = None;
    while let Some(piece) = body.next().await {
        match piece {
            // The writer has ended: it says why.
            Ok(piece) => {
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(explain(&format!("save the image {name}"), error));
                break;
            }
        }
    }
    drop(pieces);
    let written = writer.await.map_err(io::Error::other).flatten();
    match failed {
        Some(error) => Err(error),
        None => written.map_err(|e| RuntimeError::failed(format!("cannot save {name}"), e)),
    }
}

/// Gives an engine an image that was saved.
///
/// # Errors
/// The file cannot be read, is none, or the engine is unreachable or refuses it.
pub async fn load_image(host: &Host, _permit: &Permit, from: &Path) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let docker = engine.patient();
    let fail =
        |error: io::Error| RuntimeError::failed(format!("cannot read {}", from.display()), error);
    let file = File::open(from).map_err(fail)?;
    let (to, pieces) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let ended = (|| {
            let mut decoder = zstd::Decoder::new(file)?;
            loop {
                let mut piece = vec![0; PIECE];
                let size = decoder.read(&mut piece)?;
                piece.truncate(size);
                if size == 0 || to.blocking_send(Ok(piece.into())).is_err() {
                    return Ok(());
                }
            }
        })();
        if let Err(error) = ended {
            let _ = to.blocking_send(Err(error));
        }
    });
    let body = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut told = docker.import_image_stream(ImportImageOptions::default(), body, None);
    while let Some(line) = told.next().await {
        line.map_err(|e| explain(&format!("load the image {}", from.display()), e))?;
    }
    Ok(())
}
