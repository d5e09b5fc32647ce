//! Probes over HTTPS: when the certificate of an answer ends, and why one is not accepted, on real servers with TLS.

use crate::compose_story::list;
use crate::harness::{Authority, Fleet, Receiver, Sandbox, WebServer, missing};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const NO_ENGINE: (&str, &str) = ("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
const LONG: Duration = Duration::from_secs(60);
const NINE_DAYS: i64 = 9 * 24 + 1;
const NINETY_DAYS: i64 = 90 * 24 + 1;
const THREE_DAYS_AGO: i64 = -(3 * 24 + 1);

/// A service that runs for ever, with this in the table of its probe.
fn probed(sandbox: &Sandbox, service: &str, probe: &str) {
    let release = sandbox.path("release");
    let release = release.display();
    let machine = match service.split_once(':') {
        Some((host, _)) => format!("[hosts.{host}]\n"),
        None => String::new(),
    };
    let text = format!(
        "{machine}[services.\"{service}\"]\nstatus = \"true\"\nlogs = \"echo ready\"\nrelease_command = \"cat {release}\"\n\
         start = \"true\"\nstop = \"true\"\nroll_back = \"echo $LASTGOOD_RELEASE > {release}\"\nprobe = {{ {probe} }}\n"
    );
    sandbox.write("lastgood.toml", text);
}

fn over(url: &str, authority: &Authority, more: &str) -> String {
    let ca = authority.file();
    format!("http = \"{url}\", ca = \"{}\"{more}", ca.display())
}

/// The state of the service and its probe's check, where `health` ends with this code.
fn health(sandbox: &Sandbox, service: &str, code: i32) -> (Value, Value) {
    let report = sandbox.json(code, "health", &["health", service]);
    let own = &list(&report["services"])[0];
    let checks = list(&own["checks"]);
    let is_probe = |check: &&Value| check["name"].as_str().unwrap().starts_with("http");
    let probe = checks.iter().find(is_probe);
    let probe = probe.unwrap_or_else(|| panic!("no probe: {report:#}"));
    (own["state"].clone(), probe.clone())
}

fn detail(check: &Value) -> &str {
    check["detail"].as_str().unwrap()
}

/// The day on which what was signed for so many hours ends.
fn day(hours: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    at.strftime("%Y-%m-%d").to_string()
}

#[test]
fn a_certificate_that_ends_soon_degrades_and_holds_nothing_back() {
    if missing(&["openssl", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new("certificate-ends").with(NO_ENGINE.0, NO_ENGINE.1);
    let authority = Authority::make(&sandbox.path("certificates"));
    let release = sandbox.path("release");
    std::fs::write(&release, "1.0\n").unwrap();

    let server = WebServer::start(&sandbox, &authority.sign("long", NINETY_DAYS));
    let up = ", contains = \"up\"";
    probed(
        &sandbox,
        "exec/web",
        &over(&server.health(), &authority, up),
    );
    let (state, check) = health(&sandbox, "exec/web", 0);
    assert_eq!(state, "healthy");
    assert_eq!(
        detail(&check),
        "200 OK, body contains \"up\", certificate ends in 90 days"
    );
    assert!(check["warnings"].is_null(), "{check:#}");

    let soon = authority.sign("soon", NINE_DAYS);
    let ends = day(NINE_DAYS);
    let server = WebServer::start(&sandbox, &soon);
    let url = server.health();
    probed(&sandbox, "exec/web", &over(&url, &authority, ""));
    let (state, check) = health(&sandbox, "exec/web", 3);
    assert_eq!((&state, &check["ok"]), (&json!("degraded"), &json!(true)));
    assert_eq!(
        detail(&check),
        format!("200 OK, certificate ends in 9 days, on {ends}: renew it")
    );
    assert_eq!(check["warnings"], json!(["certificate"]));
    let shown = sandbox.run(&["health", "exec/web"]).exits(3).stdout;
    assert!(
        shown.contains("▲ exec/web  degraded") && shown.contains("    ▲ http https://"),
        "{shown}"
    );

    // No deploy and no way back waits for it.
    let found = sandbox.run(&["preflight", "exec/web", "--format", "json"]);
    let checks = found.json("preflight");
    let by = |name: &str| {
        let found = list(&checks["checks"]).iter().find(|c| c["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {checks:#}"))
    };
    assert_eq!(by("health")["grade"], "ok");
    assert_eq!(by("certificate")["grade"], "warning");
    assert!(
        !list(&checks["checks"])
            .iter()
            .any(|c| c["grade"] == "critical"),
        "{checks:#}"
    );
    let made = sandbox.json(0, "checkpoint", &["checkpoint", "create", "exec/web"]);
    assert_eq!(list(&made["services"])[0]["health"], "healthy", "{made:#}");
    std::fs::write(&release, "1.1\n").unwrap();
    let compared = sandbox
        .run(&["compare", "--format", "json"])
        .json("compare");
    let blamed = compared["verdict"]["findings"].to_string();
    assert!(!blamed.contains("certificate"), "{blamed}");
    let back = sandbox.json(
        0,
        "outcome",
        &["roll-back", "exec/web", "--yes", "--confirm", "web"],
    );
    assert_eq!(back["outcome"], "verified", "{back:#}");
    assert_eq!(std::fs::read_to_string(&release).unwrap().trim(), "1.0");

    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--checkpoint-every", "1h"]);
    watch.until("a rolling checkpoint", LONG, |line| {
        line.contains(" checkpoint ")
    });
    assert_eq!(watch.end_with(Signal::TERM), 143);

    // Degraded is not well.
    let looked = sandbox.run(&["watch", "--once"]).exits(3).stdout;
    assert!(looked.contains("degraded"), "{looked}");

    // As early as the user wants it, or never.
    for (more, code, state) in [
        (", certificate_days = 9", 0, "healthy"),
        (", certificate_days = 10", 3, "degraded"),
        (", certificate_days = 0", 0, "healthy"),
    ] {
        probed(&sandbox, "exec/web", &over(&url, &authority, more));
        let (found, check) = health(&sandbox, "exec/web", code);
        assert_eq!(found, state, "{more}: {check:#}");
        assert!(detail(&check).contains("certificate ends in 9 days"));
    }
}

#[test]
fn why_a_certificate_is_not_accepted_stands_there_in_words() {
    if missing(&["openssl", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new("certificate-refused").with(NO_ENGINE.0, NO_ENGINE.1);
    let authority = Authority::make(&sandbox.path("certificates"));
    let other = Authority::make(&sandbox.path("others"));
    let again = Authority::make(&sandbox.path("again/certificates"));
    let fails = |probe: &str, words: &[&str]| {
        probed(&sandbox, "exec/web", probe);
        let (state, check) = health(&sandbox, "exec/web", 1);
        assert_eq!((&state, &check["ok"]), (&json!("unhealthy"), &json!(false)));
        for word in words {
            assert!(detail(&check).contains(word), "{word:?} in {check:#}");
        }
    };

    let old = WebServer::start(&sandbox, &authority.sign("old", THREE_DAYS_AGO));
    let ended = format!(
        "a certificate that localhost:{} shows ended on {}, 3 days ago: renew it and reload",
        old.port,
        day(THREE_DAYS_AGO)
    );
    fails(&over(&old.health(), &authority, ""), &[&ended]);

    let good = WebServer::start(&sandbox, &authority.sign("good", NINETY_DAYS));
    let url = good.health();
    let unknown = format!(
        "the certificate of localhost:{} is signed by an authority that this machine does not know",
        good.port
    );
    let bare = format!("http = \"{url}\"");
    fails(&bare, &[&unknown, "ca = \"/path/of/its.pem\" in the probe"]);
    fails(&over(&url, &other, ""), &["nobody in ", "others/ca.pem"]);
    fails(
        &over(&url, &again, ""),
        &["again/certificates/ca.pem: was the authority made anew?"],
    );
    fails(
        &format!("http = \"{url}\", ca = \"/nonexistent/ca.pem\""),
        &["ca /nonexistent/ca.pem cannot be read: No such file"],
    );

    let itself = WebServer::start(&sandbox, &authority.itself());
    fails(
        &over(&itself.health(), &authority, ""),
        &["is one of an authority (CA:TRUE)", "CA:FALSE"],
    );

    // The one that counts is that of the last answer, and its place is named.
    fails(&over(&good.to(&old.health()), &authority, ""), &[&ended]);
    let soon = WebServer::start(&sandbox, &authority.sign("soon", NINE_DAYS));
    probed(
        &sandbox,
        "exec/web",
        &over(&good.to(&soon.health()), &authority, ""),
    );
    let (state, check) = health(&sandbox, "exec/web", 3);
    assert_eq!(state, "degraded");
    assert!(
        detail(&check).contains("certificate ends in 9 days"),
        "{check:#}"
    );

    // Without any there is nothing to be sure of.
    let server = WebServer::plain(&sandbox);
    let plain = server.health().replace("https:", "http:");
    probed(
        &sandbox,
        "exec/web",
        &over(&good.to(&plain), &authority, ""),
    );
    let (state, check) = health(&sandbox, "exec/web", 3);
    assert_eq!(state, "degraded");
    assert!(
        detail(&check).contains("certificate not seen: it sent us on to plain http"),
        "{check:#}"
    );
    fails(
        &format!("http = \"{}\"", server.health()),
        &["does not speak TLS: is its address http://localhost:"],
    );
}

#[test]
fn a_machine_without_authorities_can_be_probed() {
    if missing(&["openssl", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new("certificate-none")
        .with(NO_ENGINE.0, NO_ENGINE.1)
        .with("SSL_CERT_FILE", "/nonexistent/ca.pem")
        .with("SSL_CERT_DIR", "/nonexistent");
    let authority = Authority::make(&sandbox.path("certificates"));
    let server = WebServer::start(&sandbox, &authority.sign("good", NINETY_DAYS));
    let plain = Receiver::http();
    probed(
        &sandbox,
        "exec/web",
        &format!("http = \"{}\"", plain.url("/")),
    );
    assert_eq!(detail(&health(&sandbox, "exec/web", 0).1), "200 OK");
    probed(
        &sandbox,
        "exec/web",
        &over(&server.health(), &authority, ""),
    );
    let (_, check) = health(&sandbox, "exec/web", 0);
    assert_eq!(detail(&check), "200 OK, certificate ends in 90 days");
    probed(
        &sandbox,
        "exec/web",
        &format!("http = \"{}\"", server.health()),
    );
    let (_, check) = health(&sandbox, "exec/web", 1);
    assert!(
        detail(&check).contains("install ca-certificates"),
        "{check:#}"
    );
}

#[test]
fn a_probe_of_another_machine_sees_its_certificate_through_the_connection() {
    if missing(&["openssl", "python3", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) =
        Fleet::new(Sandbox::new("certificate-ssh").with(NO_ENGINE.0, NO_ENGINE.1));
    let _sshd = fleet.start("prod-1", 95, &[]);
    let authority = Authority::make(&sandbox.path("certificates"));
    let soon = WebServer::start(&sandbox, &authority.sign("soon", NINE_DAYS));
    let old = WebServer::start(&sandbox, &authority.sign("old", THREE_DAYS_AGO));
    probed(
        &sandbox,
        "prod-1:exec/web",
        &over(&soon.health(), &authority, ""),
    );
    let (state, check) = health(&sandbox, "prod-1:exec/web", 3);
    assert_eq!(state, "degraded");
    assert!(
        detail(&check).starts_with("200 OK, certificate ends in 9 days, on "),
        "{check:#}"
    );
    probed(
        &sandbox,
        "prod-1:exec/web",
        &over(&old.health(), &authority, ""),
    );
    let (state, check) = health(&sandbox, "prod-1:exec/web", 1);
    assert_eq!(state, "unhealthy");
    assert!(detail(&check).contains("3 days ago: renew it"), "{check:#}");
    probed(
        &sandbox,
        "prod-1:exec/web",
        &format!("http = \"{}\"", soon.health()),
    );
    let (_, check) = health(&sandbox, "prod-1:exec/web", 1);
    assert!(
        detail(&check).contains("this machine does not know"),
        "{check:#}"
    );
    // Nobody listens there, which only that machine can say.
    probed(
        &sandbox,
        "prod-1:exec/web",
        "http = \"https://localhost:1/\"",
    );
    let (_, check) = health(&sandbox, "prod-1:exec/web", 1);
    assert!(detail(&check).contains("refused"), "{check:#}");
}
