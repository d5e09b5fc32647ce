//! Answers of a manager as Engine 20.10 gives them, read into services.

use serde_json::{Value, json};

use super::*;
use crate::domain::swarm::SwarmUpdate;

fn spec(image: &str) -> SwarmSpec {
    SwarmSpec(json!({
        "Name": "shop_web",
        "Labels": {"com.docker.stack.namespace": "shop"},
        "TaskTemplate": {"ContainerSpec": {"Image": image}, "ForceUpdate": 0},
        "Mode": {"Replicated": {"Replicas": 2}},
    }))
}

fn service(image: &str) -> SwarmService {
    SwarmService {
        id: "svc".into(),
        name: "shop_web".into(),
        version: 7,
        spec: spec(image),
        previous: None,
        update: None,
    }
}

fn task(slot: u64, node: &str, state: &str, image: &str) -> Task {
    let is_over = matches!(state, "failed" | "shutdown");
    let answer: Value = json!({
        "ID": format!("{node}{slot}{state}"), "ServiceID": "svc", "Slot": slot, "NodeID": node,
        "CreatedAt": "2025-12-27T14:00:00Z",
        "DesiredState": if is_over { "shutdown" } else { "running" },
        "Status": {
            "Timestamp": "2025-12-27T14:50:00Z", "State": state, "Message": "started",
            "Err": if state == "failed" { "task: non-zero exit (3)" } else { "" },
            "ContainerStatus": {"ContainerID": format!("c{slot}"), "ExitCode": 3},
        },
        "Spec": {"ContainerSpec": {"Image": image}, "ForceUpdate": 0},
    });
    serde_json::from_value(answer).unwrap()
}

fn seen(now: &str) -> Seen {
    Seen {
        host: HostName::local(),
        here: HashMap::new(),
        nodes: HashMap::from([("n1".to_owned(), "worker-1".to_owned())]),
        images: HashMap::new(),
        now: now.parse().unwrap(),
    }
}

fn build(service: &SwarmService, tasks: &[Task]) -> Service {
    let tasks: Vec<&Task> = tasks.iter().collect();
    seen("2025-12-27T14:50:30Z").build(service, &tasks)
}

#[test]
fn tasks_of_other_nodes_are_named_with_them() {
    let image = "shop:1@sha256:aa";
    let tasks = [
        task(2, "n1", "running", image),
        task(1, "n1", "running", image),
    ];
    let found = build(&service(image), &tasks);
    assert_eq!(found.id.to_string(), "shop/web");
    assert_eq!(found.state, ServiceState::Running);
    let names: Vec<&str> = found.instances.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["web.1@worker-1", "web.2@worker-1"]);
    // Their image is known by its digest, everywhere the same.
    assert_eq!(found.release.digest.as_deref(), Some("sha256:aa"));
    assert_eq!(found.release.image.unwrap().as_str(), "shop:1");
    assert_eq!(found.uptime_ms, Some(30_000));
    assert_eq!(found.problems, []);
}

#[test]
fn an_image_without_a_digest_on_another_node_is_not_known() {
    let found = build(&service("shop:1"), &[task(1, "n1", "running", "shop:1")]);
    assert_eq!(found.state, ServiceState::Partial, "two are wanted");
    assert_eq!(found.release.digest, None);
}

#[test]
fn two_failures_in_a_minute_are_a_loop_and_those_of_another_specification_are_not() {
    let failed = |image| {
        let tasks = [
            task(1, "n1", "running", "shop:1"),
            task(1, "n1", "failed", image),
            task(1, "n1", "failed", image),
        ];
        build(&service("shop:1"), &tasks)
    };
    let found = failed("shop:1");
    assert_eq!((found.crash_loop, found.restarts), (Some(true), 2));
    let told: Vec<&str> = found.problems.iter().map(SafeText::as_str).collect();
    assert_eq!(
        told,
        [
            "web.1@worker-1 failed 2 times, last 30 s ago: task: non-zero exit (3)",
            "crash loop: 2 tasks failed"
        ]
    );
    let found = failed("shop:0");
    assert_eq!((found.crash_loop, found.restarts), (Some(false), 0));
    assert_eq!(found.problems, []);
}

#[test]
fn what_swarm_did_by_itself_is_told_and_what_somebody_asked_for_is_not() {
    let mut service = service("shop:1");
    service.update = Some(SwarmUpdate {
        state: UpdateState::RollbackCompleted,
        message: "rollback completed".into(),
    });
    let tasks = [1, 2].map(|slot| task(slot, "n1", "running", "shop:1"));
    let problems = build(&service, &tasks).problems;
    assert!(problems[0].as_str().contains("by itself"), "{problems:?}");
    service.previous = Some(spec("shop:2"));
    assert_eq!(build(&service, &tasks).problems, []);
}

#[test]
fn the_end_of_an_update_is_what_the_service_says() {
    let mut service = service("shop:1");
    let early = Duration::ZERO;
    assert_eq!(end_of(&service, false, early), None, "not taken up yet");
    let late = TAKEN_UP * 2;
    assert!(matches!(end_of(&service, false, late), Some(End::Well(_))));
    let mut end = |state, is_rollback| {
        service.update = Some(SwarmUpdate {
            state,
            message: String::new(),
        });
        end_of(&service, is_rollback, early)
    };
    assert_eq!(end(UpdateState::Updating, false), None);
    assert!(matches!(
        end(UpdateState::Completed, false),
        Some(End::Well(_))
    ));
    let back = UpdateState::RollbackCompleted;
    assert!(matches!(end(back, false), Some(End::TakenBack(_))));
    assert!(matches!(end(back, true), Some(End::Well(_))));
    assert!(matches!(
        end(UpdateState::Paused, false),
        Some(End::Paused(_))
    ));
}

#[test]
fn a_service_of_no_task_is_stopped_and_one_whose_tasks_do_not_start_is_starting() {
    let mut none = service("shop:1");
    none.spec.0["Mode"]["Replicated"]["Replicas"] = json!(0);
    assert_eq!(build(&none, &[]).state, ServiceState::Stopped);
    let found = build(&service("shop:1"), &[task(1, "n1", "preparing", "shop:1")]);
    assert_eq!(found.state, ServiceState::Starting);
    assert_eq!(build(&service("shop:1"), &[]).state, ServiceState::Failed);
}
