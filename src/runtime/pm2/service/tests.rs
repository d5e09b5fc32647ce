use serde_json::{Value, json};

use super::super::list::tests::process;
use super::*;

fn daemon(user: &str, home: &str) -> Daemon {
    Daemon::new(home, user)
}

fn one(name: &str, processes: Vec<Process>) -> Service {
    let lists = [(daemon("root", "/root/.pm2"), processes)];
    let now = Timestamp::from_millisecond(1_795_556_181_776 + 90_000).unwrap();
    let mut found = services(&HostName::local(), &lists, now);
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

#[test]
fn instances_of_a_cluster_are_one_service() {
    let cluster = one(
        "web",
        vec![
            process("web", 7, json!({"restart_time": 2})),
            process(
                "web",
                1,
                json!({"restart_time": 1, "pm_out_log_path": "/l/web-out-1.log"}),
            ),
            process("web", 0, json!({"pm_id": "_old_1"})),
        ],
    );
    assert_eq!(cluster.id.to_string(), "pm2/web");
    let names: Vec<&str> = cluster.instances.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["web:1", "web:7"]);
    assert_eq!(
        (cluster.restarts, cluster.state),
        (3, ServiceState::Running)
    );
    assert_eq!((cluster.uptime_ms, cluster.cpu), (Some(90_000), Some(0.25)));
    assert_eq!(cluster.crash_loop, Some(false));
    let origin = Origin::of(&cluster).unwrap();
    let paths: Vec<&Path> = origin.logs.iter().map(|f| f.path.as_path()).collect();
    assert_eq!(
        paths,
        [
            Path::new("/l/web-out-1.log"),
            Path::new("/srv/logs/web-out.log"),
            Path::new("/srv/logs/web-error.log")
        ],
        "a file that both share is one file"
    );
}

#[test]
fn states_and_problems_are_what_they_are_and_not_what_pm2_calls_them() {
    let look = |env: Value| one("api", vec![process("api", 0, env)]);
    let gave_up = look(json!({"status": "errored", "exit_code": 1, "max_restarts": 2}));
    assert_eq!(
        (gave_up.state, gave_up.crash_loop, gave_up.uptime_ms),
        (ServiceState::Failed, Some(true), None)
    );
    assert!(
        gave_up.problems[0]
            .as_str()
            .contains("gave up after 2 starts")
    );
    let dead = look(
        json!({"status": "waiting restart", "exit_code": 1, "created_at": null, "restart_delay": 5000}),
    );
    assert_eq!(
        (dead.state, dead.crash_loop),
        (ServiceState::Failed, Some(true))
    );
    let waiting = look(json!({"status": "waiting restart", "exit_code": 1, "restart_delay": 5000}));
    assert_eq!(
        (waiting.state, waiting.crash_loop),
        (ServiceState::Starting, None)
    );
    assert_eq!(
        waiting.problems[0].as_str(),
        "api:0: waiting restart after exit code 1 (delay 5000 ms)"
    );
    let ended = look(json!({"status": "stopped", "exit_code": 3, "autorestart": false}));
    assert_eq!(ended.state, ServiceState::Failed);
    let young = look(json!({"restart_time": 4, "pm_uptime": 1_795_556_181_776_i64 + 89_500}));
    assert_eq!((young.uptime_ms, young.crash_loop), (Some(500), None));
    let one_of_two = one(
        "api",
        vec![
            process("api", 0, json!({})),
            process("api", 1, json!({"status": "errored"})),
        ],
    );
    assert_eq!(one_of_two.state, ServiceState::Partial);
}

#[test]
fn a_release_is_the_commit_the_script_and_the_version() {
    let release = |env: Value| one("api", vec![process("api", 0, env)]).release;
    let plain = release(json!({}));
    assert_eq!(plain.identity(), Some("/srv/shop/api.js"));
    assert_eq!(plain.to_string(), "srv/shop/api.js");
    let packed = release(json!({"version": "1.4.2"}));
    assert!(!packed.is_same(&plain), "another version at the same path");
    assert_eq!(packed.to_string(), "srv/shop/api.js (1.4.2)");
    let commit = "8d3f5a1c9e7b2d4f6a8c0e1f3b5d7a9c1e3f5b7d";
    let git = release(json!({"versioning": {"type": "git", "revision": commit}}));
    assert_eq!(git.identity(), Some(commit));
    let other =
        release(json!({"versioning": {"revision": commit}, "pm_exec_path": "/srv/shop/v2.js"}));
    assert!(!git.is_same(&other), "another script of the same commit");
}

#[test]
fn a_name_that_two_daemons_have_names_the_user_too() {
    let list = || vec![process("api", 0, json!({})), process("own", 1, json!({}))];
    let ids = |lists: &[(Daemon, Vec<Process>)]| {
        let found = services(&HostName::local(), lists, Timestamp::UNIX_EPOCH);
        found.iter().map(|s| s.id.to_string()).collect::<Vec<_>>()
    };
    let root = daemon("root", "/root/.pm2");
    let mut second = list();
    second.pop();
    assert_eq!(
        ids(&[
            (root.clone(), list()),
            (daemon("anna", "/home/anna/.pm2"), second)
        ]),
        ["pm2@root/api", "pm2/own", "pm2@anna/api"]
    );
    assert_eq!(
        ids(&[
            (root, list()),
            (
                daemon("root", "/srv/blue"),
                vec![process("api", 0, json!({}))]
            )
        ]),
        ["pm2@root+pm2/api", "pm2/own", "pm2@root+blue/api"]
    );
}

#[test]
fn a_name_can_hold_anything_and_is_a_plain_part_of_a_path() {
    let ids: Vec<String> = ["@org/api", "../../etc", "..", "a b:c\u{1b}"]
        .iter()
        .map(|name| one(name, vec![process(name, 0, json!({}))]).id.name)
        .collect();
    assert_eq!(ids, ["@org_api", ".._.._etc", "_", "a_b_c␛"]);
    let twins = [(
        daemon("root", "/root/.pm2"),
        vec![process("a/b", 0, json!({})), process("a_b", 1, json!({}))],
    )];
    let found = services(&HostName::local(), &twins, Timestamp::UNIX_EPOCH);
    assert_ne!(found[0].id, found[1].id);
    assert_eq!(Origin::of(&found[0]).unwrap().app.name, "a/b");
}

#[test]
fn streams_that_share_a_file_are_read_once_and_streams_without_one_are_two() {
    let shared = process(
        "api",
        0,
        json!({"pm_out_log_path": "/l/api.log", "pm_err_log_path": "/l/api.log"}),
    );
    assert_eq!(log_files(&[&shared]).len(), 1);
    let none = process(
        "api",
        0,
        json!({"pm_out_log_path": "/dev/null", "pm_err_log_path": "/dev/null"}),
    );
    let files = log_files(&[&none]);
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(LogFile::is_null));
}
