//! States of the console for tests: the shop of the screens in the documentation, well, broken and hostile.

mod board;
mod data;
mod hosts;
mod night;
mod render;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Size;

use crate::analysis::redact::{KnownSecrets, RedactionKey, Redactor};
use crate::domain::checkpoint::{Checkpoint, MANIFEST_SCHEMA, Manifest};
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::log::{LogBlock, LogNote, LogNoteKind, Stream};
use crate::domain::operation::{Operation, Plan, Risk, RollBackTarget, Step, StepWork};
use crate::domain::reading::Reading;
use crate::domain::runbook::{ItemState, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{
    Instance, Inventory, Release, Runtime, Service, ServiceId, ServiceState, Unreachable,
};
use crate::domain::signal::{Grade, ServiceSignals, Signal, SignalName};
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::ops::several::Order;
use crate::store::ring::LineReader;

use super::app::{App, Setup};
use super::keymap::Keymap;
use super::msg::{LogPiece, Msg};
use super::panes::runbook::{Entry, Runbooks};
use super::theme::Theme;
use super::update::update;

pub(crate) use board::{alert, measured};
pub(crate) use data::bad_comparison;
pub(crate) use hosts::{asked_of_three, on_host, on_three_hosts, outcome, restart_of};
pub(crate) use night::{checks, events_with_marks, incident, russian_run};
pub(crate) use render::{ansi, screen, styled};

pub(crate) fn at(clock: &str) -> Timestamp {
    format!("2025-12-27T{clock}+03:00").parse().unwrap()
}

pub(crate) fn safe(text: &str) -> SafeText {
    SafeText::from_text(text)
}

/// What hides these values and whatever has the shape of a secret.
pub(crate) fn redactor(known: &[&str]) -> Redactor {
    let mut secrets = KnownSecrets::default();
    for value in known {
        secrets.harvest("PASSWORD", value);
    }
    Redactor::new(&secrets, RedactionKey([7; 32]))
}

pub(crate) fn setup() -> Setup {
    Setup {
        zone: TimeZone::fixed(jiff::tz::offset(3)),
        theme: Theme::new(true, false),
        keymap: Keymap::built_in(),
        panes: Vec::new(),
        is_wall: false,
        is_read_only: false,
        user: safe("anna"),
        is_paired: true,
        banner: None,
        open: Vec::new(),
        measure_every: Duration::from_secs(15),
        log_bytes: 1 << 20,
        log_fields: Vec::new(),
        highlights: Vec::new(),
        redactor: redactor(&[]),
    }
}

pub(crate) fn empty(width: u16, height: u16) -> App {
    App::new(setup(), Size::new(width, height), at("15:31:07"))
}

pub(crate) fn id(name: &str) -> ServiceId {
    ServiceId::local("shop", name)
}

pub(crate) fn service(group: &str, name: &str, tag: &str, uptime_min: u64) -> Service {
    let runtime = match group {
        "pm2" => Runtime::Pm2,
        _ => Runtime::Compose,
    };
    Service {
        health: Some(HealthState::Healthy),
        release: Release {
            image: Some(safe(&format!("{group}-{name}:{tag}"))),
            digest: Some(format!("sha256:{name}{tag}")),
            git: None,
            path: None,
        },
        instances: vec![Instance {
            id: format!("{name}-1"),
            name: safe(name),
            state: ServiceState::Running,
            health: Some(HealthState::Healthy),
            image_id: Some(format!("sha256:{name}{tag}")),
            created_at: None,
            started_at: None,
            restarts: 0,
            exit_code: None,
        }],
        uptime_ms: Some(uptime_min * 60_000),
        crash_loop: Some(false),
        ..Service::new(
            ServiceId::local(group, name),
            runtime,
            ServiceState::Running,
        )
    }
}

pub(crate) fn inventory() -> Inventory {
    let mut backend = service("shop", "backend", "1.5", 31);
    backend.health = Some(HealthState::Unhealthy);
    let mut api = service("pm2", "api", "3f2a1c", 0);
    api.crash_loop = Some(true);
    api.uptime_ms = Some(3000);
    let mut redis = service("shop", "redis-1", "7.0", 41 * 24 * 60);
    redis.health = Some(HealthState::Degraded);
    let mut worker = service("shop", "worker", "1.4", 9 * 24 * 60);
    worker.instances.push(worker.instances[0].clone());
    Inventory {
        services: vec![
            api,
            backend,
            service("shop", "db", "17.5", 41 * 24 * 60),
            redis,
            worker,
        ],
        unreachable: Vec::new(),
    }
}

pub(crate) fn forbidden_docker() -> Inventory {
    Inventory {
        services: Vec::new(),
        unreachable: vec![
            Unreachable {
                host: HostName::local(),
                runtime: Runtime::Docker,
                is_whole_host: false,
                error: safe("permission denied on /var/run/docker.sock"),
                fix: safe(
                    "this user is not in the group docker: sudo usermod -aG docker $USER, then sign in again",
                ),
            },
            Unreachable {
                host: HostName::local(),
                runtime: Runtime::Pm2,
                is_whole_host: false,
                error: safe("no daemon for user deploy (dump.pm2 lists 3 apps)"),
                fix: safe("pm2 resurrect"),
            },
        ],
    }
}

pub(crate) fn manifest(label: &str, made: Timestamp) -> Manifest {
    Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        id: format!("20251227-144900-{label}"),
        created_at: made,
        label: Some(safe(label)),
        by: safe("anna"),
        services: Vec::new(),
        sums_sha256: String::new(),
        complete: true,
        problems: Vec::new(),
    }
}

pub(crate) fn checkpoints() -> Vec<Checkpoint> {
    let manifest = manifest("pre-1.5", at("14:49:00"));
    vec![Checkpoint {
        id: manifest.id.clone(),
        path: PathBuf::from("/state/checkpoints/x"),
        manifest: Ok(manifest),
    }]
}

/// The log of a service that is being read.
pub(crate) struct Log(LineReader);

impl Log {
    pub(crate) fn new() -> Self {
        Self(LineReader::new(&at("15:32:00").to_zoned(TimeZone::UTC)))
    }

    /// A block of lines, each a time and a text.
    pub(crate) fn block(&mut self, lines: &[(&str, &str)]) -> LogPiece {
        let mut block = LogBlock::default();
        for (clock, text) in lines {
            block.push(Some(at(clock)), Stream::Stdout, text.as_bytes(), 0);
        }
        LogPiece::Block(self.0.read(block, at("15:32:00")))
    }

    pub(crate) fn note(&mut self, note: LogNote) -> LogPiece {
        LogPiece::Note(self.0.note(note))
    }
}

pub(crate) fn log_lines() -> Vec<LogPiece> {
    log().0
}

/// The log of the service that went wrong, and its reader for what comes next.
pub(crate) fn log() -> (Vec<LogPiece>, Log) {
    let mut log = Log::new();
    let pieces = vec![
        log.block(&[
            (
                "14:59:58.100",
                "INFO GET /api/orders/88001 completed in 0.412s status=200",
            ),
            ("14:59:59.310", "INFO job finished queue=mail 151 ms"),
        ]),
        log.note(LogNote {
            kind: LogNoteKind::Recreated,
            service: id("backend"),
            from: Some(at("15:00:01")),
            to: Some(at("15:00:12")),
            lines: None,
            detail: safe("backend 1.4 → 1.5"),
        }),
        log.block(&[
            ("15:00:13.002", "INFO listening on 0.0.0.0:8000"),
            ("15:10:44.718", "ERROR NoneType has no attribute 'price'"),
            (
                "15:10:44.718",
                "  File \"/app/cart.py\", line 88, in total",
            ),
            (
                "15:20:30.044",
                "WARN payment service answered slowly: 3.1 s",
            ),
            (
                "15:31:05.113",
                "ERROR Invalid JSON response from payment service order=88121 customer=4410 retry=3 upstream=10.0.0.7:8443 trace=4f2c9a1b77e0",
            ),
            (
                "15:31:05.120",
                "INFO GET /api/orders/88121 completed in 3.412s status=500",
            ),
        ]),
    ];
    (pieces, log)
}

pub(crate) fn signals() -> ServiceSignals {
    let signal = |signal: SignalName, value: Option<f64>, grade: Grade, detail: &str| Signal {
        unit: safe(signal.unit()),
        signal,
        route: None,
        value,
        grade,
        age_ms: value.map(|_| 800),
        detail: safe(detail),
    };
    ServiceSignals {
        id: id("backend"),
        signals: vec![
            signal(SignalName::LatencyP95, Some(3800.0), Grade::Critical, ""),
            signal(SignalName::ErrorRate, Some(0.25), Grade::Critical, ""),
            signal(SignalName::Traffic, Some(6.7), Grade::Ok, ""),
            signal(SignalName::Cpu, Some(0.41), Grade::Ok, ""),
            signal(SignalName::Memory, Some(0.83), Grade::Warning, ""),
            signal(
                SignalName::Connections,
                None,
                Grade::Unknown,
                "no database of this service is known",
            ),
        ],
    }
}

pub(crate) fn timeline() -> Vec<TimelineEvent> {
    let event = |clock: &str, kind, name: &str, grade, text: &str| TimelineEvent {
        at: at(clock),
        kind,
        service: (!name.is_empty()).then(|| id(name)),
        grade,
        text: safe(text),
    };
    vec![
        event(
            "14:49:00",
            TimelineKind::Checkpoint,
            "",
            Grade::Ok,
            "pre-1.5, 5 services, by anna",
        ),
        event(
            "15:00:12",
            TimelineKind::Deploy,
            "backend",
            Grade::Unknown,
            "backend 1.4 → 1.5",
        ),
        event(
            "15:12:30",
            TimelineKind::Verdict,
            "",
            Grade::Critical,
            "ROLL BACK P0: backend",
        ),
    ]
}

/// The number of the log that is shown.
pub(crate) fn slot(app: &App) -> u32 {
    app.logs.sources[0].slot
}

/// The deploy went wrong: every pane has something to show.
pub(crate) fn broken(width: u16, height: u16) -> App {
    let mut app = empty(width, height);
    app.services.selected = Some(id("backend"));
    update(&mut app, Msg::Inventory(inventory()));
    update(&mut app, Msg::Checkpoints(checkpoints()));
    let pieces = log_lines();
    let slot = slot(&app);
    update(&mut app, Msg::Log { slot, pieces });
    update(&mut app, Msg::Compared(Box::new(bad_comparison())));
    let steps = [0.9, 0.9, 1.0, 0.9, 1.2, 2.8, 3.6, 3.8];
    for (i, seconds) in steps.into_iter().enumerate() {
        let mut sample = signals();
        sample.signals[0].value = Some(seconds * 1000.0);
        sample.signals[1].value = Some(0.005 + 0.035 * i as f64);
        update(&mut app, Msg::Sampled(sample));
    }
    update(&mut app, Msg::Sampled(signals()));
    update(&mut app, Msg::Measured(Box::new(measured())));
    update(&mut app, Msg::Timeline(timeline()));
    update(
        &mut app,
        Msg::Runbooks {
            list: runbooks(),
            run: Some(Box::new(runbook_run())),
        },
    );
    app.flash = None;
    app
}

/// Names, lines and causes that try to take the screen over, and letters that are wide or combine.
pub(crate) fn hostile(width: u16, height: u16) -> App {
    let mut app = empty(width, height);
    let mut evil = service("shop", "\u{1b}]0;owned\u{7}api", "1.0", 5);
    evil.id = ServiceId::local("shop", "接続-сервис");
    evil.problems = vec![safe("\u{1b}[2Jgone \u{202e}txt.exe")];
    app.services.selected = Some(evil.id.clone());
    update(
        &mut app,
        Msg::Inventory(Inventory {
            services: vec![evil],
            unreachable: vec![Unreachable {
                host: HostName::local(),
                runtime: Runtime::Docker,
                is_whole_host: false,
                error: safe("\u{1b}[31mОшибка подключения к демону Docker"),
                fix: safe("接続エラーを直してください"),
            }],
        }),
    );
    let slot = slot(&app);
    update(
        &mut app,
        Msg::Log {
            slot,
            pieces: vec![Log::new().block(&[
                (
                    "15:31:00.000",
                    "ERROR \u{1b}[2J\u{1b}[1;1Hroot@prod:~# \u{1b}]52;c;aGk=\u{7}",
                ),
                ("15:31:01.000", "Ошибка подключения к базе данных"),
                (
                    "15:31:02.000",
                    "接続エラー: タイムアウトしました 接続エラー: タイムアウトしました 接続エラー",
                ),
                (
                    "15:31:03.000",
                    "user\u{202e}txt.exe zero\u{200b}width",
                ),
                ("15:31:04.000", "progress 50%\rprogress 100%\ttab"),
                (
                    "15:31:05.000",
                    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} zalgo 👨‍👩‍👧 family",
                ),
            ])],
        },
    );
    app.flash = None;
    app
}

/// A plan that is asked about alone.
pub(crate) fn one(plan: Plan) -> Order {
    Order { plans: vec![plan] }
}

pub(crate) fn plan() -> Plan {
    let step = |text: &str, work: StepWork| Step {
        text: safe(text),
        work,
        undo: None,
        manual: None,
        fingerprints: Vec::new(),
        timeout_ms: 30_000,
        may_fail: false,
    };
    Plan {
        operation: Operation::RollBack {
            service: id("backend"),
            to: RollBackTarget::LastGood,
            configs_only: false,
            save_logs: true,
            downgrade: false,
        },
        host: HostName::local(),
        risk: Risk::Destructive,
        services: vec![id("backend")],
        from: Some(safe(
            "shop-backend:1.5  sha256:5c20912d  up 31 min, unhealthy",
        )),
        to: Some(safe("checkpoint pre-1.5  sha256:523ac975  was healthy")),
        notes: vec![safe("2 lines of .env differ and are put back")],
        steps: vec![
            step(
                "save the logs of the failing release",
                StepWork::SaveLogs {
                    service: id("backend"),
                    to: PathBuf::from("/state/runs/x/backend.log.zst"),
                    budget_ms: 15_000,
                },
            ),
            step(
                "docker tag 523ac975 shop-backend:latest",
                StepWork::TagImage {
                    image: "sha256:523ac975".into(),
                    reference: "shop-backend:latest".into(),
                },
            ),
            step(
                "recreate backend from the checkpoint's image",
                StepWork::Command {
                    argv: [
                        "docker",
                        "compose",
                        "-p",
                        "shop",
                        "up",
                        "-d",
                        "--no-deps",
                        "--no-build",
                        "--pull",
                        "never",
                        "--wait",
                        "backend",
                    ]
                    .map(str::to_owned)
                    .to_vec(),
                    cwd: None,
                    env: BTreeMap::new(),
                },
            ),
            step(
                "verify: image, running, GET /health 3 of 3",
                StepWork::Verify {
                    service: id("backend"),
                    identity: None,
                    running: true,
                    replaced: Vec::new(),
                    stable_ms: 5000,
                    probes: 3,
                    timeout_ms: 60_000,
                },
            ),
        ],
        not_rolled_back: vec![safe("database schema and data"), safe("volumes")],
        on_failure: Some(safe(
            "If 3 fails: step 2 is undone and 1.5 is started again.",
        )),
        downtime_ms: Some(10_000),
        budget_ms: 120_000,
        hash: String::new(),
    }
    .seal()
}

/// Moves the clock of the state on.
pub(crate) fn later(app: &mut App, by: Duration) {
    app.now += by;
    update(app, Msg::Tick);
}

/// A run of a small runbook: one item ticked by a probe, one failed, one open and late.
pub(crate) fn runbook_run() -> RunState {
    let source = "# After a deploy\n\n## First five minutes\n\n- [ ] API answers {due=T+5m}\n  ```probe\n  http http://localhost:8000/health\n  ```\n- [ ] Errors stay under 1 % {due=T+5m}\n- [ ] Sign in works {owner=boris due=T+10m}\n\n  Use the test account.\n\n  ```sh run\n  curl -sf http://localhost:8000/login\n  ```\n\n## First hour\n\n- [ ] Tell the team {owner=anna due=T+60m}\n";
    let runbook =
        crate::domain::runbook::parse::parse("after-deploy", "after-deploy.md", source).unwrap();
    let mut run = RunState::new(
        "20251227-150000-after-deploy",
        runbook,
        at("15:00:12"),
        at("15:00:12"),
        safe("anna"),
    );
    run.items[0].state = ItemState::Done;
    run.items[0].is_auto = true;
    run.items[0].evidence = Some(safe("200 in 12 ms"));
    run.items[0].revision = 1;
    run.items[1].state = ItemState::Failed;
    run.items[1].by = Some(safe("boris"));
    run.items[1].evidence = Some(safe("25 % at 15:12"));
    run.items[1].revision = 1;
    run
}

pub(crate) fn runbooks() -> Runbooks {
    let entry = |name: &str, title: &str, items, automatic| Entry {
        name: name.to_owned(),
        title: safe(title),
        items,
        automatic,
    };
    Runbooks {
        entries: vec![
            entry("deploy", "Deploy", 14, 4),
            entry("post-deploy-verification", "After a deploy", 21, 9),
            entry("incident-response", "Incident", 17, 0),
        ],
        problems: Vec::new(),
    }
}

/// Stale, as after a lost daemon.
pub(crate) fn stale(width: u16, height: u16) -> App {
    let mut app = broken(width, height);
    let cause = safe("the Docker daemon does not answer: connection refused");
    let then = app.now;
    app.now += Duration::from_secs(125);
    let services = std::mem::take(&mut app.services.reading);
    app.services.reading = services.fail(cause.clone(), then);
    let compare = std::mem::take(&mut app.compare.reading);
    app.compare.reading = compare.fail(cause.clone(), then);
    let signals = std::mem::take(&mut app.signals.reading);
    app.signals.reading = signals.fail(cause, then);
    app
}

/// Nothing could be read at all.
pub(crate) fn failed(width: u16, height: u16) -> App {
    let mut app = empty(width, height);
    let cause = safe("cannot read the state folder: permission denied (/var/lib/lastgood)");
    let at = app.now;
    app.services.reading = Reading::Failed {
        cause: cause.clone(),
        at,
    };
    app.checkpoints = Reading::Failed {
        cause: cause.clone(),
        at,
    };
    app.compare.reading = Reading::Failed {
        cause: cause.clone(),
        at,
    };
    app.signals.reading = Reading::Failed {
        cause: cause.clone(),
        at,
    };
    app.runbook.reading = Reading::Failed {
        cause: cause.clone(),
        at,
    };
    app.timeline.reading = Reading::Failed { cause, at };
    app
}
