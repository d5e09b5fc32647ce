//! Files and folders: `tar` read by its own exit code, restores beside what is there, each file by its checksum.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::job::Job;
use super::pack::{self, ChunkReader, Unpacked};
use super::place::succeeded;
use crate::domain::backup::{Backup, Counts};
use crate::domain::digest;
use crate::host::Command;
use crate::host::stream::{Streams, channel};
use crate::ops::{ErrorKind, OpsError};
use crate::store::backup::{StagedPart, folder};

const QUERY: Duration = Duration::from_secs(120);
/// A file that changes while it is read makes `tar` say 1: so often it is tried again.
const TRIES: u32 = 3;
/// Where a restore test unpacks, beside the data; removed whatever happens.
const SCRATCH: &str = ".scratch-";

/// `$1` the path, `$2` the folder that gets it for now, `$3` the name for what is there: whoever goes back would take
/// something else for it.
const MAKE_STAGE: &str = r#"
if [ -e "$3" ] || [ -L "$3" ]; then echo "$3 is in the way" >&2; exit 1; fi
rm -rf -- "$2" && mkdir -m 700 -- "$2""#;
const UNSTAGE: &str = r#"rm -rf -- "$2""#;
/// `$3` where the path is in that folder, `$4` the name for what is there. Nothing is removed.
const SWAP: &str = r#"
[ -e "$2/$3" ] || [ -L "$2/$3" ] || { echo "$2/$3 is not there" >&2; exit 1; }
if [ -e "$4" ] || [ -L "$4" ]; then echo "$4 is in the way" >&2; exit 1; fi
if [ -e "$1" ] || [ -L "$1" ]; then mv -- "$1" "$4" || exit 1; else : > "$2/.was-absent"; fi
mv -- "$2/$3" "$1""#;
/// Only where something was moved: what was put in place goes back to where it was staged, and what was there comes back.
const SWAP_BACK: &str = r#"
is_kept() { [ -e "$1" ] || [ -L "$1" ]; }
is_kept "$4" || [ -e "$2/.was-absent" ] || exit 0
if is_kept "$1"; then
  ! is_kept "$2/$3" || { echo "$1 and $2/$3 are both there" >&2; exit 1; }
  mkdir -p -m 700 -- "$2/$(dirname -- "$3")" && mv -- "$1" "$2/$3" || exit 1
fi
! is_kept "$4" || mv -- "$4" "$1""#;
const IS_SWAPPED: &str =
    r#"[ ! -e "$2/$3" ] && [ ! -L "$2/$3" ] && { [ -e "$1" ] || [ -L "$1" ]; }"#;

/// Where a path is staged, and under which name what is there is kept.
struct Around {
    path: String,
    inside: String,
    stage: String,
    before: String,
}

/// Relative to the root, as it stands in the archive.
fn inside(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

impl Job<'_> {
    fn paths(&self) -> Result<&[PathBuf], OpsError> {
        match self.settings.files.as_slice() {
            [] => Err(OpsError::new(
                ErrorKind::Usage,
                format!("[backups.{}] does not say `files`", self.name),
            )
            .fix("files = [\"/srv/shop/uploads\"]")),
            paths => Ok(paths),
        }
    }

    fn around(&self, path: &Path) -> Around {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Around {
            path: path.display().to_string(),
            inside: inside(path).display().to_string(),
            // On the same file system, so that it takes the place by its name alone.
            stage: parent
                .join(format!(".lastgood-{}-{name}", self.stamp))
                .display()
                .to_string(),
            before: parent
                .join(format!("{name}.before-{}", self.stamp))
                .display()
                .to_string(),
        }
    }

    /// How many bytes the files have.
    pub(super) async fn files_size(&self) -> Result<u64, OpsError> {
        let mut argv = vec!["du".to_owned(), "-sk".into(), "--".into()];
        argv.extend(self.paths()?.iter().map(|path| path.display().to_string()));
        let command = Command::new(argv, QUERY);
        let ended = self.place.query(&command, Streams::default()).await?;
        let ended = succeeded("du", ErrorKind::Failed, ended)?;
        let rows = ended.stdout_text();
        let sizes = rows
            .lines()
            .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(sizes.sum::<u64>() * 1024)
    }

    pub(super) async fn files_dump(&self) -> Result<(Vec<StagedPart>, Counts), OpsError> {
        let mut argv = ["tar", "-cf", "-", "--numeric-owner", "-C", "/", "--"]
            .map(str::to_owned)
            .to_vec();
        for path in self.paths()? {
            // A name that begins with a dash is no option.
            argv.push(format!("./{}", inside(path).display()));
        }
        let command = Command::new(argv, self.limit).with_env("LC_ALL", "C");
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let (to_tee, packed) = channel();
            let (to_pack, from_tar) = channel();
            let (to_read, archive) = channel();
            let file = self.file(None);
            let counting = spawn_blocking(move || walk(archive, |_, _| Ok(())));
            let (ended, part, ()) = tokio::join!(
                self.place.query(&command, Streams::default().to(to_tee)),
                self.pack((&file, "files"), from_tar),
                super::postgres::tee(packed, to_pack, to_read),
            );
            let counts = counting.await;
            let part = part?;
            let ended = ended?;
            if ended.code == Some(1) && tries > 0 {
                continue;
            }
            succeeded("tar", ErrorKind::Failed, ended)?;
            let counts = counts
                .map_err(|error| OpsError::new(ErrorKind::Failed, "tar").because(error))?
                .map_err(|error| {
                    OpsError::new(ErrorKind::No, "the archive cannot be read back").because(error)
                })?;
            return Ok((vec![part], counts));
        }
    }

    /// Unpacks it into a folder that is removed again, and reads each file back.
    pub(super) async fn files_test(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let scratch = Scratch::make(self, &self.id)?;
        let part = self.only_part(backup)?;
        let Unpacked { chunks, ended } =
            pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
        let at = scratch.0.clone();
        let unpacking = spawn_blocking(move || unpack_and_compare(chunks, &at));
        let counts = unpacking
            .await
            .map_err(|error| OpsError::new(ErrorKind::Failed, "unpacking").because(error))?;
        pack::ended(ended).await?;
        let counts = counts.map_err(|error| {
            let kind = match crate::store::paths::is_full(&error) {
                true => ErrorKind::Failed,
                false => ErrorKind::No,
            };
            OpsError::new(kind, "it cannot be unpacked").because(error)
        })?;
        drop(scratch);
        self.as_made(backup, counts)
    }

    fn as_made(&self, backup: &Backup, counts: Counts) -> Result<Counts, OpsError> {
        if counts == backup.counts {
            return Ok(counts);
        }
        Err(OpsError::new(
            ErrorKind::No,
            format!(
                "{} came back of {}",
                crate::domain::backup::summary(backup.kind, &counts),
                backup.summary()
            ),
        ))
    }

    /// The checksum of each file of the archive, by its path in it.
    async fn sums(&self, backup: &Backup) -> Result<BTreeMap<String, String>, OpsError> {
        let part = self.only_part(backup)?;
        let Unpacked { chunks, ended } =
            pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
        let reading = spawn_blocking(move || {
            let mut sums = BTreeMap::new();
            walk(chunks, |path, sum| {
                let text = path.to_str().ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidFilename,
                        format!("{}: its name is not UTF-8", path.display()),
                    )
                })?;
                sums.insert(text.trim_start_matches("./").to_owned(), sum);
                Ok(())
            })
            .map(|counts| (counts, sums))
        });
        let read = reading.await;
        pack::ended(ended).await?;
        let (counts, sums) = read
            .map_err(|error| OpsError::new(ErrorKind::Failed, "reading").because(error))?
            .map_err(|error| OpsError::new(ErrorKind::No, "it cannot be read").because(error))?;
        self.as_made(backup, counts)?;
        Ok(sums)
    }

    async fn shell(&self, script: &str, words: &[&str]) -> Result<(), OpsError> {
        let command = Command::shell(script, words, QUERY);
        let ended = self
            .place
            .change(self.permit, &command, Streams::default())
            .await?;
        succeeded(words.first().unwrap_or(&""), ErrorKind::Failed, ended).map(drop)
    }

    /// Unpacks each path beside what is there, and holds each file against its checksum.
    pub(super) async fn files_stage(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let sums = self.sums(backup).await?;
        for path in self.paths()? {
            let around = self.around(path);
            let words = [around.path.as_str(), &around.stage, &around.before];
            self.shell(MAKE_STAGE, &words).await?;
            let part = self.only_part(backup)?;
            let Unpacked { chunks, ended } =
                pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
            let member = format!("./{}", around.inside);
            let argv = [
                "tar",
                "-xpf",
                "-",
                "--numeric-owner",
                "-C",
                &around.stage,
                "--",
                &member,
            ];
            let command = Command::new(argv, self.limit).with_env("LC_ALL", "C");
            let unpacked = self
                .place
                .change(self.permit, &command, Streams::from(chunks))
                .await;
            pack::ended(ended).await?;
            succeeded("tar", ErrorKind::Failed, unpacked?)?;
            self.compare(&sums, &around.inside, &around.stage).await?;
        }
        Ok(backup.counts.clone())
    }

    /// Holds the files below `inside`, which lie in the folder `root`, against their checksums.
    async fn compare(
        &self,
        sums: &BTreeMap<String, String>,
        inside: &str,
        root: &str,
    ) -> Result<(), OpsError> {
        let below = format!("{inside}/");
        let mut list = String::new();
        for (path, sum) in sums {
            if path != inside && !path.starts_with(&below) {
                continue;
            }
            // As coreutils write such names.
            let name = path.replace('\\', "\\\\").replace('\n', "\\n");
            let mark = if name == *path { "" } else { "\\" };
            list.push_str(&format!("{mark}{sum}  {name}\n"));
        }
        if list.is_empty() {
            return Ok(());
        }
        let argv = ["sha256sum", "-c", "--quiet"];
        let command = Command::new(argv, self.limit)
            .in_folder(root)
            .with_env("LC_ALL", "C");
        let ended = self
            .place
            .query(&command, Streams::from_bytes(list.as_bytes()))
            .await?;
        if ended.is_success() {
            return Ok(());
        }
        let said = ended.stdout_text();
        let first = said.lines().next().map(str::to_owned);
        Err(OpsError::new(
            ErrorKind::No,
            first.unwrap_or_else(|| ended.describe().to_string()),
        ))
    }

    pub(super) async fn files_unstage(&self) -> Result<(), OpsError> {
        for path in self.paths()? {
            let around = self.around(path);
            self.shell(UNSTAGE, &[&around.path, &around.stage]).await?;
        }
        Ok(())
    }

    pub(super) async fn files_swap(&self) -> Result<String, OpsError> {
        let mut kept = Vec::new();
        for path in self.paths()? {
            // One that was put in place before this was ended stays.
            if !self.is_path_swapped(path).await? {
                let around = self.around(path);
                let words = [
                    around.path.as_str(),
                    &around.stage,
                    &around.inside,
                    &around.before,
                ];
                self.shell(SWAP, &words).await?;
            }
            kept.push(self.around(path).before);
        }
        self.files_unstage().await?;
        Ok(format!("what was there is {}", kept.join(", ")))
    }

    pub(super) async fn files_swap_back(&self) -> Result<(), OpsError> {
        for path in self.paths()?.iter().rev() {
            let around = self.around(path);
            let words = [
                around.path.as_str(),
                &around.stage,
                &around.inside,
                &around.before,
            ];
            self.shell(SWAP_BACK, &words).await?;
        }
        Ok(())
    }

    async fn is_path_swapped(&self, path: &Path) -> Result<bool, OpsError> {
        let around = self.around(path);
        let words = [around.path.as_str(), &around.stage, &around.inside];
        let command = Command::shell(IS_SWAPPED, &words, QUERY);
        let ended = self.place.query(&command, Streams::default()).await?;
        Ok(ended.is_success())
    }

    pub(super) async fn files_prove(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let sums = self.sums(backup).await?;
        for path in self.paths()? {
            let around = self.around(path);
            self.compare(&sums, &around.inside, "/").await?;
        }
        Ok(backup.counts.clone())
    }
}

/// A folder that is removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make(job: &Job<'_>, id: &str) -> Result<Self, OpsError> {
        let at = folder(&job.ctx.state, &job.name).join(format!("{SCRATCH}{id}"));
        // One that a killed test left.
        let _ = fs::remove_dir_all(&at);
        job.ctx.state.make_dir(&at)?;
        Ok(Self(at))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads an archive to its end: every file with its SHA-256. Counts files and their bytes.
fn walk(
    chunks: tokio::sync::mpsc::Receiver<Vec<u8>>,
    mut each: impl FnMut(&Path, String) -> io::Result<()>,
) -> io::Result<Counts> {
    let mut reader = ChunkReader::new(chunks);
    let (mut files, mut bytes) = (0, 0);
    {
        let mut archive = tar::Archive::new(&mut reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            files += 1;
            bytes += entry.size();
            let path = entry.path()?.into_owned();
            let sum = sum_of(&mut entry)?;
            each(&path, sum)?;
        }
    }
    // What pads the archive.
    io::copy(&mut reader, &mut io::sink())?;
    Ok([("files".to_owned(), files), ("bytes".to_owned(), bytes)].into())
}

fn sum_of(from: &mut impl Read) -> io::Result<String> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(digest::hex(&sum.finalize())),
            count => sum.update(&buffer[..count]),
        }
    }
}

/// Unpacks an archive into a folder; each file is summed on its way there and read back from the disk.
fn unpack_and_compare(
    chunks: tokio::sync::mpsc::Receiver<Vec<u8>>,
    at: &Path,
) -> io::Result<Counts> {
    let mut reader = ChunkReader::new(chunks);
    let (mut files, mut bytes) = (0, 0);
    {
        let mut archive = tar::Archive::new(&mut reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            if !kind.is_file() {
                // Owners and rights need a user that may give them; names do not.
                if kind.is_dir() {
                    fs::create_dir_all(at.join(inside(&entry.path()?)))?;
                }
                continue;
            }
            let path = at.join(inside(&entry.path()?));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut summing = Summing {
                from: &mut entry,
                sum: Sha256::new(),
            };
            let mut file = fs::File::create(&path)?;
            let count = io::copy(&mut summing, &mut file)?;
            let sent = digest::hex(&summing.sum.finalize());
            file.sync_all()?;
            let found = crate::store::checkpoint::sha256_file(&path)?;
            if sent != found {
                return Err(io::Error::other(format!(
                    "{} is not what was written",
                    path.display()
                )));
            }
            // There is room for the largest file, not for all of them.
            fs::remove_file(&path)?;
            files += 1;
            bytes += count;
        }
    }
    io::copy(&mut reader, &mut io::sink())?;
    Ok([("files".to_owned(), files), ("bytes".to_owned(), bytes)].into())
}

struct Summing<'a, R> {
    from: &'a mut R,
    sum: Sha256,
}

impl<R: Read> Read for Summing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}
