//! Log patterns: records that differ only in what varies are one pattern.
//!
//! Two stages. [`mask`] takes numbers, addresses, paths and ids out of a message, and what is left, the shape, is
//! counted by its hash while the log streams by. [`cluster`] then looks at the distinct shapes only, thousands
//! instead of millions, and joins those that differ in a word that varies. Records of different levels or different
//! exception classes are never joined.

pub mod cluster;
pub mod group;
pub mod mask;
pub mod structured;
pub mod trace;

use crate::domain::log::Level;

/// Stands for a variable part in a masked text; shown as `<*>`.
pub const WILD: u8 = 0x01;

/// A quick hash for tables in memory. It may change between versions: ids that are kept use [`stable_id`].
pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = seed ^ K.wrapping_mul(bytes.len() as u64 + 1);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8]));
        state = (state ^ word).wrapping_mul(K).rotate_left(29);
    }
    let mut tail = [0u8; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state = (state ^ u64::from_le_bytes(tail)).wrapping_mul(K);
    state ^= state >> 32;
    state = state.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    state ^ (state >> 32)
}

/// A pattern's id: the same for the same template and level on every machine and in every version (FNV-1a, 64
/// bits, as 12 hexadecimal digits).
pub fn stable_id(template: &str, level: Option<Level>) -> String {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    let level = level.map_or("", Level::as_str);
    for byte in level.bytes().chain([0]).chain(template.bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:012x}", state & 0xffff_ffff_ffff)
}

/// A masked text as people read it.
pub fn shown(masked: &[u8]) -> String {
    let mut out = Vec::with_capacity(masked.len() + 16);
    for byte in masked {
        if *byte == WILD {
            out.extend_from_slice(b"<*>");
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        assert_eq!(
            stable_id("User <*> logged in", Some(Level::Info)),
            stable_id("User <*> logged in", Some(Level::Info))
        );
        assert_ne!(
            stable_id("x", Some(Level::Info)),
            stable_id("x", Some(Level::Error))
        );
        assert_eq!(stable_id("", None), "bd4c8601b7df");
    }

    #[test]
    fn hashes_tell_texts_apart() {
        let texts = [
            "",
            "a",
            "b",
            "ab",
            "a\0",
            "12345678",
            "123456789",
            "123456780",
        ];
        let hashes: std::collections::BTreeSet<u64> =
            texts.iter().map(|t| hash(t.as_bytes(), 0)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
