//! From what a program gives to a data file and back: compressed here, encrypted by a configured program, summed.
//!
//! Each stage ends by itself when its neighbour does. Whoever takes a stream asks every stage how it ended: one that was
//! cut off looks like one that is over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::place::{own_shell, succeeded};
use crate::domain::backup::{Backup, BackupPart, BackupSettings};
use crate::domain::digest;
use crate::host::Host;
use crate::host::stream::{Chunk, Streams, channel};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::StoreError;
use crate::store::backup::{PartFile, StagedPart, folder};

/// Three times as fast as the disk, and a quarter smaller than the fastest.
const ZSTD_LEVEL: i32 = 3;
const CHUNK: usize = 128 * 1024;

/// Writes one data file of a backup.
///
/// # Errors
/// A full disk, an encryption that failed: nothing is left.
pub(super) async fn pack(
    ctx: &Context,
    settings: &BackupSettings,
    (name, file, of): (&str, &str, &str),
    limit: Duration,
    from: mpsc::Receiver<Chunk>,
) -> Result<StagedPart, OpsError> {
    let part = PartFile::create(&ctx.state, name, file)?;
    let (to_next, zipped) = channel();
    let zipping = spawn_blocking(move || compress(from, to_next));
    let (encrypted, written, plain) = match &settings.encrypt {
        None => {
            let writing = spawn_blocking(move || write(part, zipped));
            let (plain, written) = tokio::join!(zipping, writing);
            (Ok(()), written, plain)
        }
        Some(line) => {
            let (to_file, sealed) = channel();
            let writing = spawn_blocking(move || write(part, sealed));
            let command = own_shell(line, limit);
            let encrypting =
                Host::Local.query_streamed(&command, Streams::from(zipped).to(to_file));
            let (plain, ended, written) = tokio::join!(zipping, encrypting, writing);
            let ended = ended
                .map_err(|error| OpsError::new(ErrorKind::Failed, "cannot encrypt").because(error));
            let encrypted = ended.and_then(|ended| {
                succeeded(&format!("encrypting by `{line}`"), ErrorKind::Failed, ended).map(drop)
            });
            (encrypted, written, plain)
        }
    };
    // The cause first: a stage that lost its neighbour has nothing to say.
    let written = written.map_err(ended_badly)??;
    encrypted?;
    let plain = plain
        .map_err(ended_badly)?
        .map_err(|error| OpsError::new(ErrorKind::Failed, "cannot compress").because(error))?;
    Ok(written.finish(of, plain)?)
}

fn ended_badly(error: tokio::task::JoinError) -> OpsError {
    OpsError::new(ErrorKind::Failed, "a stage of the stream ended early").because(error)
}

fn compress(mut from: mpsc::Receiver<Chunk>, to: mpsc::Sender<Chunk>) -> io::Result<u64> {
    let mut plain = 0;
    let mut encoder = zstd::Encoder::new(ChunkWriter(to), ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    while let Some(chunk) = from.blocking_recv() {
        plain += chunk.len() as u64;
        encoder.write_all(&chunk)?;
    }
    encoder.finish()?;
    Ok(plain)
}

fn write(mut part: PartFile, mut from: mpsc::Receiver<Chunk>) -> Result<PartFile, StoreError> {
    while let Some(chunk) = from.blocking_recv() {
        part.add(&chunk)?;
    }
    Ok(part)
}

struct ChunkWriter(mpsc::Sender<Chunk>);

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(bytes.to_vec());
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a stream of chunks, for what knows only readers.
pub(super) struct ChunkReader {
    from: mpsc::Receiver<Chunk>,
    rest: Chunk,
    at: usize,
}

impl ChunkReader {
    pub(super) fn new(from: mpsc::Receiver<Chunk>) -> Self {
        Self {
            from,
            rest: Vec::new(),
            at: 0,
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            match self.from.blocking_recv() {
                Some(chunk) => (self.rest, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len() - self.at);
        buffer[..count].copy_from_slice(&self.rest[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// What a data file holds, as it comes; and how that ended, which counts only once the stream is over.
pub(super) struct Unpacked {
    pub(super) chunks: mpsc::Receiver<Chunk>,
    pub(super) ended: JoinHandle<Result<(), OpsError>>,
}

/// Asks how a stream ended.
///
/// # Errors
/// The file is damaged, or cannot be decrypted: [`ErrorKind::No`].
pub(super) async fn ended(unpacking: JoinHandle<Result<(), OpsError>>) -> Result<(), OpsError> {
    unpacking.await.map_err(ended_badly)?
}

/// Opens a data file.
///
/// # Errors
/// It is encrypted, and nothing says how to decrypt it.
pub(super) fn unpack(
    ctx: &Context,
    settings: &BackupSettings,
    backup: &Backup,
    part: &BackupPart,
    limit: Duration,
) -> Result<Unpacked, OpsError> {
    let decrypt = match (backup.encrypted, &settings.decrypt) {
        (false, _) => None,
        (true, Some(line)) => Some(line.clone()),
        (true, None) => {
            return Err(OpsError::new(
                ErrorKind::Failed,
                format!(
                    "{} is encrypted, and [backups.{}] does not say `decrypt`",
                    part.file, backup.name
                ),
            )
            .fix("decrypt = \"age -d -i key.txt\" where the key is at hand"));
        }
    };
    let path = folder(&ctx.state, &backup.name).join(&part.file);
    let damaged = {
        let file = part.file.clone();
        move |why: String| OpsError::new(ErrorKind::No, format!("{file}: {why}"))
    };
    let (sum, size) = (part.sha256.clone(), part.plain_bytes);
    let (to_next, raw) = channel();
    let reading = spawn_blocking(move || read(&path, &to_next));
    let (to_user, chunks) = channel();
    let work = async move {
        let (opened, plain) = match decrypt {
            None => (
                Ok(()),
                spawn_blocking(move || decompress(raw, &to_user)).await,
            ),
            Some(line) => {
                let (to_unzip, opened) = channel();
                let unzipping = spawn_blocking(move || decompress(opened, &to_user));
                let command = own_shell(&line, limit);
                let decrypting =
                    Host::Local.query_streamed(&command, Streams::from(raw).to(to_unzip));
                let (ended, plain) = tokio::join!(decrypting, unzipping);
                let ended = ended.map_err(|error| {
                    OpsError::new(ErrorKind::Failed, "cannot decrypt").because(error)
                });
                let opened = ended.and_then(|ended| {
                    succeeded(&format!("decrypting by `{line}`"), ErrorKind::No, ended).map(drop)
                });
                (opened, plain)
            }
        };
        let seen = reading.await.map_err(ended_badly)?;
        let seen = seen.map_err(|error| damaged(error.to_string()))?;
        if seen != sum {
            return Err(damaged(
                "its checksum is not that of what was written".to_owned(),
            ));
        }
        let plain = plain.map_err(ended_badly)?;
        if !matches!(&plain, Ok((_, false))) {
            opened?;
        }
        match plain {
            Ok((bytes, true)) if bytes != size => Err(damaged(format!(
                "{bytes} bytes are in it, and {size} were written"
            ))),
            Ok(_) => Ok(()),
            Err(error) => Err(damaged(format!("it cannot be decompressed: {error}"))),
        }
    };
    Ok(Unpacked {
        chunks,
        ended: tokio::spawn(work),
    })
}

/// Reads a file to its end, whoever still wants it. Returns its SHA-256.
fn read(path: &std::path::Path, to: &mpsc::Sender<Chunk>) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut is_wanted = true;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest::hex(&sum.finalize())),
            count => {
                sum.update(&buffer[..count]);
                is_wanted = is_wanted && to.blocking_send(buffer[..count].to_vec()).is_ok();
            }
        }
    }
}

/// Decompresses to the end, or until nobody wants more. Returns the bytes, and whether all were taken.
fn decompress(from: mpsc::Receiver<Chunk>, to: &mpsc::Sender<Chunk>) -> io::Result<(u64, bool)> {
    let mut decoder = zstd::Decoder::new(ChunkReader::new(from))?;
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok((bytes, true)),
            count => {
                bytes += count as u64;
                if to.blocking_send(buffer[..count].to_vec()).is_err() {
                    return Ok((bytes, false));
                }
            }
        }
    }
}
