//! The lines that are read: made here, the same on every machine, in the mix that a busy service writes.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;

use crate::Fallible;

/// Stands in one line of about two million.
pub(crate) const RARE: &str = "ledger checksum mismatch";

/// Stands before the milliseconds since 1970 in a line that carries them.
const AT: &str = "at=";

/// A small generator of its own: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// An instant as text, `2025-12-27T14:50:01.123Z`; the date is worked out once a second.
struct Stamp {
    second: i64,
    text: Vec<u8>,
}

impl Stamp {
    fn at(&mut self, milliseconds: i64) -> &[u8] {
        let second = milliseconds.div_euclid(1000);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string().into();
        }
        let fraction = milliseconds.rem_euclid(1000);
        for (place, divisor) in [(20, 100), (21, 10), (22, 1)] {
            self.text[place] = b'0' + u8::try_from(fraction / divisor % 10).unwrap_or_default();
        }
        &self.text
    }
}

/// Makes numbered lines, one after the other.
pub(crate) struct Lines {
    dice: Dice,
    stamp: Stamp,
    /// How many numbered lines were made; the number stands at the end of each as `n=`.
    pub(crate) count: u64,
    /// Whether each line carries its time a second time, where no tool takes it for the line's time and shows it in
    /// a way of its own.
    is_timed: bool,
}

impl Lines {
    pub(crate) fn new(is_timed: bool) -> Lines {
        Lines {
            is_timed,
            dice: Dice(0x9E37_79B9_7F4A_7C15),
            stamp: Stamp {
                second: 0,
                text: Vec::new(),
            },
            count: 0,
        }
    }

    /// Adds a line. About one in a hundred is a warning or an error, one request in two hundred takes over a second.
    pub(crate) fn push(&mut self, milliseconds: i64, into: &mut Vec<u8>) {
        self.count += 1;
        let number = self.count;
        let dice = &mut self.dice;
        into.extend_from_slice(self.stamp.at(milliseconds));
        let (worker, order, ms) = (dice.roll(8), dice.roll(99_999), dice.roll(990) + 1);
        // Writing into memory cannot fail.
        let _ = match dice.roll(1000) {
            _ if number.is_multiple_of(1_999_993) => {
                write!(
                    into,
                    " ERROR [worker-{worker}] app.pay: {RARE} order={order}"
                )
            }
            0..4 => write!(
                into,
                " ERROR [worker-{worker}] app.pay: gateway timeout after {ms} ms order={order}"
            ),
            4..10 => write!(
                into,
                " WARN  [worker-{worker}] app.db: connection refused, attempt 2 of 5 pool=orders waited={ms}ms"
            ),
            10..700 => {
                let seconds = u64::from(dice.roll(200) == 0) * (1 + dice.roll(8));
                let status = [200, 200, 200, 200, 201, 304, 404]
                    [usize::try_from(dice.roll(7)).unwrap_or_default()];
                write!(
                    into,
                    " INFO  [worker-{worker}] app.api: GET /api/orders/{order} completed in {seconds}.{ms:03}s status={status}"
                )
            }
            700..850 => write!(
                into,
                " DEBUG [worker-{worker}] app.cache: hit key=orders:{order} age={ms}s size={} shard={}",
                dice.roll(65_536),
                dice.roll(16)
            ),
            _ => write!(
                into,
                " INFO  [worker-{worker}] app.jobs: job {} of queue mail finished in {ms} ms attempt=1",
                dice.roll(9_999_999)
            ),
        };
        let _ = match self.is_timed {
            true => writeln!(into, " n={number} {AT}{milliseconds}"),
            false => writeln!(into, " n={number}"),
        };
    }

    /// Adds what an exception leaves behind, without numbers.
    fn push_trace(&mut self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"Traceback (most recent call last):\n");
        for (file, function) in [("api", "handle"), ("orders", "load"), ("pay", "charge")] {
            let line = self.dice.roll(400);
            let _ = writeln!(
                into,
                "  File \"/srv/shop/{file}.py\", line {line}, in {function}"
            );
        }
        into.extend_from_slice(b"PaymentError: gateway timeout\n");
    }
}

/// Writes a log of a day, of at least `bytes` bytes; gives how many lines it has. Every fiftieth of its errors has a
/// stack trace.
pub(crate) fn write_file(path: &Path, bytes: u64) -> Fallible<u64> {
    const BLOCK: usize = 1 << 20;
    const MORNING: i64 = 1_766_793_600_000;
    let mut file = File::create(path)?;
    let mut lines = Lines::new(false);
    let mut block = Vec::with_capacity(BLOCK + 4096);
    let (mut written, mut traces) = (0, 0);
    while written < bytes {
        block.clear();
        while block.len() < BLOCK {
            let milliseconds = MORNING + i64::try_from(lines.count)? * 10;
            lines.push(milliseconds, &mut block);
            if lines.dice.roll(12_500) == 0 {
                lines.push_trace(&mut block);
                traces += 5;
            }
        }
        file.write_all(&block)?;
        written += block.len() as u64;
    }
    file.sync_all()?;
    Ok(lines.count + traces)
}

/// The newest time that a line on the screen carries, in seconds since 1970.
pub(crate) fn newest_time(screen: &str) -> Option<f64> {
    screen
        .match_indices(AT)
        .filter_map(|(at, _)| {
            screen
                .get(at + AT.len()..at + AT.len() + 13)?
                .parse::<u64>()
                .ok()
        })
        .max()
        .map(|milliseconds| milliseconds as f64 / 1e3)
}
