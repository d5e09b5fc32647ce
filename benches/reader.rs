//! How fast a container's log is read, against what the engine gives at most:
//! `cargo bench --bench reader -- CONTAINER [LINES_TO_FOLLOW]`.
//!
//! The log of an existing container is read whole, in turns: its raw answer, thrown away as it comes, and through
//! `runtime::read_logs`, where lines are counted. With a number, so many lines are followed instead, and the CPU
//! time of this process alone is told for each second of it.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use lastgood::domain::log::{LogEvent, LogRequest};
use lastgood::domain::service::Service;
use lastgood::domain::settings::ServiceSettings;
use lastgood::host::Host;
use lastgood::runtime;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

const ROUNDS: usize = 3;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let Some(container) = arguments.first() else {
        println!("reader: name a container whose log shall be read; nothing measured");
        return;
    };
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let service = tokio.block_on(find(container));
    if let Some(lines) = arguments.get(1) {
        let lines = lines.parse().unwrap();
        tokio.block_on(follow(service, lines));
        return;
    }
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let bytes = ceiling(container);
        let ceiling = begun.elapsed();
        let (begun, cpu) = (Instant::now(), cpu_time());
        let lines = tokio.block_on(read(service.clone()));
        let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        let rate = |took: Duration| lines as f64 / took.as_secs_f64();
        println!(
            "{lines} lines, {bytes} bytes: engine {:.0}/s, reader {:.0}/s ({:.2} of it), {:.2} µs of CPU a line",
            rate(ceiling),
            rate(took),
            ceiling.as_secs_f64() / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / lines as f64,
        );
    }
}

async fn find(container: &str) -> Service {
    let inventory = runtime::discover(&Host::Local, &[], None).await;
    let mut services = inventory.services.into_iter();
    services
        .find(|s| s.id.name == container)
        .unwrap_or_else(|| panic!("no container {container}"))
}

/// Reads the engine's answer and looks at nothing.
fn ceiling(container: &str) -> usize {
    let mut stream = UnixStream::connect("/var/run/docker.sock").unwrap();
    let path = format!("/containers/{container}/logs?stdout=1&stderr=1&timestamps=1");
    let request = format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return bytes,
            size => bytes += size,
        }
    }
}

/// Reads in a task of its own, as the product does: the thread that waits for the socket reads it too.
fn start(service: Service, request: LogRequest) -> (Receiver<LogEvent>, JoinHandle<()>) {
    let (to, from) = tokio::sync::mpsc::channel(16);
    let reading = tokio::spawn(async move {
        let settings = ServiceSettings::default();
        runtime::read_logs(&Host::Local, &service, &settings, &request, to)
            .await
            .unwrap();
    });
    (from, reading)
}

async fn read(service: Service) -> usize {
    let (mut from, reading) = start(service, LogRequest::default());
    let mut lines = 0;
    while let Some(event) = from.recv().await {
        if let LogEvent::Block(block) = event {
            lines += block.lines.len();
        }
    }
    reading.await.unwrap();
    lines
}

async fn follow(service: Service, wanted: usize) {
    let request = LogRequest {
        follow: true,
        tail: Some(0),
        ..LogRequest::default()
    };
    let (mut from, reading) = start(service, request);
    let mut lines = 0;
    let mut begun = None;
    while let Some(event) = from.recv().await {
        let LogEvent::Block(block) = event else {
            continue;
        };
        let (at, cpu) = *begun.get_or_insert_with(|| (Instant::now(), cpu_time()));
        lines += block.lines.len();
        if lines >= wanted {
            let (took, cpu) = (at.elapsed(), cpu_time().saturating_sub(cpu));
            println!(
                "{lines} lines followed: {:.0}/s, {:.1} % of a core, {:.2} µs of CPU a line",
                lines as f64 / took.as_secs_f64(),
                cpu.as_secs_f64() / took.as_secs_f64() * 100.0,
                cpu.as_secs_f64() * 1e6 / lines as f64,
            );
            break;
        }
    }
    drop(from);
    reading.await.unwrap();
}

/// What this process has used so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own = stat.split(' ').next().and_then(|n| n.parse().ok());
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let all = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(all.sum::<u64>().max(own.unwrap_or(0)))
}
