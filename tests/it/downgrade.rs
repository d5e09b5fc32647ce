//! A rollback that takes the schema back too: a real PostgreSQL, whose revision a table holds, and a real Compose project.

use crate::compose_story::{GOOD, list};
use crate::harness::{PASSWORD, Postgres, Project, Sandbox, missing};
use crate::resume::{cut_last_line, open_journal, run_until};
use serde_json::Value;
use std::fs;

const OLD: &str = "ae1027a6acf";
const NEW: &str = "1975ea83b712";

struct Story {
    postgres: Postgres,
    project: Project,
    sandbox: Sandbox,
    service: String,
    checkpoint: String,
    good: String,
    bad: String,
}

impl Story {
    /// A good release on the old schema, a checkpoint of it, a bad one on the new schema.
    fn new(name: &str) -> Story {
        let sandbox = Sandbox::new(name);
        let postgres = Postgres::start(name);
        let mut project = Project::of_one(&sandbox, name);
        let good = project.image(GOOD);
        project.up();
        let service = project.service("backend");
        let psql = format!(
            "#!/bin/sh\nexport PGPASSWORD=\"{}\" PGHOST=127.0.0.1 PGPORT={} PGUSER=postgres\nexec psql -X -A -t -q -v ON_ERROR_STOP=1 -c \"$1\"\n",
            PASSWORD, postgres.port
        );
        fs::write(project.folder().join("sql"), psql).unwrap();
        postgres.sql(
            "postgres",
            &format!(
                "CREATE TABLE revision (name text); INSERT INTO revision VALUES ('{OLD} (head)'); CREATE TABLE orders (id int)"
            ),
        );
        let mut story = Story {
            postgres,
            project,
            sandbox,
            service,
            checkpoint: String::new(),
            good,
            bad: String::new(),
        };
        story.downgrade_is(&format!(
            "docker inspect -f '{{{{.Image}}}}' {} >> ran_on; sh sql \"BEGIN; ALTER TABLE orders DROP COLUMN note; UPDATE revision SET name = '$1'; COMMIT\"\n",
            story.project.container("backend")
        ));
        story.configure("");
        let created =
            story
                .sandbox
                .json(0, "checkpoint", &["checkpoint", "create", &story.service]);
        story.checkpoint = created["id"].as_str().unwrap().to_owned();
        story.postgres.sql(
            "postgres",
            &format!("ALTER TABLE orders ADD note text; UPDATE revision SET name = '{NEW} (head)'"),
        );
        story.bad = story.project.image("echo the bad release; sleep 600");
        story.project.up();
        story.downgrade_is(&format!(
            "docker inspect -f '{{{{.Image}}}}' {} >> ran_on; sh sql \"BEGIN; ALTER TABLE orders DROP COLUMN note; UPDATE revision SET name = '$1'; COMMIT\"\n",
            story.project.container("backend")
        ));
        story
    }

    fn downgrade_is(&self, script: &str) {
        fs::write(self.project.folder().join("down"), script).unwrap();
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "[services.{:?}]\nmigrations = {{ current = \"sh sql 'SELECT name FROM revision'\", downgrade = \"sh down {{revision}}\" }}\n{more}",
            self.service
        );
        fs::write(self.sandbox.path("config/lastgood/config.toml"), text).unwrap();
    }

    fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [
            &["roll-back", &self.service, "--to", &self.checkpoint],
            more,
        ]
        .concat()
    }

    fn confirmed(&self) -> Vec<&str> {
        self.words(&[
            "--no-save-logs",
            "--downgrade",
            "--yes",
            "--confirm",
            "backend",
        ])
    }

    fn revision(&self) -> String {
        self.postgres.sql("postgres", "SELECT name FROM revision")
    }

    /// The images that ran when the schema was taken back.
    fn ran_on(&self) -> Vec<String> {
        let text = fs::read_to_string(self.project.folder().join("ran_on")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The bad release still runs on the new schema.
    fn is_untouched(&self) {
        assert_eq!(self.project.running_image("backend"), self.bad);
        assert_eq!(self.revision(), format!("{NEW} (head)"));
    }
}

fn is_there() -> bool {
    !missing(&["docker", "compose", "busybox", "postgres"])
}

#[test]
fn the_schema_goes_back_first_and_only_where_it_is_asked_for() {
    if !is_there() {
        return;
    }
    let story = Story::new("downgrade");
    let shown = story
        .sandbox
        .json(0, "checkpoint", &["checkpoint", "show", &story.checkpoint]);
    assert_eq!(shown["services"][0]["schema_revision"], OLD, "{shown:#}");

    // Nobody loses data without a word of his own for it.
    let plan = story.sandbox.json(0, "plan", &story.words(&["--dry-run"]));
    assert_eq!(plan["risk"], "destructive", "{plan:#}");
    let text = plan.to_string();
    assert!(
        text.contains(NEW) && text.contains(OLD) && text.contains("--downgrade"),
        "{plan:#}"
    );

    let plan = story
        .sandbox
        .json(0, "plan", &story.words(&["--downgrade", "--dry-run"]));
    assert_eq!(plan["risk"], "data_losing", "{plan:#}");
    let position = |what: &str| {
        list(&plan["steps"])
            .iter()
            .position(|step| step["text"].as_str().unwrap().contains(what))
            .unwrap_or_else(|| panic!("no step {what}: {plan:#}"))
    };
    let down = position("downgrade the schema");
    assert!(
        position("save the logs") < down && down < position("up -d"),
        "{plan:#}"
    );
    assert!(list(&plan["steps"])[down]["undo"].is_null(), "{plan:#}");
    assert!(
        plan["not_rolled_back"].to_string().contains("lost"),
        "{plan:#}"
    );

    story
        .sandbox
        .run(&story.words(&["--downgrade", "--yes"]))
        .exits(5);
    story
        .sandbox
        .run(&[&["--read-only"], &story.confirmed()[..]].concat())
        .exits(5);
    story.configure("[policy]\nrules = [{ user = \"*\", two_person = [\"data_losing\"] }]\n");
    story
        .sandbox
        .run(&story.confirmed())
        .exits(5)
        .says(&["second person", "lastgood approve"]);
    story.configure("");
    story.is_untouched();

    let outcome = story.sandbox.json(0, "outcome", &story.confirmed());
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert!(outcome.to_string().contains("read back"), "{outcome:#}");
    assert_eq!(story.project.running_image("backend"), story.good);
    assert_eq!(story.revision(), OLD);
    // The newer code was still in place.
    assert_eq!(story.ran_on(), std::slice::from_ref(&story.bad));
    story
        .postgres
        .try_sql("postgres", "SELECT note FROM orders")
        .unwrap_err();
}

#[test]
fn a_downgrade_that_fails_or_lies_changes_nothing() {
    if !is_there() {
        return;
    }
    let story = Story::new("downgrade-fails");
    for (script, why) in [
        ("echo no such revision >&2; exit 3\n", "no such revision"),
        ("exit 0\n", "it said it was done"),
    ] {
        story.downgrade_is(script);
        let outcome = story.sandbox.json(4, "outcome", &story.confirmed());
        assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
        assert!(outcome.to_string().contains(why), "{outcome:#}");
        story.is_untouched();
    }
    // Half of it is not nothing.
    story.downgrade_is("sh sql \"UPDATE revision SET name = 'between'\"; exit 1\n");
    let outcome = story.sandbox.json(4, "outcome", &story.confirmed());
    assert_eq!(outcome["outcome"], "failed_partial", "{outcome:#}");
    assert!(
        outcome.to_string().contains("the schema is at between"),
        "{outcome:#}"
    );
    assert_eq!(story.project.running_image("backend"), story.bad);
}

#[test]
fn a_downgrade_that_was_killed_is_not_done_twice() {
    if !is_there() || missing(&["strace"]) {
        return;
    }
    let story = Story::new("downgrade-killed");
    // The lease twice, the intent, its begin, and its end, which is lost.
    run_until(&story.sandbox, &story.confirmed(), "KILL", 5).exits(137);
    cut_last_line(&open_journal(&story.sandbox));
    assert_eq!(story.revision(), OLD);
    assert_eq!(story.project.running_image("backend"), story.bad);
    let outcome = story
        .sandbox
        .json(0, "outcome", &["resume", "--yes", "--confirm", "backend"]);
    let found = outcome["steps"][0]["detail"].as_str().unwrap();
    assert!(
        found.starts_with("found done: the schema is at"),
        "{outcome:#}"
    );
    assert_eq!(story.ran_on().len(), 1);
    assert_eq!(story.project.running_image("backend"), story.good);
    let listed = story.sandbox.json(0, "", &["audit", "list"]);
    let ends: Vec<&Value> = list(&listed["records"])
        .iter()
        .filter(|r| r["phase"] == "outcome" && r["operation"] == "roll-back")
        .collect();
    assert_eq!(ends.len(), 1, "{listed:#}");
    assert_eq!(ends[0]["outcome"], "verified", "{listed:#}");
}
