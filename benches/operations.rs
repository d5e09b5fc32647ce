//! What a rollback costs over the bare commands, and how soon a plan is there: `cargo bench --bench operations [-- ROUNDS]`.
//!
//! A Compose project of one service is deployed badly and taken back in turns: by `docker tag` and `docker compose up`
//! alone, and by this binary, which looks first, saves the logs, writes audit log and journal, and proves the result. The
//! proof waits for five seconds on purpose: it is told apart, and the ratio is of everything else. Goals: at most 1.3 times
//! the bare commands in the median of a run; a restart's plan within 150 ms.
//!
//! Needs Docker, Compose 2 and a static busybox; what it makes is named `lastgood-bench-…` and removed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use busybox::{docker, image};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[path = "shared/busybox.rs"]
mod busybox;

const ROUNDS: usize = 5;
const PLANS: usize = 20;
const MOST_TIMES: f64 = 1.3;
const PLAN_LIMIT: Duration = Duration::from_millis(150);
const UP: &[&str] = &[
    "compose",
    "up",
    "-d",
    "--no-deps",
    "--no-build",
    "--pull",
    "never",
    "--wait",
    "--wait-timeout",
    "60",
    "--",
    "backend",
];

fn main() -> ExitCode {
    // Cargo adds `--bench`; without it this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("operations: `cargo bench --bench operations` measures");
        return ExitCode::SUCCESS;
    }
    let rounds = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let has = |words: &[&str]| docker(Path::new("/"), words).is_some();
    if !has(&["info"]) || !has(&["compose", "version"]) {
        println!("operations: no Docker with Compose 2 here; nothing measured");
        return ExitCode::SUCCESS;
    }
    let project = Project::new();
    project.checkpoint();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds.unwrap_or(ROUNDS) {
        bare.push(project.by_hand());
        let (changed, proved) = project.by_lastgood();
        ours.push(changed);
        println!(
            "round {round}: bare {:.2} s, lastgood {:.2} s and {:.2} s of proof",
            bare[round - 1].as_secs_f64(),
            changed.as_secs_f64(),
            proved.as_secs_f64()
        );
    }
    let times = median(&mut ours).as_secs_f64() / median(&mut bare).as_secs_f64();
    let mut plans: Vec<Duration> = (0..PLANS).map(|_| project.plan()).collect();
    let plan = median(&mut plans);
    let slowest = plans[PLANS - 1];
    let verdict = |is_met| if is_met { "met" } else { "MISSED" };
    let (is_quick, is_soon) = (times <= MOST_TIMES, plan <= PLAN_LIMIT);
    println!(
        "a rollback takes {times:.2} times the bare commands (at most {MOST_TIMES}: {})",
        verdict(is_quick)
    );
    println!(
        "a restart's plan is there in {} ms, the slowest of {PLANS} in {} ms (at most {} ms: {})",
        plan.as_millis(),
        slowest.as_millis(),
        PLAN_LIMIT.as_millis(),
        verdict(is_soon)
    );
    match is_quick && is_soon {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The middle one, the better of two.
fn median(all: &mut [Duration]) -> Duration {
    all.sort();
    all[(all.len() - 1) / 2]
}

struct Project {
    name: String,
    folder: tempfile::TempDir,
    good: String,
    bad: String,
}

impl Project {
    fn new() -> Self {
        let name = format!("lastgood-bench-{}", std::process::id());
        let folder = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let compose = format!(
            "name: {name}\nservices:\n  backend:\n    image: {name}:latest\n    pull_policy: never\n    network_mode: none\n    stop_grace_period: 0s\n"
        );
        fs::write(folder.path().join("compose.yaml"), compose).unwrap();
        let says = |word| format!("while true; do echo {word}; sleep 1; done\n");
        let project = Self {
            good: image(folder.path(), &name, &says("good")),
            bad: image(folder.path(), &name, &says("bad")),
            name,
            folder,
        };
        project.deploy(&project.good);
        project
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn must(&self, words: &[&str]) {
        assert!(docker(self.path(), words).is_some(), "docker {words:?}");
    }

    fn deploy(&self, image: &str) {
        self.must(&["tag", image, &format!("{}:latest", self.name)]);
        self.must(UP);
    }

    fn by_hand(&self) -> Duration {
        self.deploy(&self.bad);
        let begun = Instant::now();
        self.deploy(&self.good);
        begun.elapsed()
    }

    /// Everything but the proof, and the proof.
    fn by_lastgood(&self) -> (Duration, Duration) {
        self.deploy(&self.bad);
        let service = format!("{}/backend", self.name);
        let words = ["roll-back", &service, "--yes", "--confirm", "backend"];
        let (all, outcome) = self.lastgood(&words);
        assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
        let proof = outcome["steps"].as_array().unwrap().last().unwrap();
        let proof = Duration::from_millis(proof["ms"].as_u64().unwrap());
        (all - proof, proof)
    }

    fn checkpoint(&self) {
        let service = format!("{}/backend", self.name);
        let made = self.lastgood(&["checkpoint", "create", &service]).1;
        assert_eq!(made["complete"], true, "{made:#}");
    }

    fn plan(&self) -> Duration {
        let service = format!("{}/backend", self.name);
        self.lastgood(&["restart", &service, "--dry-run"]).0
    }

    /// One call, as a script makes it.
    fn lastgood(&self, words: &[&str]) -> (Duration, Value) {
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_lastgood"))
            .args(words)
            .args(["--format", "json"])
            .env("LASTGOOD_STATE_DIR", self.path().join("state"))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_slice(&output.stdout);
        (
            took,
            answer.unwrap_or_else(|error| panic!("{words:?}: {error}: {said}")),
        )
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = docker(self.path(), &["compose", "down", "-t", "0"]);
        let label = format!("label=lastgood-bench={}", self.name);
        let ids = docker(self.path(), &["images", "-aq", "--filter", &label]);
        for id in ids.unwrap_or_default().lines() {
            let _ = docker(self.path(), &["rmi", "-f", id]);
        }
    }
}
