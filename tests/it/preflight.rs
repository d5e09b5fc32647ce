//! Preflight on real projects: seeded with each fault it finds that fault and no other, and on the fixed project nothing.

use crate::compose_story::{GOOD, list};
use crate::harness::{Pm2, Project, Sandbox, missing};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A service without a fault.
const FIXED: &str = "services:
  backend:
    image: {project}:1.0
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    restart: unless-stopped
    env_file: [.env]
    healthcheck:
      test: [\"CMD\", \"/bin/test\", \"-e\", \"/run.sh\"]
      interval: 500ms
      timeout: 5s
      retries: 3
    logging: { driver: json-file, options: { max-size: 20m } }
";
const ENV: &str = "DB_PASSWORD=correct-horse-battery\nSENTRY_DSN=https://42b795ea927e9099@sentry.io/7\nSENTRY_ENABLED=true\n";

/// The names and grades of the checks that are neither ok nor skipped.
pub(crate) fn found(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list(&document["checks"])
        .iter()
        .map(|check| (text(&check["name"]), text(&check["grade"])))
        .filter(|(_, grade)| grade != "ok" && grade != "skipped")
        .collect()
}

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = list(&document["checks"]);
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {document:#}"))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

struct Seeded {
    sandbox: Sandbox,
    project: Project,
    service: String,
}

impl Seeded {
    /// The fixed project, running, with a checkpoint.
    fn new(name: &str) -> Seeded {
        let sandbox = Sandbox::new(name);
        without_the_disk(&sandbox);
        let mut project = Project::new(&sandbox, name, FIXED);
        let image = format!("{}:1.0", project.name);
        project.docker.image(&image, GOOD);
        let service = project.service("backend");
        let seeded = Seeded {
            sandbox,
            project,
            service,
        };
        seeded.env(ENV);
        mode(&seeded.file(".env"), 0o640);
        seeded.up();
        seeded
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.project.folder().join(name)
    }

    fn env(&self, text: &str) {
        fs::write(self.file(".env"), text).unwrap();
    }

    fn up(&self) {
        self.project.compose(&["up", "-d", "--wait"]);
    }

    fn compose_file(&self, change: impl Fn(&str) -> String) {
        let path = self.file("compose.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "the fault is not in the file");
        fs::write(path, changed).unwrap();
    }

    fn look(&self, code: i32) -> Value {
        self.sandbox
            .json(code, "preflight", &["preflight", &self.service])
    }

    /// Looks, and expects these faults with their grades and no other.
    fn finds(&self, code: i32, faults: &[(&str, &str)]) -> Value {
        let document = self.look(code);
        let wanted: Vec<(String, String)> = faults
            .iter()
            .map(|(n, g)| ((*n).to_owned(), (*g).to_owned()))
            .collect();
        assert_eq!(found(&document), wanted, "{document:#}");
        document
    }

    /// Changes the compose file, brings it up, expects one fault, and puts the file back.
    fn with(&self, from: &str, to: &str, faults: &[(&str, &str)]) {
        let original = fs::read_to_string(self.file("compose.yaml")).unwrap();
        self.compose_file(|text| text.replace(from, to));
        self.project.compose(&["up", "-d"]);
        self.finds(3, faults);
        fs::write(self.file("compose.yaml"), original).unwrap();
    }
}

/// How full the disk of the machine is says nothing of a project.
pub(crate) fn without_the_disk(sandbox: &Sandbox) {
    let folder = sandbox.path("config/lastgood");
    fs::create_dir_all(&folder).unwrap();
    let text = "[preflight]\nskip = [\"disk\", \"inodes\"]\n";
    fs::write(folder.join("config.toml"), text).unwrap();
}

#[test]
fn each_fault_of_a_container_is_found_and_only_that() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let seeded = Seeded::new("preflight");
    let created = seeded
        .sandbox
        .json(0, "checkpoint", &["checkpoint", "create", &seeded.service]);
    let document = seeded.finds(0, &[]);
    for name in [
        "crash-loop",
        "health",
        "image-tag",
        "log-size",
        "secret-files",
        "drift",
        "pinned-image",
    ] {
        assert_eq!(check(&document, name)["grade"], "ok", "{document:#}");
    }
    assert_eq!(check(&document, "backup")["grade"], "skipped");
    assert!(
        check(&document, "backup")["detail"]
            .as_str()
            .unwrap()
            .contains("[backups]")
    );

    let project = &seeded.project;
    let latest = format!("{}:latest", project.name);
    project
        .docker
        .must(&["tag", &format!("{}:1.0", project.name), &latest]);
    seeded.with(":1.0", ":latest", &[("image-tag", "warning")]);
    seeded.with(
        "    restart: unless-stopped\n",
        "",
        &[("restart-policy", "warning")],
    );
    seeded.with(
        ", options: { max-size: 20m }",
        "",
        &[("log-size", "warning")],
    );
    seeded.with(
        "{ driver: json-file, options: { max-size: 20m } }",
        "{ driver: none }",
        &[("log-driver", "warning")],
    );
    seeded.with(
        "test: [\"CMD\", \"/bin/test\", \"-e\", \"/run.sh\"]",
        "test: [\"NONE\"]",
        &[("health", "warning")],
    );
    seeded.up();
    seeded.finds(0, &[]);

    // A secret that stands in the compose file itself, which everybody may read.
    seeded.with(
        "    env_file: [.env]\n",
        "    env_file: [.env]\n    environment: { API_TOKEN: tok-inline-998877 }\n",
        &[("secret-files", "warning")],
    );
    seeded.up();
    seeded.finds(0, &[]);

    // The files say something else than what runs: a variable, and a tag that moved.
    seeded.env(&format!("{ENV}MODE=changed-by-hand\n"));
    let document = seeded.finds(3, &[("drift", "warning")]);
    let detail = check(&document, "drift")["detail"].as_str().unwrap();
    assert!(
        detail.contains("MODE") && !detail.contains("changed-by-hand"),
        "{detail}"
    );
    seeded.env(ENV);
    let id = project.running_image("backend");
    let name = format!("{}:1.0", project.name);
    let other = format!("{}:other", project.name);
    seeded.project.docker.must(&["tag", &name, &other]);
    let mut docker = crate::harness::Docker::default();
    docker.image(&name, "echo another; sleep 600");
    seeded.finds(3, &[("drift", "warning")]);
    project.docker.must(&["tag", &id, &name]);
    seeded.finds(0, &[]);

    // The pin of the checkpoint is taken away.
    let pin = created["services"][0]["pin"].as_str().unwrap();
    project.docker.must(&["rmi", pin]);
    seeded.finds(3, &[("pinned-image", "warning")]);
}

#[test]
fn each_fault_of_files_is_found_and_fixed_by_a_plan() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let seeded = Seeded::new("prefiles");
    seeded.finds(0, &[]);
    let env = seeded.file(".env");

    seeded.env(&ENV.replace("ENABLED=true", "ENABLED=false"));
    seeded.up();
    let document = seeded.finds(3, &[("monitoring", "warning")]);
    assert!(
        !document.to_string().contains("42b795ea"),
        "the key is not told"
    );
    seeded.env(ENV);
    seeded.up();

    mode(&env, 0o644);
    let document = seeded.finds(3, &[("secret-files", "warning")]);
    assert!(
        !document.to_string().contains("correct-horse"),
        "the secret is not told"
    );
    let fix = ["preflight", &seeded.service, "--fix", "secret-files"];
    let plan = seeded
        .sandbox
        .json(0, "plan", &[&fix[..], &["--dry-run"]].concat());
    assert_eq!(plan["operation"], "fix", "{plan:#}");
    assert!(
        list(&plan["steps"])[0]["command"]
            .to_string()
            .contains("chmod"),
        "{plan:#}"
    );
    assert_eq!(
        fs::metadata(&env).unwrap().permissions().mode() & 0o777,
        0o644,
        "a dry run changes nothing"
    );
    seeded.sandbox.run(&fix).exits(5);
    seeded
        .sandbox
        .run(&[&["--read-only"], &fix[..], &["--yes"]].concat())
        .exits(5);
    assert_eq!(
        fs::metadata(&env).unwrap().permissions().mode() & 0o777,
        0o644
    );
    let outcome = seeded
        .sandbox
        .json(0, "outcome", &[&fix[..], &["--yes"]].concat());
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(
        fs::metadata(&env).unwrap().permissions().mode() & 0o777,
        0o640
    );
    seeded.finds(0, &[]);
    seeded
        .sandbox
        .run(&[&fix[..], &["--yes"]].concat())
        .exits(1)
        .says(&["nothing to fix"]);

    fs::create_dir(seeded.file("dist")).unwrap();
    fs::write(seeded.file("dist/index.js"), "x").unwrap();
    fs::write(seeded.file("release 1.tar.gz"), "x").unwrap();
    seeded.finds(3, &[("artifacts", "warning")]);
    let fix = ["preflight", &seeded.service, "--fix", "artifacts", "--yes"];
    let outcome = seeded.sandbox.json(0, "outcome", &fix);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert!(!seeded.file("dist").exists() && !seeded.file("release 1.tar.gz").exists());
    let kept = fs::read_dir(seeded.sandbox.work())
        .unwrap()
        .filter_map(Result::ok);
    let kept: Vec<_> = kept
        .filter(|e| e.file_name().to_string_lossy().contains(".removed-"))
        .collect();
    assert_eq!(kept.len(), 1, "moved, not deleted");
    assert_eq!(
        fs::read(kept[0].path().join("dist/index.js")).unwrap(),
        b"x"
    );
    seeded.finds(0, &[]);
    seeded.sandbox.run(&["audit", "verify"]).exits(0);

    // What the configuration names is not only unwise.
    seeded
        .sandbox
        .write("lastgood.toml", "[preflight]\nartifacts = [\"*.bak\"]\n");
    fs::write(seeded.file("old.bak"), "x").unwrap();
    fs::create_dir(seeded.file("dist")).unwrap();
    seeded.finds(1, &[("artifacts", "critical")]);
    seeded.sandbox.write(
        "lastgood.toml",
        "[preflight]\nskip = [\"artifacts\", \"disk\", \"inodes\"]\n",
    );
    let document = seeded.finds(0, &[]);
    assert_eq!(check(&document, "artifacts")["grade"], "skipped");
    let run = seeded
        .sandbox
        .run(&["preflight", &seeded.service, "--fix", "artefacts"])
        .exits(2);
    run.says(&["artifacts"]);
    seeded
        .sandbox
        .run(&["preflight", &seeded.service, "--fix", "disk"])
        .exits(2)
        .says(&["by a plan"]);
}

#[test]
fn migrations_and_backups_are_held_against_the_configuration() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let seeded = Seeded::new("premigrate");
    let service = &seeded.service;
    let config = |head: &str, rpo: &str| {
        let text = format!(
            "[services.\"{service}\"]\nmigrations = {{ current = \"echo 9571625a\", head = \"{head}\" }}\n{rpo}"
        );
        seeded.sandbox.write("lastgood.toml", text);
    };
    config("echo 9571625a", "");
    seeded.finds(0, &[]);
    config("echo 20250910", "");
    seeded.finds(3, &[("migrations", "warning")]);
    config("exit 3", "");
    let document = seeded.finds(3, &[("migrations", "warning")]);
    assert!(
        check(&document, "migrations")["detail"]
            .to_string()
            .contains("exit 3"),
        "{document:#}"
    );
    let backups = "[backups.main]\nkind = \"files\"\nrpo = \"6h\"\n";
    config("echo 9571625a", backups);
    seeded.finds(1, &[("backup", "critical")]);
    let folder = seeded.sandbox.state().join("backups/main");
    fs::create_dir_all(&folder).unwrap();
    let dump = folder.join("20251227-020000.dump");
    fs::write(&dump, "x").unwrap();
    seeded.finds(0, &[]);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 3600);
    fs::File::options()
        .write(true)
        .open(&dump)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    seeded.finds(1, &[("backup", "critical")]);
}

#[test]
fn a_crash_loop_is_critical() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("preloop");
    without_the_disk(&sandbox);
    let compose = FIXED
        .replace("    env_file: [.env]\n", "")
        .replace("interval: 500ms", "interval: 60s");
    let mut project = Project::new(&sandbox, "preloop", &compose);
    let image = format!("{}:1.0", project.name);
    project.docker.image(&image, "sleep 0.3; exit 3");
    project.up();
    project.wait_for_restarts("backend", 2);
    let document = sandbox.json(1, "preflight", &["preflight", &project.service("backend")]);
    let wanted = [("crash-loop".to_owned(), "critical".to_owned())];
    assert_eq!(found(&document), wanted, "{document:#}");
}

#[test]
fn settings_of_pm2_that_hide_a_crash_loop_are_found() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("prepm2");
    let name = crate::harness::unique("api");
    sandbox.write("api.js", "setInterval(() => console.log('INFO up'), 200)");
    let ecosystem = |limits: Value| {
        let mut app = json!({"name": name, "script": "./api.js"});
        app.as_object_mut()
            .unwrap()
            .extend(limits.as_object().unwrap().clone());
        let text = format!("module.exports = {{ apps: [{app}] }}");
        sandbox.write("ecosystem.config.js", text)
    };
    let file = ecosystem(json!({"max_restarts": 15, "min_uptime": "5s"}));
    pm2.run(&["start", file.to_str().unwrap()]);
    let service = format!("pm2/{name}");
    let config = format!("[services.\"{service}\"]\nprobe = {{ command = \"true\" }}\n");
    sandbox.write("lastgood.toml", config);
    let critical = [
        ("pm2-restarts".to_owned(), "critical".to_owned()),
        ("ecosystem".to_owned(), "critical".to_owned()),
    ];
    let document = sandbox.json(1, "preflight", &["preflight", &service]);
    assert_eq!(found(&document), critical, "{document:#}");

    // The file is put right, and a restart does not take it over: PM2 goes on as before.
    let file = ecosystem(json!({"max_restarts": 3, "min_uptime": "30s"}));
    pm2.run(&["restart", &name]);
    let document = sandbox.json(1, "preflight", &["preflight", &service]);
    let mut names: Vec<String> = found(&document).into_iter().map(|(name, _)| name).collect();
    // It was restarted a moment ago: whether it stays up is not known yet, which is said as well.
    names.retain(|name| name != "crash-loop");
    assert_eq!(names, ["pm2-restarts", "drift"], "{document:#}");

    pm2.run(&["delete", &name]);
    pm2.run(&["start", file.to_str().unwrap()]);
    let document = sandbox.json(0, "preflight", &["preflight", &service]);
    assert_eq!(found(&document), [], "{document:#}");

    sandbox.write("ecosystem.config.js", "module.exports = {");
    let document = sandbox.json(1, "preflight", &["preflight", &service]);
    assert_eq!(
        found(&document),
        [("ecosystem".to_owned(), "critical".to_owned())],
        "{document:#}"
    );
}

#[test]
fn the_doctor_answers_where_the_configuration_is_broken() {
    let sandbox = Sandbox::new("doctor");
    mode(&sandbox.state(), 0o755);
    let run = sandbox.run(&["doctor", "--format", "json"]);
    let document = run.json("doctor");
    assert_eq!(check(&document, "config")["grade"], "ok", "{document:#}");
    let state = check(&document, "state-folder");
    assert_eq!(state["grade"], "warning", "{document:#}");
    assert!(state["fix"].as_str().unwrap().contains("lastgood init"));
    for name in [
        "docker-socket",
        "compose-plugin",
        "pm2",
        "tmux",
        "terminal",
        "locale",
        "clock",
        "disk",
        "ssh",
    ] {
        check(&document, name);
    }

    sandbox.run(&["init"]).exits(0);
    let again = sandbox.json(0, "init", &["init"]);
    assert_eq!(again["done"], json!([]));
    let run = sandbox.run(&["doctor", "--format", "json"]);
    assert_eq!(check(&run.json("doctor"), "state-folder")["grade"], "ok");

    sandbox.write("lastgood.toml", "[servces]\n");
    let document = sandbox.json(1, "doctor", &["doctor"]);
    let config = check(&document, "config");
    assert_eq!(config["grade"], "critical", "{document:#}");
    assert!(
        config["detail"].as_str().unwrap().contains("servces"),
        "{document:#}"
    );
}
