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
//! A signal that could not be measured stands there with its reason. It is never left out, and never green. One that is older
//! than twice the interval keeps its value and has no grade. Alerts that fire stand above, what the machine is short of below.
//! The bars reach from the checkpoint to now, with a mark where the deploy was; without a checkpoint they are the last looks.
//! One key shows all services as a table in its place.

pub mod around;
pub mod board;
pub mod gauge;
pub mod heat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::domain::alert::Alert;
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Grade, Limits, ServiceSignals, Signal, SignalName};
use crate::store::signals::{KEPT, Point};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::theme::Role;

use board::Board;
use gauge::{second_row, value_row};

/// How long after the first measurements of a service the next ones follow.
const FIRST_PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(6)];
/// How many samples the small history keeps: 20 minutes.
const HISTORY: usize = 80;
/// Points that are kept for a day lie so far apart.
const SPACING: SignedDuration = SignedDuration::from_secs(55);
/// Kept points that lie further apart have a gap between them, a bar a minute.
const GAP: Duration = Duration::from_secs(150);

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
    /// Alerts and the machine.
    pub around: Around,
    /// The signals of all services, where they are shown.
    pub board: Board,
    /// What was measured of the service in the last day, a point a minute, before what is in `recent`.
    pub day: VecDeque<Point>,
    /// What was measured last.
    recent: VecDeque<Point>,
    taken: usize,
    history: BTreeMap<(SignalName, Option<String>), VecDeque<Option<f64>>>,
}

/// What is measured and known beside the selected service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Around {
    /// Whose history it is.
    pub service: Option<ServiceId>,
    /// The signals of its machine; `None` where that is not looked at.
    pub machine: Option<ServiceSignals>,
    /// What the watch knows.
    pub alerts: Vec<Alert>,
    /// Why the alerts could not be read.
    pub unread: Option<SafeText>,
    /// What was kept of the service; only with the first look at it.
    pub kept: Vec<Point>,
    /// The limits that hold for the service.
    pub limits: Limits,
    /// When the newest whole checkpoint that has it was made.
    pub since: Option<Timestamp>,
    /// Its signals at that.
    pub before: Vec<Signal>,
}

impl SignalsPane {
    /// Begins with another service. Alerts are of all services.
    pub fn begin(&mut self, service: Option<ServiceId>) {
        let around = Around {
            alerts: std::mem::take(&mut self.around.alerts),
            unread: self.around.unread.take(),
            ..Around::default()
        };
        *self = Self {
            service,
            around,
            board: std::mem::take(&mut self.board),
            ..Self::default()
        };
    }

    /// Whether nothing of the selected service was measured yet.
    pub fn is_new(&self) -> bool {
        self.taken == 0
    }

    /// Takes over what stands around the selected service; what was kept of it goes in front of what was measured.
    pub fn surround(&mut self, mut around: Around) {
        let kept = std::mem::take(&mut around.kept);
        if around.service == self.service {
            self.recall(&kept);
            if !kept.is_empty() {
                self.day = kept.into();
            }
        } else {
            around.machine = None;
            around.since = None;
            around.before.clear();
        }
        self.around = around;
    }

    fn recall(&mut self, kept: &[Point]) {
        let mut past: BTreeMap<(SignalName, Option<String>), VecDeque<Option<f64>>> =
            BTreeMap::new();
        let names: BTreeSet<&SignalName> = kept.iter().flat_map(|p| p.values.keys()).collect();
        for name in names {
            let bars = past.entry((name.clone(), None)).or_default();
            let mut last: Option<Timestamp> = None;
            for point in kept {
                let apart = last.map(|last| point.at.duration_since(last));
                let apart = apart.and_then(|apart| Duration::try_from(apart).ok());
                if let Some(apart) = apart.filter(|apart| *apart > GAP) {
                    let minutes = usize::try_from(apart.as_secs() / 60).unwrap_or(HISTORY);
                    bars.extend(std::iter::repeat_n(None, minutes.min(HISTORY)));
                }
                bars.push_back(point.values.get(name).copied());
                last = Some(point.at);
            }
        }
        for (key, mut bars) in past {
            let measured = self.history.entry(key).or_default();
            bars.append(measured);
            while bars.len() > HISTORY {
                bars.pop_front();
            }
            *measured = bars;
        }
    }

    /// The alert that is taken next: the most urgent one that fires and that nobody has.
    pub fn untaken(&self) -> Option<&Alert> {
        let firing = around::firing(self.alerts());
        firing
            .into_iter()
            .find(|alert| alert.acknowledged.is_none())
    }

    /// What the watch knows, as of the newest look at it.
    pub fn alerts(&self) -> &[Alert] {
        match self.board.reading.value() {
            Some(all) if self.board.is_shown => &all.alerts,
            _ => &self.around.alerts,
        }
    }

    /// Takes over who has what: both views show it at once.
    pub fn set_alerts(&mut self, alerts: Vec<Alert>) {
        if let Reading::Fresh { value, .. } | Reading::Stale { value, .. } = &mut self.board.reading
        {
            value.alerts.clone_from(&alerts);
        }
        self.around.alerts = alerts;
    }

    /// How long to wait for the next measurement. The first ones come sooner: a window that has just begun holds too
    /// few requests to say anything.
    pub fn pause(&self, usual: Duration) -> Duration {
        let first = FIRST_PAUSES.get(self.taken.wrapping_sub(1));
        first.map_or(usual, |first| usual.min(*first))
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
        let whole = signals.signals.iter().filter(|s| s.route.is_none());
        let values = whole.filter_map(|s| Some((s.signal.clone(), s.value?)));
        self.recent.push_back(Point {
            at: now,
            values: values.collect(),
        });
        self.forget(now);
        self.taken += 1;
        self.reading = Reading::fresh(signals, now);
    }

    /// Of what is older a point a minute is enough, and a day of those.
    fn forget(&mut self, now: Timestamp) {
        if self.recent.len() > HISTORY
            && let Some(point) = self.recent.pop_front()
        {
            let last = self.day.back().map(|last| last.at);
            if last.is_none_or(|last| point.at.duration_since(last) >= SPACING) {
                self.day.push_back(point);
            }
        }
        let is_old = |point: &Point| now.duration_since(point.at) > KEPT;
        while self.day.front().is_some_and(is_old) {
            self.day.pop_front();
        }
    }

    /// What was measured of a signal of the whole service in the last day, the oldest first.
    fn course(&self, signal: &SignalName) -> impl Iterator<Item = (Timestamp, f64)> {
        let points = self.day.iter().chain(&self.recent);
        points.filter_map(|point| Some((point.at, *point.values.get(signal)?)))
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
    if pane.board.is_shown {
        title.push(Span::styled(" all services ", theme.style(Role::Strong)));
        title.extend(super::age_note(app, &pane.board.reading));
    } else {
        if let Some(service) = &pane.service {
            title.push(Span::styled(
                format!(" {} ", format::cut(&service.name, 16)),
                theme.style(Role::Strong),
            ));
        }
        title.extend(super::age_note(app, &pane.reading));
    }
    let mut inner = super::frame(app, Pane::Signals, title, frame, area);
    // Whatever else could not be had: what fires is told.
    let mut alerts = around::alert_rows(app, inner.width as usize);
    alerts.truncate((inner.height as usize).saturating_sub(3));
    let [above, below] = Layout::vertical([
        Constraint::Length(u16::try_from(alerts.len()).unwrap_or(0)),
        Constraint::Min(0),
    ])
    .areas(inner);
    frame.render_widget(Paragraph::new(alerts), above);
    inner = below;
    if pane.board.is_shown {
        heat::draw(app, frame, inner);
        return;
    }
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
    let machine = around::machine_rows(app, width, is_stale);
    let seconds = (inner.height as usize).saturating_sub(whole + machine.len());
    let mut lines = Vec::new();
    for (i, signal) in signals.signals.iter().enumerate() {
        lines.push(value_row(app, signal, width, is_stale));
        if i < seconds.min(whole) {
            lines.push(second_row(app, signal, width));
        }
    }
    lines.extend(machine);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
