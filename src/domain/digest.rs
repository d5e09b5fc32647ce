//! Digests as text: what was read, written or planned is told apart by its SHA-256, in one spelling everywhere.

use sha2::{Digest, Sha256};

/// SHA-256 in 64 hexadecimal digits, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
