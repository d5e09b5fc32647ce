use serde_json::json;

use super::*;

/// An entry of the list as PM2 7.0 sends it, with `env` on top of its `pm2_env`.
pub(in super::super) fn process(name: &str, pm_id: u32, env: Value) -> Process {
    let mut entry = json!({
        "pid": 4000 + pm_id, "name": name, "pm_id": pm_id,
        "monit": {"memory": 51_847_168, "cpu": 12.5},
        "pm2_env": {
            "name": name, "pm_id": pm_id, "status": "online", "restart_time": 0, "unstable_restarts": 0,
            "created_at": 1_795_556_181_776_i64, "pm_uptime": 1_795_556_181_776_i64, "autorestart": true,
            "exec_mode": "fork_mode", "instances": 1, "version": "N/A", "pm_exec_path": "/srv/shop/api.js",
            "pm_out_log_path": format!("/srv/logs/{name}-out.log"),
            "pm_err_log_path": format!("/srv/logs/{name}-error.log"),
            "env": {"DATABASE_URL": "postgres://u:secret@h/d"}, "DATABASE_URL": "postgres://u:secret@h/d",
        },
    });
    if let (Some(to), Value::Object(from)) = (entry["pm2_env"].as_object_mut(), env) {
        to.extend(from);
    }
    serde_json::from_value(entry).unwrap()
}

fn status(env: Value) -> Status {
    process("api", 0, env).status()
}

#[test]
fn the_environment_is_not_kept() {
    let kept = format!("{:?}", process("api", 0, json!({})));
    assert!(!kept.contains("secret"), "{kept}");
}

#[test]
fn a_field_of_another_type_is_unknown_and_the_rest_is_read() {
    let odd = process(
        "api",
        0,
        json!({"restart_time": "7", "version": 3, "exit_code": {}, "status": "online"}),
    );
    assert_eq!(
        (odd.restarts(), odd.version(), odd.exit_code()),
        (7, None, None)
    );
    assert_eq!(odd.status(), Status::Online);
}

#[test]
fn waiting_for_a_restart_that_never_comes_is_dead() {
    let waiting = json!({"status": "waiting restart", "exit_code": 1, "restart_delay": 2000});
    let with = |name: &str, value: Value| {
        let mut env = waiting.clone();
        env[name] = value;
        status(env)
    };
    assert_eq!(status(waiting.clone()), Status::Waiting);
    assert_eq!(with("created_at", Value::Null), Status::Dead);
    assert_eq!(with("autorestart", json!(false)), Status::Dead);
    assert_eq!(with("autorestart", json!("false")), Status::Dead);
    assert_eq!(with("stop_exit_codes", json!([0, "1"])), Status::Dead);
    assert_eq!(with("stop_exit_codes", json!([0, 2])), Status::Waiting);
}

#[test]
fn stopped_by_itself_with_a_code_is_a_crash() {
    let stopped = |code: Value| status(json!({"status": "stopped", "exit_code": code}));
    assert_eq!(stopped(json!(1)), Status::Crashed);
    assert_eq!(stopped(json!(0)), Status::Stopped);
    assert_eq!(stopped(json!(143)), Status::Stopped);
    assert_eq!(status(json!({"status": "stopped"})), Status::Stopped);
    assert_eq!(status(json!({"status": "hibernating"})), Status::Unknown);
}

#[test]
fn the_pid_of_what_does_not_run_is_stale() {
    assert_eq!(process("api", 1, json!({})).pid(), Some(4001));
    let waiting = process("api", 1, json!({"status": "waiting restart"}));
    assert_eq!(
        (waiting.pid(), waiting.memory_bytes(), waiting.cpu()),
        (None, None, None)
    );
}

#[test]
fn what_a_reload_replaces_and_extensions_of_pm2_are_no_instances() {
    assert!(process("api", 0, json!({})).is_of_an_application());
    assert!(!process("api", 0, json!({"pm_id": "_old_0"})).is_of_an_application());
    assert!(!process("pm2-logrotate", 0, json!({"pmx_module": true})).is_of_an_application());
}

#[test]
fn a_banner_before_the_list_is_no_list() {
    let printed = b"\n>>>> In-memory PM2 is out-of-date, do:\n[PM2] Spawning PM2 daemon\n[{\"name\":\"api\"}]\n";
    assert_eq!(from_printed(printed).unwrap().len(), 1);
    assert!(from_printed(b"[PM2] Spawning PM2 daemon\n").is_err());
    assert!(from_printed(b"").is_err());
    assert!(from_printed(b"[]").unwrap().is_empty());
}

#[test]
fn saved_applications_are_counted_by_name() {
    let dump = br#"[{"name":"api","env":{}},{"name":"api"},{"name":"web"}]"#;
    assert_eq!(saved_names(dump).unwrap().len(), 2);
    assert!(saved_names(b"{").is_err());
}
