//! The form of an input: eight bytes of choices, then text.
//!
//! The text stands as it is, so that a seed is a file that a person can read and write: `00000000` and a log line.

use arbitrary::Arbitrary;

/// Inputs of every target.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    /// Which of a target's checks; taken modulo their number.
    pub choice: u8,
    /// The sizes of the pieces that the text comes in, in turns.
    pub cuts: [u8; 3],
    /// What is repeated of the text.
    pub stretch: Stretch,
    /// The rest of the input.
    pub text: &'a [u8],
}

/// A part of the text, repeated until it is long: limits lie far beyond the inputs that a fuzzer makes.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Stretch {
    /// Under 240, as nearly always, nothing is repeated. Else how far.
    pub size: u8,
    /// So many bytes more, or less where it is negative.
    pub trim: i8,
    /// Where the part begins, in 256ths of the text.
    pub at: u8,
    /// How many bytes it has, modulo 16.
    pub part: u8,
}

impl Stretch {
    /// Limits of the product, and sizes between them.
    const SIZES: [usize; 8] = [
        200,
        2048,
        4096,
        16 * 1024,
        20 * 1024,
        64 * 1024,
        600 * 1024,
        1024 * 1024,
    ];

    /// The text with its part repeated, up to about `most` bytes.
    pub fn apply(self, text: &[u8], most: usize) -> Vec<u8> {
        let at = text.len() * usize::from(self.at) / 256;
        let end = text.len().min(at + 1 + usize::from(self.part % 16));
        let part = &text[at..end];
        if self.size < 240 || part.is_empty() {
            return text.to_vec();
        }
        // A million empty lines take seconds and say no more than some thousand.
        let most = if part.contains(&b'\n') {
            most.min(20 * 1024)
        } else {
            most
        };
        let size = Self::SIZES[usize::from(self.size % 8)].saturating_add_signed(self.trim.into());
        let size = size.min(most);
        let mut long = text[..at].to_vec();
        long.extend(part.repeat(size / part.len() + 1));
        long.truncate(at + size);
        long.extend_from_slice(&text[at..]);
        long
    }
}

impl Input<'_> {
    /// The text, stretched up to about `most` bytes.
    pub fn stretched(&self, most: usize) -> Vec<u8> {
        self.stretch.apply(self.text, most)
    }

    /// The bytes in pieces as the input cuts them.
    pub fn pieces<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        // Long text in single bytes would take a second.
        let unit = 1 + bytes.len() / 4096;
        let mut sizes = self.cuts.iter().cycle().map(|cut| match cut {
            0..0x80 => usize::from(*cut) + unit,
            _ => (usize::from(*cut) - 0x7f) * 129 * unit,
        });
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(unit).min(rest.len());
            let (piece, behind) = rest.split_at(size);
            pieces.push(piece);
            rest = behind;
        }
        pieces
    }
}
