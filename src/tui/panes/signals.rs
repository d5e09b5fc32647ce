//! The golden signals of the selected service: value, grade, what they were in the last minutes.
//!
//! ```text
//! ┌ 4 signals  backend ────────┐
//! │ ✖ latency p95      3.8 s   │
//! │   ▁▁▁▁▂▆▇█▇█               │
//! │ ? connections      ?       │
//! │   no exporter              │
//! └────────────────────────────┘
//! ```
//! A signal that could not be measured stands there with its reason. It is never left out, and never green.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::domain::reading::Reading;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Grade, ServiceSignals, Signal, SignalName};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::theme::Role;

/// How often the signals of the selected service are measured while the pane is on screen.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// How long after the first measurements of a service the next ones follow.
const FIRST_PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(6)];
/// A sample that is older is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(45);
/// How many samples the small history keeps: 20 minutes.
const HISTORY: usize = 80;

/// The signals of the selected service.
#[derive(Debug, Default)]
pub struct SignalsPane {
    /// What was measured.
    pub reading: Reading<ServiceSignals>,
    /// Whose signals they are.
    pub service: Option<ServiceId>,
    /// Whether a measurement is under way or planned.
    pub is_sampling: bool,
    /// When the next one is due.
    pub next_at: Option<Timestamp>,
    /// The first row that is shown.
    pub first: usize,
    taken: usize,
    history: BTreeMap<(SignalName, Option<String>), VecDeque<Option<f64>>>,
}

impl SignalsPane {
    /// Begins with another service.
    pub fn begin(&mut self, service: Option<ServiceId>) {
        *self = Self {
            service,
            ..Self::default()
        };
    }

    /// How long to wait for the next measurement. The first ones come sooner: a window that has just begun holds too
    /// few requests to say anything.
    pub fn pause(&self) -> Duration {
        FIRST_PAUSES
            .get(self.taken.wrapping_sub(1))
            .copied()
            .unwrap_or(SAMPLE_EVERY)
    }

    /// Takes a measurement over, if it is of the service that is shown.
    pub fn set(&mut self, mut signals: ServiceSignals, now: Timestamp) {
        if self.service.as_ref() != Some(&signals.id) {
            return;
        }
        // The whole service first; its routes are for those who look closer.
        signals
            .signals
            .sort_by_key(|s| (s.route.is_some(), rank(&s.signal)));
        for signal in &signals.signals {
            let key = (
                signal.signal.clone(),
                signal.route.as_ref().map(|r| r.as_str().to_owned()),
            );
            let history = self.history.entry(key).or_default();
            history.push_back(signal.value);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        self.taken += 1;
        self.reading = Reading::fresh(signals, now);
    }

    /// Measures again at once: the service runs in new instances, and those that were to be measured are gone.
    pub fn restart(&mut self) {
        self.taken = 0;
        self.is_sampling = false;
        self.next_at = None;
    }

    /// The worst grade, for the header of small screens.
    pub fn worst(&self) -> Option<&Signal> {
        self.reading
            .value()?
            .signals
            .iter()
            .filter(|s| matches!(s.grade, Grade::Warning | Grade::Critical))
            .max_by_key(|s| s.grade)
    }
}

/// The order of the golden signals: what users feel first, then what is running out.
fn rank(signal: &SignalName) -> usize {
    match signal {
        SignalName::LatencyP95 => 0,
        SignalName::ErrorRate => 1,
        SignalName::Traffic => 2,
        SignalName::Cpu => 3,
        SignalName::Memory => 4,
        SignalName::Disk => 5,
        SignalName::Connections => 6,
        SignalName::Own(_) => 7,
    }
}

/// The name of a signal for people.
pub fn name(signal: &SignalName) -> &str {
    match signal {
        SignalName::LatencyP95 => "latency p95",
        SignalName::ErrorRate => "errors",
        SignalName::Traffic => "traffic",
        SignalName::Cpu => "cpu",
        SignalName::Memory => "memory",
        SignalName::Disk => "disk",
        SignalName::Connections => "db connections",
        SignalName::Own(name) => name,
    }
}

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.signals;
    let theme = app.setup.theme;
    let mut title = Vec::new();
    if let Some(service) = &pane.service {
        title.push(Span::styled(
            format!(" {} ", format::cut(&service.name, 16)),
            theme.style(Role::Strong),
        ));
    }
    title.extend(super::age_note(app, &pane.reading));
    let inner = super::frame(app, Pane::Signals, title, frame, area);
    let signals = match &pane.reading {
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => value,
        Reading::Failed { cause, .. } => {
            super::failed(
                app,
                "Signals could not be measured",
                cause.as_str(),
                frame,
                inner,
            );
            return;
        }
        Reading::Waiting if pane.service.is_none() => {
            super::empty(app, "No service is selected.", &[], frame, inner);
            return;
        }
        Reading::Waiting => {
            super::empty(app, "Measuring…", &[], frame, inner);
            return;
        }
    };
    if signals.signals.is_empty() {
        super::empty(
            app,
            "No signals.",
            &["Neither logs nor statistics of this service could be read.".to_owned()],
            frame,
            inner,
        );
        return;
    }
    let is_stale = !pane.reading.is_fresh();
    let width = inner.width as usize;
    // The first signals get a second row, with their history or the reason why there is no value, as far as the
    // room goes; they are the ones that say most.
    let whole = signals.signals.iter().filter(|s| s.route.is_none()).count();
    let seconds = (inner.height as usize).saturating_sub(whole);
    let mut lines = Vec::new();
    for (i, signal) in signals.signals.iter().enumerate() {
        lines.push(value_row(app, signal, width, is_stale));
        if i < seconds.min(whole) {
            lines.push(second_row(app, signal, width));
        }
    }
    let height = inner.height as usize;
    let first = pane.first.min(lines.len().saturating_sub(height));
    let hidden = lines.len().saturating_sub(first + height);
    let mut lines: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    if hidden > 0
        && let Some(last) = lines.last_mut()
    {
        *last = Line::styled(
            format!(" {} {} more", theme.stale_glyph(), hidden + 1),
            theme.style(Role::Dim),
        );
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn value_row(app: &App, signal: &Signal, width: usize, is_stale: bool) -> Line<'static> {
    let theme = app.setup.theme;
    let style = if is_stale {
        theme.style(Role::Stale)
    } else {
        theme.grade(signal.grade)
    };
    let value = format::signal_value(&signal.signal, signal.value, signal.unit.as_str());
    let label = match &signal.route {
        Some(route) => format!("  {route} {}", name(&signal.signal)),
        None => name(&signal.signal).to_owned(),
    };
    let value_width = 9;
    let label_width = width.saturating_sub(3 + value_width + 1);
    Line::from(vec![
        Span::raw(" "),
        Span::styled(theme.grade_glyph(signal.grade), style),
        Span::raw(" "),
        Span::styled(format::left(&label, label_width), theme.style(Role::Text)),
        Span::styled(format::right(&value, value_width), style),
    ])
}

fn second_row(app: &App, signal: &Signal, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let room = width.saturating_sub(4);
    if signal.value.is_none() || matches!(signal.grade, Grade::Unknown) && !signal.detail.is_empty()
    {
        return Line::styled(
            format!("   {}", format::cut(signal.detail.as_str(), room)),
            theme.style(Role::Dim),
        );
    }
    Line::from(vec![
        Span::raw("   "),
        Span::styled(
            spark(app, signal, room),
            match signal.grade {
                _ if !app.signals.reading.is_fresh() => theme.style(Role::Stale),
                Grade::Ok | Grade::Unknown => theme.style(Role::Dim),
                grade => theme.grade(grade),
            },
        ),
    ])
}

/// The last samples as small bars between 0 and the largest of them; a gap where nothing was measured.
fn spark(app: &App, signal: &Signal, width: usize) -> String {
    let bars = app.setup.theme.bars();
    let key = (
        signal.signal.clone(),
        signal.route.as_ref().map(|r| r.as_str().to_owned()),
    );
    let Some(history) = app.signals.history.get(&key) else {
        return String::new();
    };
    // Against a scale on which a calm signal looks calm: 2 % CPU is no peak, nor is a steady 7 requests a second.
    let peak = history.iter().flatten().copied().fold(0.0, f64::max);
    let top = match signal.signal {
        SignalName::LatencyP95 => peak.max(1000.0),
        SignalName::ErrorRate => peak.max(0.05),
        SignalName::Cpu | SignalName::Memory | SignalName::Disk | SignalName::Connections => {
            peak.max(1.0)
        }
        SignalName::Traffic | SignalName::Own(_) => peak * 1.5,
    };
    history
        .iter()
        .skip(history.len().saturating_sub(width))
        .map(|value| match value {
            None => ' ',
            Some(_) if top <= 0.0 => bars[0],
            Some(v) => bars[((v / top * 7.0).round() as usize).min(7)],
        })
        .collect()
}
