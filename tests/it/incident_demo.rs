//! An incident of the built-in shop from the good release to the report: checkpoint, bad deploy, verdict, rollback, the
//! verdict again, and a record in three formats that agrees with the audit log and holds no secret.
//!
//! `LASTGOOD_TEST_REPORTS=FOLDER cargo test --test it incident_demo` leaves the three reports there, to be looked at.

use crate::compose_story::list;
use crate::harness::{DemoShop, Sandbox, wait_for};
use lastgood::demo::Member;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::time::Duration;

/// A password of the environment file that stands in the log too, a token that only its shape tells, and what somebody
/// typed into a note and a title.
const SECRETS: [&str; 4] = [
    "correct-horse-battery",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "hunter2typed",
    "swordfish99",
];

/// Waits until the api has answered so many requests since `from`.
fn wait_for_requests(shop: &DemoShop, from: usize, count: usize) {
    let log = shop.shop.folder().log(Member::Api);
    wait_for("requests to the api", Duration::from_secs(60), || {
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
        (lines >= from + count).then_some(())
    });
}

fn lines_so_far(shop: &DemoShop) -> usize {
    let log = fs::read_to_string(shop.shop.folder().log(Member::Api)).unwrap_or_default();
    log.lines().count()
}

/// A secret in the environment and in an error of the log, as releases bring them.
fn leak(shop: &DemoShop) {
    let [password, token, ..] = SECRETS;
    let folder = shop.shop.folder();
    let append = |path: std::path::PathBuf, text: String| {
        let mut file = fs::File::options().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(folder.api_env(), format!("DB_PASSWORD={password}\n"));
    for _ in 0..40 {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        append(
            folder.log(Member::Api),
            format!("{now} ERROR payment refused for {password}, Authorization: Bearer {token}\n"),
        );
    }
}

/// Marks a line that holds both secrets of the log, with a note, as an engineer does.
fn mark_in_the_console(shop: &DemoShop) {
    let console = shop.console();
    console.wait_for("incident ");
    console.keys("2/payment refused\r");
    console.wait_for("payment refused for [REDACTED:");
    console.keys("M");
    console.wait_for("note: ");
    console.keys("since the deploy\r");
    console.wait_for("written into the incident");
    console.keys("6");
    console.wait_for("marks (since the deploy)");
}

#[test]
fn a_whole_incident_of_the_demo_leaves_a_record_that_agrees_with_the_audit() {
    let sandbox =
        Sandbox::new("demoincident").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let shop = DemoShop::start(sandbox);
    wait_for_requests(&shop, 0, 120);
    let created = shop.json(0, "checkpoint", &["checkpoint", "create", "exec/api"]);
    let checkpoint = created["id"].as_str().unwrap();

    let before = lines_so_far(&shop);
    shop.deploy_bad();
    leak(&shop);
    wait_for_requests(&shop, before, 160);
    let compared = shop.json(1, "compare", &["compare", "--service", "exec/api"]);
    assert_eq!(compared["verdict"]["decision"], "roll_back");

    let title = format!("Checkout fails, password={}", SECRETS[3]);
    let start = ["incident", "start", &title, "--severity", "P0"];
    let started = shop.json(0, "incident", &start);
    let id = started["id"].as_str().unwrap();
    let note = format!(
        "payment answers with HTML\npassword={} was in the log",
        SECRETS[2]
    );
    shop.run(&["incident", "note", &note]).exits(0);
    mark_in_the_console(&shop);
    shop.run(&["runbook", "start", "incident-response"])
        .exits(0);
    shop.run(&[
        "runbook",
        "tick",
        "1",
        "--evidence",
        "acknowledged by phone",
    ])
    .exits(0);
    // Somebody who may not: it stands in the audit log, and in the record.
    let refused = ["--read-only", "restart", "exec/api", "--yes"];
    shop.run(&refused).exits(5);
    shop.run(&["roll-back", "exec/api", "--yes", "--confirm", "api"])
        .exits(0);
    let before = lines_so_far(&shop);
    wait_for_requests(&shop, before, 120);
    shop.run(&["incident", "end"]).exits(0);

    let report = shop.json(0, "incident-report", &["incident", "report"]);
    assert_eq!(report["id"], id);
    assert_eq!(report["baseline"], checkpoint);
    agrees_with_the_audit(&shop, &report);
    tells_the_story(&report, checkpoint);

    let show = |format: &str| {
        let report = ["incident", "report", id, "--format", format];
        shop.run(&report).exits(0).stdout
    };
    for format in ["md", "html", "json"] {
        let text = show(format);
        for secret in SECRETS {
            assert!(
                !text.contains(secret),
                "{secret} stands in the {format} report: {text}"
            );
        }
        let head = report["audit"]["head"].as_str().unwrap();
        for part in [
            head,
            "payment refused for [REDACTED:",
            "payment answers with HTML",
            "marks (since the deploy)",
            checkpoint,
        ] {
            assert!(
                text.contains(part),
                "the {format} report lacks {part}: {text}"
            );
        }
        if let Some(folder) = std::env::var_os("LASTGOOD_TEST_REPORTS") {
            fs::write(
                std::path::Path::new(&folder).join(format!("incident.{format}")),
                &text,
            )
            .unwrap();
        }
    }
    // The parts stand in the order in which somebody reads them who was not there.
    for (format, sign) in [("md", "## "), ("html", "<h2>")] {
        let text = show(format);
        let places = [
            "Summary",
            "Timeline",
            "Before and after",
            "What the deploy changed",
            "Verdict",
            "Actions",
            "Lost or unknown",
            "Proof",
        ]
        .map(|part| {
            text.find(&format!("{sign}{part}"))
                .unwrap_or_else(|| panic!("no {part}: {text}"))
        });
        assert!(places.is_sorted(), "{format}: {places:?}");
    }
    let anchor = report["audit"]["head"].as_str().unwrap();
    shop.run(&["audit", "verify", "--anchor", anchor]).exits(0);
}

/// Every record of the audit log from the span of the report is an event of its timeline, at the same instant and with the
/// same outcome, and the other way round; and each begun or refused one is an action with the same number.
fn agrees_with_the_audit(shop: &DemoShop, report: &Value) {
    let instant = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let timeline = list(&report["timeline"]);
    let from = instant(&timeline[0]["at"]);
    let until = instant(&report["made_at"]);
    let log = shop.json(0, "audit", &["audit", "list"]);
    let records: Vec<&Value> = list(&log["records"])
        .iter()
        .filter(|record| (from..=until).contains(&instant(&record["at"])))
        .collect();
    let acted: Vec<&Value> = timeline
        .iter()
        .filter(|event| event["kind"] == "action")
        .collect();
    // The tags of a checkpoint are told as the checkpoint.
    let told: Vec<&Value> = records
        .iter()
        .copied()
        .filter(|record| record["operation"] != "checkpoint")
        .collect();
    assert_eq!(acted.len(), told.len(), "{acted:#?} {told:#?}");
    for (event, record) in acted.iter().zip(&told) {
        assert_eq!(
            instant(&event["at"]),
            instant(&record["at"]),
            "{event:#} {record:#}"
        );
        let text = event["text"].as_str().unwrap();
        let outcome = record["outcome"]
            .as_str()
            .unwrap_or_default()
            .replace('_', " ");
        for part in [
            record["operation"].as_str().unwrap(),
            record["actor"]["user"].as_str().unwrap(),
            &outcome,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let services: Vec<&str> = list(&record["services"])
            .iter()
            .map(|service| service.as_str().unwrap())
            .collect();
        assert!(
            services.iter().all(|service| text.contains(service)),
            "{services:?} in {text}"
        );
    }
    let outcomes: Vec<&str> = told
        .iter()
        .filter_map(|record| record["outcome"].as_str())
        .collect();
    assert_eq!(outcomes.len(), 2, "a refusal and a rollback: {told:#?}");
    assert!(outcomes.contains(&"verified"), "{outcomes:?}");

    let begun: Vec<&Value> = records
        .iter()
        .copied()
        .filter(|record| record["phase"] == "intent" || record["phase"] == "denied")
        .collect();
    let actions = list(&report["actions"]);
    assert_eq!(actions.len(), begun.len(), "{actions:#?} {begun:#?}");
    for (action, record) in actions.iter().zip(&begun) {
        for name in ["seq", "operation", "services", "host"] {
            assert_eq!(action[name], record[name], "{name}: {action:#} {record:#}");
        }
        assert_eq!(instant(&action["at"]), instant(&record["at"]));
        assert_eq!(action["by"], record["actor"]["user"]);
        assert_eq!(action["is_denied"], record["phase"] == "denied");
        let is_end = |other: &&&Value| {
            other["phase"] == "outcome" && other["run"].is_string() && other["run"] == record["run"]
        };
        let end = if record["phase"] == "denied" {
            Some(record)
        } else {
            records.iter().find(is_end)
        };
        let end = end.unwrap_or_else(|| panic!("nothing ended {record:#}"));
        assert_eq!(action["outcome"], end["outcome"], "{action:#}");
        if record["phase"] == "intent" {
            assert_eq!(action["duration_ms"], end["duration_ms"], "{action:#}");
        }
    }
    let head = list(&log["records"]).last().unwrap();
    assert_eq!(
        report["audit"]["head"], head["hash"],
        "nothing was written since"
    );
    assert_eq!(
        report["audit"]["records"].as_u64(),
        Some(list(&log["records"]).len() as u64)
    );
}

/// What happened stands there in its order, with the figures of before, the start and the end.
fn tells_the_story(report: &Value, checkpoint: &str) {
    let timeline = list(&report["timeline"]);
    let place = |kind: &str, part: &str| {
        let found = timeline.iter().position(|event| {
            event["kind"] == kind && event["text"].as_str().unwrap().contains(part)
        });
        found.unwrap_or_else(|| panic!("no {kind} with {part}: {timeline:#?}"))
    };
    let places = [
        place("checkpoint", checkpoint),
        place("incident", "incident begins: Checkout fails"),
        place("verdict", "at the start: ROLL BACK P0"),
        place("note", "payment answers with HTML"),
        place("runbook", "done by"),
        place("action", "refused"),
        place("action", "begins roll-back exec/api"),
        place("action", "verified"),
        place("incident", "incident ended"),
        place("verdict", "at the end: keep"),
    ];
    assert!(places.is_sorted(), "{places:?} {timeline:#?}");
    place("deploy", "exec/api");
    let summary = report["summary"].to_string();
    for part in [
        "at the start: ROLL BACK P0",
        "at the end: keep",
        "exec/api 1.4 → 1.5 and 3 settings",
        "roll-back exec/api: verified",
    ] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
    let row = list(&report["numbers"])
        .iter()
        .find(|row| row["service"].is_null() && row["signal"] == "error_rate")
        .unwrap();
    let rate = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{row:#}"));
    assert!(
        rate("before") < 0.01 && rate("at_start") > 0.05 && rate("at_end") < 0.01,
        "{row:#}"
    );
    let changes = list(&report["changes"]);
    assert!(
        changes
            .iter()
            .any(|change| change.to_string().contains("POOL_SIZE")),
        "{changes:#?}"
    );
    let evidence = list(&report["verdicts"][0]["verdict"]["findings"]);
    assert!(
        evidence
            .iter()
            .any(|finding| !list(&finding["evidence"]).is_empty()),
        "{evidence:#?}"
    );
    assert!(
        !list(&report["unknown"]).is_empty(),
        "Docker could not be asked, which is said"
    );
}
