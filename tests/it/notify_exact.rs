//! What goes over the wire, byte for byte: one alert in five sinks, what people changed, mail under TLS.

use crate::compose_story::list;
use crate::harness::{Authority, MailServer, Received, Receiver, Sandbox, Tls, missing};
use crate::notify::{LONG, sandbox_with_switch, signed, start, stop};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const PD: &str = "pd-secret-routing-key-0815";

/// A string as JSON has it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn text<'a>(message: &'a Value, name: &str) -> &'a str {
    message[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name}: {message:#}"))
}

/// The lines that sinks which show text are sent.
fn lines(message: &Value) -> Vec<String> {
    let event = match text(message, "event") {
        "trigger" => "",
        "acknowledge" => "taken: ",
        "resolve" => "resolved: ",
        other => panic!("{other}"),
    };
    let by = message["by"].as_str();
    let by = by.map_or_else(String::new, |by| format!("{by}: "));
    assert_eq!(by.is_empty(), event != "taken: ", "{message:#}");
    let mut lines = vec![format!(
        "[{}] {}: {event}{by}{}",
        text(message, "severity"),
        text(message, "host"),
        text(message, "title")
    )];
    let evidence = list(&message["evidence"]).iter();
    lines.extend(evidence.map(|line| format!("> {}", line.as_str().unwrap())));
    for (name, field) in [
        ("verdict", "verdict"),
        ("checkpoint", "checkpoint"),
        ("runbook", "runbook"),
        ("audit head", "audit_head"),
    ] {
        let value = message[field].as_str();
        lines.extend(value.map(|value| format!("{name}: {value}")));
    }
    lines
}

fn details(message: &Value) -> String {
    let of = |name: &str| message[name].to_string();
    format!(
        r#"{{"alerts":{},"audit_head":{},"checkpoint":{},"evidence":{},"runbook":{},"services":{},"verdict":{}}}"#,
        of("alerts"),
        of("audit_head"),
        of("checkpoint"),
        of("evidence"),
        of("runbook"),
        of("services"),
        of("verdict")
    )
}

fn webhook(message: &Value) -> String {
    let of = |name: &str| message[name].to_string();
    let by = match &message["by"] {
        Value::Null => String::new(),
        by => format!(r#""by":{by},"#),
    };
    format!(
        r#"{{"alerts":{},"at":{},"audit_head":{},{by}"checkpoint":{},"event":{},"evidence":{},"host":{},"id":{},"key":{},"runbook":{},"schema":"lastgood.notification/1","services":{},"severity":{},"title":{},"verdict":{}}}"#,
        of("alerts"),
        of("at"),
        of("audit_head"),
        of("checkpoint"),
        of("event"),
        of("evidence"),
        of("host"),
        of("id"),
        of("key"),
        of("runbook"),
        of("services"),
        of("severity"),
        of("title"),
        of("verdict")
    )
}

fn pagerduty(message: &Value) -> String {
    let (key, event) = (message["key"].to_string(), text(message, "event"));
    if event != "trigger" {
        return format!(r#"{{"dedup_key":{key},"event_action":"{event}","routing_key":"{PD}"}}"#);
    }
    format!(
        r#"{{"client":"lastgood","dedup_key":{key},"event_action":"trigger","payload":{{"component":{},"custom_details":{},"severity":"critical","source":{},"summary":{},"timestamp":{}}},"routing_key":"{PD}"}}"#,
        message["services"][0],
        details(message),
        message["host"],
        quoted(&lines(message)[0]),
        message["at"]
    )
}

fn slack(message: &Value) -> String {
    let text = lines(message).join("\n");
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(r#"{{"text":{}}}"#, quoted(&text.replace('>', "&gt;")))
}

fn telegram(message: &Value) -> String {
    format!(
        r#"{{"chat_id":"-100123","disable_notification":{},"text":{}}}"#,
        text(message, "event") == "resolve",
        quoted(&lines(message).join("\n"))
    )
}

/// The letter without its content's encoding: headers in their order, then the body.
fn mail(message: &Value) -> Vec<(&'static str, String)> {
    let thread = |text: &str| text.to_owned();
    vec![
        ("From", thread("lastgood@example.org")),
        (
            "Message-ID",
            format!("<{}.lastgood@example.org>", text(message, "id")),
        ),
        ("To", thread("anna@example.org")),
        ("Content-Type", thread("text/plain; charset=utf-8")),
    ]
}

fn unfolded(mail: &str, name: &str) -> String {
    let head = mail.split("\r\n\r\n").next().unwrap_or_default();
    let head = head.replace("\r\n ", " ");
    let line = head
        .lines()
        .find(|line| line.starts_with(&format!("{name}: ")));
    let line = line.unwrap_or_else(|| panic!("no {name}: {mail}"));
    line[name.len() + 2..].to_owned()
}

#[test]
fn five_sinks_get_one_alert_byte_for_byte_from_trigger_to_resolve() {
    let receiver = Receiver::http();
    let letters = Receiver::smtp();
    let config = format!(
        "logs = \"echo ERROR a '<b>' \\\\& c; echo ready\"\n\
         [sinks.chat]\nkind = \"slack\"\nurl = \"{}\"\n\
         [sinks.oncall]\nkind = \"pagerduty\"\nkey_env = \"PD_KEY\"\nurl = \"{}\"\n\
         [sinks.tg]\nkind = \"telegram\"\ntoken = \"42:abc\"\nchat = -100123\nurl = \"{}\"\n\
         [sinks.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"lastgood@example.org\"\nto = [\"anna@example.org\"]\n\
         [sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nkey_env = \"HOOK_KEY\"\n\
         [[routes]]\nseverity = \"P0\"\nservices = [\"exec/bot\"]\nsinks = [\"chat\", \"oncall\", \"tg\", \"mail\", \"hook\"]\n",
        receiver.url("/slack"),
        receiver.url("/v2/enqueue"),
        receiver.url(""),
        letters.port(),
        receiver.url("/hook"),
    );
    let sandbox = sandbox_with_switch("notify-exact", &config);
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("a look", LONG, |line| line.contains("\"looked\""));
    stop(&sandbox);
    receiver.wait("the page", LONG, |r| {
        r.head.contains("/hook") && r.json()["event"] == "trigger"
    });
    sandbox
        .run(&["alerts", "--acknowledge", "exec/bot"])
        .exits(0);
    start(&sandbox);
    receiver.wait("its end", LONG, |r| {
        r.head.contains("/hook") && r.json()["event"] == "resolve"
    });
    assert_eq!(watch.end_with(Signal::TERM), 143);

    let all = receiver.received();
    let at = |path: &str| -> Vec<&Received> {
        let is_there = |r: &&Received| r.head.starts_with(&format!("POST {path} "));
        all.iter().filter(is_there).collect()
    };
    let hooks = at("/hook");
    let messages: Vec<Value> = hooks.iter().map(|request| request.json()).collect();
    let events: Vec<&str> = messages.iter().map(|m| text(m, "event")).collect();
    assert_eq!(events, ["trigger", "acknowledge", "resolve"]);
    let key = text(&messages[0], "key");
    assert!(messages.iter().all(|m| text(m, "key") == key), "{key}");
    let mails = letters.received();
    for path in ["/slack", "/v2/enqueue", "/bot42:abc/sendMessage"] {
        assert_eq!(at(path).len(), 3, "{path}: {all:#?}");
    }
    assert_eq!(mails.len(), 3, "{mails:#?}");
    for (i, message) in messages.iter().enumerate() {
        assert_eq!(hooks[i].body, webhook(message));
        assert_eq!(
            hooks[i].header("x-lastgood-signature"),
            Some(signed(&sandbox, "hook-secret-4711", &hooks[i].body))
        );
        assert_eq!(at("/slack")[i].body, slack(message));
        assert_eq!(at("/v2/enqueue")[i].body, pagerduty(message));
        assert_eq!(at("/bot42:abc/sendMessage")[i].body, telegram(message));
        for request in [hooks[i], at("/slack")[i], at("/v2/enqueue")[i]] {
            let kind = request.header("content-type");
            assert_eq!(kind.as_deref(), Some("application/json"));
        }
        let letter = &mails[i].body;
        for (name, value) in mail(message) {
            assert_eq!(unfolded(letter, name), value, "{letter}");
        }
        for name in ["References", "In-Reply-To", "Subject"] {
            assert_eq!(unfolded(letter, name), unfolded(&mails[0].body, name));
        }
        let subject = format!(
            "[{}] {}: {}",
            text(message, "severity"),
            text(message, "host"),
            text(message, "title")
        );
        assert_eq!(unfolded(letter, "Subject"), subject);
        let body = letter.split_once("\r\n\r\n").unwrap().1;
        // A line that is longer than mail allows is broken by `=`.
        let body = body.replace("=\r\n", "").replace("\r\n", "\n");
        assert_eq!(body.trim_end(), lines(message).join("\n"), "{letter}");
    }
    // The trigger says all there is to say.
    assert_eq!(text(&messages[0], "runbook"), "incident-response");
    assert_eq!(text(&messages[0], "audit_head").len(), 64);
    assert!(
        messages[0]["evidence"].to_string().contains("a <b> & c"),
        "{:#}",
        messages[0]
    );
}

#[test]
fn what_people_change_stands_in_the_timeline_of_those_who_are_paged() {
    let receiver = Receiver::http();
    let sandbox = Sandbox::new("notify-changes")
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .with("PD_KEY", PD);
    let at = sandbox.work().display().to_string();
    sandbox.write("up", "");
    sandbox.write("release", "1.4\n");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {at}/up\"\nroll_back = \"echo $LASTGOOD_RELEASE > {at}/release\"\nrelease_command = \"cat {at}/release\"\nlogs = \"echo ready\"\n\
             [sinks.oncall]\nkind = \"pagerduty\"\nkey_env = \"PD_KEY\"\nurl = \"{}\"\n",
            receiver.url("/v2/enqueue")
        ),
    );
    // Nothing of it is a change of what runs.
    sandbox.run(&["health", "exec/bot"]).exits(0);
    sandbox
        .run(&["checkpoint", "create", "exec/bot", "--label", "good"])
        .exits(0);
    let deploy = format!("echo 1.5 > {at}/release; echo token=hunter2hunter2");
    sandbox.run(&[
        "guard",
        "--watch",
        "2s",
        "--skip-preflight",
        "--roll-back",
        "never",
        "exec/bot",
        "--",
        "sh",
        "-c",
        &deploy,
    ]);
    sandbox
        .run(&["roll-back", "exec/bot", "--yes", "--confirm", "bot"])
        .exits(0);
    let all = receiver.received();
    let messages: Vec<Value> = all.iter().map(Received::json).collect();
    let summaries: Vec<String> = messages
        .iter()
        .map(|message| text(&message["payload"], "summary").to_owned())
        .collect();
    let wanted = [
        "-good of 1 services by ",
        "-guard of 1 services by ",
        "deploy by ",
        "roll-back of exec/bot to ",
    ];
    assert_eq!(summaries.len(), wanted.len(), "{summaries:#?}");
    for (summary, words) in summaries.iter().zip(wanted) {
        assert!(summary.contains(words), "{words}: {summaries:#?}");
    }
    assert!(summaries[2].contains("(exit 0)"), "{summaries:#?}");
    assert!(summaries[3].ends_with(": verified"), "{summaries:#?}");
    for (request, message) in all.iter().zip(&messages) {
        assert!(
            request.head.starts_with("POST /v2/change/enqueue "),
            "{}",
            request.head
        );
        let payload = &message["payload"];
        let details = &payload["custom_details"];
        assert_eq!(details["services"], json!(["exec/bot"]), "{message:#}");
        let exact = format!(
            r#"{{"payload":{{"custom_details":{{"audit_head":{},"checkpoint":{},"services":["exec/bot"]}},"source":{},"summary":{},"timestamp":{}}},"routing_key":"{PD}"}}"#,
            details["audit_head"],
            details["checkpoint"],
            payload["source"],
            payload["summary"],
            payload["timestamp"]
        );
        assert_eq!(request.body, exact);
        assert!(!request.body.contains("hunter2"), "{}", request.body);
    }
    // Nobody listens: what was done is done, and the event waits for the next who delivers.
    receiver.answer("503 Service Unavailable");
    sandbox
        .run(&["checkpoint", "create", "exec/bot", "--label", "later"])
        .exits(0);
    let before = receiver.received().len();
    receiver.answer("202 Accepted");
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    watch.until("the delivery", LONG, |line| {
        line.contains("\"change\"") && line.contains("\"error\":null")
    });
    let late = receiver.received().split_off(before);
    assert!(late[0].body.contains("-later of 1 services"), "{late:#?}");
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

/// A sink for the mail server; `host` decides which name its certificate must have.
fn letter_box(sandbox: &Sandbox, port: u16, tls: &str) {
    sandbox.write(
        "lastgood.toml",
        format!(
            "[sinks.mail]\nkind = \"email\"\nhost = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nuser = \"ops\"\npassword_env = \"MAIL_PASSWORD\"\nfrom = \"lastgood@example.org\"\nto = [\"anna@example.org\"]\ntimeout = \"5s\"\n"
        ),
    );
}

#[test]
fn mail_goes_under_tls_or_not_at_all() {
    if missing(&["openssl", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new("notify-tls").with("MAIL_PASSWORD", "mail-secret-42");
    let authority = Authority::make(&sandbox.path("certificate"));
    let shown = authority.sign("mail", 48);
    let authority = authority.file().display().to_string();
    // AUTH PLAIN, as it goes over the wire.
    let password = "AG9wcwBtYWlsLXNlY3JldC00Mg==";
    let send = ["notify", "test", "--sink", "mail"];

    for (tls, mode) in [(Tls::Implicit, "implicit"), (Tls::Start, "starttls")] {
        let server = MailServer::start(&sandbox, tls, &shown);
        letter_box(&sandbox, server.port, mode);
        // Nobody vouches for this certificate: nothing is said to whoever shows it.
        let refused = sandbox.run(&send).exits(4);
        assert!(refused.stdout.contains("certificate"), "{mode}: {refused}");
        let over = || {
            crate::harness::wait_for("a dialogue", Duration::from_secs(10), || {
                server.dialogues().pop()
            })
        };
        let told = over();
        assert!(told["mail"].is_null(), "{told:#}");
        assert!(!told.to_string().contains(password), "{told:#}");

        let mut command = sandbox.command(&send);
        command.env("SSL_CERT_FILE", &authority);
        let taken = command.output().unwrap();
        assert!(taken.status.success(), "{mode}: {taken:?}");
        crate::harness::wait_for("the mail", Duration::from_secs(10), || {
            (server.dialogues().len() == 2).then_some(())
        });
        let told = over();
        let mail = told["mail"].as_str().unwrap_or_else(|| panic!("{told:#}"));
        assert!(mail.contains("lastgood can reach you"), "{mail}");
        assert!(told["secret"].to_string().contains(password), "{told:#}");
        let plain: Vec<&str> = list(&told["plain"])
            .iter()
            .map(|line| line.as_str().unwrap().split(' ').next().unwrap())
            .collect();
        match tls {
            Tls::Implicit => assert!(plain.is_empty(), "{told:#}"),
            Tls::Start => assert_eq!(plain, ["EHLO", "STARTTLS"], "{told:#}"),
        }
    }
    // A server, or someone in between, that offers no TLS gets neither the mail nor the password.
    let plain = Receiver::smtp();
    letter_box(&sandbox, plain.port().parse().unwrap(), "starttls");
    let refused = sandbox.run(&send).exits(4);
    assert!(refused.stdout.contains("STARTTLS"), "{refused}");
    assert!(plain.received().is_empty(), "{:#?}", plain.received());
}
