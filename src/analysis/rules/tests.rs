use super::*;
use crate::domain::health::HealthCheck;
use crate::domain::signal::Grade;

fn rule(when: &str) -> Result<Rule, String> {
    Rule::parse(when, Duration::ZERO, AlertSeverity::P1)
}

fn signal(name: SignalName, value: Option<f64>) -> Signal {
    Signal {
        unit: name.unit().into(),
        signal: name,
        route: None,
        value,
        grade: Grade::Unknown,
        age_ms: None,
        detail: "30 requests".into(),
    }
}

struct Look {
    service: Service,
    health: ServiceHealth,
    signals: Vec<Signal>,
    baseline: Vec<Signal>,
}

fn look(state: HealthState) -> Look {
    let id = ServiceId::local("shop", "backend");
    let mut service = Service::new(id.clone(), Runtime::Compose, ServiceState::Running);
    service.crash_loop = Some(false);
    Look {
        service,
        health: ServiceHealth {
            id,
            state,
            checks: vec![HealthCheck::new(
                "http x",
                state == HealthState::Healthy,
                "500, expected 2xx",
            )],
        },
        signals: Vec::new(),
        baseline: Vec::new(),
    }
}

fn seen(look: &Look, rules: &[Rule]) -> Vec<Observation> {
    let limits = Limits::default();
    let watched = Watched {
        service: &look.service,
        health: &look.health,
        measured: Measured {
            id: &look.service.id,
            signals: &look.signals,
            baseline: &look.baseline,
            limits: &limits,
        },
        is_job: false,
    };
    observe(rules, &[], &[watched], &[], &[], &[])
}

fn of<'a>(found: &'a [Observation], key: &str) -> &'a Observation {
    let key = format!("shop/backend {key}");
    found.iter().find(|o| o.key == key).unwrap()
}

#[test]
fn rules_are_read_in_every_shape() {
    let read = rule("backend error_rate > 1%").unwrap();
    assert_eq!(
        (read.service.as_str(), read.bound),
        ("backend", Bound::Value(0.01))
    );
    let read = rule("latency_p95>=800ms").unwrap();
    assert_eq!(
        (read.service.as_str(), read.op, read.bound),
        ("*", Comparison::AtLeast, Bound::Value(800.0))
    );
    let read = rule("shop/backend latency_p95 > 2x baseline").unwrap();
    assert_eq!(read.bound, Bound::Baseline(2.0));
    assert_eq!(
        rule("* error_rate > baseline").unwrap().bound,
        Bound::Baseline(1.0)
    );
    for bad in [
        "",
        "backend",
        "backend error_rate",
        "a b c > 1%",
        "backend error_rate > lots",
        "backend error_rate > -x baseline",
    ] {
        let error = rule(bad).unwrap_err();
        assert!(
            error.contains("write \"backend error_rate > 1%\""),
            "{bad}: {error}"
        );
    }
}

#[test]
fn a_dead_service_is_broken_and_an_unreachable_one_unknown() {
    let found = seen(&look(HealthState::Unhealthy), &[]);
    let down = of(&found, "down");
    assert_eq!(
        (down.condition, down.severity),
        (Condition::Broken, AlertSeverity::P0)
    );
    assert!(
        down.text.as_str().contains("500, expected 2xx"),
        "{}",
        down.text
    );
    assert_eq!(
        of(&seen(&look(HealthState::Unreachable), &[]), "down").condition,
        Condition::Unknown
    );
    assert_eq!(
        of(&seen(&look(HealthState::Healthy), &[]), "down").condition,
        Condition::Fine
    );
    let mut masked = look(HealthState::Healthy);
    masked.service.crash_loop = None;
    masked.service.restarts = 3;
    assert_eq!(
        of(&seen(&masked, &[]), "down").condition,
        Condition::Unknown
    );
    masked.service.crash_loop = Some(true);
    let found = seen(&masked, &[]);
    assert_eq!(
        (of(&found, "down").condition, of(&found, "down").looks),
        (Condition::Broken, 1)
    );
}

#[test]
fn what_degrades_a_service_is_told_and_pages_nobody() {
    let mut look = look(HealthState::Degraded);
    let mut degraded_by = |warnings: &[HealthWarning], detail: &str| {
        look.health.checks = vec![
            HealthCheck::new("running", true, "running"),
            HealthCheck {
                ms: Some(3_000),
                warnings: warnings.to_vec(),
                ..HealthCheck::new("http x", true, detail)
            },
        ];
        let found = seen(&look, &[]);
        assert_eq!(of(&found, "down").condition, Condition::Fine);
        let one = of(&found, "degraded");
        assert_eq!(one.condition, Condition::Broken);
        assert!(!one.severity.pages());
        one.text.to_string()
    };
    assert_eq!(
        degraded_by(
            &[HealthWarning::Certificate],
            "200 OK, certificate ends in 9 days"
        ),
        "shop/backend is degraded: http x: 200 OK, certificate ends in 9 days"
    );
    assert_eq!(
        degraded_by(&[HealthWarning::Slow], "200 OK, slower than 2 s"),
        "shop/backend is degraded: http x: 200 OK, slower than 2 s (after 3000 ms)"
    );
}

#[test]
fn limits_are_alerts_by_their_worst_and_missing_values_unknown() {
    let mut look = look(HealthState::Healthy);
    let mut grade = |value| {
        look.signals = vec![signal(SignalName::ErrorRate, value)];
        let found = seen(&look, &[]);
        let one = of(&found, "error_rate");
        (one.condition, one.severity)
    };
    assert_eq!(grade(Some(0.005)).0, Condition::Fine);
    assert_eq!(grade(Some(0.02)), (Condition::Broken, AlertSeverity::P1));
    assert_eq!(grade(Some(0.06)), (Condition::Broken, AlertSeverity::P0));
    assert_eq!(grade(None).0, Condition::Unknown);
    look.baseline = vec![signal(SignalName::ErrorRate, Some(0.06))];
    look.signals = vec![signal(SignalName::ErrorRate, Some(0.07))];
    assert_eq!(
        of(&seen(&look, &[]), "error_rate").condition,
        Condition::Fine,
        "known since the checkpoint"
    );
    look.signals = vec![signal(SignalName::ErrorRate, Some(0.12))];
    assert_eq!(
        of(&seen(&look, &[]), "error_rate").condition,
        Condition::Broken
    );
}

#[test]
fn own_rules_hold_against_a_value_or_the_baseline() {
    let mut look = look(HealthState::Healthy);
    let rules = [
        rule("backend latency_p95 > 2x baseline").unwrap(),
        rule("other traffic < 1").unwrap(),
    ];
    look.signals = vec![signal(SignalName::LatencyP95, Some(300.0))];
    let found = seen(&look, &rules);
    assert_eq!(
        of(&found, "backend latency_p95 > 2x baseline").condition,
        Condition::Unknown
    );
    look.baseline = vec![signal(SignalName::LatencyP95, Some(100.0))];
    let found = seen(&look, &rules);
    let own = of(&found, "backend latency_p95 > 2x baseline");
    assert_eq!(own.condition, Condition::Broken);
    assert!(
        own.text.as_str().contains("300 ms (> 200 ms)"),
        "{}",
        own.text
    );
    assert!(!found.iter().any(|o| o.key.contains("other")));
}

#[test]
fn what_is_gone_is_broken_unless_nobody_could_look() {
    let known = KnownService {
        id: ServiceId::local("shop", "backend"),
        runtime: Runtime::Compose,
        seen_at: jiff::Timestamp::UNIX_EPOCH,
        has_run: true,
    };
    let found = observe(&[], &[], &[], &[], std::slice::from_ref(&known), &[]);
    assert_eq!(of(&found, "down").condition, Condition::Broken);
    let away = away("local", Runtime::Docker, false);
    let found = observe(&[], &[], &[], &[], &[known], &[away]);
    assert_eq!(of(&found, "down").condition, Condition::Unknown);
    let engine = found.iter().find(|o| o.service.is_none()).unwrap();
    assert_eq!(
        (engine.condition, engine.severity),
        (Condition::Broken, AlertSeverity::P1)
    );
}

fn away(host: &str, runtime: Runtime, is_whole_host: bool) -> Unreachable {
    Unreachable {
        host: HostName::parse(host).unwrap(),
        runtime,
        is_whole_host,
        error: "no answer".into(),
        fix: "".into(),
    }
}

#[test]
fn a_machine_that_does_not_answer_hides_every_service_of_it_and_its_engine_only_containers() {
    let known = |id: &str, runtime| KnownService {
        id: ServiceId::parse(id).unwrap(),
        runtime,
        seen_at: jiff::Timestamp::UNIX_EPOCH,
        has_run: true,
    };
    let all = [
        known("far:pm2/api", Runtime::Pm2),
        known("far:file/app.log", Runtime::File),
        known("far:shop/web", Runtime::Compose),
        known("pm2/api", Runtime::Pm2),
    ];
    let seen = |unreachable: &[Unreachable]| observe(&[], &[], &[], &[], &all, unreachable);
    let condition = |found: &[Observation], key: &str| {
        let one = found.iter().find(|o| o.key == key);
        one.map(|o| o.condition)
    };
    let (broken, unknown) = (Some(Condition::Broken), Some(Condition::Unknown));
    let found = seen(&[away("far", Runtime::Docker, true)]);
    for key in [
        "far:pm2/api down",
        "far:file/app.log down",
        "far:shop/web down",
    ] {
        assert_eq!(condition(&found, key), unknown, "{key}");
    }
    assert_eq!(condition(&found, "pm2/api down"), broken, "another machine");
    // With nothing but applications of PM2 there, the machine was used too.
    let found = observe(
        &[],
        &[],
        &[],
        &[],
        &all[..1],
        &[away("far", Runtime::Docker, true)],
    );
    assert_eq!(condition(&found, "docker on far"), broken);
    let machine = found.iter().find(|o| o.key == "docker on far").unwrap();
    assert!(
        machine.text.as_str().starts_with("far cannot be read"),
        "{}",
        machine.text
    );
    // What fired for PM2 there is not over because nobody can ask it.
    assert_eq!(condition(&found, "pm2 on far"), unknown);
    let found = seen(&[away("far", Runtime::Docker, false)]);
    assert_eq!(condition(&found, "far:shop/web down"), unknown);
    assert_eq!(condition(&found, "far:pm2/api down"), broken);
    assert_eq!(condition(&found, "pm2 on far"), None, "it was asked");
    assert_eq!(condition(&found, "swarm on far"), unknown);
    // A swarm without a manager hides no container.
    let found = seen(&[away("far", Runtime::Swarm, false)]);
    assert_eq!(condition(&found, "far:shop/web down"), broken);
}

#[test]
fn a_machine_and_own_signals_are_held_against_their_limits_and_rules() {
    let id = ServiceId::machine(HostName::local());
    let limits = Limits::of_machine();
    let own = OwnSignal {
        name: SignalName::Own("cost_today".into()),
        source: crate::domain::own_signal::OwnSource::Command("true".into()),
        service: None,
        unit: "USD".into(),
        limits: Some(crate::domain::signal::Threshold {
            warning: 50.0,
            critical: 80.0,
            p1: None,
            p0: None,
        }),
        timeout: Duration::ZERO,
        max_age: Duration::ZERO,
    };
    let rules = [rule("cost_today > 80").unwrap()];
    let seen = |cost: Option<f64>, disk: Option<f64>| {
        let mut signals = vec![
            signal(own.name.clone(), cost),
            signal(SignalName::Disk, disk),
        ];
        signals[0].unit = own.unit.clone();
        let measured = Measured {
            id: &id,
            signals: &signals,
            baseline: &[],
            limits: &limits,
        };
        observe(
            &rules,
            std::slice::from_ref(&own),
            &[],
            &[measured],
            &[],
            &[],
        )
    };
    let graded = |found: &[Observation], key: &str| {
        let one = found.iter().find(|o| o.key == key).unwrap();
        (one.condition, one.severity, one.hold)
    };
    let now = Duration::ZERO;
    let cost = |value| graded(&seen(value, None), "host/machine cost_today");
    assert_eq!(cost(Some(50.0)), (Condition::Fine, AlertSeverity::P2, now));
    assert_eq!(
        cost(Some(51.0)),
        (Condition::Broken, AlertSeverity::P2, now)
    );
    assert_eq!(
        cost(Some(81.0)),
        (Condition::Broken, AlertSeverity::P1, now)
    );
    assert_eq!(cost(None).0, Condition::Unknown);
    let disk = |value| graded(&seen(None, value), "host/machine disk");
    let held = SATURATION_HOLD;
    assert_eq!(
        disk(Some(0.86)),
        (Condition::Broken, AlertSeverity::P2, held)
    );
    assert_eq!(
        disk(Some(0.96)),
        (Condition::Broken, AlertSeverity::P1, held)
    );
    let found = seen(Some(81.0), None);
    let own_rule = found.iter().find(|o| o.key.ends_with("> 80")).unwrap();
    assert_eq!(own_rule.condition, Condition::Broken);
    assert!(
        own_rule.text.as_str().contains("81 USD (> 80 USD)"),
        "{}",
        own_rule.text
    );
    // A rule for all is none for a service that has no such signal: it would be blind for ever.
    let look = look(HealthState::Healthy);
    assert!(
        !self::seen(&look, &rules)
            .iter()
            .any(|o| o.key.contains("cost_today"))
    );
}
