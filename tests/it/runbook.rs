//! Runbooks: the shipped ones are there, and a run is one record that several engineers write at once.

use crate::compose_story::list;
use crate::harness::Sandbox;
use serde_json::Value;

const OWN: &str = "# Own checks

## After

- [ ] read the release notes {owner=anna due=T+5m}
- [ ] the shop answers
  ```probe
  http http://127.0.0.1:8000/health
  ```
- [ ] tell the others
";

#[test]
fn every_shipped_runbook_starts() {
    let sandbox = Sandbox::new("shipped");
    let listed = sandbox.json(0, "", &["runbook", "list"]);
    let names: Vec<&str> = list(&listed["runbooks"])
        .iter()
        .filter_map(|runbook| runbook["name"].as_str())
        .collect();
    for name in crate::runbook_probes::RUNBOOKS {
        assert!(names.contains(&name), "no {name} in {names:?}");
        sandbox.run(&["runbook", "show", name]).exits(0);
        let started = sandbox.json(0, "", &["runbook", "start", name]);
        assert!(!list(&started["items"]).is_empty(), "{started:#}");
    }
    sandbox
        .run(&["runbook", "start", "no-such-runbook"])
        .exits(2)
        .says(&["no-such-runbook"]);
}

#[test]
fn ticks_persist_and_concurrent_writers_lose_nothing() {
    let sandbox = Sandbox::new("ticks");
    sandbox.json(0, "", &["runbook", "start", "deployment-checklist"]);
    let numbers: Vec<String> = {
        let status = sandbox.json(3, "", &["runbook", "status"]);
        let items = list(&status["items"]).iter();
        items
            .take(8)
            .map(|item| item["number"].to_string().replace('"', ""))
            .collect()
    };
    // Eight consoles at once: every tick is in the journal, and every reader sees all of them.
    std::thread::scope(|scope| {
        for number in &numbers {
            scope.spawn(|| sandbox.run(&["runbook", "tick", number]).exits(0));
        }
    });
    let status = sandbox.json(3, "", &["runbook", "status"]);
    for item in list(&status["items"]) {
        let number = item["number"].to_string().replace('"', "");
        // What a probe says of this machine is not this test's matter.
        if item["automatic"] == true && !numbers.contains(&number) {
            continue;
        }
        let wanted = if numbers.contains(&number) {
            "done"
        } else {
            "open"
        };
        assert_eq!(item["state"], wanted, "{item:#}");
        assert_eq!(item["by"].is_null(), wanted == "open", "{item:#}");
    }
    sandbox.run(&["runbook", "undo", &numbers[0]]).exits(0);
    // What someone finished is not passed over without a word: it is opened again first.
    let skip = ["runbook", "skip", &numbers[1], "--reason", "not here"];
    sandbox.run(&skip).exits(5);
    sandbox.run(&["runbook", "undo", &numbers[1]]).exits(0);
    sandbox
        .run(&["runbook", "skip", &numbers[1], "--reason", "not here"])
        .exits(0);
    sandbox.run(&["runbook", "tick", "no-such-item"]).exits(2);
    let status = sandbox.json(3, "", &["runbook", "status"]);
    let state = |number: &str| {
        let items = list(&status["items"]).iter();
        let mut found = items.filter(|item| item["number"].to_string().replace('"', "") == number);
        found.next().unwrap()["state"].clone()
    };
    assert_eq!(
        (state(&numbers[0]), state(&numbers[1])),
        (Value::from("open"), Value::from("skipped"))
    );
    let exported = sandbox.run(&["runbook", "export"]).exits(0);
    assert!(
        exported.stdout.contains("- [x]") && exported.stdout.contains("not here"),
        "{exported}"
    );
}

#[test]
fn an_own_runbook_is_found() {
    let sandbox = Sandbox::new("own");
    let folder = sandbox.path("config/lastgood/runbooks");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.md"), OWN).unwrap();
    let listed = sandbox.json(0, "", &["runbook", "list"]);
    let own = list(&listed["runbooks"])
        .iter()
        .find(|runbook| runbook["name"] == "own")
        .unwrap_or_else(|| panic!("{listed:#}"));
    assert_eq!(
        (
            own["title"].as_str(),
            own["items"].as_u64(),
            own["automatic"].as_u64()
        ),
        (Some("Own checks"), Some(3), Some(1)),
        "{own:#}"
    );
}

#[test]
fn a_runbook_is_walked_in_the_language_that_was_chosen() {
    let sandbox = Sandbox::new("language");
    let title = |listed: &Value| {
        let deploy = &list(&listed["runbooks"])[0];
        deploy["title"].as_str().unwrap().to_owned()
    };
    let listed = sandbox.json(0, "", &["runbook", "list"]);
    assert_eq!(title(&listed), "Deploy in six steps");
    let shown = sandbox
        .run(&["runbook", "show", "deploy", "--language", "ru"])
        .exits(0);
    assert!(shown.stdout.contains("Выкладка в шесть шагов"), "{shown}");
    assert!(
        shown.stdout.contains("lastgood checkpoint create"),
        "{shown}"
    );
    sandbox
        .run(&["runbook", "start", "deploy", "--language", "de"])
        .exits(2)
        .says(&["en or ru"]);
    let folder = sandbox.path("config/lastgood");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |text: &str| std::fs::write(folder.join("config.toml"), text).unwrap();
    write("[runbooks]\nlanguage = \"fr\"\n");
    sandbox
        .run(&["runbook", "list"])
        .exits(2)
        .says(&["unknown value \"fr\"", "config.toml:2:12"]);
    write("[runbooks]\nlanguage = \"ru\"\n");
    let listed = sandbox.json(0, "", &["runbook", "list"]);
    assert_eq!(title(&listed), "Выкладка в шесть шагов");
    let names = |status: &Value| -> Vec<String> {
        let items = list(&status["items"]).iter();
        items
            .map(|item| item["slug"].as_str().unwrap().to_owned())
            .collect()
    };
    // Items have the same names in both, and one is told by its name whatever it says.
    let english = ["runbook", "start", "deploy", "--language", "en"];
    let english = names(&sandbox.json(0, "", &english));
    let russian = sandbox.json(0, "", &["runbook", "start", "deploy"]);
    assert_eq!(names(&russian), english);
    assert_eq!(
        russian["items"][0]["phase"],
        "Шаг 1: сохранить текущее состояние"
    );
    let tick = [
        "runbook",
        "tick",
        "write-down-the-baseline-requests-error-rate-mean",
    ];
    let ticked = sandbox.run(&tick).exits(0);
    assert!(
        ticked.stdout.contains("Записать исходный уровень"),
        "{ticked}"
    );
}

#[test]
fn a_runbook_includes_parts_and_tells_whose_mistake_it_is() {
    let sandbox = Sandbox::new("include");
    let folder = sandbox.path("config/lastgood/runbooks");
    std::fs::create_dir_all(folder.join("parts")).unwrap();
    let night = "# Night\n\n- [ ] say it\n\n[Checks](parts/checks.md) {include}\n\n[After](incident-response) {include}\n";
    std::fs::write(folder.join("night.md"), night).unwrap();
    let part = folder.join("parts/checks.md");
    std::fs::write(&part, "# Checks\n\n- [ ] look {{where=here}}\n").unwrap();
    let listed = sandbox.json(0, "", &["runbook", "list"]);
    let has = |name: &str| list(&listed["runbooks"]).iter().any(|r| r["name"] == name);
    assert!(has("night") && !has("checks"), "{listed:#}");
    let start = ["runbook", "start", "night", "--set", "where=there"];
    let started = sandbox.json(0, "", &start);
    assert_eq!(started["items"][1]["text"], "look there");
    assert_eq!(started["items"][2]["phase"], "First 5 minutes");
    // A run goes on when the file is gone.
    std::fs::remove_file(&part).unwrap();
    sandbox.run(&["runbook", "tick", "look-there"]).exits(0);
    sandbox.run(&["runbook", "show", "night"]).exits(2).says(&[
        "night.md:5:10",
        "[Checks](parts/checks.md) {include}",
        "^^^",
        "nothing to include",
    ]);
    std::fs::write(&part, "- [ ] look\n- [ ] again {due=soon}\n").unwrap();
    sandbox.run(&["runbook", "list"]).exits(2).says(&[
        "parts/checks.md:2:14",
        "- [ ] again {due=soon}",
        "night.md:5",
    ]);
}

#[test]
fn a_probe_ticks_its_item_and_a_command_goes_through_plan_and_audit() {
    let sandbox = Sandbox::new("work");
    let left = sandbox.path("work/left-behind");
    let said = sandbox.path("work/said");
    let folder = sandbox.path("config/lastgood/runbooks");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "# Tidy up\n\n## Now\n\n- [ ] Nothing is left behind\n\n  ```probe\n  file-absent {}\n  ```\n\n- [ ] Say so\n\n  ```sh run\n  echo tidy > {}\n  ```\n",
        left.display(),
        said.display()
    );
    std::fs::write(folder.join("tidy.md"), text).unwrap();
    std::fs::write(&left, "x").unwrap();
    sandbox.run(&["runbook", "start", "tidy"]).exits(0);
    let status = sandbox.json(3, "", &["runbook", "status"]);
    assert_eq!(status["items"][0]["state"], "failed", "{status:#}");
    std::fs::remove_file(&left).unwrap();
    let status = sandbox.json(3, "", &["runbook", "status"]);
    assert_eq!(status["items"][0]["state"], "done", "{status:#}");
    assert_eq!(status["items"][0]["by"], "auto", "{status:#}");

    sandbox.run(&["runbook", "run", "1"]).exits(2);
    sandbox.run(&["runbook", "run", "2"]).exits(5);
    sandbox
        .run(&["--read-only", "runbook", "run", "2", "--yes"])
        .exits(5);
    assert!(!said.exists());
    sandbox.run(&["runbook", "run", "2", "--yes"]).exits(0);
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "tidy\n");
    sandbox.run(&["audit", "verify"]).exits(0);
}
