//! Twenty machines in one console: `cargo bench --bench hosts [-- [HOSTS] [list]]`; with `list` only the time until the list is
//! whole.
//!
//! One engine with ten services stands behind twenty sshd on loopback addresses, each a machine of its own to the console.
//! Measured are the time until every service of every machine is on the screen, and then, left alone, CPU and memory of the
//! console, with the ssh masters told apart. Goals: the whole list within 3 s, at most 1 % of a core, at most 150 MB.
//!
//! Then keys are pressed while the console follows a log of a hundred lines a second over a link of 256 kbit/s with 300 ms there
//! and back: at most 100 ms until they are on the screen.
//!
//! The other ends run on this machine too: their share of its cores is in the first number, not in the others. What ssh alone
//! takes to run `true` on all machines at once stands beside it.
//!
//! Needs Docker, Compose 2, a static busybox and sshd; what it makes is named `lastgood-bench-…` and removed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bed::Bed;
use busybox::docker;
use console::{Console, cpu, memory};

mod bed;
#[path = "../shared/busybox.rs"]
mod busybox;
mod console;
#[path = "../../tests/it/harness/proxy.rs"]
#[allow(dead_code)]
mod proxy;

const HOSTS: usize = 20;
const SERVICES: usize = 10;
const LIST_LIMIT: Duration = Duration::from_secs(3);
const CPU_LIMIT: f64 = 1.0;
const MEMORY_LIMIT: f64 = 150.0;
const KEY_LIMIT: Duration = Duration::from_millis(100);
/// Key presses that are measured.
const KEYS: usize = 40;
/// Until the console is at rest: no age is shown in seconds any more.
const SETTLE: Duration = Duration::from_secs(70);
const IDLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // Cargo adds `--bench`; without it this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("hosts: `cargo bench --bench hosts` measures");
        return ExitCode::SUCCESS;
    }
    let hosts = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let hosts = hosts.unwrap_or(HOSTS);
    let has = |words: &[&str]| docker(Path::new("/"), words).is_some();
    let has_sshd = Path::new("/usr/sbin/sshd").is_file();
    if !has(&["info"]) || !has(&["compose", "version"]) || !has_sshd {
        println!("hosts: no Docker with Compose 2, or no sshd here; nothing measured");
        return ExitCode::SUCCESS;
    }
    let bed = Bed::new(hosts);
    let bare = bed.bare();
    let mut console = Console::list(&bed);
    let listed = console.wait_for_all(&bed);
    let verdict = |is_met| if is_met { "met" } else { "MISSED" };
    println!(
        "{hosts} machines x {SERVICES} services: all on the screen in {:.2} s (at most {} s: {}), {:.1} times what ssh alone takes to run `true` there ({:.2} s)",
        listed.as_secs_f64(),
        LIST_LIMIT.as_secs(),
        verdict(listed <= LIST_LIMIT),
        listed.as_secs_f64() / bare.as_secs_f64(),
        bare.as_secs_f64()
    );
    if std::env::args().any(|argument| argument == "list") {
        console.end();
        return match listed <= LIST_LIMIT {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    std::thread::sleep(SETTLE);
    let masters = bed.masters();
    let before = (cpu(&[console.process]), cpu(&masters));
    std::thread::sleep(IDLE);
    let spent = |before: f64, now: f64| (now - before) / IDLE.as_secs_f64() * 100.0;
    let own = spent(before.0, cpu(&[console.process]));
    let of_masters = spent(before.1, cpu(&masters));
    let (memory, shared) = (memory(&[console.process]), memory(&masters));
    console.end();
    let is_met = [
        listed <= LIST_LIMIT,
        own <= CPU_LIMIT,
        memory <= MEMORY_LIMIT,
    ];
    println!(
        "left alone: {own:.2} % of a core (at most {CPU_LIMIT} %: {}), its {} ssh masters {of_masters:.2} %",
        verdict(is_met[1]),
        masters.len()
    );
    println!(
        "memory: {memory:.1} MB (at most {MEMORY_LIMIT} MB: {}), its ssh masters {shared:.1} MB",
        verdict(is_met[2])
    );
    let key = keys(&bed);
    println!(
        "keys over a link that is slow and busy: 95 of 100 on the screen within {} ms (at most {} ms: {})",
        key.as_millis(),
        KEY_LIMIT.as_millis(),
        verdict(key <= KEY_LIMIT)
    );
    match is_met.iter().all(|is_met| *is_met) && key <= KEY_LIMIT {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// How long 95 of 100 keys take to the screen while a slow link is busy.
fn keys(bed: &Bed) -> Duration {
    let folder = bed.far();
    let mut console = Console::start(bed, &folder, 40, &["tui"]);
    console.typed(b"", |text| text.contains("loud line"));
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..KEYS / 2 {
        took.push(console.typed(b"?", |text| text.contains(" Keys ")));
        took.push(console.typed(b"\x1b", |text| !text.contains(" Keys ")));
    }
    console.end();
    took.sort();
    took[took.len() * 95 / 100]
}
