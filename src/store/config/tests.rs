#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::domain::settings::ProbeKind;
use crate::domain::signal::SignalName;

const CONTRACT: &str = r#"
[hosts.prod-1]                 # ssh = anything ssh accepts; aliases, ProxyJump and agent of ~/.ssh/config work
ssh = "deploy@prod-1"
read_only = false
protected = true               # graded confirmations as in production
become = "sudo -n"             # for Docker or PM2 of another user
[services."shop/backend"]
probe = "http://localhost:8000/health"     # or { http|tcp|command, status, contains, json, timeout }
env_files = [".env"]
config_files = ["nginx.conf"]
log_files = ["logs/app.log"]
request_regex = 'completed in (?<seconds>[\d.]+)s'
ignore_routes = ["/health"]
limits = { latency_p95 = ["500ms", "1s"], error_rate = [0.01, 0.05] }
release = { git = "/srv/shop", install = "npm ci", install_if = "package-lock.json" }
migrations = { current = "alembic current", downgrade = "alembic downgrade {revision}" }
[services."exec/bot"]          # any service by commands
status = "systemctl is-active bot"
start = "…"
stop = "…"
restart = "…"
logs = "journalctl -f -u bot -o short-iso"
release_command = "…"
roll_back = "…"
[signals.cost_today]           # own signals: a regex capture, a PromQL query or a command; unit and limits
promql = "sum(llm_cost_usd)"
unit = "USD"
limits = [50, 80]
[[rules]]                      # signal op value, for, severity; against a limit or the baseline
when = "backend error_rate > 1%"
for = "2m"
severity = "P1"
[sinks.oncall]                 # kind = slack | pagerduty | telegram | email | webhook | command
kind = "pagerduty"
key_env = "PAGERDUTY_KEY"
[[routes]]                     # severity -> sinks, escalation
severity = "P0"
sinks = ["oncall", "chat"]
escalate_after = "10m"
escalate_to = ["mail"]
[switch.api]
blue = { file = "nginx/blue.conf", probe = "http://localhost:8000/health" }
green = { file = "nginx/green.conf", probe = "http://localhost:8001/health" }
active = "nginx/nginx.conf"
test = "nginx -t"
reload = "nginx -s reload"
verify = "http://localhost/health"
[backups.main]
kind = "postgres"
service = "shop/db"
database = "shop"
keep = { last = 7, daily = 7, weekly = 4 }
rpo = "6h"
encrypt = "age -R …"
copy = "rclone copy {file} …"
[checkpoint]
keep_last = 20
save_images = false
encrypt = ""
[policy]                       # allow-list; absent = everything the user may do
rules = [{ user = "anna", host = "*", service = "shop/*", operations = ["restart", "roll-back"], two_person = ["data_losing"] }]
[input]
layout_map = "auto"
mouse = false
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    read_layers(&[text], &[])
}

fn read_layers(texts: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let files = texts
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let path = dir.path().join(format!("{i}.toml"));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        })
        .collect();
    load(&Places {
        files,
        given: None,
        variables: variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
    })
}

fn backend(config: &Config) -> ServiceSettings {
    config.service(&ServiceId::local("shop", "backend"))
}

#[test]
fn every_documented_key_is_read() {
    let config = read(CONTRACT).unwrap();
    let host = &config.hosts["prod-1"];
    assert_eq!(host.ssh, "deploy@prod-1");
    assert!(host.protected && !host.read_only);
    assert_eq!(host.become_with, ["sudo", "-n"]);
    let backend = backend(&config);
    assert_eq!(
        backend.probe.unwrap().name(),
        "http http://localhost:8000/health"
    );
    assert_eq!(backend.env_files, [PathBuf::from(".env")]);
    assert_eq!(backend.log_files, [PathBuf::from("logs/app.log")]);
    assert_eq!(backend.git, Some(PathBuf::from("/srv/shop")));
    assert!(backend.exec.is_none());
    let bot = config.service(&ServiceId::local("exec", "bot"));
    assert_eq!(
        bot.exec.unwrap().status.as_deref(),
        Some("systemctl is-active bot")
    );
    assert_eq!(config.raw["backups"]["main"]["rpo"].as_str(), Some("6h"));
    assert_eq!(config.keep_last, 20);
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let config = read(DEFAULT_TEXT).unwrap();
    let defaults = Config {
        sources: config.sources.clone(),
        raw: config.raw.clone(),
        ..Config::default()
    };
    assert_eq!(config, defaults);
    // What stands behind a `# ` is valid too.
    let mut all = String::new();
    for line in DEFAULT_TEXT.lines() {
        let said = line.strip_prefix("# ").filter(|rest| {
            !rest.starts_with(' ') && (rest.starts_with('[') || rest.contains(" = "))
        });
        all.push_str(said.unwrap_or(line));
        all.push('\n');
    }
    let config = read(&all).unwrap();
    assert!(config.hosts.contains_key("prod-1") && config.services.len() == 5);
    assert_eq!(config.signals.len(), 2);
    let api = config.service(&ServiceId::local("pm2", "api"));
    assert_eq!(api.install.as_deref(), Some("npm ci"));
    assert_eq!(api.install_if, Some(PathBuf::from("package-lock.json")));
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest() {
    let error = read("[checkpoint]\nkeep_last = 3\nsave_image = true\n").unwrap_err();
    assert_eq!((error.line, error.column), (Some(3), Some(1)));
    let text = error.to_string();
    assert!(
        text.contains("0.toml:3:1: unknown key \"save_image\"; did you mean \"save_images\"?"),
        "{text}"
    );
    assert!(
        error.snippet.contains("save_image = true"),
        "{}",
        error.snippet
    );
    assert!(error.snippet.contains("^^^^^^^^^^"), "{}", error.snippet);
}

#[test]
fn errors_deep_inside_have_their_place_too() {
    for (text, line, words) in [
        (
            "[services.\"shop/api\"]\nprobe = { http = \"http://x/\", contians = \"ok\" }",
            2,
            "did you mean \"contains\"",
        ),
        (
            "[services.\"shop/api\"]\nprobe = \"localhost:8000\"",
            2,
            "not an address",
        ),
        (
            "[services.\"shop/api\"]\nprobe = { tcp = \"x\" }",
            2,
            "host:port",
        ),
        (
            "[services.\"shop/api\"]\nprobe = { tcp = \"x:1\", http = \"http://x\" }",
            2,
            "exactly one",
        ),
        (
            "[services.\"shop/api\"]\nlimits = { latency_p59 = [1, 2] }",
            2,
            "did you mean \"latency_p95\"",
        ),
        (
            "[services.\"shop/api\"]\nlimits = { cpu = [\"fast\", 2] }",
            2,
            "not a length of time",
        ),
        (
            "[services.\"shop/api\"]\nlimits = { cpu = [2, 1] }",
            2,
            "over the critical",
        ),
        (
            "[services.\"shop/api\"]\nlimits = { cpu = [2] }",
            2,
            "[warning, critical]",
        ),
        (
            "[services.\"shop/api\"]\nrequest_regex = '('",
            2,
            "not a regular expression: unclosed group",
        ),
        ("[services.\"shop/\"]\n", 1, "not a service"),
        ("[hosts.\"-oProxyCommand=sh\"]\n", 1, "invalid host"),
        ("[hosts.a]\nssh = \"a b\"", 2, "invalid host"),
        ("[[rules]]\nfor = \"soon\"", 2, "not a length of time"),
        ("[sinks.a]\nkind = \"slak\"", 2, "did you mean \"slack\""),
        ("[input]\nmouse = \"yes\"", 2, "expected a boolean"),
        ("[polcy]\n", 1, "did you mean \"policy\""),
        ("a = \n", 1, ""),
        ("[input]\nmouse = true\nmouse = true\n", 3, "duplicate"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.line, Some(line), "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.snippet.is_empty(), "{text}");
    }
}

#[test]
fn later_files_win_key_by_key_and_variables_over_them() {
    let first = "[services.\"shop/backend\"]\nenv_files = [\".env\"]\nignore_routes = [\"/a\", \"/b\"]\n[input]\nmouse = true";
    let second =
        "[services.\"shop/backend\"]\nignore_routes = [\"/c\"]\n[checkpoint]\nkeep_last = 3";
    let config = read_layers(
        &[first, second],
        &[
            ("LASTGOOD_CHECKPOINT_KEEP_LAST", "7"),
            ("LASTGOOD_RELEASE", "x"),
        ],
    )
    .unwrap();
    assert_eq!(backend(&config).env_files, [PathBuf::from(".env")]);
    assert_eq!(backend(&config).requests.ignore_routes, ["/c"]);
    assert!(config.mouse);
    assert_eq!(config.keep_last, 7);
    assert_eq!(config.sources.len(), 2);
    let error = read_layers(&[], &[("LASTGOOD_INPUT_MOUSE", "maybe")]).unwrap_err();
    assert!(
        error.to_string().contains("LASTGOOD_INPUT_MOUSE"),
        "{error}"
    );
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "[input]\nmouse = true\n").unwrap();
    let places = Places {
        files: vec![path.clone()],
        ..Places::default()
    };
    for (mode, ok) in [(0o600, true), (0o644, true), (0o646, false), (0o666, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(load(&places).is_ok(), ok, "{mode:o}");
    }
    let error = load(&places).unwrap_err().to_string();
    assert!(error.contains("chmod go-w"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let missing = Places {
        given: Some("/nonexistent/lastgood.toml".into()),
        ..Places::default()
    };
    assert!(
        load(&missing)
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/lastgood.toml")
    );
    let usual = Places {
        files: vec!["/nonexistent/lastgood.toml".into()],
        ..Places::default()
    };
    assert_eq!(load(&usual).unwrap(), Config::default());
}

#[test]
fn limits_move_the_severities_with_them() {
    let config = read(
        "[services.\"shop/backend\"]\nlimits = { latency_p95 = [\"2s\", \"4s\"], error_rate = [\"2%\", \"8%\"], cpu = [0.5, 0.6, 0.7, 0.8], queue = [5, 9] }",
    )
    .unwrap();
    let limits = backend(&config).limits;
    let latency = limits.of(&SignalName::LatencyP95).unwrap();
    assert_eq!((latency.p1, latency.p0), (Some(4000.0), Some(8000.0)));
    let errors = limits.of(&SignalName::ErrorRate).unwrap();
    assert_eq!(
        (errors.warning, errors.p1, errors.p0),
        (0.02, Some(0.02), Some(0.08))
    );
    assert_eq!(limits.of(&SignalName::Cpu).unwrap().p0, Some(0.8));
    assert!(limits.of(&SignalName::Own("queue".into())).is_some());
}

#[test]
fn a_probe_table_is_read_whole() {
    let config = read(
        "[services.backend]\nprobe = { http = \"https://x/health\", status = 204, contains = \"ok\", json = { status = \"up\", \"db.ok\" = true }, timeout = \"500ms\" }",
    )
    .unwrap();
    let probe = backend(&config).probe.unwrap();
    assert_eq!(probe.timeout, Duration::from_millis(500));
    let expected = ProbeKind::Http {
        url: "https://x/health".into(),
        status: Some(204),
        contains: Some("ok".into()),
        json: Some(serde_json::json!({ "status": "up", "db.ok": true })),
        certificate_days: None,
        ca: None,
    };
    assert_eq!(probe.kind, expected);
    let json = |written: &str| -> Result<serde_json::Value, String> {
        let text =
            format!("[services.backend]\nprobe = {{ http = \"http://x/\", json = {written} }}");
        let config = read(&text).map_err(|error| error.to_string())?;
        match backend(&config).probe.unwrap().kind {
            ProbeKind::Http { json, .. } => Ok(json.unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let up = serde_json::json!({ "status": "up" });
    assert_eq!(json("\"status == up\""), Ok(up));
    assert_eq!(
        json("\"status\""),
        Ok(serde_json::json!({ "status": null }))
    );
    assert!(json("7").is_err() && json("{}").is_err() && json("\"=up\"").is_err());
}

#[test]
fn a_probe_says_how_late_is_slow_and_how_long_a_certificate_is_to_hold() {
    let of = |probe: &str| {
        let config = read(&format!("[services.backend]\nprobe = {probe}\n"));
        let read = config.map(|config| backend(&config).probe.unwrap());
        read.map_err(|error| error.to_string())
    };
    let probe = of(
        "{ http = \"https://x/\", certificate_days = 30, ca = \"/etc/own.pem\", slower_than = \"800ms\" }",
    )
    .unwrap();
    assert_eq!(probe.slower_than, Some(Duration::from_millis(800)));
    let expected = ProbeKind::Http {
        url: "https://x/".into(),
        status: None,
        contains: None,
        json: None,
        certificate_days: Some(30),
        ca: Some("/etc/own.pem".into()),
    };
    assert_eq!(probe.kind, expected);
    let said = of("\"https://x/\"").unwrap();
    assert_eq!(said, crate::domain::settings::Probe::http("https://x/"));
    for (probe, why) in [
        (
            "{ http = \"https://x/\", ca = \"own.pem\" }",
            "ca = \"own.pem\" is not a whole path",
        ),
        (
            "{ http = \"http://x/\", certificate_days = 9 }",
            "http://x/ has no certificate",
        ),
        (
            "{ http = \"https://x/\", certificate_days = -1 }",
            "invalid value: integer `-1`",
        ),
        (
            "{ tcp = \"x:1\", contains = \"up\" }",
            "contains is for an http probe",
        ),
        (
            "{ command = \"true\", status = 200 }",
            "status is for an http probe",
        ),
        (
            "{ http = \"http://x/\", slower_than = \"5s\" }",
            "an answer after 5s is none at all",
        ),
        (
            "{ tcp = \"x:1\", timeout = \"1s\", slower_than = \"1s\" }",
            "an answer after 1s is none at all",
        ),
        (
            "{ http = \"https://x/\", certificate_day = 9 }",
            "unknown key \"certificate_day\"; did you mean \"certificate_days\"",
        ),
    ] {
        let error = of(probe).unwrap_err();
        assert!(
            error.contains(why) && error.contains(":2:"),
            "{probe}: {error}"
        );
    }
}

#[test]
fn what_preflight_looks_for_is_read_and_typing_errors_are_told() {
    let text = "[preflight]\nartifacts = [\"dist\", \"*.tgz\"]\nskip = [\"monitoring\"]\n[backups.main]\nrpo = \"6h\"\n\
                [services.\"shop/backend\"]\nmigrations = { current = \"a\", head = \"b\" }\n";
    let config = read(text).unwrap();
    let artifacts = config.preflight.artifacts.clone().unwrap();
    assert_eq!(artifacts, ["dist", "*.tgz"]);
    assert_eq!(config.preflight.skip, ["monitoring"]);
    let variables = read("[runbooks.variables]\nbackend = \"shop/api\"\n").unwrap();
    assert_eq!(variables.runbook_variables["backend"], "shop/api");
    assert_eq!(config.backups["main"].rpo.unwrap().as_secs(), 6 * 3600);
    let backend = config.service(&ServiceId::local("shop", "backend"));
    assert_eq!(backend.migrations.head.as_deref(), Some("b"));
    for (text, said) in [
        (
            "[preflight]\nskip = [\"monitorin\"]\n",
            "did you mean \"monitoring\"?",
        ),
        (
            "[preflight]\nartifacts = [\"build/dist\"]\n",
            "not a name in a service's folder",
        ),
        ("[preflight]\nartifacts = [\"[\"]\n", "not a pattern"),
        (
            "[runbooks.variables]\n\"my backend\" = \"x\"\n",
            "not the name of a variable",
        ),
        (
            "[runbooks.variables]\nbackend = \"a\\nb\"\n",
            "not a value of a variable",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn own_signals_are_read_in_each_shape_with_limits_in_their_unit() {
    let config = read(
        "[prometheus]\nurl = \"http://metrics:9090/\"\ntoken_env = \"TOKEN\"\n\
         [signals.cost]\npromql = \"sum(cost)\"\nunit = \"USD\"\nlimits = [50, 80]\n\
         [signals.took]\nregex = 'took=([\\d.]+)'\nvalue = \"p95\"\nservice = \"backend\"\nunit = \"s\"\nlimits = [\"5s\", \"10s\"]\n\
         [signals.full]\ncommand = \"echo 5\"\nunit = \"%\"\nlimits = [\"80%\", \"95%\"]\n\
         [[rules]]\nwhen = \"took > 7s\"\n[[rules]]\nwhen = \"full > 90%\"\n[[rules]]\nwhen = \"cost > 80\"\n",
    )
    .unwrap();
    assert_eq!(config.prometheus.url, "http://metrics:9090");
    let of = |name: &str| {
        let mut all = config.signals.iter();
        all.find(|own| own.name.as_str() == name).unwrap()
    };
    let limits = |name: &str| {
        let limits = of(name).limits.unwrap();
        (limits.warning, limits.critical)
    };
    assert_eq!(limits("cost"), (50.0, 80.0));
    assert_eq!(limits("took"), (5.0, 10.0));
    assert_eq!(limits("full"), (80.0, 95.0));
    assert_eq!(of("took").service.as_deref(), Some("backend"));
    let bounds: Vec<_> = config.rules.iter().map(|rule| rule.bound).collect();
    let value = crate::analysis::rules::Bound::Value;
    assert_eq!(bounds, [value(7.0), value(90.0), value(80.0)]);
    assert_eq!(Config::default().prometheus.url, "http://localhost:9090");
}

#[test]
fn own_signals_that_cannot_be_measured_are_refused() {
    for (text, why) in [
        (
            "promql = \"a\"\ncommand = \"b\"",
            "one of regex, promql and command",
        ),
        ("unit = \"USD\"", "has no regex, promql or command"),
        ("regex = 'a(b)'", "no service"),
        ("service = \"a\"\nregex = 'ab'", "captures nothing"),
        ("command = \"a\"\nvalue = \"sum\"", "there is no regex"),
        ("command = \"a\"\nlimits = [80, 50]", "warning limit"),
        ("command = \"a\"\npromq = \"b\"", "promql"),
    ] {
        let error = read(&format!("[signals.x]\n{text}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let error = read("[signals.latency_p95]\npromql = \"a\"\n").unwrap_err();
    assert!(error.to_string().contains("names no service"), "{error}");
    let error = read("[prometheus]\nurl = \"localhost\"\n").unwrap_err();
    assert!(
        error.to_string().contains("http://localhost:9090"),
        "{error}"
    );
}

#[test]
fn a_service_says_how_prometheus_and_its_database_are_asked() {
    let config = read(
        "[services.\"shop/api\"]\nmetrics = { histogram = \"http_request_duration_seconds\", match = 'job=\"shop\"' }\n\
         [services.\"shop/db\"]\nconnections = \"postgres\"\n",
    )
    .unwrap();
    let api = config.service(&ServiceId::local("shop", "api"));
    assert_eq!(api.metrics.queries(300).len(), 3);
    let db = config.service(&ServiceId::local("shop", "db"));
    assert_eq!(
        db.connections,
        Some(crate::domain::settings::Connections::Postgres)
    );
    let error = read("[services.\"shop/api\"]\nmetrics = { queries = { latency_p59 = \"x\" } }\n");
    assert!(error.unwrap_err().to_string().contains("latency_p95"));
}
