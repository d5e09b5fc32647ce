//! `lastgood services`: every service found.
//!
//! ```text
//!   SERVICE       RUNTIME  RELEASE      STATE    HEALTH   UP      RESTARTS  CPU    MEMORY
//! ✔ shop/backend  compose  backend:1.5  running  healthy  2h 3m   0         3 %    12.3 MiB
//! ✖ shop/worker   compose  worker:1.5   starting          -       14        -      -
//!     crash loop: restarted 14 times
//! ```

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::service::{Inventory, Runtime, Service, ServiceState, Unreachable};
use crate::ops::{Context, services};

/// `lastgood services`: every service found.
#[derive(Debug, Clone, Args)]
pub struct ServicesArgs {}

/// Runs it. Ends with 4 where nothing could be read at all.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &ServicesArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let inventory = services::look_closely(ctx).await;
    if out.is_json() {
        out.json("services", &Document::of(&inventory))?;
    } else {
        print(&inventory, out)?;
    }
    let nothing_read = inventory.services.is_empty() && !inventory.unreachable.is_empty();
    Ok(if nothing_read {
        Exit::Failed
    } else {
        Exit::Done
    })
}

#[derive(Serialize)]
struct Document<'a> {
    services: Vec<Row<'a>>,
    unreachable: &'a [Unreachable],
}

/// A service with the parts of its id, so that scripts need not take it apart.
#[derive(Serialize)]
struct Row<'a> {
    host: &'a HostName,
    group: &'a str,
    name: &'a str,
    #[serde(flatten)]
    service: &'a Service,
}

impl<'a> Document<'a> {
    fn of(inventory: &'a Inventory) -> Self {
        let row = |service: &'a Service| Row {
            host: &service.id.host,
            group: &service.id.group,
            name: &service.id.name,
            service,
        };
        Self {
            services: inventory.services.iter().map(row).collect(),
            unreachable: &inventory.unreachable,
        }
    }
}

fn print(inventory: &Inventory, out: &mut Output) -> Result<(), Stop> {
    if inventory.services.is_empty() {
        out.line("No services found.")?;
        if inventory.unreachable.is_empty() {
            out.line("  Docker  reachable, no containers")?;
        }
        print_unreachable(&inventory.unreachable, out)?;
        out.line("  SSH     another machine:  lastgood --host user@server services")?;
        return Ok(());
    }
    let head = [
        "", "SERVICE", "RUNTIME", "RELEASE", "STATE", "HEALTH", "UP", "RESTARTS", "CPU", "MEMORY",
    ];
    let rows: Vec<Vec<String>> = inventory.services.iter().map(row).collect();
    let lines = columns(&head, &rows);
    out.line(out.paint(Paint::Dim, &lines[0]))?;
    for (service, line) in inventory.services.iter().zip(&lines[1..]) {
        match grade(service) {
            Grade::Good => out.line(line)?,
            Grade::Warning => out.line(out.paint(Paint::Warning, line))?,
            Grade::Bad => out.line(out.paint(Paint::Bad, line))?,
        }
        for problem in &service.problems {
            out.line(format_args!("    {problem}"))?;
        }
    }
    print_unreachable(&inventory.unreachable, out)
}

/// Says what could not be read, why, and what to do.
pub(super) fn print_unreachable(unreachable: &[Unreachable], out: &mut Output) -> Result<(), Stop> {
    for one in unreachable {
        let mut name = one.runtime.as_str().to_owned();
        match one.runtime {
            Runtime::Pm2 => name.make_ascii_uppercase(),
            _ => name[..1].make_ascii_uppercase(),
        }
        if !one.host.is_local() {
            name = format!("{}: {name}", one.host);
        }
        let line = format!("  {name:<6}  unreachable: {}", one.error);
        out.line(out.paint(Paint::Bad, &line))?;
        out.line(format_args!("  {:<6}  {}", "", one.fix))?;
    }
    Ok(())
}

enum Grade {
    Good,
    Warning,
    Bad,
}

fn grade(service: &Service) -> Grade {
    let is_bad = service.state == ServiceState::Failed
        || service.crash_loop == Some(true)
        || service.health == Some(HealthState::Unhealthy);
    if is_bad {
        return Grade::Bad;
    }
    let is_good = service.state == ServiceState::Running
        && service.health.is_none_or(|h| h == HealthState::Healthy)
        && service.problems.is_empty();
    if is_good { Grade::Good } else { Grade::Warning }
}

fn row(service: &Service) -> Vec<String> {
    let glyph = match grade(service) {
        Grade::Good => "✔",
        Grade::Warning => "▲",
        Grade::Bad => "✖",
    };
    let unknown = || "-".to_owned();
    let state = match service.instances.len() {
        0 | 1 => service.state.as_str().to_owned(),
        n => {
            let running = service
                .instances
                .iter()
                .filter(|i| i.state == ServiceState::Running)
                .count();
            format!("{} {running}/{n}", service.state.as_str())
        }
    };
    vec![
        glyph.to_owned(),
        service.id.to_string(),
        service.runtime.as_str().to_owned(),
        service.release.to_string(),
        state,
        service
            .health
            .map_or_else(unknown, |h| h.as_str().to_owned()),
        service.uptime_ms.map_or_else(unknown, span),
        service.restarts.to_string(),
        service
            .cpu
            .map_or_else(unknown, |c| format!("{:.0} %", c * 100.0)),
        service.memory_bytes.map_or_else(unknown, bytes),
    ]
}

/// `4s`, `12m 3s`, `2h 3m`, `5d 2h`: the two largest parts.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `512 B`, `12.3 MiB`.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{n} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// Aligns rows under their heads by what the terminal draws, not by bytes. The first line is the head; trailing
/// spaces are left out.
pub(super) fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = head.iter().map(|h| h.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let align = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.width()));
            line.push_str(if *width <= 1 { " " } else { "  " });
        }
        line.truncate(line.trim_end().len());
        line
    };
    std::iter::once(align(&mut head.iter().copied()))
        .chain(
            rows.iter()
                .map(|row| align(&mut row.iter().map(String::as_str))),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let lines = columns(
            &["", "NAME", "N"],
            &[
                vec!["✔".into(), "接続".into(), "1".into()],
                vec!["✖".into(), "a".into(), "12".into()],
            ],
        );
        assert_eq!(lines, ["  NAME  N", "✔ 接続  1", "✖ a     12"]);
    }

    #[test]
    fn spans_and_sizes_read_at_a_glance() {
        assert_eq!(
            [span(999), span(61_000), span(7_380_000), span(180_000_000)],
            ["0s", "1m 1s", "2h 3m", "2d 2h"]
        );
        assert_eq!([bytes(512), bytes(12_897_485)], ["512 B", "12.3 MiB"]);
    }
}
