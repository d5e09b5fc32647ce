//! A part of a log that is asked for again: page by page, each line once.

use crate::harness::{Docker, missing, unique};
use jiff::Timestamp;
use lastgood::domain::log::{LogBlock, LogPage, PageBorder, PageRequest};
use lastgood::domain::service::Service;
use lastgood::domain::settings::ServiceSettings;
use lastgood::host::Host;
use lastgood::runtime;
use std::fmt::Write;

const LINES: usize = 20_000;
const PAGE: u64 = 500;

/// A line that is held: its time and its number.
type Held = (Timestamp, usize);

#[test]
fn pages_backward_and_forward_hold_every_line_once() {
    if missing(&["docker", "busybox", "root"]) {
        return;
    }
    let name = unique("pages");
    let mut docker = Docker::default();
    let image = format!("{name}:1");
    docker.image(&image, "true");
    let container = docker.start("pages", &image, &[]);
    docker.must(&["wait", &container]);
    // No process can be told to write lines that share a time, so the log is written as its driver would have.
    let path = docker.must(&["inspect", "-f", "{{.LogPath}}", &container]);
    std::fs::write(path, log_with_bursts()).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let held = runtime.block_on(async {
        let service = find(&container).await;
        let mut held: Vec<Held> = Vec::new();
        loop {
            let oldest = held.first().map(|line| line.0);
            // Nothing is held at first: all lines are older than the end of time.
            let at = oldest.unwrap_or("2030-01-01T00:00:00Z".parse().unwrap());
            let same = held.iter().filter(|line| line.0 == at).count() as u64;
            let border = PageBorder::Time {
                at,
                same,
                newer: held.len() as u64 - same,
            };
            let page = ask(&service, border, true).await;
            let lines = lines_of(&page);
            assert!(lines.len() as u64 <= PAGE);
            assert!(page.is_edge || lines.len() as u64 == PAGE);
            held.splice(0..0, lines);
            if page.is_edge {
                break;
            }
        }
        held
    });
    assert_all(&held);

    let forward = runtime.block_on(async {
        let service = find(&container).await;
        let mut read = vec![held[0]];
        loop {
            let at = read[read.len() - 1].0;
            let same = read.iter().filter(|line| line.0 == at).count() as u64;
            let border = PageBorder::Time {
                at,
                same,
                newer: (LINES - read.len()) as u64,
            };
            let page = ask(&service, border, false).await;
            read.extend(lines_of(&page));
            if page.is_edge {
                return read;
            }
        }
    });
    assert_all(&forward);
}

/// `{"log":"17\n","stream":"stdout","time":"…"}`: up to seven lines in a row share their time, and a line may be a
/// little older than the one before it.
fn log_with_bursts() -> String {
    let mut text = String::new();
    let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for number in 1..=LINES {
        if number % 7 == number / 7 % 7 {
            at += std::time::Duration::from_micros(40 + (number % 5) as u64 * 300_000);
        }
        let is_early = number % 11 == 0;
        let early = std::time::Duration::from_micros(u64::from(is_early) * 25);
        let stream = if is_early { "stderr" } else { "stdout" };
        let at = at - early;
        let _ = writeln!(
            text,
            "{{\"log\":\"{number}\\n\",\"stream\":\"{stream}\",\"time\":\"{at:.9}\"}}"
        );
    }
    text
}

async fn find(container: &str) -> Service {
    let inventory = runtime::discover(&Host::Local, &[], None).await;
    let mut services = inventory.services.into_iter();
    services.find(|s| s.id.name == container).unwrap()
}

async fn ask(service: &Service, border: PageBorder, is_backward: bool) -> LogPage {
    let request = PageRequest {
        border,
        is_backward,
        lines: PAGE,
    };
    let settings = ServiceSettings::default();
    runtime::read_page(&Host::Local, service, &settings, &request)
        .await
        .unwrap()
}

fn lines_of(page: &LogPage) -> Vec<Held> {
    let lines = page.blocks.iter().flat_map(LogBlock::iter);
    lines
        .map(|(line, text)| {
            let number = std::str::from_utf8(text).unwrap().parse().unwrap();
            (line.at.unwrap(), number)
        })
        .collect()
}

fn assert_all(held: &[Held]) {
    let mut pairs = held.iter().zip(1..);
    let wrong = pairs.find(|(line, wanted)| line.1 != *wanted);
    assert_eq!(
        (held.len(), wrong),
        (LINES, None),
        "lines lost, doubled or moved"
    );
}
