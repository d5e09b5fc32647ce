//! States of the console for tests: the shop of the screens in the documentation, well, broken and hostile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Size;
use ratatui::style::{Color, Modifier};

use crate::domain::before_after::BeforeAfter;
use crate::domain::change::{Change, ChangeKind};
use crate::domain::checkpoint::{Checkpoint, MANIFEST_SCHEMA, Manifest};
use crate::domain::comparison::{
    Comparison, LatencySummary, LevelCounts, PatternChange, PatternRow, ServiceVerdict,
    SideSummary, SignalChange,
};
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::log::{Level, LogBlock, LogNote, LogNoteKind, Stream};
use crate::domain::operation::{Operation, Plan, Risk, RollBackTarget, Step, StepWork};
use crate::domain::reading::Reading;
use crate::domain::runbook::{ItemState, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{
    Instance, Inventory, Release, Runtime, Service, ServiceId, ServiceState, Unreachable,
};
use crate::domain::signal::{Grade, ServiceSignals, Signal, SignalName};
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::domain::verdict::{Confidence, Decision, Finding, Severity, Verdict};
use crate::store::ring::{LineFacts, PreparedBlock};

use super::app::{App, Setup};
use super::keymap::Keymap;
use super::msg::{LogPiece, Msg};
use super::panes::runbook::{Entry, Runbooks};
use super::theme::Theme;
use super::update::update;
use super::view::view;

pub(crate) fn at(clock: &str) -> Timestamp {
    format!("2025-12-27T{clock}+03:00").parse().unwrap()
}

pub(crate) fn safe(text: &str) -> SafeText {
    SafeText::from_text(text)
}

pub(crate) fn setup() -> Setup {
    Setup {
        zone: TimeZone::fixed(jiff::tz::offset(3)),
        theme: Theme::new(true, false),
        keymap: Keymap::built_in(),
        panes: Vec::new(),
        is_wall: false,
        is_read_only: false,
        banner: None,
        log_bytes: 1 << 20,
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
        id: ServiceId::local(group, name),
        runtime,
        state: ServiceState::Running,
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
        restarts: 0,
        uptime_ms: Some(uptime_min * 60_000),
        crash_loop: Some(false),
        cpu: None,
        memory_bytes: None,
        problems: Vec::new(),
        compose: None,
        labels: BTreeMap::new(),
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
                error: safe("permission denied on /var/run/docker.sock"),
                fix: safe(
                    "this user is not in the group docker: sudo usermod -aG docker $USER, then sign in again",
                ),
            },
            Unreachable {
                host: HostName::local(),
                runtime: Runtime::Pm2,
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

/// A block of lines, each `HH:MM:SS.mmm level text`.
pub(crate) fn block(lines: &[(&str, Option<Level>, &str)]) -> LogPiece {
    let mut block = LogBlock::default();
    for (clock, _, text) in lines {
        block.push(Some(at(clock)), Stream::Stdout, text.as_bytes(), 0);
    }
    let mut levels = lines.iter().map(|(_, level, _)| *level);
    LogPiece::Block(PreparedBlock::new(block, |_| LineFacts {
        level: levels.next().flatten(),
        ..LineFacts::default()
    }))
}

pub(crate) fn log_lines() -> Vec<LogPiece> {
    use Level::{Error, Info, Warn};
    vec![
        block(&[
            (
                "14:59:58.100",
                Some(Info),
                "GET /api/orders/88001 completed in 0.412s status=200",
            ),
            ("14:59:59.310", Some(Info), "job finished queue=mail 151 ms"),
        ]),
        LogPiece::Note(LogNote {
            kind: LogNoteKind::Recreated,
            service: id("backend"),
            from: Some(at("15:00:01")),
            to: Some(at("15:00:12")),
            lines: None,
            detail: safe("backend 1.4 → 1.5"),
        }),
        block(&[
            ("15:00:13.002", Some(Info), "listening on 0.0.0.0:8000"),
            (
                "15:10:44.718",
                Some(Error),
                "NoneType has no attribute 'price'",
            ),
            (
                "15:10:44.718",
                None,
                "  File \"/app/cart.py\", line 88, in total",
            ),
            (
                "15:20:30.044",
                Some(Warn),
                "payment service answered slowly: 3.1 s",
            ),
            (
                "15:31:05.113",
                Some(Error),
                "Invalid JSON response from payment service order=88121 customer=4410 retry=3 upstream=10.0.0.7:8443 trace=4f2c9a1b77e0",
            ),
            (
                "15:31:05.120",
                Some(Info),
                "GET /api/orders/88121 completed in 3.412s status=500",
            ),
        ]),
    ]
}

fn side(input: &str, requests: u64, errors: u64, p95: f64) -> SideSummary {
    SideSummary {
        input: safe(input),
        records: requests * 3,
        from: None,
        to: None,
        requests,
        errors,
        error_rate: Some(errors as f64 / requests as f64),
        latency_ms: LatencySummary {
            count: requests,
            mean: Some(p95 / 2.0),
            p50: Some(p95 / 2.0),
            p95: Some(p95),
            p99: Some(p95 * 1.4),
            max: Some(p95 * 2.0),
        },
        levels: LevelCounts::default(),
    }
}

fn pattern(
    change: PatternChange,
    level: Level,
    before: u64,
    after: u64,
    template: &str,
    since: Option<&str>,
) -> PatternRow {
    PatternRow {
        id: template.len().to_string(),
        template: safe(template),
        level: Some(level),
        change,
        before,
        after,
        ratio: (before > 0).then(|| after as f64 / before as f64),
        services: vec![id("backend")],
        first_seen: since.map(at),
        example: safe(template),
        examples: BeforeAfter::new(
            (before > 0).then(|| safe(&template.replace("<*>", "17"))),
            (after > 0).then(|| safe(&template.replace("<*>", "88121"))),
        ),
        p95_ms: BeforeAfter::default(),
    }
}

pub(crate) fn bad_comparison() -> Comparison {
    let mut slow = pattern(
        PatternChange::Same,
        Level::Info,
        700,
        140,
        "GET /api/orders/<*> completed in <*>s status=<*>",
        None,
    );
    slow.p95_ms = BeforeAfter::new(Some(700.0), Some(4100.0));
    let verdict = Verdict {
        decision: Decision::RollBack,
        severity: Some(Severity::P0),
        confidence: Confidence::High,
        findings: vec![
            Finding {
                rule: safe("error-rate"),
                severity: Some(Severity::P0),
                service: id("backend"),
                route: None,
                text: safe("error rate of backend rose from 0.5 % to 25 % (×50, at least ×18)"),
                before: Some(0.005),
                after: Some(0.25),
                interval: Some((18.0, 140.0)),
                evidence: Vec::new(),
            },
            Finding {
                rule: safe("limit-latency_p95"),
                severity: Some(Severity::P0),
                service: id("backend"),
                route: None,
                text: safe("latency p95 of backend is 3.8 s, over the limit of 2 s"),
                before: Some(900.0),
                after: Some(3800.0),
                interval: None,
                evidence: Vec::new(),
            },
        ],
    };
    Comparison {
        before: side("checkpoint:pre-1.5", 1000, 5, 900.0),
        after: side("service:backend", 200, 50, 3800.0),
        changes: vec![
            Change {
                service: id("backend"),
                what: ChangeKind::Image,
                before: Some(safe("shop-backend:1.4")),
                after: Some(safe("shop-backend:1.5")),
            },
            Change {
                service: id("backend"),
                what: ChangeKind::Env,
                before: Some(safe("POOL_SIZE=20")),
                after: Some(safe("POOL_SIZE=100")),
            },
        ],
        health: Vec::new(),
        patterns: vec![
            pattern(
                PatternChange::New,
                Level::Error,
                0,
                28,
                "NoneType has no attribute <*>",
                Some("15:10:44"),
            ),
            pattern(
                PatternChange::New,
                Level::Error,
                0,
                14,
                "Division by zero in calculate_discount()",
                Some("15:15:02"),
            ),
            pattern(
                PatternChange::New,
                Level::Error,
                0,
                8,
                "Invalid JSON response from payment service order=<*>",
                Some("15:20:30"),
            ),
            pattern(
                PatternChange::More,
                Level::Warn,
                12,
                60,
                "payment service answered slowly: <*> s",
                None,
            ),
            slow,
        ],
        signals: vec![SignalChange {
            signal: SignalName::ErrorRate,
            service: id("backend"),
            route: None,
            before: Some(0.005),
            after: Some(0.25),
            unit: safe("fraction"),
            grade: Grade::Critical,
        }],
        services: vec![ServiceVerdict {
            id: id("backend"),
            verdict: verdict.clone(),
        }],
        verdict,
        missing: Vec::new(),
    }
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

/// The deploy went wrong: every pane has something to show.
pub(crate) fn broken(width: u16, height: u16) -> App {
    let mut app = empty(width, height);
    app.services.selected = Some(id("backend"));
    update(&mut app, Msg::Inventory(inventory()));
    update(&mut app, Msg::Checkpoints(checkpoints()));
    let pieces = log_lines();
    update(
        &mut app,
        Msg::Log {
            service: id("backend"),
            pieces,
        },
    );
    update(&mut app, Msg::Compared(Box::new(bad_comparison())));
    let steps = [0.9, 0.9, 1.0, 0.9, 1.2, 2.8, 3.6, 3.8];
    for (i, seconds) in steps.into_iter().enumerate() {
        let mut sample = signals();
        sample.signals[0].value = Some(seconds * 1000.0);
        sample.signals[1].value = Some(0.005 + 0.035 * i as f64);
        update(&mut app, Msg::Sampled(sample));
    }
    update(&mut app, Msg::Sampled(signals()));
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
    let service = evil.id.clone();
    update(
        &mut app,
        Msg::Inventory(Inventory {
            services: vec![evil],
            unreachable: vec![Unreachable {
                host: HostName::local(),
                runtime: Runtime::Docker,
                error: safe("\u{1b}[31mОшибка подключения к демону Docker"),
                fix: safe("接続エラーを直してください"),
            }],
        }),
    );
    update(
        &mut app,
        Msg::Log {
            service,
            pieces: vec![block(&[
                (
                    "15:31:00.000",
                    Some(Level::Error),
                    "\u{1b}[2J\u{1b}[1;1Hroot@prod:~# \u{1b}]52;c;aGk=\u{7}",
                ),
                ("15:31:01.000", None, "Ошибка подключения к базе данных"),
                (
                    "15:31:02.000",
                    None,
                    "接続エラー: タイムアウトしました 接続エラー: タイムアウトしました 接続エラー",
                ),
                (
                    "15:31:03.000",
                    None,
                    "user\u{202e}txt.exe zero\u{200b}width",
                ),
                ("15:31:04.000", None, "progress 50%\rprogress 100%\ttab"),
                (
                    "15:31:05.000",
                    None,
                    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} zalgo 👨‍👩‍👧 family",
                ),
            ])],
        },
    );
    app.flash = None;
    app
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

/// What the screen shows, one string a row, trailing blanks cut.
pub(crate) fn screen(app: &App) -> String {
    let buffer = draw(app);
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
            row.push_str(symbol);
        }
        let _ = writeln!(out, "{}", row.trim_end());
    }
    out
}

/// The screen with every change of style written as a word: `«red bold»`.
pub(crate) fn styled(app: &App) -> String {
    let buffer = draw(app);
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut last = String::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let cell = &buffer[(x, y)];
            let words = style_words(cell);
            let is_blank = cell.symbol() == " " && !words.contains("reversed");
            if words != last && !is_blank {
                let _ = write!(row, "«{words}»");
                last = words;
            }
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            row.push_str(cell.symbol());
        }
        let _ = writeln!(out, "{}", row.trim_end());
    }
    out
}

fn style_words(cell: &Cell) -> String {
    let mut words = Vec::new();
    if cell.fg != Color::Reset {
        words.push(format!("{:?}", cell.fg).to_lowercase());
    }
    if cell.bg != Color::Reset {
        words.push(format!("on {:?}", cell.bg).to_lowercase());
    }
    for (modifier, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::ITALIC, "italic"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ] {
        if cell.modifier.contains(modifier) {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

pub(crate) fn draw(app: &App) -> Buffer {
    let backend = TestBackend::new(app.size.width, app.size.height);
    let mut terminal = Terminal::new(backend).unwrap();
    terminal.draw(|frame| view(app, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The screen as a terminal would get it, to be looked at.
pub(crate) fn ansi(app: &App) -> String {
    let buffer = draw(app);
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut skip = 0;
        for x in 0..buffer.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let cell = &buffer[(x, y)];
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            let color = |color: Color, base: u8| match color {
                Color::Black => format!(";{base}"),
                Color::Red => format!(";{}", base + 1),
                Color::Green => format!(";{}", base + 2),
                Color::Yellow => format!(";{}", base + 3),
                Color::Blue => format!(";{}", base + 4),
                Color::Magenta => format!(";{}", base + 5),
                Color::Cyan => format!(";{}", base + 6),
                Color::DarkGray => format!(";{}", base + 60),
                Color::LightYellow => format!(";{}", base + 63),
                _ => String::new(),
            };
            let mut code = "0".to_owned();
            for (modifier, number) in [
                (Modifier::BOLD, ";1"),
                (Modifier::DIM, ";2"),
                (Modifier::ITALIC, ";3"),
                (Modifier::UNDERLINED, ";4"),
                (Modifier::REVERSED, ";7"),
            ] {
                if cell.modifier.contains(modifier) {
                    code.push_str(number);
                }
            }
            code.push_str(&color(cell.fg, 30));
            code.push_str(&color(cell.bg, 40));
            let _ = write!(out, "\u{1b}[{code}m{}", cell.symbol());
        }
        out.push_str("\u{1b}[0m\n");
    }
    out
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
