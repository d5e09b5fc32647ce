//! The golden signals and the health of a live service.

use crate::compose_story::{GOOD, list};
use crate::harness::{Project, Sandbox, missing};
use serde_json::Value;

#[test]
fn a_live_service_has_its_four_signals() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("signals");
    let mut project = Project::of_one(&sandbox, "signals");
    project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 150);
    let service = project.service("backend");
    let read = sandbox.json(0, "signals", &["signals", &service]);
    let signals = list(&list(&read["services"])[0]["signals"]);
    let signal = |name: &str| -> &Value {
        let mut found = signals
            .iter()
            .filter(|signal| signal["signal"] == name && signal["route"].is_null());
        found
            .next()
            .unwrap_or_else(|| panic!("no {name}: {read:#}"))
    };
    let value = |name: &str| {
        signal(name)["value"]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {read:#}"))
    };
    assert!(
        (10.0..=95.0).contains(&value("latency_p95")),
        "{:#}",
        signal("latency_p95")
    );
    assert_eq!(signal("latency_p95")["grade"], "ok");
    assert!(
        value("error_rate").abs() < 1e-9 && signal("error_rate")["grade"] == "ok",
        "{:#}",
        signal("error_rate")
    );
    assert!(value("traffic") > 0.0, "{:#}", signal("traffic"));
    assert!(value("memory") > 0.0, "{:#}", signal("memory"));
    assert!(!signal("cpu")["value"].is_null(), "{:#}", signal("cpu"));
}

#[test]
fn health_follows_the_probe() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("health");
    let mut project = Project::of_one(&sandbox, "health");
    project.image(GOOD);
    project.up();
    let service = project.service("backend");
    let mark = sandbox.write("well", "");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"{service}\"]\nprobe = {{ command = \"test -e {}\" }}\n",
            mark.display()
        ),
    );
    let healthy = sandbox.json(0, "health", &["health", &service]);
    assert_eq!(healthy["state"], "healthy", "{healthy:#}");
    std::fs::remove_file(&mark).unwrap();
    let sick = sandbox.json(1, "health", &["health", &service]);
    assert_eq!(sick["state"], "unhealthy", "{sick:#}");
    let checks = list(&list(&sick["services"])[0]["checks"]);
    assert!(
        checks.iter().any(|check| check["ok"] == false
            && check["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())),
        "{sick:#}"
    );
    project.compose(&["stop", "-t", "0"]);
    sandbox.run(&["health", &service]).exits(1);
}
