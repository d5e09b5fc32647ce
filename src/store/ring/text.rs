//! The text of a block: as it came while it is new or on screen, packed when it is old, so that the bound of the
//! memory holds several times as many lines.

use std::cell::OnceCell;

use zstd::bulk::{Compressor, Decompressor};

/// Smaller texts stay as they are: a frame, a table and an allocation of their own would be most of it.
const PACK_FROM: usize = if cfg!(test) { 64 } else { 4096 };
/// The fastest of zstd's levels that makes logs much smaller.
const LEVEL: i32 = 1;

/// Bytes that are packed or not, or both while somebody reads them.
#[derive(Debug, Default)]
pub(super) struct Text {
    plain: OnceCell<Vec<u8>>,
    /// The same, packed; empty where it is not.
    packed: Box<[u8]>,
    length: usize,
    /// Whether packing was tried in vain.
    is_dense: bool,
}

/// Packs texts, with one workspace for all of them.
#[derive(Default)]
pub(super) struct Packer(Option<Compressor<'static>>);

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    fn pack(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_none() {
            self.0 = Compressor::new(LEVEL).ok();
        }
        // Without memory for the workspace texts stay as they are: fewer lines are held.
        let mut packed = self.0.as_mut()?.compress(text).ok()?;
        packed.shrink_to_fit();
        (packed.len() <= text.len() / 4 * 3).then_some(packed)
    }
}

impl Text {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            length: bytes.len(),
            plain: OnceCell::from(bytes),
            ..Self::default()
        }
    }

    /// Bytes of the text itself.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Bytes that it takes for good. A packed text that is being read takes [`Text::unpacked`] more.
    pub(super) fn size(&self) -> usize {
        if self.is_packed() {
            self.packed.len()
        } else {
            self.length
        }
    }

    /// Bytes that [`Text::release`] gives back.
    pub(super) fn unpacked(&self) -> usize {
        if self.is_packed() && self.plain.get().is_some() {
            self.length
        } else {
            0
        }
    }

    fn is_packed(&self) -> bool {
        !self.packed.is_empty()
    }

    /// The text, to look at it again soon: it stays unpacked until it is released.
    pub(super) fn bytes(&self) -> &[u8] {
        self.plain.get_or_init(|| {
            let mut bytes = Vec::new();
            self.unpack_into(&mut bytes);
            bytes
        })
    }

    /// The text, to look at it once: unpacked into `room`.
    pub(super) fn read<'a>(&'a self, room: &'a mut Vec<u8>) -> &'a [u8] {
        match self.plain.get() {
            Some(bytes) => bytes,
            None => {
                self.unpack_into(room);
                room
            }
        }
    }

    fn unpack_into(&self, room: &mut Vec<u8>) {
        room.clear();
        room.reserve_exact(self.length);
        let done = Decompressor::new().and_then(|mut d| d.decompress_to_buffer(&self.packed, room));
        if done.ok() != Some(self.length) {
            // We packed it ourselves, so only memory that ran out or was damaged gets here: its rows stay, unreadable.
            room.clear();
            room.resize(self.length, b'?');
        }
    }

    /// The text, to change it: it is not packed any more.
    fn open(&mut self) -> &mut Vec<u8> {
        self.bytes();
        self.packed = Box::default();
        self.is_dense = false;
        self.plain.get_mut().expect("it was read above")
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        let bytes = self.open();
        bytes.extend_from_slice(more);
        self.length = bytes.len();
    }

    pub(super) fn drop_front(&mut self, count: usize) {
        let bytes = self.open();
        bytes.drain(..count);
        bytes.shrink_to_fit();
        self.length = bytes.len();
    }

    /// Gives back what it grew by in advance.
    pub(super) fn shrink(&mut self) {
        if let Some(bytes) = self.plain.get_mut() {
            bytes.shrink_to_fit();
        }
    }

    /// Whether [`Text::pack`] was not tried yet and may gain something.
    pub(super) fn is_to_pack(&self) -> bool {
        !self.is_packed() && !self.is_dense && self.length >= PACK_FROM
    }

    /// Packs it, if it gets smaller by that.
    pub(super) fn pack(&mut self, packer: &mut Packer) {
        match packer.pack(self.bytes()) {
            Some(packed) => {
                self.packed = packed.into_boxed_slice();
                self.release();
            }
            None => self.is_dense = true,
        }
    }

    /// Forgets the unpacked copy of a packed text.
    pub(super) fn release(&mut self) {
        if self.is_packed() {
            self.plain.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        let line = |i: usize| format!("GET /items/{i} completed in 0.0{i}s status=200\n");
        (0..count).flat_map(|i| line(i).into_bytes()).collect()
    }

    #[test]
    fn a_packed_text_is_the_same_and_takes_less() {
        let (mut packer, bytes) = (Packer::default(), lines(500));
        let mut text = Text::new(bytes.clone());
        assert!(text.is_to_pack());
        text.pack(&mut packer);
        assert!(
            text.size() < bytes.len() / 3,
            "{} of {}",
            text.size(),
            bytes.len()
        );
        assert_eq!(
            (text.len(), text.unpacked(), text.is_to_pack()),
            (bytes.len(), 0, false)
        );

        let mut room = Vec::new();
        assert_eq!(text.read(&mut room), bytes);
        assert_eq!(text.unpacked(), 0, "looked at once");
        assert_eq!(text.bytes(), bytes);
        assert_eq!(text.unpacked(), bytes.len(), "kept until it is released");
        text.release();
        assert_eq!(text.unpacked(), 0);
    }

    #[test]
    fn a_text_that_is_changed_is_plain_again() {
        let (mut packer, bytes) = (Packer::default(), lines(500));
        let mut text = Text::new(bytes.clone());
        text.pack(&mut packer);
        text.push(b"one more\n");
        text.drop_front(10);
        assert_eq!(text.bytes(), [&bytes[10..], b"one more\n"].concat());
        assert_eq!(text.size(), bytes.len() - 1);
    }

    #[test]
    fn what_does_not_get_smaller_stays_and_is_not_tried_again() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        };
        let bytes: Vec<u8> = (0..4096).map(|_| noise()).collect();
        let mut text = Text::new(bytes.clone());
        text.pack(&mut Packer::default());
        text.release();
        assert_eq!((text.size(), text.is_to_pack()), (bytes.len(), false));
        assert_eq!(text.bytes(), bytes);
    }
}
