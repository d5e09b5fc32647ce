//! The numbers as one table: what was measured, what each tool needed, the goal, and whether it is met.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// A measured number, or in words why there is none: `not here`, or `not measured: ` and the cause.
pub(crate) type Reading = Result<f64, String>;

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    Seconds,
    /// Of one core.
    Percent,
    /// Millions of bytes.
    Megabytes,
    KilobytesPerSecond,
    Bytes,
    Lines,
    LinesPerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Percent => "%",
            Unit::Megabytes => "MB",
            Unit::KilobytesPerSecond => "kB/s",
            Unit::Bytes => "bytes",
            Unit::Lines => "lines",
            Unit::LinesPerSecond => "lines/s",
        }
    }

    fn show(self, value: f64) -> String {
        let digits = match self {
            Unit::Seconds => 2,
            Unit::Percent | Unit::KilobytesPerSecond | Unit::Milliseconds if value < 100.0 => 1,
            _ => 0,
        };
        format!(
            "{} {}",
            with_commas(&format!("{value:.digits$}")),
            self.name()
        )
    }
}

/// `900000` as `900,000`.
pub(crate) fn with_commas(number: &str) -> String {
    let (whole, rest) = number
        .find('.')
        .map_or((number, ""), |at| number.split_at(at));
    let mut shown = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown + rest
}

/// What lastgood is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    /// Nothing that shows in the table's digits.
    Zero,
    /// So many times what the best of the peers needs.
    AtMostTimesBest(f64),
    /// So many times what the first of the peers needs.
    AtMostTimesFirst(f64),
    /// So many times what the first of the peers reaches.
    AtLeastTimesFirst(f64),
    /// A number to know.
    None,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Line {
    /// The letter by which the row is chosen.
    pub(crate) row: char,
    /// Whether the work was really done as it is described. Where not, the numbers are shown and prove nothing.
    pub(crate) is_sound: bool,
    pub(crate) work: String,
    pub(crate) unit: Unit,
    pub(crate) lastgood: Reading,
    pub(crate) peers: Vec<(&'static str, Reading)>,
    pub(crate) goal: Goal,
}

impl Line {
    /// What the goal is a multiple of: the first peer's number, or the best.
    fn measure(&self) -> Option<f64> {
        let mut numbers = self
            .peers
            .iter()
            .map(|(_, reading)| reading.as_ref().ok().copied());
        match self.goal {
            Goal::AtLeastTimesFirst(_) | Goal::AtMostTimesFirst(_) => numbers.next().flatten(),
            _ => numbers.flatten().min_by(f64::total_cmp),
        }
    }

    fn goal_text(&self) -> String {
        let first = self.peers.first().map_or("nothing", |(name, _)| name);
        match self.goal {
            Goal::AtMost(limit) => format!("≤ {limit} {}", self.unit.name()),
            Goal::Zero => format!("0 {}", self.unit.name()),
            Goal::AtMostTimesBest(factor) if self.peers.len() > 1 => {
                format!("≤ {factor} × the best")
            }
            Goal::AtMostTimesBest(factor) | Goal::AtMostTimesFirst(factor) => {
                format!("≤ {factor} × {first}")
            }
            Goal::AtLeastTimesFirst(factor) => format!("≥ {factor} × {first}"),
            Goal::None => "—".to_owned(),
        }
    }

    /// `met`, `not met`, or `not measured` where a number that the goal needs is missing.
    fn verdict(&self) -> &'static str {
        let is_met = self
            .lastgood
            .as_ref()
            .ok()
            .and_then(|value| match self.goal {
                Goal::AtMost(limit) => Some(*value <= limit),
                Goal::Zero => Some(*value < 0.05),
                Goal::AtMostTimesBest(factor) | Goal::AtMostTimesFirst(factor) => {
                    Some(*value <= self.measure()? * factor)
                }
                Goal::AtLeastTimesFirst(factor) => Some(*value >= self.measure()? * factor),
                Goal::None => None,
            });
        match (self.goal, is_met) {
            (Goal::None, _) => "—",
            _ if !self.is_sound => "not measured",
            (_, Some(true)) => "met",
            (_, Some(false)) => "not met",
            (_, None) => "not measured",
        }
    }

    fn cell(&self, reading: &Reading) -> String {
        match reading {
            Ok(value) => self.unit.show(*value),
            Err(words) => words.split(':').next().unwrap_or_default().to_owned(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let peers: Vec<String> = self
            .peers
            .iter()
            .map(|(name, reading)| format!("{name} {}", self.cell(reading)))
            .collect();
        [
            self.row.to_string(),
            self.work.clone(),
            self.cell(&self.lastgood),
            peers.join(" · "),
            self.goal_text(),
            self.verdict().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let reading = |reading: &Reading| match reading {
            Ok(value) => json!(value),
            Err(words) => json!(words),
        };
        let peers: serde_json::Map<String, Value> = self
            .peers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), reading(value)))
            .collect();
        json!({
            "row": self.row.to_string(),
            "work": self.work,
            "unit": self.unit.name(),
            "lastgood": reading(&self.lastgood),
            "peers": peers,
            "goal": self.goal_text(),
            "verdict": self.verdict(),
        })
    }
}

/// The middle of several runs; the mean of the middle two of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (
        values.get(values.len().checked_sub(1)? / 2)?,
        values.get(values.len() / 2)?,
    );
    Some(f64::midpoint(*low, *high))
}

/// Where and when, and what with.
pub(crate) struct Setting {
    machine: String,
    date: String,
    versions: Vec<String>,
    /// Others were at work on this machine when the run began.
    is_busy: bool,
}

impl Setting {
    pub(crate) fn read(versions: Vec<String>) -> Setting {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = read("/proc/meminfo");
        let kibibytes = memory.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        });
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().unwrap_or("?");
        Setting {
            is_busy: load
                .parse()
                .is_ok_and(|load: f64| load > cores as f64 / 2.0),
            machine: format!(
                "{} ({cores} cores), {:.0} GB, Linux {}; load before the run {}",
                cpu.map_or("unknown processor", |(_, name)| name),
                kibibytes.unwrap_or_default() / 1e6,
                kernel.trim(),
                load,
            ),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            versions,
        }
    }
}

/// The table as Markdown that also reads well as it is, and under it why numbers are missing.
pub(crate) fn markdown(setting: &Setting, lines: &[Line]) -> String {
    let heads = ["", "work", "lastgood", "beside it", "goal", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heads)
        .chain(lines.iter().map(Line::cells))
        .collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = format!("{}, {}\n", setting.date, setting.machine);
    let _ = writeln!(text, "{}\n", setting.versions.join(" · "));
    if setting.is_busy {
        text.push_str(
            "The machine was busy with other work: read no time and no rate from this table.\n\n",
        );
    }
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    let mut causes = causes(lines);
    causes.dedup();
    if !causes.is_empty() {
        let _ = write!(text, "\n{}\n", causes.join("\n"));
    }
    text
}

fn causes(lines: &[Line]) -> Vec<String> {
    let with_name = |line: &Line, name: &str, reading: &Reading| {
        let words = reading.as_ref().err()?;
        let (_, cause) = words.split_once(": ")?;
        Some(format!("{} {name}: {cause}", line.row))
    };
    lines
        .iter()
        .flat_map(|line| {
            let own = with_name(line, "lastgood", &line.lastgood);
            let others = line
                .peers
                .iter()
                .filter_map(|(name, reading)| with_name(line, name, reading));
            own.into_iter().chain(others).collect::<Vec<_>>()
        })
        .collect()
}

/// Writes the same as one JSON document.
pub(crate) fn write_json(path: &Path, setting: &Setting, lines: &[Line]) -> std::io::Result<()> {
    let document = json!({
        "schema": "lastgood.bench-logs/1",
        "date": setting.date,
        "machine": setting.machine,
        "versions": setting.versions,
        "rows": lines.iter().map(Line::json).collect::<Vec<_>>(),
    });
    std::fs::write(path, format!("{document:#}\n"))
}
