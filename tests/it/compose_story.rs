//! The product's main job, once through, on a real Compose project: checkpoint, a bad release, the verdict, back, proof.

use crate::harness::{Project, Sandbox, missing};
use serde_json::Value;
use std::fs;

/// About a hundred requests a second, all fine.
pub(crate) const GOOD: &str = r#"i=0; while true; do i=$((i+1))
echo "$(date +%Y-%m-%dT%H:%M:%S) INFO GET /orders/$i completed in 0.0$((i%9+1))s status=200"
sleep 0.02; done"#;

/// Every fourth request fails in one of two new ways, and all are slow.
pub(crate) const BAD: &str = r#"i=0; while true; do i=$((i+1)); now=$(date +%Y-%m-%dT%H:%M:%S)
if [ $((i%8)) = 0 ]; then echo "$now ERROR Invalid JSON response from payment service order=$i"
elif [ $((i%8)) = 4 ]; then echo "$now ERROR Division by zero in calculate_discount()"; fi
if [ $((i%4)) = 0 ]; then echo "$now INFO GET /orders/$i completed in 3.$((i%9))s status=500"
else echo "$now INFO GET /orders/$i completed in 2.$((i%9))s status=200"; fi
sleep 0.02; done"#;

#[test]
fn a_bad_release_is_seen_and_rolled_back() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("story");
    let mut project = Project::of_one(&sandbox, "story");
    let good = project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 250);
    let service = project.service("backend");

    let created = sandbox.json(
        0,
        "checkpoint",
        &["checkpoint", "create", &service, "--label", "before"],
    );
    let id = created["id"]
        .as_str()
        .expect("the checkpoint has an id")
        .to_string();
    assert_eq!(created["complete"], true, "{created:#}");
    assert_eq!(created["label"], "before");
    let shown = sandbox.json(0, "checkpoint", &["checkpoint", "show", &id]);
    assert_eq!(shown["id"], id.as_str());

    let bad = project.image(BAD);
    assert_ne!(good, bad);
    project.up();
    assert_eq!(project.running_image("backend"), bad);
    project.wait_for_lines("backend", 250);

    let (before, after) = (
        format!("checkpoint:{id}/{service}"),
        format!("service:{service}"),
    );
    let compared = sandbox.json(1, "compare", &["compare", &before, &after]);
    is_rolled_back(&compared);
    assert!(
        list(&compared["changes"])
            .iter()
            .any(|change| change["what"] == "image" && change["before"] != change["after"]),
        "the changed image stands in changes: {:#}",
        compared["changes"]
    );
    // The default is the newest checkpoint and now.
    is_rolled_back(&sandbox.json(1, "compare", &["compare", "--service", &service]));

    let planned = sandbox.json(0, "plan", &["roll-back", &service, "--dry-run"]);
    assert!(!list(&planned["steps"]).is_empty(), "{planned:#}");
    assert_eq!(
        project.running_image("backend"),
        bad,
        "a dry run changes nothing"
    );
    sandbox
        .run(&["roll-back", &service, "--yes"])
        .exits(5)
        .says(&["--confirm", "backend"]);
    assert_eq!(
        project.running_image("backend"),
        bad,
        "an unconfirmed rollback changes nothing"
    );

    let outcome = sandbox.json(
        0,
        "outcome",
        &["roll-back", &service, "--yes", "--confirm", "backend"],
    );
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert!(
        list(&outcome["steps"])
            .iter()
            .all(|step| step["ok"] == true),
        "{outcome:#}"
    );
    assert_eq!(
        project.running_image("backend"),
        good,
        "the very image id is back"
    );

    project.wait_for_lines("backend", 150);
    let again = sandbox.json(0, "compare", &["compare", &before, &after]);
    assert_eq!(
        again["verdict"]["decision"], "keep",
        "{:#}",
        again["verdict"]
    );

    audit_tells_it_and_finds_an_edit(&sandbox, &service);
}

fn is_rolled_back(compared: &Value) {
    let verdict = &compared["verdict"];
    assert_eq!(verdict["decision"], "roll_back", "{verdict:#}");
    assert_eq!(verdict["severity"], "P0", "{verdict:#}");
    let findings = list(&verdict["findings"]);
    assert!(
        findings
            .iter()
            .any(|finding| !list(&finding["evidence"]).is_empty()),
        "findings carry evidence: {findings:#?}"
    );
    for word in ["payment", "calculate_discount"] {
        let is_new = |pattern: &&Value| {
            pattern["change"] == "new"
                && pattern["template"]
                    .as_str()
                    .is_some_and(|template| template.contains(word))
        };
        let pattern = list(&compared["patterns"])
            .iter()
            .find(is_new)
            .unwrap_or_else(|| panic!("no new pattern with {word}: {:#}", compared["patterns"]));
        assert_eq!(pattern["before"], 0, "{pattern:#}");
        assert!(pattern["after"].as_u64().unwrap() >= 5, "{pattern:#}");
        assert!(
            findings
                .iter()
                .any(|finding| finding.to_string().contains(word)),
            "{word} is a finding: {findings:#?}"
        );
    }
    let after = &compared["after"];
    let rate = after["error_rate"].as_f64().unwrap();
    assert!((0.2..0.3).contains(&rate), "error rate {rate}");
    assert!(
        after["latency_ms"]["p95"].as_f64().unwrap() > 2000.0,
        "{after:#}"
    );
    assert!(
        compared["before"]["latency_ms"]["p95"].as_f64().unwrap() < 200.0,
        "{compared:#}"
    );
}

fn audit_tells_it_and_finds_an_edit(sandbox: &Sandbox, service: &str) {
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let records: Vec<&Value> = list(&listed["records"])
        .iter()
        .filter(|record| record["services"].to_string().contains(service))
        .collect();
    for phase in ["intent", "outcome"] {
        assert!(
            records.iter().any(|record| record["phase"] == phase),
            "no {phase} in {records:#?}"
        );
    }
    assert!(
        records.iter().any(|record| record["outcome"] == "verified"),
        "{records:#?}"
    );
    sandbox.run(&["audit", "verify"]).exits(0);

    let file = sandbox.audit_file();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replacen("backend", "backenx", 1)).unwrap();
    sandbox.run(&["audit", "verify"]).exits(1);
    // A record taken out of the middle, and the first.
    let first_line = whole.find('\n').unwrap() + 1;
    fs::write(&file, &whole[first_line..]).unwrap();
    sandbox.run(&["audit", "verify"]).exits(1);
    fs::write(&file, whole).unwrap();
    sandbox.run(&["audit", "verify"]).exits(0);
}

/// A JSON array; fails on anything else, so that a missing field is no empty list.
pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no array: {value:#}"))
}
