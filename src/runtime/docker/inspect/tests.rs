use bollard::models::{ContainerConfig, ContainerState, HostConfig, RestartPolicy};

use super::*;

fn container(name: &str, labels: &[(&str, &str)]) -> ContainerInspectResponse {
    ContainerInspectResponse {
        id: Some(format!("{name}-id")),
        name: Some(format!("/{name}")),
        created: Some("2026-01-01T10:00:00Z".into()),
        image: Some("sha256:aa".into()),
        state: Some(ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            running: Some(true),
            started_at: Some("2026-01-01T10:00:01Z".into()),
            ..ContainerState::default()
        }),
        config: Some(ContainerConfig {
            image: Some("shop:1.5".into()),
            labels: Some(
                labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
            ..ContainerConfig::default()
        }),
        ..ContainerInspectResponse::default()
    }
}

fn grouped(containers: impl AsRef<[ContainerInspectResponse]>) -> Vec<Service> {
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    group(&HostName::local(), containers.as_ref(), now)
}

fn shop(service: &str) -> Vec<(&str, &str)> {
    vec![(PROJECT, "shop"), (SERVICE, service)]
}

#[test]
fn replicas_are_one_service_and_one_off_containers_are_none() {
    let mut run = shop("backend");
    run.push((ONE_OFF, "True"));
    let services = grouped(vec![
        container("shop-backend-2", &shop("backend")),
        container("shop-backend-1", &shop("backend")),
        container("shop-backend-run-1", &run),
        container("lonely", &[]),
    ]);
    let ids: Vec<String> = services.iter().map(|s| s.id.to_string()).collect();
    assert_eq!(ids, ["docker/lonely", "shop/backend"]);
    assert_eq!(services[1].instances.len(), 2);
    assert_eq!(services[1].state, ServiceState::Running);
    assert_eq!(services[1].uptime_ms, Some(7_199_000));
    assert_eq!(services[1].release.digest.as_deref(), Some("sha256:aa"));
}

#[test]
fn a_label_with_escapes_does_not_become_a_name() {
    let services = grouped(vec![container(
        "c",
        &[(PROJECT, "a/\u{1b}[2J"), (SERVICE, "x")],
    )]);
    assert_eq!(services[0].id.to_string(), "docker/c");
}

#[test]
fn a_task_of_a_stack_is_named_without_the_stack() {
    let labels = [(SWARM_SERVICE, "web_api"), (SWARM_STACK, "web")];
    let mut old = container("web_api.1.x", &labels);
    old.state = Some(ContainerState {
        status: Some(ContainerStateStatusEnum::EXITED),
        running: Some(false),
        exit_code: Some(1),
        ..ContainerState::default()
    });
    let services = grouped(vec![old, container("web_api.1.y", &labels)]);
    assert_eq!(services[0].id.to_string(), "web/api");
    assert_eq!(services[0].instances.len(), 1);
    assert_eq!(services[0].state, ServiceState::Running);
}

#[test]
fn an_end_is_a_failure_unless_it_was_asked_for() {
    let ended = |code, oom, policy| {
        let mut c = container("c", &[]);
        c.state = Some(ContainerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            running: Some(false),
            exit_code: Some(code),
            oom_killed: Some(oom),
            ..ContainerState::default()
        });
        c.host_config = Some(HostConfig {
            restart_policy: Some(RestartPolicy {
                name: Some(policy),
                maximum_retry_count: None,
            }),
            ..HostConfig::default()
        });
        grouped(vec![c])[0].state
    };
    let no = RestartPolicyNameEnum::NO;
    assert_eq!(ended(0, false, no), ServiceState::Stopped);
    assert_eq!(ended(143, false, no), ServiceState::Stopped);
    assert_eq!(ended(1, false, no), ServiceState::Failed);
    assert_eq!(
        ended(137, true, RestartPolicyNameEnum::ALWAYS),
        ServiceState::Failed
    );
    assert_eq!(
        ended(137, false, RestartPolicyNameEnum::ALWAYS),
        ServiceState::Stopped
    );
}

#[test]
fn a_restarting_container_is_in_a_crash_loop_and_says_why() {
    let mut c = container("c", &[]);
    c.restart_count = Some(7);
    c.state = Some(ContainerState {
        status: Some(ContainerStateStatusEnum::RESTARTING),
        running: Some(true),
        restarting: Some(true),
        exit_code: Some(3),
        ..ContainerState::default()
    });
    let service = &grouped(vec![c])[0];
    assert_eq!(service.crash_loop, Some(true));
    assert_eq!(service.state, ServiceState::Starting);
    assert_eq!(service.problems[0].as_str(), "c: restarting after exit 3");
}

#[test]
fn config_files_of_both_major_versions_become_absolute() {
    let mut labels = shop("backend");
    labels.push((WORKING_DIR, "/srv/shop"));
    labels.push((CONFIG_FILES, "compose.yaml,/srv/shop/prod.yaml"));
    labels.push((VERSION, "1.29.2"));
    let service = &grouped(vec![container("b", &labels)])[0];
    let origin = service.compose.as_ref().unwrap();
    assert_eq!(
        origin.config_files,
        [
            PathBuf::from("/srv/shop/compose.yaml"),
            PathBuf::from("/srv/shop/prod.yaml")
        ]
    );
    assert!(origin.is_version_1());
    assert!(service.problems[0].as_str().contains("Compose 1"));
}

#[test]
fn different_images_among_replicas_are_a_problem() {
    let mut other = container("shop-backend-2", &shop("backend"));
    other.image = Some("sha256:bb".into());
    let service = &grouped(vec![container("shop-backend-1", &shop("backend")), other])[0];
    assert!(service.problems[0].as_str().contains("2 different images"));
}

#[test]
fn what_the_engine_allows_is_kept_exactly() {
    let mut c = container("api", &shop("api"));
    c.host_config = Some(HostConfig {
        memory: Some(256 << 20),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(-1),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(3),
        }),
        ..HostConfig::default()
    });
    let limits = &grouped(vec![c])[0].limits;
    let told: Vec<String> = limits.iter().map(|(n, v)| format!("{n} {v}")).collect();
    assert_eq!(
        told,
        [
            "cpus 0.5",
            "memory 256 MiB",
            "replicas 1",
            "restarts on-failure:3"
        ]
    );
}
