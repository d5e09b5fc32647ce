//! The steps of a switch: the file, the proxy's word on it, the reload and the proof; before the last file as many
//! between the two sides as the way has, each proved before the next.
//!
//! Every file is written whole and has a hash of its own, and every one of them is taken back by what was there before the
//! first: whichever step fails or is the last that is known, one file and one reload lead back.

use std::path::Path;
use std::time::Duration;

use super::{Host, Wanted};
use crate::analysis::upstream;
use crate::domain::before_after::BeforeAfter;
use crate::domain::digest;
use crate::domain::operation::{Fingerprint, Mix, Share, Step, StepWork, SwitchWay};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::settings::{Colour, Probe, ProbeKind};
use crate::ops::operation::describe;
use crate::ops::restart::PROBES;
use crate::ops::roll_back::kept;
use crate::ops::{Context, ErrorKind, OpsError};

/// A side that does not answer by then does not take over.
const SIDE_LIMIT_MS: u64 = 5_000;
/// A proxy starts its new workers after its command has ended.
const PUBLIC_LIMIT_MS: u64 = 5_000;
/// How long the proxy's own commands may take.
const COMMAND_LIMIT_MS: u64 = 60_000;
const WRITE_LIMIT_MS: u64 = 10_000;
/// Permission bits of the proxy's file where it has none to keep.
const MODE: u32 = 0o644;
/// Upstream files are small.
const MAX_FILE: u64 = 1024 * 1024;

/// A file between the two sides.
pub(super) struct Version {
    share: Share,
    sha256: String,
}

/// What a step must pass before the next.
#[derive(Clone)]
pub(super) struct Gate {
    /// Whose logs are compared.
    pub(super) services: Option<BeforeAfter<ServiceId>>,
    /// For how long.
    pub(super) hold: Duration,
}

impl Gate {
    /// The longest that a step of it takes.
    pub(super) fn limit_ms(&self) -> u64 {
        let hold = u64::try_from(self.hold.as_millis()).unwrap_or(u64::MAX);
        hold.saturating_add(COMMAND_LIMIT_MS)
    }

    /// What decides, for the card.
    pub(super) fn note(&self, name: &str, target: &str) -> SafeText {
        let hold = self.hold.as_secs();
        SafeText::from_text(&match &self.services {
            Some(both) => format!(
                "each step is held {hold} s: only where {} keeps up with {} (verdict: keep) the next one follows, else {name} goes back at once",
                both.after, both.before
            ),
            None => format!(
                "each step is held {hold} s and only probes decide, since nothing says whose logs to judge: [switch.{name}] {target}.service"
            ),
        })
    }
}

/// What is written where a file lies between two others, from both as they are now.
///
/// # Errors
/// They cannot be read, or there is nothing between them.
pub(in crate::ops) async fn mixed(
    host: &Host,
    file: &Path,
    mix: &Mix,
) -> Result<Vec<u8>, OpsError> {
    let after = read(host, file).await?;
    let before = read(host, &mix.with).await?;
    let text = upstream::mix(&before, &after, mix.share)
        .map_err(|error| nothing_between(file, &mix.with, error))?;
    Ok(text.into_bytes())
}

async fn read(host: &Host, path: &Path) -> Result<String, OpsError> {
    let content = host
        .read_file(path, MAX_FILE)
        .await
        .map_err(|error| OpsError::new(ErrorKind::Failed, error.to_string()).because(error))?;
    String::from_utf8(content).map_err(|error| {
        OpsError::new(ErrorKind::Failed, format!("{} is no text", path.display())).because(error)
    })
}

fn nothing_between(file: &Path, with: &Path, error: upstream::UpstreamError) -> OpsError {
    OpsError::new(
        ErrorKind::Usage,
        format!(
            "nothing lies between {} and {}",
            with.display(),
            file.display()
        ),
    )
    .because(error)
    .fix("without --canary and --rolling all requests go over at once")
}

/// The files between the two sides, in their order.
///
/// # Errors
/// There is none.
pub(super) async fn between(
    host: &Host,
    wanted: &Wanted,
    way: SwitchWay,
) -> Result<Vec<Version>, OpsError> {
    let before = read(host, &wanted.other_file).await?;
    let after = read(host, &wanted.file).await?;
    let fail = |error| nothing_between(&wanted.file, &wanted.other_file, error);
    let shares: Vec<Share> = match way {
        SwitchWay::AtOnce => Vec::new(),
        SwitchWay::Canary => {
            let all = &wanted.canary.shares;
            if all.is_empty() || !all.is_sorted_by(|a, b| a < b) {
                return Err(OpsError::new(
                    ErrorKind::Usage,
                    format!(
                        "canary.shares is {all:?}: each step must have more than the one before"
                    ),
                ));
            }
            all.iter().map(|percent| Share::Percent(*percent)).collect()
        }
        SwitchWay::Rolling => {
            let of = upstream::rolling_steps(&before, &after).map_err(fail)?;
            (1..of).map(|done| Share::Servers { done, of }).collect()
        }
    };
    let version = |share: Share| {
        let text = upstream::mix(&before, &after, share).map_err(fail)?;
        Ok(Version {
            share,
            sha256: digest::sha256(text.as_bytes()),
        })
    };
    shares.into_iter().map(version).collect()
}

/// What leads back, whichever version is there.
pub(super) fn put_back(ctx: &Context, wanted: &Wanted, active: &Fingerprint) -> StepWork {
    StepWork::WriteFile {
        path: wanted.active.clone(),
        source: kept(ctx, &active.value),
        from_machine: false,
        mix: None,
        sha256: active.value.clone(),
        mode: MODE,
    }
}

/// What the steps are made of.
pub(super) struct Course<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) to: Colour,
    pub(super) put_back: StepWork,
    /// Whether the old side answers again, which is asked only where it did before.
    pub(super) proof: Option<StepWork>,
    /// The files of the two sides.
    pub(super) sides: [Fingerprint; 2],
}

impl Course<'_> {
    /// From the file of the side that answers now (or whatever is there) over those between to that of the other side.
    pub(super) fn steps(&self, active: Fingerprint, between: &[(Version, Gate)]) -> Vec<Step> {
        let (wanted, colour) = (self.wanted, self.to.as_str());
        let path = wanted.active.display();
        let mut seen = active;
        let mut steps = vec![ask(
            &format!("ask {colour} itself: {}", wanted.probe.name()),
            &wanted.probe,
            (PROBES, SIDE_LIMIT_MS),
            self.all(&seen),
        )];
        for (version, gate) in between {
            let mix = Mix {
                with: wanted.other_file.clone(),
                share: version.share,
            };
            let text = format!("{path} gives {colour} {}", version.share);
            let mut write = self.write(&text, Some(mix), &version.sha256, &seen);
            // By hand one goes over at once, with the last file.
            write.manual = None;
            steps.push(write);
            steps.extend(self.take_up());
            steps.push(self.hold(version, gate));
            seen.value.clone_from(&version.sha256);
        }
        let text = format!("{path} becomes {}", wanted.file.display());
        steps.push(self.write(&text, None, &self.sides[0].value, &seen));
        steps.extend(self.take_up());
        steps.push(Step {
            undo: self.proof.clone(),
            ..step(
                &format!("verify: {} {PROBES} of {PROBES}", wanted.verify.name()),
                public(&wanted.verify),
                Vec::new(),
                PUBLIC_LIMIT_MS + COMMAND_LIMIT_MS,
            )
        });
        steps
    }

    /// Every file that plays a part, the proxy's as the steps before leave it.
    fn all(&self, seen: &Fingerprint) -> Vec<Fingerprint> {
        std::iter::once(seen).chain(&self.sides).cloned().collect()
    }

    fn write(&self, text: &str, mix: Option<Mix>, sha256: &str, seen: &Fingerprint) -> Step {
        let work = StepWork::WriteFile {
            path: self.wanted.active.clone(),
            source: self.wanted.file.clone(),
            from_machine: true,
            mix,
            sha256: sha256.to_owned(),
            mode: MODE,
        };
        Step {
            undo: Some(self.put_back.clone()),
            ..step(text, work, self.all(seen), WRITE_LIMIT_MS)
        }
    }

    /// The proxy says whether it would take its files, and reads them.
    fn take_up(&self) -> [Step; 2] {
        let wanted = self.wanted;
        let test = Probe {
            timeout: Duration::from_millis(COMMAND_LIMIT_MS),
            ..Probe::of(ProbeKind::Command {
                command: wanted.test.clone(),
            })
        };
        let reload = StepWork::Command {
            argv: ["sh", "-c", &wanted.reload].map(str::to_owned).to_vec(),
            cwd: None,
            env: std::collections::BTreeMap::new(),
        };
        [
            ask(&format!("test: {}", wanted.test), &test, (1, 0), Vec::new()),
            Step {
                undo: Some(reload.clone()),
                manual: Some(SafeText::from_text(&wanted.reload)),
                ..step(
                    &format!("reload: {}", wanted.reload),
                    reload,
                    self.sides.to_vec(),
                    COMMAND_LIMIT_MS,
                )
            },
        ]
    }

    fn hold(&self, version: &Version, gate: &Gate) -> Step {
        let wanted = self.wanted;
        let probes = [Some(&wanted.probe), wanted.verify_any.as_ref()];
        let work = StepWork::Judge {
            probes: probes.into_iter().flatten().cloned().collect(),
            services: gate.services.clone(),
            hold_ms: u64::try_from(gate.hold.as_millis()).unwrap_or(u64::MAX),
        };
        let text = format!("hold {} s with {}", gate.hold.as_secs(), version.share);
        Step {
            undo: self.proof.clone(),
            ..step(&text, work, Vec::new(), gate.limit_ms())
        }
    }
}

fn step(text: &str, work: StepWork, fingerprints: Vec<Fingerprint>, timeout_ms: u64) -> Step {
    Step {
        text: SafeText::from_text(text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints,
        timeout_ms,
        may_fail: false,
    }
}

fn ask(
    text: &str,
    probe: &Probe,
    (times, limit_ms): (u32, u64),
    fingerprints: Vec<Fingerprint>,
) -> Step {
    let work = StepWork::Ask {
        probe: probe.clone(),
        times,
        timeout_ms: limit_ms,
    };
    step(text, work, fingerprints, limit_ms + COMMAND_LIMIT_MS)
}

/// Asks the public way.
pub(super) fn public(probe: &Probe) -> StepWork {
    StepWork::Ask {
        probe: probe.clone(),
        times: PROBES,
        timeout_ms: PUBLIC_LIMIT_MS,
    }
}
