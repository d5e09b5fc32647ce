//! The life of alerts and pages, look by look.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::alert::Acknowledgement;
use crate::domain::service::ServiceId;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn seen(name: &str, severity: AlertSeverity, condition: Condition) -> Observation {
    Observation {
        key: format!("shop/{name} down"),
        service: Some(ServiceId::local("shop", name)),
        severity,
        condition,
        hold: Duration::ZERO,
        looks: 2,
        text: SafeText::from_text(&format!("shop/{name} is down")),
    }
}

fn routes() -> Vec<Route> {
    vec![Route {
        severity: None,
        services: Vec::new(),
        sinks: BTreeSet::from(["chat".to_owned()]),
        escalate_after: Some(Duration::from_secs(600)),
        escalate_to: BTreeSet::from(["boss".to_owned()]),
    }]
}

/// One look, and what people are told of it.
fn look(book: &mut AlertBook, seconds: i64, all: &[Observation]) -> Vec<Notification> {
    let turns = advance(book, all, at(seconds));
    page(book, &turns, &routes(), "prod-1", at(seconds))
}

fn events(told: &[Notification]) -> Vec<&'static str> {
    told.iter().map(|message| message.event.as_str()).collect()
}

const P0: AlertSeverity = AlertSeverity::P0;
use Condition::{Broken, Fine, Unknown};

#[test]
fn it_fires_at_the_second_look_and_is_resolved_with_the_same_key() {
    let mut book = AlertBook::default();
    let one = |condition| [seen("api", P0, condition)];
    assert!(look(&mut book, 0, &one(Broken)).is_empty());
    assert_eq!(book.alerts[0].state, AlertState::Pending);
    let fired = look(&mut book, 15, &one(Broken));
    assert_eq!(events(&fired), ["trigger"]);
    assert_eq!(fired[0].key, "lastgood prod-1 shop/api down");
    assert_eq!(fired[0].headline(), "[P0] prod-1: shop/api is down");
    assert!(look(&mut book, 30, &one(Broken)).is_empty(), "told once");
    assert!(look(&mut book, 45, &one(Fine)).is_empty());
    let over = look(&mut book, 60, &one(Fine));
    assert_eq!(events(&over), ["resolve"]);
    assert_eq!(over[0].key, fired[0].key);
    assert_ne!(over[0].id, fired[0].id);
    assert!(book.pages.is_empty());
    assert!(look(&mut book, 75, &one(Fine)).is_empty());
}

#[test]
fn one_bad_look_is_chance() {
    let mut book = AlertBook::default();
    for seconds in 0..20 {
        let condition = if seconds % 2 == 0 { Broken } else { Fine };
        assert!(look(&mut book, seconds * 15, &[seen("api", P0, condition)]).is_empty());
    }
}

#[test]
fn a_hold_counts_time_and_not_looks() {
    let mut book = AlertBook::default();
    let one = [Observation {
        hold: Duration::from_secs(120),
        ..seen("api", P0, Broken)
    }];
    for seconds in (0..120).step_by(15) {
        assert!(look(&mut book, seconds, &one).is_empty(), "{seconds}");
    }
    assert_eq!(events(&look(&mut book, 120, &one)), ["trigger"]);
}

#[test]
fn missing_data_neither_fires_nor_resolves() {
    let mut book = AlertBook::default();
    let one = |condition| [seen("api", P0, condition)];
    for seconds in 0..10 {
        assert!(look(&mut book, seconds, &one(Unknown)).is_empty());
    }
    assert!(book.alerts.is_empty());
    look(&mut book, 10, &one(Broken));
    look(&mut book, 20, &one(Unknown));
    look(&mut book, 30, &one(Broken));
    assert_eq!(
        book.alerts[0].state,
        AlertState::Pending,
        "counting begins anew"
    );
    look(&mut book, 40, &one(Broken));
    assert_eq!(book.worst(), Some(P0));
    look(&mut book, 50, &one(Fine));
    for seconds in 6..20 {
        let turns = advance(&mut book, &one(Unknown), at(seconds * 10));
        assert_eq!(turns.len(), usize::from(seconds == 6), "said once");
    }
    assert_eq!(book.worst(), Some(P0));
    // No observation at all, because the runtime is away.
    advance(&mut book, &[], at(500));
    assert_eq!(book.worst(), Some(P0));
    let reminded = look(&mut book, 1000, &one(Unknown));
    assert!(
        reminded[0].title.as_str().contains("no data since"),
        "{}",
        reminded[0].title
    );
}

#[test]
fn a_storm_is_one_message_and_one_resolve() {
    let mut book = AlertBook::default();
    let all = |condition| -> Vec<Observation> {
        (0..200)
            .map(|n| seen(&format!("s{n}"), P0, condition))
            .collect()
    };
    assert!(look(&mut book, 0, &all(Broken)).is_empty());
    let told = look(&mut book, 15, &all(Broken));
    assert_eq!(events(&told), ["trigger"]);
    assert_eq!(told[0].title.as_str(), "200 alerts for 200 services");
    assert_eq!(told[0].alerts.len(), STORM_NAMES + 1);
    // More of it joins in silence.
    let more = [seen("late", P0, Broken)];
    assert!(look(&mut book, 30, &more).is_empty());
    assert!(look(&mut book, 45, &more).is_empty());
    assert!(look(&mut book, 60, &all(Fine)).is_empty());
    assert!(look(&mut book, 75, &all(Fine)).is_empty(), "one is left");
    look(&mut book, 90, &[seen("late", P0, Fine)]);
    let over = look(&mut book, 105, &[seen("late", P0, Fine)]);
    assert_eq!(events(&over), ["resolve"]);
    assert_eq!(over[0].key, told[0].key);
}

#[test]
fn nobody_took_it_so_it_is_escalated_and_reminded_of() {
    let mut book = AlertBook::default();
    let one = [seen("api", P0, Broken)];
    look(&mut book, 0, &one);
    look(&mut book, 15, &one);
    assert!(look(&mut book, 600, &one).is_empty());
    let behind = look(&mut book, 615, &one);
    assert_eq!(events(&behind), ["escalation"]);
    assert_eq!(behind[0].sinks, BTreeSet::from(["boss".to_owned()]));
    assert!(look(&mut book, 1500, &one).is_empty());
    let again = look(&mut book, 615 + 900, &one);
    assert_eq!(events(&again), ["reminder"]);
    book.alerts[0].acknowledged = Some(Acknowledgement {
        by: "anna".into(),
        at: at(1600),
    });
    assert!(look(&mut book, 9_000, &one).is_empty(), "taken");
    look(&mut book, 9_015, &[seen("api", P0, Fine)]);
    let over = look(&mut book, 9_030, &[seen("api", P0, Fine)]);
    assert_eq!(
        over[0].sinks.len(),
        2,
        "those behind hear of the end as well"
    );
}

#[test]
fn an_alert_that_gets_worse_is_told_again_under_its_key() {
    let mut book = AlertBook::default();
    look(&mut book, 0, &[seen("api", AlertSeverity::P1, Broken)]);
    let first = look(&mut book, 15, &[seen("api", AlertSeverity::P1, Broken)]);
    let worse = look(&mut book, 30, &[seen("api", P0, Broken)]);
    assert_eq!(events(&worse), ["trigger"]);
    assert_eq!((worse[0].severity, &worse[0].key), (P0, &first[0].key));
    assert_ne!(worse[0].id, first[0].id);
}

#[test]
fn a_mild_alert_is_kept_and_pages_nobody() {
    let mut book = AlertBook::default();
    let one = [seen("api", AlertSeverity::P2, Broken)];
    look(&mut book, 0, &one);
    assert!(look(&mut book, 15, &one).is_empty());
    assert_eq!(book.worst(), Some(AlertSeverity::P2));
}

#[test]
fn flapping_is_said_and_then_waits_for_a_long_calm() {
    let mut book = AlertBook::default();
    let mut told = Vec::new();
    for n in 0..20 {
        let condition = if n % 4 < 2 { Broken } else { Fine };
        told.extend(look(&mut book, n * 15, &[seen("api", P0, condition)]));
    }
    assert_eq!(
        events(&told),
        ["trigger", "resolve", "trigger", "resolve", "trigger"],
        "no more once it is known"
    );
    assert!(
        told[4].title.as_str().contains("flapping"),
        "{}",
        told[4].title
    );
    let mut over = Vec::new();
    for n in 20..70 {
        over.extend(look(&mut book, n * 15, &[seen("api", P0, Fine)]));
    }
    assert_eq!(events(&over), ["resolve"]);
}

#[test]
fn a_rule_that_is_no_more_is_over() {
    let mut book = AlertBook::default();
    let mut other = seen("api", P0, Broken);
    other.key = "shop/api own rule".into();
    for seconds in [0, 15] {
        look(&mut book, seconds, std::slice::from_ref(&other));
    }
    // The machine went silent: its signals are not measured, and nothing says that the rule is no more.
    let turns = advance(&mut book, &[seen("api", P0, Unknown)], at(20));
    assert_eq!(turns, [(other.key.clone(), Turn::Missing)]);
    assert_eq!(book.worst(), Some(P0));
    let over = look(&mut book, 30, &[seen("api", P0, Fine)]);
    assert_eq!(events(&over), ["resolve"]);
}

#[test]
fn a_long_key_is_cut_and_stays_unique() {
    let a = key_of("prod-1", &"x".repeat(300));
    let b = key_of("prod-1", &format!("{}y", "x".repeat(299)));
    assert!(a.len() <= MAX_KEY && a != b, "{a}");
}

#[test]
fn whoever_takes_an_alert_stops_its_reminders_and_everyone_hears_of_it() {
    let mut book = AlertBook::default();
    let both = [seen("api", P0, Broken), seen("web", P0, Broken)];
    look(&mut book, 0, &both);
    let fired = look(&mut book, 15, &both);
    let anna = Acknowledgement {
        by: "anna".into(),
        at: at(20),
    };
    let (taken, told) = acknowledge(&mut book, "api", &anna, "prod-1");
    assert_eq!((taken, events(&told)), (1, vec!["acknowledge"]));
    assert_eq!(
        (&told[0].key, &told[0].sinks),
        (&fired[0].key, &fired[0].sinks)
    );
    assert_eq!(
        told[0].headline(),
        "[P0] prod-1: taken: anna: shop/api is down"
    );
    assert_eq!(acknowledge(&mut book, "api", &anna, "prod-1").0, 0, "once");
    let later = look(&mut book, 2_000, &both);
    assert!(
        later.iter().all(|message| message.key == fired[1].key),
        "{later:#?}"
    );
}

fn silence(from: i64, until: i64) -> crate::domain::alert::Silence {
    crate::domain::alert::Silence {
        name: "deploy".into(),
        services: vec!["api".into()],
        since: at(from),
        until: at(until),
        reason: "deploy of 1.5".into(),
        by: "anna".into(),
    }
}

#[test]
fn a_silence_holds_back_until_it_ends_and_never_a_p0() {
    let mut book = AlertBook::default();
    silence::open(&mut book, silence(0, 100));
    let all = |severity, condition| {
        [
            seen("api", severity, condition),
            seen("web", AlertSeverity::P1, Fine),
        ]
    };
    let p1 = AlertSeverity::P1;
    look(&mut book, 0, &all(p1, Broken));
    assert!(look(&mut book, 15, &all(p1, Broken)).is_empty());
    assert_eq!(book.alerts[0].state, AlertState::Firing);
    assert!(book.alerts[0].is_silenced);
    let after = look(&mut book, 100, &all(p1, Broken));
    assert_eq!(events(&after), ["trigger"], "told when the silence ends");
    assert!(book.silences.is_empty() && !book.alerts[0].is_silenced);
    assert!(look(&mut book, 115, &all(p1, Broken)).is_empty());

    let mut book = AlertBook::default();
    silence::open(&mut book, silence(0, 1_000));
    look(&mut book, 0, &all(p1, Broken));
    look(&mut book, 15, &all(p1, Broken));
    let worse = look(&mut book, 30, &all(P0, Broken));
    assert_eq!(events(&worse), ["trigger"], "a P0 is told");
    // What was over before the silence ended is told to nobody.
    let mut book = AlertBook::default();
    silence::open(&mut book, silence(0, 60));
    for (second, condition) in [
        (0, Broken),
        (15, Broken),
        (30, Fine),
        (45, Fine),
        (60, Fine),
    ] {
        assert!(look(&mut book, second, &all(p1, condition)).is_empty());
    }
}

#[test]
fn a_silence_keeps_reminders_back_and_other_services_are_heard() {
    let mut book = AlertBook::default();
    let p1 = AlertSeverity::P1;
    let one = |name| [seen(name, p1, Broken)];
    look(&mut book, 0, &one("api"));
    assert_eq!(events(&look(&mut book, 15, &one("api"))), ["trigger"]);
    silence::open(&mut book, silence(20, 8_000));
    assert!(
        look(&mut book, 5_000, &one("api")).is_empty(),
        "no reminder"
    );
    assert!(silence::close(&mut book, "deploy") && !silence::close(&mut book, "deploy"));
    assert!(!look(&mut book, 5_015, &one("api")).is_empty());
    let mut book = AlertBook::default();
    silence::open(&mut book, silence(0, 8_000));
    look(&mut book, 0, &one("web"));
    assert_eq!(events(&look(&mut book, 15, &one("web"))), ["trigger"]);
}
