//! Real commands and real files.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::domain::log::LogNoteKind;

fn id() -> ServiceId {
    ServiceId::local("exec", "bot")
}

fn settings(commands: ExecCommands) -> ServiceSettings {
    ServiceSettings {
        exec: Some(commands),
        ..ServiceSettings::default()
    }
}

async fn discover_one(commands: ExecCommands) -> Service {
    let configured = [
        (ServiceId::local("shop", "web"), ServiceSettings::default()),
        (id(), settings(commands)),
    ];
    let mut found = discover(&Host::Local, &configured).await;
    assert_eq!(
        found.len(),
        1,
        "only services with commands are exec services"
    );
    found.remove(0)
}

#[tokio::test]
async fn a_service_has_state_release_and_start_time() {
    let service = discover_one(ExecCommands {
        status: Some(format!("echo pid {}", std::process::id())),
        release_command: Some("echo 1.4".into()),
        ..ExecCommands::default()
    })
    .await;
    assert_eq!(service.state, ServiceState::Running);
    assert_eq!(service.release.identity(), Some("1.4"));
    assert_eq!(service.instances[0].id, std::process::id().to_string());
    assert!(service.instances[0].started_at.is_some() && service.uptime_ms.is_some());
    assert!(service.problems.is_empty());
}

#[tokio::test]
async fn what_cannot_be_asked_is_unknown_and_never_stopped() {
    let service = discover_one(ExecCommands {
        status: Some("/nowhere/status".into()),
        release_command: Some("echo no such release >&2; exit 4".into()),
        ..ExecCommands::default()
    })
    .await;
    assert_eq!(service.state, ServiceState::Unknown);
    let problems: Vec<&str> = service.problems.iter().map(SafeText::as_str).collect();
    assert!(problems[0].starts_with("status: exit 127"), "{problems:?}");
    assert_eq!(problems[1], "release_command: exit 4: no such release");
    assert!(service.release.identity().is_none());
}

#[tokio::test]
async fn exit_codes_tell_stopped_from_failed() {
    let of = |status: &str| ExecCommands {
        status: Some(status.into()),
        ..ExecCommands::default()
    };
    let stopped = discover_one(of("echo inactive; exit 3")).await;
    assert_eq!(stopped.state, ServiceState::Stopped);
    let failed = discover_one(of("echo failed; exit 3")).await;
    assert_eq!(failed.state, ServiceState::Failed);
    let silent = discover_one(ExecCommands::default()).await;
    assert_eq!(silent.state, ServiceState::Unknown);
    assert_eq!(silent.problems.len(), 1);
}

#[tokio::test]
async fn cpu_and_memory_are_those_of_the_named_process() {
    let service = discover_one(ExecCommands {
        status: Some(format!("echo pid {}", std::process::id())),
        ..ExecCommands::default()
    })
    .await;
    let used = saturation(&service).await.unwrap();
    assert!(used.memory_bytes.unwrap() > 100_000 && used.memory.unwrap() < 1.0);
    assert!(used.cpu_cores.is_some() && used.cpu.unwrap() <= 1.0);
    let silent = discover_one(ExecCommands {
        status: Some("true".into()),
        ..ExecCommands::default()
    })
    .await;
    assert!(saturation(&silent).await.is_err());
}

#[tokio::test]
async fn a_change_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let release = dir.path().join("release");
    fs::write(&release, "1.4\n").unwrap();
    let configured = vec![(
        id(),
        settings(ExecCommands {
            status: Some("true".into()),
            release_command: Some(format!("cat '{}'", release.display())),
            ..ExecCommands::default()
        }),
    )];
    let changes = Changes::from_now();
    let watching = watch_every(
        Duration::from_millis(50),
        &Host::Local,
        &configured,
        &changes,
    );
    let write = async {
        loop {
            tokio::time::sleep(Duration::from_millis(120)).await;
            fs::write(&release, format!("{:?}\n", Instant::now())).unwrap();
        }
    };
    tokio::select! {
        () = changes.wait() => {}
        () = watching => {}
        () = write => {}
    }
    assert!(changes.take().exec);
}

#[tokio::test]
async fn the_end_of_a_process_is_noticed_and_its_life_costs_no_command() {
    let dir = tempfile::tempdir().unwrap();
    let asked = dir.path().join("asked");
    let mut process = tokio::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let pid = process.id().unwrap();
    let status = format!(
        "echo x >> '{}'; kill -0 {pid} && echo pid {pid}",
        asked.display()
    );
    let configured = vec![(
        id(),
        settings(ExecCommands {
            status: Some(status),
            ..ExecCommands::default()
        }),
    )];
    let changes = Arc::new(Changes::from_now());
    let told = Arc::clone(&changes);
    let watching = tokio::spawn(async move {
        watch_every(Duration::from_millis(20), &Host::Local, &configured, &told).await;
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(400), changes.wait())
            .await
            .is_err()
    );
    assert_eq!(fs::read_to_string(&asked).unwrap(), "x\n", "asked once");
    process.kill().await.unwrap();
    changes.wait().await;
    assert!(changes.take().exec);
    watching.abort();
}

async fn read(settings: ServiceSettings, request: LogRequest) -> Vec<String> {
    let (seen, end) = read_to_end(settings, request).await;
    end.unwrap();
    seen
}

async fn read_to_end(
    settings: ServiceSettings,
    request: LogRequest,
) -> (Vec<String>, Result<(), RuntimeError>) {
    let (to, mut events) = mpsc::channel(4);
    let task =
        tokio::spawn(async move { read_logs(&Host::Local, &id(), &settings, &request, to).await });
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            LogEvent::Opened(_) => {}
            LogEvent::Block(block) => seen.extend(block.iter().map(|(line, text)| {
                format!("{} {}", line.stream.as_str(), String::from_utf8_lossy(text))
            })),
            LogEvent::Note(note) => match note.kind {
                LogNoteKind::Ended => seen.push(note.detail.to_string()),
                kind => seen.push(format!("{}: {}", kind.as_str(), note.detail)),
            },
        }
    }
    (seen, task.await.unwrap())
}

async fn closed(logs: &str) -> (Vec<String>, Result<(), RuntimeError>) {
    let commands = ExecCommands {
        logs: Some(logs.into()),
        ..ExecCommands::default()
    };
    read_to_end(settings(commands), LogRequest::default()).await
}

#[tokio::test]
async fn a_closed_read_waits_for_a_command_that_takes_its_time() {
    let late = closed("sleep 3; echo late").await;
    assert_eq!(late.0, ["stdout late"]);
    late.1.unwrap();
}

#[tokio::test]
async fn a_closed_read_tells_what_it_did_not_wait_for() {
    let (seen, end) = closed("echo one; sleep 60; echo two").await;
    end.unwrap();
    let gap = "gap: the logs command was ended after 8 s of silence: later lines are missing";
    assert_eq!(seen, ["stdout one", gap]);
}

#[tokio::test]
async fn a_closed_read_of_a_command_that_follows_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("bot.log");
    fs::write(&log, "one\ntwo\n").unwrap();
    let (seen, end) = closed(&format!("tail -f '{}'", log.display())).await;
    end.unwrap();
    assert_eq!(seen, ["stdout one", "stdout two"]);
}

#[tokio::test]
async fn a_logs_command_that_fails_is_no_empty_log() {
    let (seen, end) = closed("exit 7").await;
    assert_eq!(seen, [""; 0]);
    let error = SafeText::from_error(&end.unwrap_err()).to_string();
    assert!(error.contains("exit status: 7"), "{error}");
    let (seen, end) = closed("echo one; exit 7").await;
    end.unwrap();
    assert_eq!(
        seen,
        ["stdout one", "gap: the logs command ended: exit status: 7"]
    );
}

#[tokio::test]
async fn a_logs_command_gives_both_streams_and_its_end() {
    let commands = ExecCommands {
        logs: Some("echo one; sleep 0.2; echo two >&2; sleep 0.2; printf three; exit 7".into()),
        ..ExecCommands::default()
    };
    let request = LogRequest {
        follow: true,
        ..LogRequest::default()
    };
    assert_eq!(
        read(settings(commands), request).await,
        [
            "stdout one",
            "stderr two",
            "stdout three",
            "the logs command ended: exit status: 7"
        ]
    );
}

#[tokio::test]
async fn the_last_lines_of_a_logs_command() {
    let commands = ExecCommands {
        logs: Some("seq 100000".into()),
        ..ExecCommands::default()
    };
    let request = LogRequest {
        tail: Some(2),
        ..LogRequest::default()
    };
    assert_eq!(
        read(settings(commands), request).await,
        ["stdout 99999", "stdout 100000"]
    );
}

#[tokio::test]
async fn a_logs_command_is_ended_when_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("pid");
    let commands = ExecCommands {
        logs: Some(format!(
            "echo $$ > '{}'; echo x; exec sleep 600",
            mark.display()
        )),
        ..ExecCommands::default()
    };
    let (to, mut events) = mpsc::channel(4);
    let request = LogRequest {
        follow: true,
        ..LogRequest::default()
    };
    let task = tokio::spawn(async move {
        read_logs(&Host::Local, &id(), &settings(commands), &request, to).await
    });
    // First that it runs, then its line.
    let is_line = |event| matches!(event, LogEvent::Block(block) if !block.is_empty());
    while !is_line(events.recv().await.unwrap()) {}
    drop(events);
    task.await.unwrap().unwrap();
    let pid: u32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    for _ in 0..100 {
        if process::look(pid).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the logs command still runs");
}

#[tokio::test]
async fn log_files_are_read_in_place_instead_of_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.log");
    fs::write(&path, "from the file\n").unwrap();
    let with_file = ServiceSettings {
        log_files: vec![path],
        ..settings(ExecCommands {
            logs: Some("echo from the command".into()),
            ..ExecCommands::default()
        })
    };
    assert_eq!(
        read(with_file, LogRequest::default()).await,
        ["stdout from the file"]
    );
}

#[tokio::test]
async fn without_any_log_the_answer_is_an_error_and_no_empty_log() {
    let (to, _events) = mpsc::channel(1);
    let error = read_logs(
        &Host::Local,
        &id(),
        &settings(ExecCommands::default()),
        &LogRequest::default(),
        to,
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("log_files"), "{error}");
}
