use super::*;

pub(crate) fn plan() -> Plan {
    Plan {
        operation: Operation::Restart {
            services: vec![ServiceId::local("shop", "backend")],
            reload: false,
            rolling: false,
        },
        host: HostName::local(),
        risk: Risk::Disruptive,
        services: vec![ServiceId::local("shop", "backend")],
        from: None,
        to: None,
        notes: Vec::new(),
        steps: vec![Step {
            text: SafeText::from_text("restart"),
            work: StepWork::Container {
                container: "abc".into(),
                action: ContainerAction::Restart,
                grace_s: 10,
            },
            undo: None,
            manual: None,
            fingerprints: Vec::new(),
            timeout_ms: 1000,
            may_fail: false,
        }],
        not_rolled_back: Vec::new(),
        on_failure: None,
        downtime_ms: None,
        budget_ms: 120_000,
        hash: String::new(),
    }
    .seal()
}

#[test]
fn a_changed_plan_no_longer_agrees_with_its_hash() {
    let mut plan = plan();
    assert!(plan.is_sealed());
    plan.steps[0].timeout_ms += 1;
    assert!(!plan.is_sealed());
}

#[test]
fn the_hash_survives_a_journal() {
    let plan = plan();
    let text = serde_json::to_string(&plan).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    assert!(read.is_sealed());
}

#[test]
fn only_a_destructive_plan_asks_for_a_name() {
    let mut plan = plan();
    assert!(plan.confirmation().is_none());
    plan.risk = Risk::Destructive;
    assert_eq!(plan.confirmation().unwrap().name, "backend");
}

#[test]
fn a_target_is_an_image_or_a_checkpoint() {
    assert_eq!(
        RollBackTarget::parse("image:shop:1.4"),
        RollBackTarget::Image("shop:1.4".into())
    );
    assert_eq!(
        RollBackTarget::parse("2025-x"),
        RollBackTarget::Checkpoint("2025-x".into())
    );
}
