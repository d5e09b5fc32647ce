//! An incident from the alarm to its report, on a real Compose service; and a journal that many write into.

use crate::compose_story::{BAD, GOOD, list};
use crate::harness::{Project, Sandbox, missing};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// In `.env`, in the compose file, and typed into a note; each is in the logs of the bad release or in a note.
const SECRETS: [&str; 3] = ["correct-horse-battery", "tok-inline-998877", "hunter2typed"];

const COMPOSE: &str = "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    environment:
      API_TOKEN: tok-inline-998877
";

fn clean(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} stands in {what}: {text}");
    }
}

/// Lines of a timeline of one kind.
fn texts<'a>(report: &'a Value, kind: &str) -> Vec<&'a str> {
    list(&report["timeline"])
        .iter()
        .filter(|event| event["kind"] == kind)
        .map(|event| event["text"].as_str().unwrap())
        .collect()
}

#[test]
fn a_whole_incident_leaves_its_record() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("incident");
    let mut project = Project::new(&sandbox, "incident", COMPOSE);
    fs::write(
        project.folder().join(".env"),
        "DB_PASSWORD=correct-horse-battery\n",
    )
    .unwrap();
    project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 250);
    let service = project.service("backend");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let checkpoint = created["id"].as_str().unwrap();

    let says_secrets = BAD.replace(
        "calculate_discount()",
        "calculate_discount() with correct-horse-battery and tok-inline-998877",
    );
    project.image(&says_secrets);
    project.up();
    project.wait_for_lines("backend", 250);

    let run = sandbox.run(&["incident", "note", "too early"]).exits(1);
    run.says(&["no incident is open", "lastgood incident start"]);
    let started = sandbox.json(
        0,
        "incident",
        &[
            "incident",
            "start",
            "Checkout <b>fails</b>",
            "--severity",
            "P0",
        ],
    );
    let id = started["id"].as_str().unwrap();
    assert_eq!(started["ended_at"], Value::Null);
    sandbox
        .run(&["incident", "start", "another"])
        .exits(5)
        .says(&[id, "incident end"]);
    sandbox
        .run(&[
            "incident",
            "note",
            "payment is called, password=hunter2typed",
        ])
        .exits(0);
    sandbox
        .run(&["incident", "severity", "P1", "--reason", "one shop only"])
        .exits(0);
    sandbox
        .run(&["incident", "severity", "P0", "--reason", "no, all of them"])
        .exits(0);
    sandbox
        .run(&["incident", "role", "Scribe", "clara"])
        .exits(0);
    let note = "a new build is not faster\npassword=hunter2typed was in the log";
    sandbox
        .run(&["incident", "hand-over", "boris", note])
        .exits(0);
    sandbox
        .run(&["incident", "hand-over", "boris", " "])
        .exits(2);
    sandbox
        .run(&["runbook", "start", "incident-response"])
        .exits(0);
    sandbox.run(&["runbook", "tick", "1"]).exits(0);
    let open = sandbox.json(0, "incident-report", &["incident", "report"]);
    assert_eq!(open["ended_at"], Value::Null);

    sandbox
        .run(&["roll-back", &service, "--yes", "--confirm", "backend"])
        .exits(0);
    project.wait_for_lines("backend", 250);
    sandbox.run(&["incident", "end"]).exits(0);
    sandbox.run(&["incident", "end"]).exits(1);
    sandbox
        .run(&["incident", "note", "late", "--incident", id])
        .exits(5);

    let report = sandbox.json(0, "incident-report", &["incident", "report"]);
    tells(&report, checkpoint, &service);
    matches_the_audit_log(&sandbox, &report);
    is_asked_for_a_part(&sandbox, &service);
    let listed = sandbox.json(0, "incidents", &["incident", "list"]);
    let row = &list(&listed["incidents"])[0];
    assert_eq!(
        (row["id"].as_str(), &row["severity"]),
        (Some(id), &"P0".into())
    );
    assert_eq!(row["ended_at"], report["ended_at"]);

    let show = |format: &str| {
        sandbox
            .run(&["incident", "report", id, "--format", format])
            .exits(0)
            .stdout
    };
    let (markdown, html, json) = (show("md"), show("html"), show("json"));
    for (what, text) in [("md", &markdown), ("html", &html), ("json", &json)] {
        clean(what, text);
        for word in ["ROLL BACK", "roll-back", "payment is called"] {
            let is_there = text.contains(word) || (what == "json" && text.contains("roll_back"));
            assert!(is_there, "{what} lacks {word}: {text}");
        }
    }
    assert!(
        !html.contains("<b>") && html.contains("&lt;b&gt;fails"),
        "{html}"
    );
    for word in ["<script", "http:", "https:", "src="] {
        assert!(!html.contains(word), "{word} in {html}");
    }
    sandbox.run(&["services", "--format", "html"]).exits(2);

    bundles(&sandbox, id);
    // What is over says the same when what it was made of is gone.
    fs::remove_dir_all(sandbox.state().join("checkpoints").join(checkpoint)).unwrap();
    assert_eq!(show("json"), json);
    assert_eq!(show("md"), markdown);

    let anchor = report["audit"]["head"].as_str().unwrap();
    sandbox
        .run(&["audit", "verify", "--anchor", anchor])
        .exits(0);
    let file = sandbox.audit_file();
    let log = fs::read_to_string(&file).unwrap();
    let last = log.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&file, &log[..last]).unwrap();
    sandbox.run(&["audit", "verify"]).exits(0);
    sandbox
        .run(&["audit", "verify", "--anchor", anchor])
        .exits(1)
        .says(&["cut or replaced"]);
    assert!(html.contains(anchor) && markdown.contains(anchor));
}

fn tells(report: &Value, checkpoint: &str, service: &str) {
    assert_eq!(report["baseline"], checkpoint);
    assert_eq!(report["severity"], "P0");
    assert!(
        report["duration_ms"].as_u64().unwrap() > 1_000,
        "{report:#}"
    );
    assert!(
        texts(report, "checkpoint")[0].contains(checkpoint),
        "{report:#}"
    );
    let deploys = texts(report, "deploy");
    assert_eq!(
        deploys.len(),
        2,
        "the bad release and the way back: {report:#}"
    );
    assert!(
        deploys.iter().all(|text| text.contains(service)),
        "{deploys:?}"
    );
    let notes = texts(report, "note");
    assert_eq!(notes.len(), 2, "{report:#}");
    assert!(
        notes[1].contains("hands over to boris: a new build is not faster / "),
        "{notes:?}"
    );
    let roles: Vec<(&str, &str)> = list(&report["roles"])
        .iter()
        .map(|held| {
            (
                held["role"].as_str().unwrap(),
                held["who"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(roles, [("lead", "boris"), ("scribe", "clara")]);
    let verdicts = texts(report, "verdict");
    assert!(
        verdicts[0].starts_with("at the start: ROLL BACK P0"),
        "{verdicts:?}"
    );
    assert!(verdicts[1].starts_with("at the end: keep"), "{verdicts:?}");
    assert!(
        texts(report, "runbook")
            .iter()
            .any(|text| text.contains("done by")),
        "{report:#}"
    );
    let said = texts(report, "incident");
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said[1].ends_with("says P1: one shop only"), "{said:?}");
    assert!(said[2].ends_with("says P0: no, all of them"), "{said:?}");
    let instants: Vec<&str> = list(&report["timeline"])
        .iter()
        .map(|event| event["at"].as_str().unwrap())
        .collect();
    // RFC 3339 in UTC with fractions of different lengths: compared as instants.
    let instants: Vec<jiff::Timestamp> = instants.iter().map(|at| at.parse().unwrap()).collect();
    assert!(instants.is_sorted(), "{report:#}");

    let row = list(&report["numbers"])
        .iter()
        .find(|row| row["service"].is_null() && row["signal"] == "error_rate")
        .unwrap();
    let rate = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{row:#}"));
    assert!(rate("before") < 0.01 && rate("at_end") < 0.01, "{row:#}");
    assert!((0.2..0.3).contains(&rate("at_start")), "{row:#}");
    let start = &report["verdicts"][0]["verdict"];
    assert!(
        list(&start["findings"])
            .iter()
            .any(|finding| !list(&finding["evidence"]).is_empty()),
        "{start:#}"
    );
    assert!(
        list(&report["changes"])
            .iter()
            .any(|change| change["what"] == "image"),
        "{report:#}"
    );
    let action = list(&report["actions"])
        .iter()
        .find(|action| action["operation"] == "roll-back")
        .unwrap();
    assert_eq!(action["outcome"], "verified");
    assert!(!list(&action["steps"]).is_empty());
}

/// Each record of an operation in the audit log is an action of the report and the other way round, and stands in the
/// timeline.
fn matches_the_audit_log(sandbox: &Sandbox, report: &Value) {
    let log = sandbox.json(0, "audit", &["audit", "list"]);
    let records = list(&log["records"]);
    let begun: Vec<&Value> = records
        .iter()
        .filter(|record| record["phase"] == "intent")
        .map(|record| &record["seq"])
        .collect();
    // The tags of the checkpoint were set before the checkpoint was there, which is where the report begins.
    let told: Vec<&Value> = list(&report["actions"])
        .iter()
        .map(|action| &action["seq"])
        .collect();
    assert!(
        begun.ends_with(&told) && !told.is_empty(),
        "{begun:?} {told:?}"
    );
    let operations = records
        .iter()
        .filter(|record| record["operation"] != "checkpoint");
    assert_eq!(
        texts(report, "action").len(),
        operations.count(),
        "{report:#}"
    );
}

/// The audit log is read by person, service and outcome.
fn is_asked_for_a_part(sandbox: &Sandbox, service: &str) {
    let asked = |arguments: &[&str]| {
        let mut all = vec!["audit", "list"];
        all.extend(arguments);
        let found = sandbox.json(0, "audit", &all);
        list(&found["records"]).to_vec()
    };
    let verified = asked(&["--service", service, "--outcome", "verified"]);
    let of_roll_back = |record: &&Value| record["operation"] == "roll-back";
    assert_eq!(
        verified.iter().filter(of_roll_back).count(),
        1,
        "{verified:#?}"
    );
    assert!(
        verified
            .iter()
            .all(|record| record["outcome"] == "verified")
    );
    let user = verified[0]["actor"]["user"].as_str().unwrap();
    assert_eq!(asked(&["--user", user]).len(), asked(&[]).len());
    assert!(asked(&["--user", "nobody-here"]).is_empty());
    assert!(asked(&["--service", "no-such-service"]).is_empty());
}

fn bundles(sandbox: &Sandbox, id: &str) {
    let file = sandbox.work().join("incident.tar.gz");
    let path = file.to_str().unwrap();
    let packed = sandbox.json(0, "incident-bundle", &["incident", "bundle", id, path]);
    // Looking changes nothing: even `pm2 --version` would start a daemon.
    assert!(!sandbox.path("home/.pm2").exists());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    sandbox
        .run(&["incident", "bundle", id, path])
        .exits(2)
        .says(&["exists"]);
    sandbox
        .run(&["incident", "bundle", "x.zip"])
        .exits(2)
        .says(&[".tar.gz"]);
    let folder = sandbox.work().join("unpacked");
    fs::create_dir(&folder).unwrap();
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(&file)
        .arg("-C")
        .arg(&folder)
        .status()
        .unwrap();
    assert!(status.success());
    let files = list(&packed["files"]);
    for entry in files {
        let name = entry["name"].as_str().unwrap();
        let content = fs::read(folder.join(id).join(name)).unwrap();
        assert_eq!(
            entry["bytes"].as_u64(),
            Some(content.len() as u64),
            "{name}"
        );
        clean(name, &String::from_utf8_lossy(&content));
    }
    let is_there = |part: &str| {
        files
            .iter()
            .any(|entry| entry["name"].as_str().unwrap().contains(part))
    };
    for part in [
        "report.md",
        "report.json",
        "report.html",
        "compare-start.json",
        "compare-end.json",
        "signals.json",
        "audit.jsonl",
        "logs/failed-",
        "/backend.log",
        "compose.yaml",
        ".env",
        "diagnostics/local/uname.txt",
        "diagnostics/local/docker-info.txt",
        "diagnostics/local/disk-use.txt",
        "MISSING.json",
    ] {
        assert!(is_there(part), "{part}: {packed:#}");
    }
    let failed = files
        .iter()
        .find(|e| e["name"].as_str().unwrap().contains("logs/failed-"))
        .unwrap();
    let log = fs::read_to_string(folder.join(id).join(failed["name"].as_str().unwrap())).unwrap();
    assert!(
        log.contains("calculate_discount() with [REDACTED:"),
        "{}",
        &log[..500.min(log.len())]
    );
}

#[test]
fn eight_writers_of_one_incident_lose_nothing() {
    let each: usize = std::env::var("LASTGOOD_TEST_NOTES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12);
    let sandbox =
        Sandbox::new("notes").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let started = sandbox.json(0, "incident", &["incident", "start", "many"]);
    let id = started["id"].as_str().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for number in 0..each {
                    let text = format!("writer {writer} number {number}");
                    sandbox.run(&["incident", "note", &text]).exits(0);
                }
            });
        }
    });
    let report = sandbox.json(0, "incident-report", &["incident", "report"]);
    assert_eq!(
        report["journal"]["problem"],
        Value::Null,
        "{:#}",
        report["journal"]
    );
    let mut notes = texts(&report, "note");
    assert_eq!(notes.len(), 8 * each);
    notes.sort_unstable();
    notes.dedup();
    assert_eq!(notes.len(), 8 * each, "none twice");

    // Somebody edits a line: it is found and located, and the incident goes on.
    let journal = sandbox
        .state()
        .join("incidents")
        .join(id)
        .join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let line = text[..text.find("number 1\"").unwrap()]
        .matches('\n')
        .count()
        + 1;
    fs::write(&journal, text.replacen("number 1\"", "number 7\"", 1)).unwrap();
    sandbox.run(&["incident", "note", "goes on"]).exits(0);
    let report = sandbox.json(0, "incident-report", &["incident", "report"]);
    let problem = report["journal"]["problem"].as_str().unwrap();
    assert!(
        problem.contains(&format!("journal.jsonl:{line}:")),
        "{line}: {problem}"
    );
    assert!(
        texts(&report, "note")
            .iter()
            .any(|text| text.contains("goes on"))
    );
}

#[test]
fn alerts_stand_in_the_timeline_of_an_incident() {
    let sandbox =
        Sandbox::new("alerted").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let up = sandbox.bot();
    let look = || sandbox.run(&["watch", "--once", "--interval", "1s"]);
    look();
    fs::remove_file(&up).unwrap();
    look().exits(1);
    // It fired before anybody opened an incident, and stands in it all the same.
    sandbox
        .run(&["incident", "start", "the bot is away"])
        .exits(0);
    fs::write(&up, "").unwrap();
    let mut ended = false;
    for _ in 0..20 {
        let run = look();
        ended |= run.stdout.contains("resolved");
        if ended {
            break;
        }
    }
    assert!(ended, "the alert was not resolved");
    let report = sandbox.json(0, "incident-report", &["incident", "report"]);
    let alerts: Vec<&str> = texts(&report, "alert")
        .into_iter()
        .filter(|text| text.contains("exec/bot"))
        .collect();
    assert_eq!(alerts.len(), 2, "{report:#}");
    assert!(
        alerts[0].starts_with("P0 exec/bot down fires: "),
        "{alerts:?}"
    );
    assert!(alerts[1].contains("is over"), "{alerts:?}");
}
