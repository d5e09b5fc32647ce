//! Pairs of logs whose answer is known: what `compare` makes of a deploy that broke something, and of one that did not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Fallible;
use crate::stacks::{STACKS, Side, Stack};

/// What came of the pairs of one stack or one volume.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pairs: u32,
    /// By decision.
    pub(crate) decisions: BTreeMap<String, u32>,
    /// Changes that were made, and those of them that were named as what they are.
    pub(crate) made: u32,
    pub(crate) found: u32,
    /// Error patterns that were called new and are not.
    pub(crate) false_new: u32,
    /// What went wrong, in words.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn decided(&self, decision: &str) -> u32 {
        self.decisions.get(decision).copied().unwrap_or(0)
    }
}

/// The program that is measured, and where its logs go.
pub(crate) struct Judge<'a> {
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
}

/// When the logs begin: a Monday morning, and the same hours after the deploy of the evening.
const BEFORE: i64 = 1_767_596_400;
const AFTER: i64 = 1_767_636_000;

impl Judge<'_> {
    /// Deploys of a stack that broke something, one a seed.
    pub(crate) fn broken(&self, stack: &Stack, seeds: u64, requests: usize) -> Fallible<Tally> {
        let mut tally = Tally::default();
        for seed in 1..=seeds {
            let found = self.compare(stack, seed, requests, true)?;
            let decision = count(&mut tally, &found);
            let name = format!("{} seed {seed}", stack.name);
            if decision != "roll_back" {
                tally.wrong.push(format!("{name}: {decision}"));
            }
            let changes = stack.changes();
            for (change, words) in &changes {
                tally.made += 1;
                match change_of(&found, words) {
                    Some(named) if named == change.name() => tally.found += 1,
                    other => {
                        let other = other.unwrap_or("not there");
                        let wanted = change.name();
                        let text = format!("{name}: `{words}` is {wanted}, compare says {other}");
                        tally.wrong.push(text);
                    }
                }
            }
            tally.made += 1;
            if is_slow_route_named(&found) {
                tally.found += 1;
            } else {
                tally
                    .wrong
                    .push(format!("{name}: the slower route is not named"));
            }
            for pattern in new_errors(&found) {
                if !changes.iter().any(|(_, words)| says(pattern, words)) {
                    tally.false_new += 1;
                    let text = pattern["example"].as_str().unwrap_or_default();
                    tally.wrong.push(format!("{name}: not new: {text}"));
                }
            }
        }
        Ok(tally)
    }

    /// Deploys that changed nothing, at one volume: `pairs` of them, each stack in turn.
    pub(crate) fn unchanged(&self, pairs: usize, requests: usize) -> Fallible<Tally> {
        let mut tally = Tally::default();
        for (stack, seed) in STACKS.iter().cycle().zip(1..=pairs as u64) {
            let found = self.compare(stack, seed * 1000 + requests as u64, requests, false)?;
            let decision = count(&mut tally, &found);
            let findings = &found["verdict"]["findings"];
            if matches!(decision.as_str(), "roll_back" | "watch") {
                let name = format!("{}, {requests} requests, seed {seed}", stack.name);
                tally.wrong.push(format!("{name}: {decision}: {findings}"));
            }
            for pattern in new_errors(&found) {
                tally.false_new += 1;
                let text = pattern["example"].as_str().unwrap_or_default();
                tally.wrong.push(format!("{}: not new: {text}", stack.name));
            }
        }
        Ok(tally)
    }

    fn compare(
        &self,
        stack: &Stack,
        seed: u64,
        requests: usize,
        is_broken: bool,
    ) -> Fallible<Value> {
        let write = |name: &str, side: Side| -> Fallible<PathBuf> {
            let name = format!("{}-{requests}-{seed}-{name}.log", stack.name);
            let path = self.folder.join(name);
            let mut file = BufWriter::new(File::create(&path)?);
            stack.write(side, &mut file)?;
            file.flush()?;
            Ok(path)
        };
        let before = Side {
            seed: seed * 2,
            requests,
            from: BEFORE,
            is_broken: false,
        };
        let after = Side {
            seed: seed * 2 + 1,
            from: AFTER,
            is_broken,
            ..before
        };
        let output = Command::new(self.program)
            .args(["compare", "--format", "json"])
            .args([write("before", before)?, write("after", after)?])
            .env("LASTGOOD_CONFIG", "/dev/null")
            .env("LASTGOOD_STATE_DIR", self.folder.join("state"))
            .output()?;
        // The exit code tells the decision; a failure prints no document.
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            format!(
                "compare of {}, seed {seed}: {}: {words}",
                stack.name, output.status
            )
            .into()
        })
    }
}

fn count(tally: &mut Tally, found: &Value) -> String {
    let decision = found["verdict"]["decision"]
        .as_str()
        .unwrap_or("none")
        .to_owned();
    tally.pairs += 1;
    *tally.decisions.entry(decision.clone()).or_default() += 1;
    decision
}

fn patterns(found: &Value) -> impl Iterator<Item = &Value> {
    found["patterns"].as_array().into_iter().flatten()
}

fn says(pattern: &Value, words: &str) -> bool {
    // A folded trace is one line in the example.
    let example = pattern["example"].as_str().unwrap_or_default();
    example.contains(words)
        || pattern["template"]
            .as_str()
            .unwrap_or_default()
            .contains(words)
}

/// How the pattern with these words changed. Of several, the loudest word counts: they are sorted by harm.
fn change_of<'a>(found: &'a Value, words: &str) -> Option<&'a str> {
    patterns(found)
        .find(|pattern| says(pattern, words))
        .and_then(|pattern| pattern["change"].as_str())
}

fn new_errors(found: &Value) -> impl Iterator<Item = &Value> {
    patterns(found).filter(|pattern| {
        pattern["change"] == "new" && matches!(pattern["level"].as_str(), Some("error" | "fatal"))
    })
}

fn is_slow_route_named(found: &Value) -> bool {
    let findings = found["verdict"]["findings"].as_array();
    findings.into_iter().flatten().any(|finding| {
        let route = finding["route"].as_str().unwrap_or_default();
        route.contains(Stack::slow_route())
    })
}
