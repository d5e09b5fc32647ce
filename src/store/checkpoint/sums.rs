//! `SHA256SUMS`: written and read as `sha256sum` does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{MANIFEST, SUMS, is_inside};
use crate::domain::checkpoint::{Checkpoint, NoManifest};
use crate::domain::digest;
use crate::domain::safe_text::SafeText;
use crate::store::paths::StoreError;

/// The SHA-256 of a file, hex.
///
/// # Errors
/// It cannot be read.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest::hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Every file below a folder, relative to it, sorted.
pub(super) fn files_below(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let absolute = root.join(&folder);
        let fail = || StoreError::at("read the folder", &absolute);
        for entry in fs::read_dir(&absolute).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            let place = folder.join(entry.file_name());
            if entry.file_type().map_err(fail())?.is_dir() {
                folders.push(place);
            } else {
                files.push(place);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The text of `SHA256SUMS` for these files.
pub(super) fn sums_of(root: &Path, files: &[PathBuf]) -> Result<String, StoreError> {
    let mut text = String::new();
    for file in files {
        let path = root.join(file);
        let sum = sha256_file(&path).map_err(StoreError::at("read", &path))?;
        let name = file.to_str().ok_or_else(|| {
            let cause = io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
            StoreError::at("name", &path)(cause)
        })?;
        // As coreutils: a name with a backslash or a line break is escaped, and the line says so in front.
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
        let mark = if escaped == name { "" } else { "\\" };
        text.push_str(&format!("{mark}{sum}  {escaped}\n"));
    }
    Ok(text)
}

/// One line of `SHA256SUMS`: the sum and the file.
fn parse_line(line: &str) -> Option<(&str, PathBuf)> {
    let (line, is_escaped) = match line.strip_prefix('\\') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (sum, name) = line.split_at_checked(64)?;
    let name = name.strip_prefix("  ").or(name.strip_prefix(" *"))?;
    let name = if is_escaped {
        name.replace("\\\\", "\u{0}")
            .replace("\\n", "\n")
            .replace('\u{0}', "\\")
    } else {
        name.to_owned()
    };
    let path = PathBuf::from(name);
    is_inside(&path).then_some((sum, path))
}

/// What a look at every file of a checkpoint found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many files were looked at.
    pub files: u64,
    /// What is not as it was written.
    pub damage: Vec<SafeText>,
    /// What could not be read: it may be as it was written.
    pub unread: Vec<SafeText>,
}

impl Checked {
    /// Everything that keeps it from being whole; empty means that all agrees.
    pub fn problems(&self) -> Vec<SafeText> {
        [self.damage.as_slice(), &self.unread].concat()
    }

    fn note_damage(&mut self, text: &str) {
        self.damage.push(SafeText::from_text(text));
    }

    fn note_unread(&mut self, what: &str, error: &io::Error) {
        let text = SafeText::from_text(&format!("cannot read {what}: {error}"));
        self.unread.push(text);
    }
}

/// Checks every file of a checkpoint against its checksum, and the checksums against the manifest.
pub fn verify_files(checkpoint: &Checkpoint) -> Checked {
    let mut checked = Checked::default();
    let manifest = match &checkpoint.manifest {
        Ok(manifest) => manifest,
        Err(NoManifest::Partial(why)) => {
            checked.damage.push(why.clone());
            return checked;
        }
        Err(NoManifest::Unread(why)) => {
            checked.unread.push(why.clone());
            return checked;
        }
    };
    let text = match fs::read(checkpoint.path.join(SUMS)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            checked.note_damage(&format!("{SUMS} is missing"));
            return checked;
        }
        Err(error) => {
            checked.note_unread(SUMS, &error);
            return checked;
        }
    };
    if digest::sha256(&text) != manifest.sums_sha256 {
        checked.note_damage(&format!(
            "{SUMS} was changed: it does not agree with {MANIFEST}"
        ));
    }
    let mut listed = BTreeSet::from([PathBuf::from(SUMS), PathBuf::from(MANIFEST)]);
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((sum, file)) = parse_line(line) else {
            checked.note_damage(&format!("{SUMS}: not a checksum: {line}"));
            continue;
        };
        checked.files += 1;
        let name = file.display().to_string();
        match sha256_file(&checkpoint.path.join(&file)) {
            Ok(found) if found == sum => {}
            Ok(_) => checked.note_damage(&format!("{name} was changed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                checked.note_damage(&format!("{name} is missing"));
            }
            Err(error) => checked.note_unread(&name, &error),
        }
        listed.insert(file);
    }
    match files_below(&checkpoint.path) {
        Ok(files) => {
            for extra in files.iter().filter(|file| !listed.contains(*file)) {
                checked.note_damage(&format!("{} was added later", extra.display()));
            }
        }
        Err(error) => checked.unread.push(SafeText::from_error(&error)),
    }
    checked
}
