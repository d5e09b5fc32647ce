//! The body that each kind of sink expects, byte for byte.

use serde_json::{Value, json};

use crate::domain::alert::{AlertSeverity, Notification, NotificationEvent};

/// Slack shows no more than this of a message.
const SLACK_MAX: usize = 3_000;
/// Telegram refuses longer texts.
const TELEGRAM_MAX: usize = 4_096;
/// PagerDuty refuses longer summaries.
const SUMMARY_MAX: usize = 1_024;

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let start: String = text.chars().take(max - 1).collect();
    format!("{start}…")
}

/// `{"text": …}`; the three characters that Slack gives a meaning are escaped.
pub(super) fn slack(message: &Notification) -> String {
    let text = cut(&message.lines().join("\n"), SLACK_MAX)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    json!({ "text": text }).to_string()
}

/// Plain text: no mark-up that a log line could break.
pub(super) fn telegram(message: &Notification, chat: &str) -> String {
    json!({
        "chat_id": chat,
        "text": cut(&message.lines().join("\n"), TELEGRAM_MAX),
        "disable_notification": !message.severity.pages() || message.event == NotificationEvent::Resolve,
    })
    .to_string()
}

/// Events v2. Reminders and escalations are triggers under the same key: PagerDuty has its own of both.
pub(super) fn pagerduty(message: &Notification, key: &str) -> String {
    let action = match message.event {
        NotificationEvent::Acknowledge => "acknowledge",
        NotificationEvent::Resolve => "resolve",
        _ => "trigger",
    };
    let mut event = json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": message.key,
    });
    if action == "trigger" {
        let severity = match message.severity {
            AlertSeverity::P0 => "critical",
            AlertSeverity::P1 => "error",
            AlertSeverity::P2 => "warning",
            AlertSeverity::P3 => "info",
        };
        event["client"] = json!("lastgood");
        event["payload"] = json!({
            "summary": cut(&message.headline(), SUMMARY_MAX),
            "source": message.host,
            "severity": severity,
            "timestamp": message.at,
            "component": message.services.first(),
            "custom_details": details(message),
        });
    }
    event.to_string()
}

/// Where changes go: beside the address of events.
pub(super) fn change_address(events: &str) -> String {
    let base = events.trim_end_matches('/');
    let base = base.strip_suffix("/enqueue").unwrap_or(base);
    format!("{base}/change/enqueue")
}

/// A change event, which has no severity and no key: it is a line of a timeline and opens no incident.
pub(super) fn change(message: &Notification, key: &str) -> String {
    json!({
        "routing_key": key,
        "payload": {
            "summary": cut(&format!("{}: {}", message.host, message.title), SUMMARY_MAX),
            "source": message.host,
            "timestamp": message.at,
            "custom_details": {
                "services": message.services,
                "checkpoint": message.checkpoint,
                "audit_head": message.audit_head,
            },
        },
    })
    .to_string()
}

fn details(message: &Notification) -> Value {
    json!({
        "alerts": message.alerts,
        "services": message.services,
        "evidence": message.evidence,
        "verdict": message.verdict,
        "checkpoint": message.checkpoint,
        "runbook": message.runbook,
        "audit_head": message.audit_head,
    })
}

/// `lastgood.notification/1`.
pub(super) fn webhook(message: &Notification) -> String {
    let mut body = json!({
        "schema": "lastgood.notification/1",
        "id": message.id,
        "key": message.key,
        "event": message.event,
        "severity": message.severity,
        "at": message.at,
        "host": message.host,
        "title": message.title,
    });
    if let Some(by) = &message.by {
        body["by"] = json!(by);
    }
    if let (Some(body), Value::Object(details)) = (body.as_object_mut(), details(message)) {
        body.extend(details);
    }
    body.to_string()
}

/// What a command finds in its environment.
pub(super) fn environment(message: &Notification) -> Vec<(String, String)> {
    [
        ("ID", message.id.clone()),
        ("KEY", message.key.clone()),
        ("EVENT", message.event.as_str().to_owned()),
        ("SEVERITY", message.severity.as_str().to_owned()),
        ("TITLE", message.headline()),
        ("TEXT", message.lines().join("\n")),
        ("JSON", webhook(message)),
    ]
    .into_iter()
    .map(|(name, value)| (format!("LASTGOOD_{name}"), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn message(event: NotificationEvent) -> Notification {
        Notification {
            id: "0123".into(),
            key: "lastgood prod-1 shop/api down".into(),
            event,
            severity: AlertSeverity::P0,
            at: jiff::Timestamp::from_second(1_766_847_000).unwrap(),
            host: "prod-1".into(),
            title: "shop/api is down: http x: <500> & more".into(),
            services: vec!["shop/api".into()],
            alerts: vec!["P0 shop/api is down".into()],
            evidence: vec!["ERROR division by zero".into()],
            verdict: Some("roll back (P0)".into()),
            checkpoint: Some("20251227-145000-pre-1.2".into()),
            runbook: Some("emergency-rollback-compose".into()),
            by: None,
            audit_head: Some("abc".into()),
            sinks: BTreeSet::new(),
        }
    }

    #[test]
    fn slack_gets_text_with_its_three_characters_escaped() {
        assert_eq!(
            slack(&message(NotificationEvent::Trigger)),
            r#"{"text":"[P0] prod-1: shop/api is down: http x: &lt;500&gt; &amp; more\n&gt; ERROR division by zero\nverdict: roll back (P0)\ncheckpoint: 20251227-145000-pre-1.2\nrunbook: emergency-rollback-compose\naudit head: abc"}"#
        );
    }

    #[test]
    fn pagerduty_resolves_under_the_key_of_the_trigger() {
        let trigger: Value =
            serde_json::from_str(&pagerduty(&message(NotificationEvent::Trigger), "R0")).unwrap();
        assert_eq!(trigger["event_action"], "trigger");
        assert_eq!(trigger["payload"]["severity"], "critical");
        assert_eq!(trigger["payload"]["timestamp"], "2025-12-27T14:50:00Z");
        let resolve = pagerduty(&message(NotificationEvent::Resolve), "R0");
        assert_eq!(
            resolve,
            r#"{"dedup_key":"lastgood prod-1 shop/api down","event_action":"resolve","routing_key":"R0"}"#
        );
        assert_eq!(trigger["dedup_key"], "lastgood prod-1 shop/api down");
        let taken = pagerduty(&message(NotificationEvent::Acknowledge), "R0");
        assert!(taken.contains(r#""event_action":"acknowledge""#), "{taken}");
    }

    #[test]
    fn a_change_goes_beside_the_events_and_opens_no_incident() {
        for events in [
            "https://events.pagerduty.com/v2/enqueue",
            "https://events.pagerduty.com/v2/",
        ] {
            assert_eq!(
                change_address(events),
                "https://events.pagerduty.com/v2/change/enqueue"
            );
        }
        let sent = Notification {
            title: "roll-back of shop/api by anna: verified".into(),
            ..message(NotificationEvent::Change)
        };
        assert_eq!(
            change(&sent, "R0"),
            r#"{"payload":{"custom_details":{"audit_head":"abc","checkpoint":"20251227-145000-pre-1.2","services":["shop/api"]},"source":"prod-1","summary":"prod-1: roll-back of shop/api by anna: verified","timestamp":"2025-12-27T14:50:00Z"},"routing_key":"R0"}"#
        );
    }

    #[test]
    fn long_texts_are_cut_to_what_is_taken() {
        let mut long = message(NotificationEvent::Trigger);
        long.title = "ü".repeat(6_000).as_str().into();
        let text = |body: String, path: &str| -> usize {
            let body: Value = serde_json::from_str(&body).unwrap();
            body.pointer(path)
                .unwrap()
                .as_str()
                .unwrap()
                .chars()
                .count()
        };
        assert_eq!(text(telegram(&long, "1"), "/text"), TELEGRAM_MAX);
        assert_eq!(text(pagerduty(&long, "R"), "/payload/summary"), SUMMARY_MAX);
        assert_eq!(text(slack(&long), "/text"), SLACK_MAX);
    }

    #[test]
    fn a_webhook_and_a_command_get_every_field() {
        let sent = message(NotificationEvent::Reminder);
        let body: Value = serde_json::from_str(&webhook(&sent)).unwrap();
        assert_eq!(body["schema"], "lastgood.notification/1");
        assert_eq!(
            (&body["event"], &body["id"]),
            (&json!("reminder"), &json!("0123"))
        );
        assert_eq!(body["runbook"], "emergency-rollback-compose");
        let env = environment(&sent);
        assert!(
            env.iter()
                .any(|(name, value)| name == "LASTGOOD_EVENT" && value == "reminder")
        );
    }
}
