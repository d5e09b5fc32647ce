//! Digests as text: what was read, written or planned is told apart by its SHA-256, in one spelling everywhere.

use sha2::{Digest, Sha256};

/// SHA-256 in 64 hexadecimal digits, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What stands between a sealed JSON object and its hash.
const HASH_KEY: &str = ",\"hash\":\"";

/// Seals a JSON object: `hash`, the SHA-256 of the object's bytes, becomes its last field. Returns the line, its break
/// included, and the hash. An object that names the hash of the line before makes a chain.
pub fn seal(object: &[u8]) -> (Vec<u8>, String) {
    let hash = sha256(object);
    let body = object.strip_suffix(b"}").unwrap_or(object);
    let mut line = Vec::with_capacity(object.len() + HASH_KEY.len() + hash.len() + 3);
    line.extend_from_slice(body);
    line.extend_from_slice(HASH_KEY.as_bytes());
    line.extend_from_slice(hash.as_bytes());
    line.extend_from_slice(b"\"}\n");
    (line, hash)
}

/// The hash of a sealed line without its break, if it is that of the line's own bytes; `None` for any other line.
pub fn unseal(line: &[u8]) -> Option<&str> {
    // `,"hash":"` + 64 hex digits + `"}`
    let cut = line.len().checked_sub(HASH_KEY.len() + 64 + 2)?;
    let (body, tail) = line.split_at(cut);
    let hash = tail.strip_prefix(HASH_KEY.as_bytes())?;
    let hash = std::str::from_utf8(hash.strip_suffix(b"\"}")?).ok()?;
    let object = [body, b"}"].concat();
    (sha256(&object) == hash).then_some(hash)
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
