//! Runbooks as plain text, for the terminal: both front ends print these lines.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::runbook::run::ItemRun;
use crate::domain::runbook::{Block, Item, ItemState, RunState, Runbook};
use crate::domain::safe_text::SafeText;
use crate::store::runbook::Listing;

/// The table of `runbook list`.
pub fn listing_lines(listing: &Listing) -> Vec<SafeText> {
    let width = listing
        .runbooks
        .iter()
        .map(|s| s.runbook.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut lines = vec![format!("{:<width$}  items  automatic  title", "name")];
    for source in &listing.runbooks {
        let runbook = &source.runbook;
        let own = source
            .path
            .as_ref()
            .map(|path| format!("  ({})", path.display()))
            .unwrap_or_default();
        lines.push(format!(
            "{:<width$}  {:>5}  {:>9}  {}{own}",
            runbook.name,
            runbook.items().count(),
            runbook.automatic_count(),
            runbook.title
        ));
    }
    safe(&lines)
}

/// A whole runbook to read: prose as it stands, items with boxes and numbers, their work below them.
pub fn runbook_lines(runbook: &Runbook) -> Vec<SafeText> {
    let mut lines = vec![runbook.title.to_string(), underline(&runbook.title, "=")];
    push_notes(&mut lines, &runbook.intro, "");
    for phase in &runbook.phases {
        lines.push(String::new());
        if !phase.title.is_empty() {
            lines.push(phase.title.to_string());
            lines.push(underline(&phase.title, "-"));
        }
        push_notes(&mut lines, &phase.notes, "");
        for item in &phase.items {
            let indent = "  ".repeat(item.depth);
            let facts = facts_of(item, None, None)
                .map(|facts| format!("  ({facts})"))
                .unwrap_or_default();
            lines.push(format!(
                "{indent}[ ] {:>2}  {}{facts}",
                item.number, item.text
            ));
            let below = format!("{indent}        ");
            push_notes(&mut lines, &item.notes, &below);
            for block in &item.blocks {
                match block {
                    Block::Run(script) => push_script(&mut lines, &below, "run", script),
                    Block::Undo(script) => push_script(&mut lines, &below, "undo", script),
                    Block::Probe(probe) => lines.push(format!("{below}probe  {probe}")),
                }
            }
        }
    }
    safe(&lines)
}

/// A run as it stands: every item with its mark, time, owner and evidence.
pub fn status_lines(state: &RunState, now: Timestamp, zone: &TimeZone) -> Vec<SafeText> {
    let (resolved, count) = state.progress();
    let failed = state
        .items
        .iter()
        .filter(|item| item.state == ItemState::Failed)
        .count();
    let mut summary = format!("{resolved} of {count} resolved");
    if failed > 0 {
        summary.push_str(&format!(", {failed} failed"));
    }
    let late = state
        .items()
        .filter(|(item, run)| state.is_late(item, run, now))
        .count();
    if late > 0 {
        summary.push_str(&format!(", {late} late"));
    }
    let mut lines = vec![
        format!("{}   run {}", state.runbook.title, state.run),
        format!(
            "started {} by {}   {}   {summary}",
            clock(state.started_at, now, zone),
            state.started_by,
            t_now(state.t_at, now)
        ),
    ];
    if !state.lost.is_empty() {
        lines.push(format!(
            "a crash tore {} line(s) off the journal: lastgood runbook export shows them",
            state.lost.len()
        ));
    }
    for phase in &state.runbook.phases {
        lines.push(String::new());
        if !phase.title.is_empty() {
            lines.push(phase.title.to_string());
        }
        for item in &phase.items {
            if let Some(run) = item
                .number
                .checked_sub(1)
                .and_then(|index| state.items.get(index))
            {
                push_item(&mut lines, state, item, run, now, zone);
            }
        }
    }
    safe(&lines)
}

fn push_item(
    lines: &mut Vec<String>,
    state: &RunState,
    item: &Item,
    run: &ItemRun,
    now: Timestamp,
    zone: &TimeZone,
) {
    let indent = "  ".repeat(item.depth);
    let late = state
        .is_late(item, run, now)
        .then(|| state.due_at(item))
        .flatten();
    let late = late.map(|due| format!("late {}", span_words(now.duration_since(due).as_secs())));
    let facts = facts_of(
        item,
        state
            .due_at(item)
            .map(|due| clock(due, now, zone))
            .as_deref(),
        late.as_deref(),
    );
    let facts = facts
        .map(|facts| format!("  ({facts})"))
        .unwrap_or_default();
    lines.push(format!(
        "{indent}{} {:>2}  {}{facts}",
        run.state.mark(),
        item.number,
        item.text
    ));
    let below = format!("{indent}        ");
    let who = match (&run.by, run.at) {
        (Some(by), Some(at)) if run.state != ItemState::Open => Some(format!(
            "{} by {by} {}",
            run.state.as_str(),
            clock(at, now, zone)
        )),
        _ => None,
    };
    match (who, &run.evidence) {
        (Some(who), Some(evidence)) => lines.push(format!("{below}{who}: {evidence}")),
        (Some(who), None) => lines.push(format!("{below}{who}")),
        (None, Some(evidence)) => lines.push(format!("{below}not known: {evidence}")),
        (None, None) => {}
    }
    for comment in &run.comments {
        lines.push(format!(
            "{below}\u{201c}{}\u{201d} {} {}",
            comment.text,
            comment.by,
            clock(comment.at, now, zone)
        ));
    }
    if run.state == ItemState::Failed {
        for script in item.undo_scripts() {
            push_script(lines, &below, "undo", script);
        }
    }
}

/// `devops, T+5m 15:05, automatic, late 3 min`; `None` when there is nothing to say.
fn facts_of(item: &Item, due_clock: Option<&str>, late: Option<&str>) -> Option<String> {
    let due = item.due.map(|due| match due_clock {
        Some(clock) => format!("{due} {clock}"),
        None => due.to_string(),
    });
    let facts: Vec<String> = [
        item.owner.as_ref().map(ToString::to_string),
        due,
        item.is_automatic().then(|| "automatic".to_owned()),
        item.is_gate.then(|| "gate".to_owned()),
        late.map(str::to_owned),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!facts.is_empty()).then(|| facts.join(", "))
}

fn push_script(lines: &mut Vec<String>, below: &str, label: &str, script: &str) {
    for (number, line) in script.trim_end().lines().enumerate() {
        let label = if number == 0 { label } else { "" };
        lines.push(format!("{below}{label:<5}  {line}"));
    }
}

fn push_notes(lines: &mut Vec<String>, notes: &[SafeText], indent: &str) {
    lines.extend(notes.iter().map(|line| {
        if line.is_empty() {
            String::new()
        } else {
            format!("{indent}{line}")
        }
    }));
}

fn underline(title: &SafeText, sign: &str) -> String {
    sign.repeat(title.as_str().chars().count())
}

/// `T+31 min`: how far the clock of the run is.
fn t_now(t_at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(t_at).as_secs();
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("T{sign}{}", span_words(seconds.abs()))
}

/// `3 min`, `2 h 5 min`, `4 d`: as exact as it matters.
fn span_words(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The local time of day, with the date where it is another day than now's.
pub(super) fn clock(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = if at.date() == now.date() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.strftime(format).to_string()
}

fn safe(lines: &[String]) -> Vec<SafeText> {
    lines.iter().map(|line| SafeText::from_text(line)).collect()
}
