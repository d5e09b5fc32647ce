//! What a line looks like when its numbers do not count: the key under which it is recognised.
//!
//! Two lines with one skeleton have the same words and the same punctuation, and their numbers and hexadecimal ids
//! stand in the same places and are of the same kind. Whatever reading a line finds out by its words is then the same
//! for both; only the numbers have to be read again.

use std::ops::Range;

use crate::analysis::pattern::hash;

/// Lines longer than this have no skeleton.
const MAX_LENGTH: usize = 1024;
/// The line is copied to where eight bytes may be read behind its end.
const ROOM: usize = MAX_LENGTH + 64;

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
/// Letters, digits and the punctuation that can stand inside a word ([`is_word_byte`](crate::analysis::pattern::mask::is_word_byte)).
const WORD: u8 = 4;
/// Hexadecimal digits and the dash.
const ID: u8 = 8;

/// What a byte is, without a branch and without a table, so that the compiler does sixteen at once.
const fn class(byte: u8) -> u8 {
    const fn flag(is: bool, flag: u8) -> u8 {
        is as u8 * flag
    }
    let is_digit = byte.wrapping_sub(b'0') < 10;
    let lower = byte | 0x20;
    let is_hex = lower.wrapping_sub(b'a') < 6;
    let is_letter = (lower.wrapping_sub(b'a') < 26) | (byte >= 0x80);
    // `#$%&`, `*+`, `-./` to `9:`, `?@`, `\`, `_`, `~`.
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
    flag(is_digit, DIGIT)
        | flag(is_letter, LETTER)
        | flag(is_word, WORD)
        | flag(is_digit | is_hex | (byte == b'-'), ID)
}

/// One bit for each byte of a line.
#[derive(Debug, Clone)]
struct Bits([u64; ROOM / 64]);

impl Bits {
    /// The first bit from `at` on that is set. Some bit must be.
    fn next_set(&self, at: usize) -> usize {
        self.next(at, 0)
    }

    /// The first bit from `at` on that is not set. Some bit must not be.
    fn next_clear(&self, at: usize) -> usize {
        self.next(at, u64::MAX)
    }

    fn next(&self, at: usize, flip: u64) -> usize {
        let mut index = at / 64;
        let mut word = (self.0[index] ^ flip) & (u64::MAX << (at % 64));
        while word == 0 {
            index += 1;
            match self.0.get(index) {
                Some(more) => word = more ^ flip,
                None => return ROOM,
            }
        }
        index * 64 + word.trailing_zeros() as usize
    }

    /// Behind the last bit in front of `at` that is not set; 0 where all are.
    fn behind_last_clear(&self, at: usize) -> usize {
        let mut index = at / 64;
        let mut word = !self.0[index] & !(u64::MAX << (at % 64));
        while word == 0 {
            if index == 0 {
                return 0;
            }
            index -= 1;
            word = !self.0[index];
        }
        index * 64 + 64 - word.leading_zeros() as usize
    }

    /// How many bits of a range are set.
    fn count(&self, start: usize, end: usize) -> u32 {
        let (first, last) = (start / 64, end / 64);
        let (from, to) = (u64::MAX << (start % 64), !(u64::MAX << (end % 64)));
        if first == last {
            return (self.0[first] & from & to).count_ones();
        }
        let inner: u32 = self.0[first + 1..last].iter().map(|w| w.count_ones()).sum();
        (self.0[first] & from).count_ones() + inner + (self.0[last] & to).count_ones()
    }
}

impl Default for Bits {
    fn default() -> Self {
        Self([0; ROOM / 64])
    }
}

/// A part of the line that varies among the lines of one skeleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub start: usize,
    pub end: usize,
    /// Whether letters vary too.
    pub is_id: bool,
}

/// What stands for a token in the skeleton.
#[derive(Debug, Clone, Copy)]
enum Mark {
    /// A plain number, by the kind of its length.
    Number(u8),
    /// A number of so many parts of any length: `10.0.0.1`, `0.25`.
    Parts(usize),
    /// So many digits.
    Digits(usize),
    /// A word that is a hexadecimal id of so many bytes.
    Id(usize),
    /// A hexadecimal id in a longer word: its bytes, and how many of them are digits.
    IdPart(usize, u32),
}

impl Mark {
    fn number(self) -> u64 {
        match self {
            Self::Number(kind) => 1 | u64::from(kind) << 8,
            Self::Parts(count) => 2 | (count as u64) << 8,
            Self::Digits(count) => 3 | (count as u64) << 8,
            Self::Id(length) => 4 | (length as u64) << 8,
            Self::IdPart(length, digits) => 5 | (length as u64) << 8 | u64::from(digits) << 32,
        }
    }
}

/// Reads skeletons; its memory is used again for every line.
#[derive(Debug, Clone)]
pub(super) struct Skeleton {
    line: [u8; ROOM],
    tokens: Vec<Token>,
    digits: Bits,
    letters: Bits,
    words: Bits,
    ids: Bits,
    /// The hash of the skeleton so far.
    state: u64,
    /// Where the literal bytes begin that are not in it yet.
    literal: usize,
}

impl Default for Skeleton {
    fn default() -> Self {
        Self {
            line: [0; ROOM],
            tokens: Vec::new(),
            digits: Bits::default(),
            letters: Bits::default(),
            words: Bits::default(),
            ids: Bits::default(),
            state: 0,
            literal: 0,
        }
    }
}

impl Skeleton {
    /// The hash of a line's skeleton; `None` for a line that has none because it is long.
    pub(super) fn read(&mut self, line: &[u8], seed: u64) -> Option<u64> {
        if line.len() > MAX_LENGTH {
            return None;
        }
        self.tokens.clear();
        self.literal = 0;
        self.state = seed;
        self.classify(line);
        let mut at = 0;
        loop {
            let digit = self.digits.next_set(at);
            if digit >= line.len() {
                break;
            }
            let start = self.words.behind_last_clear(digit).max(at);
            let end = self.words.next_clear(digit);
            if self.letters.next_set(start) < end {
                self.word(start, end);
            } else {
                self.number(digit, end);
            }
            at = end;
        }
        self.mix((line.len() - self.literal) as u64);
        self.take_literal(line.len());
        Some(hash(&[], self.state))
    }

    /// What varies in the line that was read last, in order.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Finds out what each byte is.
    fn classify(&mut self, line: &[u8]) {
        let blocks = line.len().div_ceil(64);
        self.line[..line.len()].copy_from_slice(line);
        self.line[line.len()..blocks * 64].fill(0);
        for (index, block) in self.line[..blocks * 64]
            .as_chunks::<64>()
            .0
            .iter()
            .enumerate()
        {
            let classes = block.map(class);
            let mut masks = [0u64; 4];
            for (at, eight) in classes.as_chunks::<8>().0.iter().enumerate() {
                let eight = u64::from_le_bytes(*eight);
                for (bit, mask) in masks.iter_mut().enumerate() {
                    // The lowest bits of eight bytes, gathered in the highest byte.
                    let lowest = (eight >> bit) & 0x0101_0101_0101_0101;
                    *mask |= (lowest.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at * 8);
                }
            }
            [
                self.digits.0[index],
                self.letters.0[index],
                self.words.0[index],
                self.ids.0[index],
            ] = masks;
        }
        // There is a block of room behind the line: no digit first, and then only digits, so that every search ends.
        self.digits.0[blocks] = u64::MAX << 1;
        self.letters.0[blocks] = u64::MAX << 1;
        self.words.0[blocks] = 0;
        self.ids.0[blocks] = 0;
    }

    fn mix(&mut self, word: u64) {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        self.state = (self.state ^ word).wrapping_mul(K).rotate_left(29);
    }

    /// Takes the bytes up to `end` into the hash as they are.
    fn take_literal(&mut self, end: usize) {
        let mut at = self.literal;
        // Eight bytes that end in the literal or behind it; what is behind is shifted out.
        while at < end {
            let mut eight = [0; 8];
            eight.copy_from_slice(&self.line[at..at + 8]);
            let over = 8 * (8 - (end - at).min(8)) as u32;
            self.mix(u64::from_le_bytes(eight) << over);
            at += 8;
        }
        self.literal = end;
    }

    /// Takes a part that varies into the hash, by what it is and by how many bytes of text stand in front of it.
    fn token(&mut self, start: usize, end: usize, is_id: bool, mark: Mark) {
        self.mark(start, end, mark);
        self.tokens.push(Token { start, end, is_id });
    }

    fn mark(&mut self, start: usize, end: usize, mark: Mark) {
        let length = (start - self.literal) as u64;
        self.take_literal(start);
        self.mix(mark.number() | length << 48);
        self.literal = end;
    }

    /// A word without a letter, whose first digit stands at `first`.
    fn number(&mut self, first: usize, end: usize) {
        let behind = self.digits.next_clear(first);
        let second = self.digits.next_set(behind);
        if second >= end {
            let kind = kind_of(&self.line[first..behind]);
            self.token(first, behind, false, Mark::Number(kind));
            return;
        }
        // How long the parts are tells a time from other numbers; addresses and decimals are no times.
        let (mut parts, mut last) = (2, self.digits.next_clear(second));
        let mut is_dotted = self.line[behind..second] == *b".";
        let mut has_port = false;
        loop {
            let next = self.digits.next_set(last);
            if next >= end {
                break;
            }
            let gap = &self.line[last..next];
            has_port = parts == 4 && gap == b":" && is_dotted;
            is_dotted &= gap == b"." || has_port;
            parts += 1;
            last = self.digits.next_clear(next);
        }
        let number = &self.line[first..last];
        let is_free = is_dotted && (!has_port || parts == 5) && !is_date(number);
        if is_free {
            let mark = Mark::Parts(parts + usize::from(has_port) * 100);
            self.token(first, last, false, mark);
            return;
        }
        self.tokens.push(Token {
            start: first,
            end: last,
            is_id: false,
        });
        let mut at = first;
        while at < last {
            let behind = self.digits.next_clear(at);
            self.mark(at, behind, Mark::Digits(behind - at));
            at = self.digits.next_set(behind);
        }
    }

    /// A word with letters and digits.
    fn word(&mut self, start: usize, end: usize) {
        // Punctuation at its end belongs to the sentence.
        let is_punctuation = |b: &u8| matches!(b, b'.' | b':' | b'?' | b'-');
        let word = &self.line[start..end];
        let core = word
            .iter()
            .rposition(|b| !is_punctuation(b))
            .map_or(start, |at| start + at + 1);
        if self.is_id(start, core) {
            self.token(start, core, true, Mark::Id(core - start));
            return;
        }
        // Pieces of letters and digits; those without a digit stay as they are.
        let mut at = start;
        loop {
            let digit = self.digits.next_set(at);
            if digit >= end {
                return;
            }
            let is_end = |b: &u8| class(*b) & (DIGIT | LETTER) == 0;
            let piece = self.line[at..digit]
                .iter()
                .rposition(is_end)
                .map_or(at, |n| at + n + 1);
            at = self.line[digit..end]
                .iter()
                .position(is_end)
                .map_or(end, |n| digit + n);
            let whole = self.dashed(start, piece, at, end);
            if self.is_id(whole.start, whole.end) {
                self.id_part(whole.start, whole.end);
                at = whole.end;
                continue;
            }
            if self.is_id(piece, at) {
                self.id_part(piece, at);
                continue;
            }
            let mut digit = digit;
            if self.line[piece..at].starts_with(b"0x") {
                // An address; its mark is not one of its digits.
                let start = piece + 2;
                let hex = self.line[start..at].iter();
                let end = start + hex.take_while(|b| b.is_ascii_hexdigit()).count();
                if end > start {
                    self.id_part(start, end);
                }
                digit = self.digits.next_set(end);
            }
            while digit < at {
                let behind = self.digits.next_clear(digit);
                self.token(digit, behind, false, Mark::Digits(behind - digit));
                digit = self.digits.next_set(behind);
            }
        }
    }

    /// A piece of a word with the pieces beside it that dashes join to it: the parts of a UUID are one id.
    fn dashed(&self, start: usize, piece: usize, behind: usize, end: usize) -> Range<usize> {
        let is_end = |b: &u8| *b != b'-' && class(*b) & (DIGIT | LETTER) == 0;
        // What stands in front of the piece was looked at before and is no part of it.
        let from = self.literal.max(start);
        let first = self.line[from..piece].iter().rposition(is_end);
        let first = first.map_or(from, |at| from + at + 1);
        let last = self.line[behind..end].iter().position(is_end);
        let mut last = last.map_or(end, |at| behind + at);
        while last > behind && self.line[last - 1] == b'-' {
            last -= 1;
        }
        first..last
    }

    fn id_part(&mut self, start: usize, end: usize) {
        let digits = self.digits.count(start, end);
        self.token(start, end, true, Mark::IdPart(end - start, digits));
    }

    /// At least six hexadecimal digits, letters and digits among them; dashes may part them.
    fn is_id(&self, start: usize, end: usize) -> bool {
        if end < start + 6 || self.ids.next_clear(start) < end || self.line[start] == b'-' {
            return false;
        }
        let (digits, letters) = (
            self.digits.count(start, end),
            self.letters.count(start, end),
        );
        digits > 0 && letters > 0 && digits + letters >= 6
    }
}

/// Whether a dotted number is written like a date: `27.12`, `27.12.25`, `2025.12.27`.
fn is_date(number: &[u8]) -> bool {
    let dotted = |places: &[usize]| places.iter().all(|at| number[*at] == b'.');
    match number.len() {
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
    fn a_line_is_read_the_same_after_any_other() {
        let mut used = Skeleton::default();
        for length in (0..200).chain([1023, 1024]) {
            let line: Vec<u8> = (0..length).map(|n| b"ab 12:3-f/9"[n * 7 % 11]).collect();
            let mut fresh = Skeleton::default();
            assert_eq!(used.read(&line, 1), fresh.read(&line, 1), "{length}");
            assert_eq!(used.tokens(), fresh.tokens());
            used.read(&[b'7'; 300], 1);
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
            ("1.2.3.4:5", "1.2.3.4.5"),
            ("a1b", "1ab"),
            ("x", "x\0"),
            ("ab", "a"),
            ("ab12", "abc2"),
        ] {
            assert_ne!(key(a), key(b), "{a} | {b}");
        }
        assert_eq!(key(&"x".repeat(2000)), None);
    }
}
