//! What stands in front of the message: time, level, process, thread, host.
//!
//! Every program has a header of its own, so it is learned: the first lines of a stream are cut into columns, and
//! a column that is nearly always a time, a level, a number, a bracket or a host belongs to the header. Cutting a
//! fixed number of words instead ruins the streams that have none.

use std::collections::BTreeSet;

use super::level;
use super::time::{self, TimeReader};
use crate::domain::log::Level;

/// So many leading columns are looked at.
const MAX_COLUMNS: usize = 12;
/// A column belongs to the header if so many of the lines agree.
const AGREEMENT: f64 = 0.95;
/// A number behind the time that has more values than this among those lines is no process and no thread.
const FEW: usize = 48;

/// What a column of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// A time, which may hold blanks.
    Time,
    /// A level.
    Level,
    /// Digits only.
    Number,
    /// Something in brackets, blanks included.
    Bracket,
    /// `-`, `|`, `:`, `---`, `*`.
    Separator,
    /// `sshd[123]:`.
    Program,
    /// Any other word.
    Word,
}

/// One column with its place.
#[derive(Debug, Clone, Copy)]
struct Cell {
    column: Column,
    start: usize,
    end: usize,
    level: Option<Level>,
    at: Option<time::Written>,
}

/// The columns of a stream's header. The default knows none and finds time and level by their look alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    columns: Vec<Column>,
    /// Whether a separator follows within three words, in no fixed place: `chrome.exe *64 - message`.
    until_separator: bool,
    /// Whether nearly every line starts with a time, so that a line without one goes on with the record above.
    pub is_timed: bool,
}

/// What the header of one line says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Milliseconds since 1970.
    pub at: Option<i64>,
    /// Its level.
    pub level: Option<Level>,
    /// Where the message starts.
    pub message: usize,
    /// The number of the column that the time was read from.
    pub(in crate::analysis) time_column: Option<usize>,
}

impl Header {
    /// Learns from the first lines of records.
    pub fn learn<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut counts = [[0u32; 7]; MAX_COLUMNS];
        let mut total = 0u32;
        let mut timed = 0u32;
        // For each length of a header, how many lines have a separator one to three words behind it.
        let mut separated = [0u32; MAX_COLUMNS];
        let mut cells = [None; MAX_COLUMNS];
        let mut numbers: [BTreeSet<&[u8]>; MAX_COLUMNS] = Default::default();
        for line in lines {
            total += 1;
            let count = cut(line, &mut cells);
            let mut has_time = false;
            for (index, cell) in cells[..count].iter().flatten().enumerate() {
                counts[index][cell.column as usize] += 1;
                has_time |= cell.column == Column::Time && index < 4;
                if cell.column == Column::Number && numbers[index].len() <= FEW {
                    numbers[index].insert(&line[cell.start..cell.end]);
                }
            }
            timed += u32::from(has_time);
            for (length, sum) in separated.iter_mut().enumerate() {
                *sum += u32::from(separator_after(&cells[..count], length).is_some());
            }
        }
        if total == 0 {
            return Self::default();
        }
        let agreed = |index: usize| {
            ALL.into_iter()
                .find(|c| f64::from(counts[index][*c as usize]) >= AGREEMENT * f64::from(total))
        };
        let mut columns = Vec::new();
        let mut kept = 0;
        let mut anchored = false;
        for (index, numbers) in numbers.iter().enumerate() {
            let Some(column) = agreed(index) else { break };
            columns.push(column);
            match column {
                Column::Time | Column::Level => {
                    anchored = true;
                    kept = columns.len();
                }
                // A host or a logger between two parts of the header is one too; text in front of a number
                // is a message.
                Column::Program | Column::Bracket | Column::Separator
                    if kept + 2 >= columns.len() && (kept > 0 || columns.len() == 1) =>
                {
                    kept = columns.len();
                }
                // Processes and threads are few; other numbers behind time and level begin the message.
                Column::Number
                    if kept + 1 == columns.len() && (!anchored || numbers.len() <= FEW) =>
                {
                    kept = columns.len();
                }
                Column::Program | Column::Bracket | Column::Number => {}
                Column::Separator | Column::Word => {}
            }
        }
        columns.truncate(if anchored { kept } else { 0 });
        let parted = separated
            .get(columns.len())
            .is_some_and(|count| f64::from(*count) >= AGREEMENT * f64::from(total));
        Self {
            until_separator: anchored && parted,
            columns,
            is_timed: f64::from(timed) >= 0.9 * f64::from(total),
        }
    }

    /// Cuts a line into header and message. A line that departs from the learned columns is cut where it does.
    pub fn split(&self, line: &[u8], times: &mut TimeReader) -> Head {
        let mut cells = [None; MAX_COLUMNS];
        let count = cut(line, &mut cells);
        let mut head = Head::default();
        if let Some((index, cell)) = access_time(line, &cells[..count]) {
            return Head {
                at: cell.at.and_then(|written| times.resolve(&written)),
                message: skip_blanks(line, cell.end),
                time_column: Some(index),
                ..head
            };
        }
        let mut written = None;
        let mut learned = 0;
        // Whether everything so far looks like a header: `[time] [7] [ERROR] message` needs no learning.
        let mut is_head = true;
        // What `key=value` says is no header: the duration may stand there.
        let mut has_pairs = false;
        for (index, cell) in cells[..count].iter().flatten().enumerate() {
            // Beyond what was learned, time and level are still taken where they stand first.
            let expected = self.columns.get(index);
            let in_header = expected == Some(&cell.column) && learned == index;
            let is_first_level = is_head && cell.column == Column::Level && head.level.is_none();
            let by_look = matches!(cell.column, Column::Time | Column::Level)
                && (head.message == cell.start || index <= 1 || learned == index || is_first_level);
            is_head &= is_head_like(line, cell);
            has_pairs |= cell.column == Column::Word;
            if in_header {
                learned = index + 1;
            } else if !by_look {
                let is_behind = self.columns.len() <= index && head.message > 0;
                if (is_behind || index >= 4) && !is_head {
                    break;
                }
                // `host program:` before a level of a stream that was not learned.
                continue;
            }
            if let Some(at) = cell.at
                && written.is_none()
            {
                written = Some(at);
                head.time_column = Some(index);
            }
            if head.level.is_none() {
                head.level = cell.level;
            }
            if in_header
                || head.message == cell.start
                || index == 0
                || (is_first_level && !has_pairs)
                || only_blanks(line, head.message, cell.start)
            {
                head.message = skip_blanks(line, cell.end);
            }
        }
        let parts = self.until_separator && learned == self.columns.len();
        // A word more than usual in front of the separator that ends the header.
        let parts_late = learned > 0
            && learned + 1 == self.columns.len()
            && self.columns.last() == Some(&Column::Separator);
        if (parts || parts_late)
            && let Some(end) = separator_after(&cells[..count], learned)
        {
            head.message = skip_blanks(line, end);
        }
        head.at = written.and_then(|w| times.resolve(&w));
        head
    }
}

/// Whether a column of that look is never text: a time, a number, something in brackets, a program, `key=value`.
fn is_head_like(line: &[u8], cell: &Cell) -> bool {
    match cell.column {
        Column::Time | Column::Level | Column::Number | Column::Bracket => true,
        Column::Separator | Column::Program => true,
        Column::Word => memchr::memchr(b'=', &line[cell.start..cell.end]).is_some(),
    }
}

/// The time of an access log as web servers write it: `10.0.0.7 - - [27/Dec/2025:14:50:00 +0000] "GET / HTTP/1.1"`.
/// Known by its look, so that a log in which errors stand between the requests is read like one in which none do.
fn access_time(line: &[u8], cells: &[Option<Cell>]) -> Option<(usize, Cell)> {
    let cells = cells.iter().flatten().enumerate().take(6);
    let (index, cell) = cells.skip(1).find(|(_, c)| c.column == Column::Time)?;
    let is_bracketed = line[cell.start] == b'[';
    let follows = line.get(skip_blanks(line, cell.end)) == Some(&b'"');
    (is_bracketed && follows).then_some((index, *cell))
}

/// Where the separator ends that stands one to three words behind the first columns.
fn separator_after(cells: &[Option<Cell>], length: usize) -> Option<usize> {
    let behind = cells.get(length + 1..)?;
    let found = behind
        .iter()
        .take(3)
        .flatten()
        .find(|c| c.column == Column::Separator)?;
    Some(found.end)
}

const ALL: [Column; 7] = [
    Column::Time,
    Column::Level,
    Column::Number,
    Column::Bracket,
    Column::Separator,
    Column::Program,
    Column::Word,
];

fn only_blanks(line: &[u8], from: usize, to: usize) -> bool {
    from <= to && line[from..to].iter().all(|b| matches!(b, b' ' | b'\t'))
}

fn skip_blanks(line: &[u8], at: usize) -> usize {
    line[at..]
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .map_or(line.len(), |n| at + n)
}

/// Reads a time again where a line of the same look had one: the column of that number starts there. Returns it with
/// where its column ends.
pub(in crate::analysis) fn time_at(
    line: &[u8],
    start: usize,
    index: usize,
) -> Option<(time::Written, usize)> {
    if start >= line.len() {
        return None;
    }
    let cell = read_cell(line, start, index);
    cell.at.map(|written| (written, cell.end))
}

/// The columns of a line that are times: start, end and number of each. `None` where one is written like a time and is
/// none (`99:99:99`): lines of the same look need not be read alike then.
pub(in crate::analysis) fn times_of(line: &[u8]) -> Option<Vec<(usize, usize, usize)>> {
    // Ones make a time of all that is written like one: 11:11:11 on 1111-11-11.
    let ones = |byte: &u8| if byte.is_ascii_digit() { b'1' } else { *byte };
    let likely: Vec<u8> = line.iter().map(ones).collect();
    let times = |line: &[u8]| -> Vec<(usize, usize, usize)> {
        let mut cells = [None; MAX_COLUMNS];
        let count = cut(line, &mut cells);
        let cells = cells[..count].iter().flatten().enumerate();
        let times = cells.filter(|(_, cell)| cell.column == Column::Time);
        times
            .map(|(index, cell)| (cell.start, cell.end, index))
            .collect()
    };
    let found = times(line);
    (found == times(&likely)).then_some(found)
}

/// Whether a line starts with a time within its first columns.
pub fn has_time(line: &[u8]) -> bool {
    let mut cells = [None; MAX_COLUMNS];
    let count = cut_up_to(line, &mut cells, 4);
    cells[..count]
        .iter()
        .flatten()
        .any(|cell: &Cell| cell.column == Column::Time)
}

fn cut(line: &[u8], cells: &mut [Option<Cell>; MAX_COLUMNS]) -> usize {
    cut_up_to(line, cells, MAX_COLUMNS)
}

/// Cuts the start of a line into columns; returns how many.
fn cut_up_to(line: &[u8], cells: &mut [Option<Cell>; MAX_COLUMNS], limit: usize) -> usize {
    let mut at = 0;
    let mut count = 0;
    while count < limit {
        at = skip_blanks(line, at);
        if at >= line.len() {
            break;
        }
        let cell = read_cell(line, at, count);
        at = cell.end;
        cells[count] = Some(cell);
        count += 1;
    }
    count
}

fn read_cell(line: &[u8], start: usize, index: usize) -> Cell {
    let rest = &line[start..];
    let cell = |column, length: usize| Cell {
        column,
        start,
        end: start + length,
        level: None,
        at: None,
    };
    if let Some((written, length)) = time::read(rest) {
        // `12:30:00:` and `606|` keep their separator.
        let extra = usize::from(matches!(rest.get(length), Some(b':' | b'|' | b',')));
        return Cell {
            at: Some(written),
            ..cell(Column::Time, length + extra)
        };
    }
    if matches!(rest[0], b'[' | b'(' | b'<')
        && let Some(length) = bracket_length(rest)
    {
        let inner = &rest[1..length - 1];
        let tail = usize::from(rest.get(length) == Some(&b':'));
        if let Some((written, used)) = time::read(inner) {
            let level = level_behind_time(&inner[used..]);
            if level.is_some() || inner.len() - used <= 8 {
                return Cell {
                    at: Some(written),
                    level,
                    ..cell(Column::Time, length + tail)
                };
            }
        }
        if index == 0
            && let Some((_, severity)) = priority(rest)
        {
            return Cell {
                level: level::from_number(severity),
                ..cell(Column::Level, length)
            };
        }
        if let Some(found) = level::from_token(&rest[..length]) {
            return Cell {
                level: Some(found),
                ..cell(Column::Level, length + tail)
            };
        }
        if rest[0] == b'[' {
            return cell(Column::Bracket, length + tail);
        }
    }
    let end = rest
        .iter()
        .position(|b| matches!(b, b' ' | b'\t'))
        .unwrap_or(rest.len());
    let word = &rest[..end];
    if let Some(found) = klog(word) {
        return Cell {
            level: Some(found),
            ..cell(Column::Level, 5)
        };
    }
    if let Some(found) = level::from_token(word) {
        return Cell {
            level: Some(found),
            ..cell(Column::Level, end)
        };
    }
    // `ERROR:root:message`, `|ERROR|Shop.Cart|message` behind a time, `ERROR[01-05|14:50:00] message`.
    if let Some(end) = word.iter().position(|b| matches!(b, b':' | b'|' | b'['))
        && end + 1 < word.len()
        && let Some(found) = level::from_word(&word[..end])
        && word[..end].iter().all(u8::is_ascii_uppercase)
    {
        return Cell {
            level: Some(found),
            ..cell(Column::Level, end + usize::from(word[end] != b'['))
        };
    }
    if word.len() == 1 && index > 0 {
        if let Some(found) = level::from_letter(word[0]) {
            return Cell {
                level: Some(found),
                ..cell(Column::Level, 1)
            };
        }
        // redis: `1:M 27 Dec 2025 14:50:00.123 * message`.
        let found = match word[0] {
            b'*' => Some(Level::Info),
            b'#' => Some(Level::Warn),
            _ => None,
        };
        if let Some(found) = found {
            return Cell {
                level: Some(found),
                ..cell(Column::Level, 1)
            };
        }
    }
    let column = if word
        .iter()
        .all(|b| matches!(b, b'-' | b'|' | b':' | b'*' | b'.' | b'='))
    {
        Column::Separator
    } else if word.iter().all(u8::is_ascii_digit) {
        Column::Number
    } else if is_program(word) {
        Column::Program
    } else {
        Column::Word
    };
    cell(column, end)
}

/// The priority that syslog puts in front of a line: of `<11>` its digits, and the severity 3.
pub(in crate::analysis) fn priority(line: &[u8]) -> Option<(&[u8], u32)> {
    let end = memchr::memchr(b'>', &line[..line.len().min(5)])?;
    let digits = line[..end].strip_prefix(b"<")?;
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number < 192).then_some((digits, number % 8))
}

/// The level that follows a time inside of its brackets: `[14:50:00 ERR]`, `[2025-12-27T14:50:00Z ERROR shop]`,
/// `[2025-12-27 14:50:00,123: ERROR/MainProcess]`.
fn level_behind_time(rest: &[u8]) -> Option<Level> {
    let rest = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")?;
    let end = rest
        .iter()
        .position(|b| !b.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let word = &rest[..end];
    let is_upper = word.iter().all(u8::is_ascii_uppercase);
    let follows = matches!(rest.get(end), None | Some(b' ' | b'/'));
    (is_upper && follows)
        .then(|| level::from_word(word))
        .flatten()
}

/// `I1227` of klog, which is a level glued to month and day; the clock follows as a word of its own.
fn klog(word: &[u8]) -> Option<Level> {
    let found = level::from_letter(*word.first()?)?;
    (word.len() == 5 && word[1..].iter().all(u8::is_ascii_digit)).then_some(found)
}

fn is_program(word: &[u8]) -> bool {
    let Some(word) = word.strip_suffix(b":") else {
        return false;
    };
    let Some(word) = word.strip_suffix(b"]") else {
        return false;
    };
    // `sshd[812]:`, and Heroku's `app[web.1]:`.
    let Some(open) = memchr::memrchr(b'[', word) else {
        return false;
    };
    let inner = &word[open + 1..];
    let is_id = inner
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    open > 0 && is_id && inner.last().is_some_and(u8::is_ascii_digit)
}

/// The length of a bracketed group with its brackets, nested ones included; at most 400 bytes.
fn bracket_length(text: &[u8]) -> Option<usize> {
    let (open, close) = match text[0] {
        b'[' => (b'[', b']'),
        b'(' => (b'(', b')'),
        _ => (b'<', b'>'),
    };
    let mut depth = 0;
    for (at, byte) in text.iter().take(400).enumerate() {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
