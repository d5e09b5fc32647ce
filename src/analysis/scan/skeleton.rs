//! What a line looks like when its numbers do not count: the key under which it is recognised.
//!
//! Two lines with one skeleton have the same words and the same punctuation, and their numbers and hexadecimal ids
//! stand in the same places and are of the same kind. Whatever reading a line finds out by its words is then the same
//! for both; only the numbers have to be read again.

use crate::analysis::pattern::hash;
#[cfg(doc)]
use crate::analysis::pattern::mask::is_word_byte;

/// Lines longer than this have no skeleton.
const MAX_LENGTH: usize = 1024;

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
/// Letters, digits and the punctuation that can stand inside a word ([`is_word_byte`]).
const WORD: u8 = 4;
const HEX: u8 = 8;
/// Bytes that no text in UTF-8 has: they stand for what varies.
const RESERVED: u8 = 16;

/// A number of several parts: `10.0.0.1`, `14:50:00`, `0.25`.
const NUMBER_OF_PARTS: u8 = 0xf5;
/// A plain number, followed by the kind of its length.
const NUMBER: u8 = 0xf6;
/// Digits in a word, followed by how many.
const DIGITS: u8 = 0xf7;
/// A word that is a hexadecimal id, followed by its length.
const ID: u8 = 0xf8;
/// A hexadecimal id in a longer word, followed by its length and how many digits it has.
const ID_PART: u8 = 0xf9;

/// What a byte is, without a branch and without a table, so that the compiler does sixteen at once.
const fn class(byte: u8) -> u8 {
    let is_digit = byte.wrapping_sub(b'0') < 10;
    let lower = byte | 0x20;
    let is_hex = lower.wrapping_sub(b'a') < 6;
    let is_letter = (lower.wrapping_sub(b'a') < 26) | (byte >= 0x80);
    // `#$%&`, `*+`, `-./0` to `9:`, `?@`, `\`, `_`, `~`.
    let is_word = is_digit
        | is_letter
        | (byte.wrapping_sub(b'#') < 4)
        | (byte.wrapping_sub(b'*') < 2)
        | (byte.wrapping_sub(b'-') < 3)
        | (byte == b':')
        | (byte.wrapping_sub(b'?') < 2)
        | (byte == b'\\')
        | (byte == b'_')
        | (byte == b'~');
    const fn flag(is: bool, flag: u8) -> u8 {
        is as u8 * flag
    }
    flag(is_digit, DIGIT)
        | flag(is_letter, LETTER)
        | flag(is_word, WORD)
        | flag(is_hex, HEX)
        | flag(byte >= NUMBER_OF_PARTS, RESERVED)
}

/// One bit for each byte of a line.
type Bits = [u64; MAX_LENGTH / 64 + 1];

/// The first bit from `at` on that is 1, or 0 where `of` is [`u64::MAX`]; the number of bits where there is none.
fn next(bits: &Bits, at: usize, of: u64) -> usize {
    let mut index = at / 64;
    let Some(first) = bits.get(index) else {
        return at;
    };
    let mut word = (first ^ of) & (u64::MAX << (at % 64));
    while word == 0 {
        index += 1;
        match bits.get(index) {
            Some(more) => word = more ^ of,
            None => return bits.len() * 64,
        }
    }
    index * 64 + word.trailing_zeros() as usize
}

/// Behind the last bit in front of `at` that is 1, or 0 where `of` is [`u64::MAX`]; 0 where there is none.
fn behind_last(bits: &Bits, at: usize, of: u64) -> usize {
    let mut index = at / 64;
    let mut word = (bits[index] ^ of) & !(u64::MAX << (at % 64));
    while word == 0 {
        if index == 0 {
            return 0;
        }
        index -= 1;
        word = bits[index] ^ of;
    }
    index * 64 + 64 - word.leading_zeros() as usize
}

fn any(bits: &Bits, start: usize, end: usize) -> bool {
    next(bits, start, 0) < end
}

const ZEROS: u64 = u64::MAX;
const ONES: u64 = 0;

/// A part of the line that varies among the lines of one skeleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub start: usize,
    pub end: usize,
    /// Whether letters vary too.
    pub is_id: bool,
}

/// Reads skeletons; its memory is used again for every line.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    bytes: Vec<u8>,
    tokens: Vec<Token>,
    digits: Bits,
    letters: Bits,
    words: Bits,
}

impl Skeleton {
    /// The hash of a line's skeleton; `None` for a line that has none because it is long or no text.
    pub(super) fn read(&mut self, line: &[u8], seed: u64) -> Option<u64> {
        self.bytes.clear();
        self.tokens.clear();
        if line.len() > MAX_LENGTH || !self.classify(line) {
            return None;
        }
        let mut literal = 0;
        let mut at = 0;
        loop {
            let digit = next(&self.digits, at, ONES);
            if digit >= line.len() {
                break;
            }
            let start = behind_last(&self.words, digit, ZEROS).max(at);
            let end = next(&self.words, digit, ZEROS);
            if any(&self.letters, start, end) {
                self.word(line, start, end, &mut literal);
            } else {
                self.number(line, digit, end, &mut literal);
            }
            at = end;
        }
        self.bytes.extend_from_slice(&line[literal..]);
        Some(hash(&self.bytes, seed))
    }

    /// Finds out what each byte is. False where one is reserved.
    fn classify(&mut self, line: &[u8]) -> bool {
        let mut reserved = 0;
        let mut blocks = 0;
        for block in line.chunks(64) {
            let mut bytes = [0u8; 64];
            bytes[..block.len()].copy_from_slice(block);
            let classes = bytes.map(class);
            let mut masks = [0u64; 3];
            for (at, eight) in classes.chunks_exact(8).enumerate() {
                let eight = u64::from_le_bytes(eight.try_into().unwrap_or([0; 8]));
                reserved |= eight;
                for (bit, mask) in masks.iter_mut().enumerate() {
                    // The lowest bits of eight bytes, gathered in the highest byte.
                    let lowest = (eight >> bit) & 0x0101_0101_0101_0101;
                    *mask |= (lowest.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at * 8);
                }
            }
            [
                self.digits[blocks],
                self.letters[blocks],
                self.words[blocks],
            ] = masks;
            blocks += 1;
        }
        // What is left of a longer line.
        for bits in [&mut self.digits, &mut self.letters, &mut self.words] {
            bits[blocks..].fill(0);
        }
        reserved & (u64::from(RESERVED) * 0x0101_0101_0101_0101) == 0
    }

    /// What varies in the line that was read last, in order.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    fn token(&mut self, line: &[u8], start: usize, end: usize, is_id: bool, literal: &mut usize) {
        self.bytes.extend_from_slice(&line[*literal..start]);
        self.tokens.push(Token { start, end, is_id });
        *literal = end;
    }

    /// A word without a letter, whose first digit stands at `first`.
    fn number(&mut self, line: &[u8], first: usize, end: usize, literal: &mut usize) {
        let last = behind_last(&self.digits, end, ONES);
        self.token(line, first, last, false, literal);
        let mut at = next(&self.digits, first, ZEROS);
        if at >= last {
            let kind = kind_of(&line[first..last]);
            self.bytes.extend_from_slice(&[NUMBER, kind]);
            return;
        }
        // How long the parts are tells a time from other numbers; addresses and decimals are no times.
        let is_any_length = never_a_time(&line[first..last]);
        let mut start = first;
        loop {
            if is_any_length {
                self.bytes.push(NUMBER_OF_PARTS);
            } else {
                self.bytes
                    .extend_from_slice(&[DIGITS, length_of(at - start)]);
            }
            if at >= last {
                return;
            }
            start = next(&self.digits, at, ONES);
            self.bytes.extend_from_slice(&line[at..start]);
            at = next(&self.digits, start, ZEROS);
        }
    }

    /// A word with letters and digits.
    fn word(&mut self, line: &[u8], start: usize, end: usize, literal: &mut usize) {
        // Punctuation at its end belongs to the sentence.
        let word = &line[start..end];
        let core = word
            .iter()
            .rposition(|b| !matches!(b, b'.' | b':' | b'?' | b'-'))
            .map_or(0, |at| at + 1);
        if self.is_id(line, start, start + core) {
            self.token(line, start, start + core, true, literal);
            self.bytes.extend_from_slice(&[ID, length_of(core)]);
            return;
        }
        let mut at = start;
        // Pieces of letters and digits; those without a digit stay as they are.
        loop {
            let digit = next(&self.digits, at, ONES);
            if digit >= end {
                return;
            }
            let is_end = |b: &u8| class(*b) & (DIGIT | LETTER) == 0;
            let piece = line[at..digit]
                .iter()
                .rposition(is_end)
                .map_or(at, |n| at + n + 1);
            at = line[digit..end]
                .iter()
                .position(is_end)
                .map_or(end, |n| digit + n);
            if self.is_id(line, piece, at) {
                self.part(line, piece, at, literal);
                continue;
            }
            let mut digit = digit;
            if line[piece..at].starts_with(b"0x") {
                // An address; its mark is not one of its digits.
                let start = piece + 2;
                let hex = line[start..at].iter().take_while(|b| b.is_ascii_hexdigit());
                let end = start + hex.count();
                if end > start {
                    self.part(line, start, end, literal);
                }
                digit = next(&self.digits, end, ONES);
            }
            while digit < at {
                let behind = next(&self.digits, digit, ZEROS);
                self.token(line, digit, behind, false, literal);
                let length = length_of(behind - digit);
                self.bytes.extend_from_slice(&[DIGITS, length]);
                digit = next(&self.digits, behind, ONES);
            }
        }
    }

    /// At least six hexadecimal digits, letters and digits among them; dashes may part them.
    fn is_id(&self, line: &[u8], start: usize, end: usize) -> bool {
        if end < start + 6 || !line[start].is_ascii_hexdigit() {
            return false;
        }
        let (mut found, mut dashes) = (0, 0);
        for byte in &line[start..end] {
            let class = class(*byte);
            found |= class & (DIGIT | HEX);
            if class & (DIGIT | HEX) == 0 {
                if *byte != b'-' {
                    return false;
                }
                dashes += 1;
            }
        }
        found == DIGIT | HEX && end - start - dashes >= 6
    }

    fn part(&mut self, line: &[u8], start: usize, end: usize, literal: &mut usize) {
        let digits = line[start..end].iter().filter(|b| b.is_ascii_digit());
        let digits = length_of(digits.count());
        self.token(line, start, end, true, literal);
        self.bytes
            .extend_from_slice(&[ID_PART, length_of(end - start), digits]);
    }
}

fn length_of(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// Whether a number of several parts is an address (`10.0.0.1:80`) or a decimal, and not written like a date
/// (`27.12`, `27.12.25`, `2025.12.27`).
fn never_a_time(number: &[u8]) -> bool {
    let dots = number.iter().filter(|b| **b == b'.').count();
    let colons = number.iter().filter(|b| **b == b':').count();
    let digits = number.iter().filter(|b| b.is_ascii_digit()).count();
    if dots + colons + digits < number.len() || (colons > 0 && (dots != 3 || colons > 1)) {
        return false;
    }
    let dotted = |places: &[usize]| places.iter().all(|at| number[*at] == b'.');
    !match number.len() {
        5 => dotted(&[2]),
        8 => dotted(&[2, 5]),
        10 => dotted(&[4, 7]),
        _ => false,
    }
}

/// What the length of a plain number decides: whether it can be a status (three digits that begin with 1 to 5), an
/// exit code, or a time since 1970 (10, 13, 16 or 19 digits).
fn kind_of(digits: &[u8]) -> u8 {
    match digits.len() {
        length @ (1 | 2) => length as u8,
        3 if (b'1'..=b'5').contains(&digits[0]) => 3,
        3 => 4,
        4 => 5,
        5..=9 => 6,
        10 => 7,
        11 | 12 => 8,
        13 => 9,
        14 | 15 => 10,
        16 => 11,
        17 | 18 => 12,
        19 => 13,
        _ => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::pattern::mask::is_word_byte;

    fn key(line: &str) -> Option<u64> {
        Skeleton::default().read(line.as_bytes(), 0)
    }

    fn tokens(line: &str) -> Vec<&str> {
        let mut skeleton = Skeleton::default();
        skeleton.read(line.as_bytes(), 0).unwrap();
        let range = |t: &Token| &line[t.start..t.end];
        skeleton.tokens().iter().map(range).collect()
    }

    #[test]
    fn words_are_those_of_the_masks() {
        for byte in 0..=u8::MAX {
            assert_eq!(class(byte) & WORD != 0, is_word_byte(byte), "{byte}");
        }
    }

    #[test]
    fn numbers_and_ids_vary() {
        let line = "GET /api/orders/42 took 12.5ms from 10.0.0.1:80 (req=550e8400-e29b-41d4-a716-446655440000) 0x7f3a host-9f3c1a2e";
        assert_eq!(
            tokens(line),
            [
                "42",
                "12",
                "5",
                "10.0.0.1:80",
                "550e8400-e29b-41d4-a716-446655440000",
                "7f3a",
                "9f3c1a2e"
            ]
        );
    }

    #[test]
    fn lines_that_differ_in_numbers_look_alike() {
        for (a, b) in [
            ("took 0.25 s", "took 7.125 s"),
            ("from 1.1.1.1:80 ok", "from 10.0.200.1:8080 ok"),
            ("order 12345 failed", "order 6789012 failed"),
            ("from 10.0.0.1 ok", "from 192.168.100.200 ok"),
            ("id=71cd97ea69131670.", "id=00cd97ea6913167f."),
            ("[worker-3] up", "[worker-7] up"),
        ] {
            assert_eq!(key(a), key(b), "{a} | {b}");
        }
    }

    #[test]
    fn lines_that_differ_otherwise_do_not() {
        for (a, b) in [
            ("order 200 failed", "order 700 failed"),
            ("order 1 failed", "order 11 failed"),
            ("order 1234567890", "order 1234567890123"),
            ("worker-3", "worker-33"),
            ("user kim", "user tom"),
            ("a b1", "a  b1"),
            ("1.2.3", "1:2:3"),
            ("at 023:80", "at 02:58"),
            ("27.12", "1.25"),
            ("ab12", "abc2"),
        ] {
            assert_ne!(key(a), key(b), "{a} | {b}");
        }
        assert_eq!(
            key("\u{10ffff}").is_some(),
            "\u{10ffff}".as_bytes()[0] < 0xf5
        );
        assert_eq!(Skeleton::default().read(b"1\xf6", 0), None);
        assert_eq!(key(&"x".repeat(2000)), None);
    }
}
