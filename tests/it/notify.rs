//! Messages to people: to each kind of sink, byte for byte, exactly once where nothing fails and at least once where
//! something does, and no secret anywhere.

use crate::compose_story::list;
use crate::harness::{Receiver, Sandbox};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::Duration;

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Only the test's own service pages: this machine may have others that are ill.
fn routes(sink: &str) -> String {
    ["P0", "P1"]
        .iter()
        .map(|severity| {
            format!(
                "[[routes]]\nseverity = \"{severity}\"\nservices = [\"exec/bot\"]\nsinks = [\"{sink}\"]\n"
            )
        })
        .collect()
}

/// A service of commands that is up while the file `up` is there, and the sandbox that only sees it.
pub(crate) fn sandbox_with_switch(name: &str, config: &str) -> Sandbox {
    let sandbox = Sandbox::new(name)
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .with("HOOK_KEY", "hook-secret-4711")
        .with("PD_KEY", "pd-secret-routing-key-0815");
    let up = sandbox.write("up", "");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {}\"\n{config}",
            up.display()
        ),
    );
    sandbox
}

fn webhook(receiver: &Receiver) -> String {
    format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nkey_env = \"HOOK_KEY\"\n",
        receiver.url("/hook")
    )
}

pub(crate) fn stop(sandbox: &Sandbox) {
    fs::remove_file(sandbox.work().join("up")).unwrap();
}

pub(crate) fn start(sandbox: &Sandbox) {
    sandbox.write("up", "");
}

#[test]
fn every_kind_of_sink_gets_its_own_shape() {
    let receiver = Receiver::http();
    let mail = Receiver::smtp();
    let sandbox = Sandbox::new("notify-kinds")
        .with(
            "SLACK_URL",
            &receiver.url("/services/T0/B0/slack-secret-path"),
        )
        .with("TG_TOKEN", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")
        .with("PD_KEY", "pd-secret-routing-key-0815")
        .with("HOOK_KEY", "hook-secret-4711")
        .with("MAIL_PASSWORD", "mail-secret-42");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[sinks.chat]\nkind = \"slack\"\nurl_env = \"SLACK_URL\"\n\
             [sinks.oncall]\nkind = \"pagerduty\"\nkey_env = \"PD_KEY\"\nurl = \"{}\"\n\
             [sinks.tg]\nkind = \"telegram\"\ntoken_env = \"TG_TOKEN\"\nchat = -100123\nurl = \"{}\"\n\
             [sinks.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ops\"\npassword_env = \"MAIL_PASSWORD\"\nfrom = \"lastgood@example.org\"\nto = [\"anna@example.org\"]\n\
             [sinks.local]\nkind = \"command\"\ncommand = 'printf %s \"$LASTGOOD_JSON\" > said.json'\n{}",
            receiver.url("/v2/enqueue"),
            receiver.url(""),
            mail.port(),
            webhook(&receiver)
        ),
    );
    let secrets = [
        "slack-secret-path",
        "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "pd-secret-routing-key",
        "hook-secret-4711",
        "mail-secret-42",
    ];

    let shown = sandbox.run(&["notify", "test", "--dry-run"]).exits(0);
    for words in [
        "POST http",
        "dedup_key",
        "chat_id",
        "SMTP 127.0.0.1",
        "Subject:",
        "idempotency-key",
        "LASTGOOD_EVENT",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown}");
    }
    assert!(
        secrets.iter().all(|secret| !shown.stdout.contains(secret)),
        "{shown}"
    );
    assert!(receiver.received().is_empty(), "a dry run sends nothing");

    let tried = sandbox.json(0, "notify", &["notify", "test"]);
    assert_eq!(list(&tried["sinks"]).len(), 6, "{tried:#}");
    let all = receiver.received();
    let one = |path: &str| {
        all.iter()
            .find(|request| request.head.contains(path))
            .unwrap_or_else(|| panic!("no {path}: {all:#?}"))
    };
    assert!(
        one("/slack-secret-path").json()["text"]
            .as_str()
            .unwrap()
            .contains("test:")
    );
    assert_eq!(one("/sendMessage").json()["chat_id"], "-100123");
    assert!(
        one("/sendMessage")
            .head
            .contains("/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/")
    );
    let pages: Vec<Value> = all
        .iter()
        .filter(|request| request.head.contains("/v2/enqueue"))
        .map(|request| request.json())
        .collect();
    let actions: Vec<&str> = pages
        .iter()
        .map(|p| p["event_action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["trigger", "resolve"], "a test leaves no incident");
    assert_eq!(pages[0]["dedup_key"], pages[1]["dedup_key"]);
    let hook = one("/hook");
    assert_eq!(
        hook.header("x-lastgood-signature"),
        Some(signed(&sandbox, "hook-secret-4711", &hook.body))
    );
    assert_eq!(
        hook.header("idempotency-key").unwrap(),
        hook.json()["id"].as_str().unwrap()
    );
    let letter = &mail.received()[0];
    assert!(letter.head.contains("AUTH PLAIN"), "{}", letter.head);
    for words in [
        "From: lastgood@example.org",
        "To: anna@example.org",
        "References: <",
    ] {
        assert!(letter.body.contains(words), "{words}: {}", letter.body);
    }
    let said: Value =
        serde_json::from_slice(&fs::read(sandbox.work().join("said.json")).unwrap()).unwrap();
    assert_eq!(said["schema"], "lastgood.notification/1");
}

/// The signature as a receiver in another language would compute it.
pub(crate) fn signed(sandbox: &Sandbox, key: &str, body: &str) -> String {
    let file = sandbox.write("body", body);
    let output = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", key])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("sha256={}", text.trim().rsplit(' ').next().unwrap())
}

#[test]
fn a_trigger_is_resolved_under_its_key() {
    let receiver = Receiver::http();
    let sandbox = sandbox_with_switch(
        "notify-resolve",
        &format!(
            "[sinks.oncall]\nkind = \"pagerduty\"\nkey_env = \"PD_KEY\"\nurl = \"{}\"\n{}",
            receiver.url("/v2/enqueue"),
            routes("oncall")
        ),
    );
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("a look", LONG, |line| line.contains("\"looked\""));
    assert!(receiver.received().is_empty());
    stop(&sandbox);
    let trigger = receiver
        .wait("the page", LONG, |r| r.body.contains("trigger"))
        .json();
    assert_eq!(trigger["payload"]["severity"], "critical", "{trigger:#}");
    assert_eq!(trigger["routing_key"], "pd-secret-routing-key-0815");
    assert!(
        trigger["payload"]["summary"]
            .as_str()
            .unwrap()
            .contains("exec/bot"),
        "{trigger:#}"
    );
    let taken = sandbox.json(0, "alerts", &["alerts", "--acknowledge", "exec/bot"]);
    assert_eq!(taken["taken"], 1, "{taken:#}");
    sandbox
        .run(&["alerts", "--acknowledge", "exec/bot"])
        .exits(1);
    let acknowledged = receiver
        .wait("the acknowledge", LONG, |r| {
            r.body.contains("\"acknowledge\"")
        })
        .json();
    assert_eq!(acknowledged["dedup_key"], trigger["dedup_key"]);
    let open = sandbox.json(1, "alerts", &["alerts"]);
    assert!(
        list(&open["alerts"])
            .iter()
            .any(|alert| alert["state"] == "firing" && !alert["acknowledged"].is_null()),
        "{open:#}"
    );
    start(&sandbox);
    let resolve = receiver
        .wait("the resolve", LONG, |r| r.body.contains("\"resolve\""))
        .json();
    assert_eq!(resolve["dedup_key"], trigger["dedup_key"]);
    assert_eq!(watch.end_with(Signal::TERM), 143);
    assert_eq!(receiver.received().len(), 3, "{:#?}", receiver.received());
    let left = fs::read_dir(sandbox.state().join("outbox"))
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "json")
        });
    assert_eq!(left.count(), 0);
    let book: Value =
        serde_json::from_slice(&fs::read(sandbox.state().join("alerts.json")).unwrap()).unwrap();
    let down = list(&book["alerts"])
        .iter()
        .find(|alert| alert["key"] == "exec/bot down")
        .unwrap();
    assert_eq!(down["state"], "resolved", "{book:#}");
}

#[test]
fn a_kill_repeats_what_was_not_taken_under_the_same_id_and_nothing_else() {
    let receiver = Receiver::answering(&["503 Service Unavailable"]);
    let sandbox = sandbox_with_switch("notify-kill", &(webhook(&receiver) + &routes("hook")));
    stop(&sandbox);
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("the failure", LONG, |line| line.contains("503"));
    assert_eq!(watch.end_with(Signal::KILL), 128 + 9);
    let before = receiver.received();
    receiver.answer("200 OK");
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let told = "\"error\":null";
    watch.until("the delivery", LONG, |line| line.contains(told));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(watch.end_with(Signal::TERM), 143);
    let all = receiver.received();
    assert_eq!(
        all.len(),
        before.len() + 1,
        "delivered once more and no more: {all:#?}"
    );
    let ids: Vec<Option<String>> = all.iter().map(|r| r.header("idempotency-key")).collect();
    assert!(
        ids.iter().all(|id| id == &ids[0] && id.is_some()),
        "{ids:?}"
    );
    assert!(
        all.iter().all(|r| r.body == all[0].body),
        "the same message byte for byte"
    );
}

#[test]
fn a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let receiver = Receiver::answering(&["429 Too Many Requests\r\nretry-after: 4", "200 OK"]);
    let sandbox = sandbox_with_switch("notify-busy", &(webhook(&receiver) + &routes("hook")));
    stop(&sandbox);
    sandbox
        .run(&["watch", "--once", "--interval", "1s"])
        .exits(1);
    let all = receiver.received();
    assert_eq!(all.len(), 2, "{all:#?}");
    let waited = all[1].at.duration_since(all[0].at);
    assert!(waited >= Duration::from_millis(3_900), "{waited:?}");
    assert_eq!(all[0].body, all[1].body);
}

#[test]
fn a_dead_sink_is_shown_and_the_next_is_told() {
    let receiver = Receiver::http();
    let sandbox = sandbox_with_switch(
        "notify-next",
        &format!(
            "{}[sinks.dead]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/secret-token-path\"\n{}",
            webhook(&receiver),
            routes("dead")
        ),
    );
    stop(&sandbox);
    let mut watch = sandbox.follow(&["watch", "--interval", "1s"]);
    watch.until("the failure", LONG, |line| {
        line.contains("sink dead failed") && line.contains("refused")
    });
    let told = receiver.wait("the next sink", LONG, |_| true).json();
    assert_eq!(told["event"], "trigger");
    start(&sandbox);
    receiver.wait("its end", LONG, |r| r.json()["event"] == "resolve");
    assert!(
        watch
            .seen
            .iter()
            .all(|line| !line.contains("secret-token-path")),
        "{:#?}",
        watch.seen
    );
}

#[test]
fn a_storm_of_two_hundred_rules_is_one_message() {
    let receiver = Receiver::http();
    let mut rules = String::new();
    for n in 0..200 {
        rules.push_str(&format!(
            "[[rules]]\nwhen = \"bot traffic >= 0.000{n:03}1\"\nseverity = \"P1\"\n"
        ));
    }
    let sandbox = sandbox_with_switch(
        "notify-storm",
        &format!(
            "logs = \"cat {{log}}\"\n{}{}{rules}",
            webhook(&receiver),
            routes("hook")
        ),
    );
    // Requests within the last minutes, so that there is traffic.
    let lines: String = (0..100)
        .map(|n| {
            format!(
                "{} INFO GET /orders/{n} completed in 0.05s status=200\n",
                jiff_now()
            )
        })
        .collect();
    let log = sandbox.write("bot.log", lines);
    let config = sandbox.work().join("lastgood.toml");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("{log}", log.to_str().unwrap());
    fs::write(&config, text).unwrap();
    sandbox
        .run(&["watch", "--once", "--interval", "1s"])
        .exits(1);
    let all = receiver.received();
    assert_eq!(all.len(), 1, "{all:#?}");
    let message = all[0].json();
    assert!(
        message["title"].as_str().unwrap().starts_with("200 alerts"),
        "{message:#}"
    );
}

fn jiff_now() -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

#[test]
fn a_route_without_its_sink_is_found_before_the_night() {
    let sandbox = sandbox_with_switch(
        "notify-typo",
        "[sinks.oncall]\nkind = \"command\"\ncommand = \"true\"\n[[routes]]\nseverity = \"P0\"\nsinks = [\"oncal\"]\n",
    );
    sandbox
        .run(&["watch", "--once"])
        .exits(2)
        .says(&["oncal", "did you mean \"oncall\""]);
    sandbox
        .run(&["notify", "test", "--sink", "pager"])
        .exits(2)
        .says(&["pager"]);
    sandbox
        .run(&["notify", "test", "--sink", "oncall"])
        .exits(0);
    let bare = Sandbox::new("notify-none");
    bare.run(&["notify", "test"])
        .exits(2)
        .says(&["no sink is configured"]);
    bare.write("lastgood.toml", "[sinks.a]\nkind = \"pagerduty\"\n");
    bare.run(&["notify", "test"]).exits(2).says(&["key_env"]);
    bare.write(
        "lastgood.toml",
        "[[rules]]\nwhen = \"backend error_rate is high\"\n",
    );
    bare.run(&["watch", "--once"])
        .exits(2)
        .says(&["lastgood.toml:", "write \"backend error_rate > 1%\""]);
}

/// Every secret of a service's environment that its log prints, in every shape, to every sink.
#[test]
fn no_secret_reaches_a_sink() {
    let receiver = Receiver::http();
    let names = ["PASSWORD", "API_KEY", "SECRET", "TOKEN", "DATABASE_URL"];
    let mut env = String::new();
    let mut secrets = Vec::new();
    for n in 0..200 {
        let secret = format!("zq{n:03}Xw{}vK", n * 7_919);
        let name = names[n % names.len()];
        match name {
            "DATABASE_URL" => env.push_str(&format!("{name}=postgres://u:{secret}@h/d{n}\n")),
            _ => env.push_str(&format!("S{n}_{name}={secret}\n")),
        }
        secrets.push(secret);
    }
    let sandbox = sandbox_with_switch("notify-secrets", "");
    let env_file = sandbox.write(".env.bot", env);
    let lines: String = secrets
        .iter()
        .map(|secret| format!("{} ERROR refused {secret} at login\n", jiff_now()))
        .collect();
    let log = sandbox.write("bot.log", lines);
    let status = format!(
        "cat {} >&2; exit 1",
        sandbox.write("said", secrets.join(" ")).display()
    );
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"true\"\nlogs = \"cat {}\"\nenv_files = [\"{}\"]\nprobe = {{ command = \"{status}\" }}\n{}{}",
            log.display(),
            env_file.display(),
            webhook(&receiver),
            routes("hook")
        ),
    );
    let run = sandbox
        .run(&["watch", "--once", "--interval", "1s"])
        .exits(1);
    let message = receiver.wait("the page", LONG, |_| true);
    assert!(
        !list(&message.json()["evidence"]).is_empty(),
        "{}",
        message.body
    );
    let book = fs::read_to_string(sandbox.state().join("alerts.json")).unwrap();
    for secret in &secrets {
        for text in [&message.body, &book, &run.stdout, &run.stderr] {
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
    }
}
