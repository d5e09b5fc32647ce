//! Signals of one's own and from a real Prometheus, which cross warning and critical and come back, and their alerts, which
//! follow, are kept back by a silence and are taken.

use crate::compose_story::list;
use crate::harness::{
    Database, Prometheus, Received, Receiver, Sandbox, Terminal, missing, wait_for,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
pub(crate) const NO_ENGINE: (&str, &str) =
    ("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");

/// One signal of a service or of the machine, as `signals` gives it.
pub(crate) fn signal(sandbox: &Sandbox, id: &str, name: &str) -> Value {
    let read = sandbox.json(0, "signals", &["signals", id]);
    let of = list(&read["services"])
        .iter()
        .find(|service| service["id"] == id)
        .unwrap_or_else(|| panic!("no {id}: {read:#}"))
        .clone();
    let found = list(&of["signals"])
        .iter()
        .find(|signal| signal["signal"] == name && signal["route"].is_null())
        .cloned();
    found.unwrap_or_else(|| panic!("no {name}: {read:#}"))
}

#[test]
fn own_signals_are_measured_graded_compared_and_watched() {
    let sandbox = Sandbox::new("own-signals").with(NO_ENGINE.0, NO_ENGINE.1);
    let log = sandbox.write("bot.log", "");
    let cost = sandbox.write("cost", "40\n");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"true\"\nlog_files = [\"{}\"]\n\
             [signals.cost_today]\ncommand = \"cat {}\"\nunit = \"USD\"\nlimits = [50, 80]\n\
             [signals.generation]\nservice = \"bot\"\nregex = 'generated in ([\\d.]+)s'\nvalue = \"max\"\nunit = \"s\"\nlimits = [\"30s\", \"60s\"]\n\
             [[rules]]\nwhen = \"cost_today > 80\"\nseverity = \"P0\"\n",
            log.display(),
            cost.display()
        ),
    );
    let lines = |seconds: &[u32]| {
        let now = jiff::Timestamp::now();
        let text: String = seconds
            .iter()
            .map(|s| format!("{now} INFO generated in {s}s\n"))
            .collect();
        std::fs::write(&log, text).unwrap();
    };
    let generation = |grade: &str| {
        let found = signal(&sandbox, "exec/bot", "generation");
        assert_eq!(found["grade"], grade, "{found:#}");
        found
    };
    // Nothing in the log is no zero.
    assert!(generation("unknown")["value"].is_null());
    lines(&[12, 20]);
    let found = generation("ok");
    assert_eq!(
        (&found["value"], &found["unit"]),
        (&json!(20.0), &json!("s"))
    );
    assert!(found["age_ms"].as_u64().unwrap() < 60_000, "{found:#}");
    lines(&[12, 45]);
    generation("warning");
    lines(&[61]);
    generation("critical");
    lines(&[9]);
    generation("ok");

    let spent = |text: &str, grade: &str| {
        std::fs::write(&cost, text).unwrap();
        let found = signal(&sandbox, "host/machine", "cost_today");
        assert_eq!(found["grade"], grade, "{found:#}");
        found
    };
    let found = spent("40\n", "ok");
    assert_eq!(
        (&found["value"], &found["unit"]),
        (&json!(40.0), &json!("USD"))
    );
    sandbox
        .run(&["checkpoint", "create", "exec/bot", "--label", "cheap"])
        .exits(0);
    spent("50.5\n", "warning");
    let broken = spent("no idea\n", "unknown");
    assert!(broken["value"].is_null(), "{broken:#}");
    assert!(
        broken["detail"].as_str().unwrap().contains("no idea"),
        "{broken:#}"
    );
    spent("81\n", "critical");
    let compared = sandbox.run(&["compare", "--format", "json"]);
    let compared = compared.json("compare");
    let moved = list(&compared["signals"])
        .iter()
        .find(|signal| signal["signal"] == "cost_today")
        .unwrap_or_else(|| panic!("{compared:#}"));
    assert_eq!(
        (&moved["before"], &moved["after"], &moved["grade"]),
        (&json!(40.0), &json!(81.0), &json!("critical")),
        "{moved:#}"
    );

    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    // That of the rule and that of the limit.
    watch.alerts_are("firing", &["cost_today > 80", "machine cost_today"]);
    for words in ["is 81 USD (> 80 USD)", "is 81 USD, over 80 USD"] {
        assert!(
            watch.seen.iter().any(|line| line.contains(words)),
            "{words}"
        );
    }
    // A query that fails says nothing: what fires goes on firing, and says that nobody can look.
    std::fs::remove_file(&cost).unwrap();
    watch.until("missing data", LONG, |line| {
        line.contains("\"missing\"") && line.contains("cost_today")
    });
    let alerts = sandbox.json(1, "alerts", &["alerts"]);
    assert!(alerts.to_string().contains("81 USD"), "{alerts:#}");
    spent("12\n", "ok");
    watch.alerts_are("resolved", &["cost_today > 80", "machine cost_today"]);
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

#[test]
fn a_prometheus_is_asked_for_latency_errors_traffic_and_own_signals() {
    if missing(&["prometheus", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("prometheus").with(NO_ENGINE.0, NO_ENGINE.1);
    let mut prometheus = Prometheus::start(&sandbox);
    sandbox.write(
        "lastgood.toml",
        format!(
            "[prometheus]\nurl = \"{}\"\n\
             [services.\"exec/shop\"]\nstatus = \"true\"\nlimits = {{ latency_p95 = [\"500ms\", \"3s\"] }}\n\
             metrics = {{ histogram = \"http_request_duration_seconds\", match = 'job=\"shop\"' }}\n\
             [signals.queue]\nservice = \"shop\"\npromql = \"sum(queue_length)\"\nunit = \"jobs\"\nlimits = [50, 80]\n\
             [[rules]]\nwhen = \"shop queue > 80\"\nseverity = \"P1\"\n\
             [signals.nothing]\npromql = \"no_such_metric\"\nlimits = [1, 2]\n\
             [signals.wrong]\npromql = \"sum(\"\nlimits = [1, 2]\n",
            prometheus.url()
        ),
    );
    // What the shop has answered since it started: quick ones, slow ones, failures.
    let (mut quick, mut slow, mut failed) = (0_u64, 0_u64, 0_u64);
    let mut serve = |more_quick: u64, more_slow: u64, more_failed: u64, queue: u64| {
        quick += more_quick;
        slow += more_slow;
        failed += more_failed;
        let series = |status: &str, quick: u64, slow: u64| {
            let all = quick + slow;
            let name = "http_request_duration_seconds";
            format!(
                "{name}_bucket{{status=\"{status}\",le=\"0.1\"}} {quick}\n{name}_bucket{{status=\"{status}\",le=\"1\"}} {quick}\n{name}_bucket{{status=\"{status}\",le=\"4\"}} {all}\n{name}_bucket{{status=\"{status}\",le=\"+Inf\"}} {all}\n{name}_sum{{status=\"{status}\"}} {}\n{name}_count{{status=\"{status}\"}} {all}\n",
                quick as f64 * 0.05 + slow as f64 * 2.5
            )
        };
        let failures = match failed {
            0 => String::new(),
            failed => series("500", failed, 0),
        };
        prometheus.write(&format!(
            "# TYPE http_request_duration_seconds histogram\n{}{failures}queue_length {queue}\n",
            series("200", quick, slow)
        ));
    };
    let graded = |name: &str| {
        let found = signal(&sandbox, "exec/shop", name);
        (
            found["grade"].as_str().unwrap().to_owned(),
            found["value"].as_f64(),
            found,
        )
    };
    let mut until = |name: &str, grade: &str, load: (u64, u64, u64, u64)| {
        wait_for(&format!("{name} {grade}"), Duration::from_secs(150), || {
            serve(load.0, load.1, load.2, load.3);
            std::thread::sleep(Duration::from_millis(700));
            let (is, value, _) = graded(name);
            (is == grade).then_some(value)
        })
    };
    let p95 = until("latency_p95", "ok", (20, 0, 0, 10)).unwrap();
    assert!((50.0..=100.0).contains(&p95), "{p95} ms");
    let (grade, errors, found) = graded("error_rate");
    // A shop that never failed has no series of failures, and that is 0 %.
    assert_eq!((grade.as_str(), errors), ("ok", Some(0.0)), "{found:#}");
    assert!(graded("traffic").1.unwrap() > 0.0);
    assert_eq!(graded("queue").0, "ok");
    let mut watch = sandbox.follow(&["watch", "--interval", "2s", "--format", "json"]);
    until("error_rate", "warning", (20, 0, 1, 60));
    until("error_rate", "critical", (20, 0, 20, 60));
    assert_eq!(graded("queue").0, "warning");
    until("latency_p95", "warning", (20, 2, 0, 90));
    let p95 = until("latency_p95", "critical", (1, 60, 0, 90)).unwrap();
    assert!((3_000.0..=4_000.0).contains(&p95), "{p95} ms");
    assert_eq!(graded("queue").0, "critical");
    watch.alerts_are("firing", &["queue > 80"]);
    until("queue", "ok", (20, 0, 0, 10));
    watch.alerts_are("resolved", &["queue > 80"]);
    assert_eq!(watch.end_with(Signal::TERM), 143);
    // So many good ones that those from before are few among them.
    until("latency_p95", "ok", (5_000, 0, 0, 10));
    until("error_rate", "ok", (5_000, 0, 0, 10));

    let why = |name: &str| {
        let found = signal(&sandbox, "host/machine", name);
        assert!(
            found["value"].is_null() && found["grade"] == "unknown",
            "{found:#}"
        );
        found["detail"].as_str().unwrap().to_owned()
    };
    assert!(why("nothing").contains("no series"), "{}", why("nothing"));
    assert!(why("wrong").contains("parse error"), "{}", why("wrong"));
    prometheus.end();
    for name in ["latency_p95", "error_rate", "traffic", "queue"] {
        let (grade, value, found) = graded(name);
        assert_eq!((grade.as_str(), value), ("unknown", None), "{found:#}");
        let why = found["detail"].as_str().unwrap();
        assert!(why.contains("refused"), "{why}");
    }
}

#[test]
fn queries_that_become_slow_cross_their_limits_and_come_back() {
    if missing(&["docker", "busybox", "postgres"]) {
        return;
    }
    let sandbox = Sandbox::new("pg-slow");
    let database = Database::postgres("pg-slow", 20);
    let service = database.service();
    // As the documentation has it.
    sandbox.write(
        "lastgood.toml",
        format!(
            "[signals.query_p95]\nservice = \"{service}\"\nregex = 'duration: ([\\d.]+) ms'\nvalue = \"p95\"\nunit = \"ms\"\nlimits = [100, 500]\n[[rules]]\nwhen = \"{service} query_p95 > 500\"\nseverity = \"P1\"\n"
        ),
    );
    let is = |grade: &str| {
        wait_for(&format!("queries are {grade}"), LONG, || {
            let found = signal(&sandbox, &service, "query_p95");
            (found["grade"] == grade).then_some(())
        });
    };
    database.run("select 1;", 100);
    is("ok");
    database.run("select pg_sleep(0.15);", 20);
    is("warning");
    database.run("select pg_sleep(0.6);", 15);
    is("critical");
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("the alert", LONG, |line| {
        line.contains("\"firing\"") && line.contains("query_p95 > 500")
    });
    database.run("select 1;", 3000);
    is("ok");
    watch.until("its end", LONG, |line| {
        line.contains("\"resolved\"") && line.contains("query_p95 > 500")
    });
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

/// A P1 and a P0 that the test switches, a receiver that is told of both.
fn two_alerts(name: &str) -> (Sandbox, Receiver) {
    let sandbox = Sandbox::new(name).with(NO_ENGINE.0, NO_ENGINE.1);
    let receiver = Receiver::http();
    sandbox.write("cost", "40\n");
    sandbox.write("up", "");
    let at = sandbox.work().display().to_string();
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {at}/up\"\nlogs = \"echo ready\"\n\
             [signals.cost_today]\nservice = \"bot\"\ncommand = \"cat {at}/cost\"\nunit = \"USD\"\nlimits = [50, 80]\n\
             [sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n[[routes]]\nservices = [\"exec/bot\"]\nsinks = [\"hook\"]\n",
            receiver.url("/hook")
        ),
    );
    (sandbox, receiver)
}

#[test]
fn a_silence_keeps_a_p1_back_until_it_ends_and_never_a_p0() {
    let (sandbox, receiver) = two_alerts("silence");
    sandbox
        .run(&["alerts", "--silence", "exec/bot", "--for", "1h"])
        .exits(2)
        .says(&["reason"]);
    let silence = [
        "alerts",
        "--silence",
        "exec/bot",
        "--for",
        "1h",
        "--reason",
        "upgrade",
    ];
    sandbox.run(&silence).exits(0);
    std::fs::write(sandbox.work().join("cost"), "81\n").unwrap();
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("the alert", LONG, |line| {
        line.contains("\"firing\"") && line.contains("cost_today")
    });
    let shown = sandbox.run(&["alerts"]).stdout;
    assert!(
        shown.contains("silenced") && shown.contains("upgrade"),
        "{shown}"
    );
    std::fs::remove_file(sandbox.work().join("up")).unwrap();
    let page = receiver.wait("the P0", LONG, |_| true).json();
    assert_eq!(page["severity"], "P0", "{page:#}");
    let p1 = |r: &Received| r.json()["severity"] == "P1";
    std::thread::sleep(Duration::from_secs(3));
    assert!(!receiver.received().iter().any(p1));
    sandbox
        .run(&["alerts", "--end-silence", "exec/bot"])
        .exits(0);
    let page = receiver.wait("the P1", LONG, p1).json();
    assert!(
        page["title"].as_str().unwrap().contains("81 USD"),
        "{page:#}"
    );
    sandbox
        .run(&["alerts", "--end-silence", "exec/bot"])
        .exits(1);
}

#[test]
fn a_guarded_deploy_has_its_window() {
    let (sandbox, _receiver) = two_alerts("window");
    let book = sandbox.state().join("alerts.json").display().to_string();
    let during = sandbox.work().join("during.json");
    sandbox.run(&[
        "guard",
        "--watch",
        "2s",
        "--skip-preflight",
        "exec/bot",
        "--",
        "cp",
        &book,
        during.to_str().unwrap(),
    ]);
    let read = |path: &std::path::Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let windows = read(&during);
    let window = &list(&windows["silences"])[0];
    assert_eq!(window["services"], json!(["exec/bot"]), "{window:#}");
    assert!(list(&read(std::path::Path::new(&book))["silences"]).is_empty());
}

#[test]
fn the_console_takes_an_alert_and_draws_what_was_before_it() {
    let (sandbox, receiver) = two_alerts("take-alert");
    std::fs::write(sandbox.work().join("cost"), "81\n").unwrap();
    let watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    receiver.wait("the page", LONG, |_| true);
    let kept = sandbox.state().join("signals/exec%2fbot.jsonl");
    let point = wait_for("a kept point", LONG, || std::fs::read_to_string(&kept).ok());
    assert!(point.contains("\"cost_today\":81"), "{point}");
    // An hour of the day before this console: it rose from 0.
    let now = jiff::Timestamp::now();
    let past: String = (1..=40)
        .rev()
        .map(|minute| {
            let at = now - jiff::SignedDuration::from_mins(minute);
            format!(
                "{{\"at\":\"{at}\",\"values\":{{\"cost_today\":{}}}}}\n",
                80 - 2 * minute
            )
        })
        .collect();
    std::fs::write(&kept, past + &point).unwrap();
    let terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    // Whatever else runs on this machine, and fires.
    terminal.wait_for("bot");
    terminal.keys(":exec/bot\r");
    terminal.keys("4z");
    terminal.wait_for("nobody has taken it");
    let screen = terminal.wait_for("▁▁▁");
    assert!(screen.contains("▃▃▃"), "{screen}");
    let taken = wait_for("the alert to be taken", LONG, || {
        terminal.keys("i");
        let alerts = sandbox.json(1, "alerts", &["alerts"]);
        let mut alerts = list(&alerts["alerts"]).iter();
        let own = alerts.find(|alert| alert["key"] == "exec/bot cost_today");
        own.map(|own| own["acknowledged"].clone())
            .filter(|by| !by.is_null())
    });
    assert!(taken["by"].is_string(), "{taken:#}");
    terminal.wait_for("taken by");
    receiver.wait("who has it", LONG, |r| r.json()["event"] == "acknowledge");
    assert_eq!(watch.end_with(Signal::TERM), 143);
}
