use super::*;

#[test]
fn the_port_is_taken_off_the_destination() {
    assert_eq!(split_port("prod-1"), ("prod-1", None));
    assert_eq!(
        split_port("deploy@prod-1:2222"),
        ("deploy@prod-1", Some(2222))
    );
    assert_eq!(
        split_port("root@[fe80::1]:22"),
        ("root@[fe80::1]", Some(22))
    );
    assert_eq!(split_port("root@[fe80::1]"), ("root@[fe80::1]", None));
}

#[test]
fn what_stat_prints_is_read() {
    let found = parse_stat("12 640 0 33 4711 1700000000 regular file").unwrap();
    assert_eq!((found.size, found.mode, found.gid), (12, 0o640, 33));
    assert!(!found.is_folder);
    assert!(parse_stat("nonsense").is_none());
}

#[tokio::test]
async fn an_option_does_not_pass_for_a_destination() {
    let session = Session::new(HostName::local(), "-oProxyCommand=touch /tmp/x", None);
    let error = session
        .run(&Command::new(["true"], FILE_TIMEOUT))
        .await
        .unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "{error}");
}

/// Takes connections and says nothing, as a machine does that swaps itself to death.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            open.push(connection);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (format!("127.0.0.1:{port}"), taken)
}

#[tokio::test]
async fn a_silent_machine_is_not_asked_again_at_once_unless_a_change_waits_for_it() {
    let (address, taken) = silent();
    let session = Arc::new(Session::new(HostName::local(), address, None));
    let ask = async || {
        let asked = session.run(&Command::new(["true"], FILE_TIMEOUT)).await;
        assert!(matches!(asked, Err(HostError::Lost { .. })), "{asked:?}");
    };
    ask().await;
    let before = taken.load(Ordering::Relaxed);
    assert_eq!(before, 1);
    // One thing after the other, as a look does.
    ask().await;
    ask().await;
    assert_eq!(taken.load(Ordering::Relaxed), before);
    let _patience = session.patience();
    let _ = tokio::time::timeout(Duration::from_secs(1), ask()).await;
    assert!(taken.load(Ordering::Relaxed) > before);
}

/// How a script ended, as root, or as somebody who may do less where tests run as root.
fn ended(script: &str, path: &Path, as_nobody: bool) -> Option<CommandOutput> {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = match as_nobody {
        true if !is_root => return None,
        true => {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
            command
        }
        false => std::process::Command::new("sh"),
    };
    let output = command
        .args(["-c", script, "sh"])
        .arg(path)
        .arg("9")
        .current_dir("/")
        .output()
        .unwrap();
    Some(CommandOutput {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: output.stderr,
        ..CommandOutput::default()
    })
}

#[test]
fn what_stands_behind_a_closed_folder_is_not_missing() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(dir.path(), 0o755);
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("closed")).unwrap();
    std::fs::write(at("closed/file"), "text").unwrap();
    std::fs::write(at("file"), "text").unwrap();
    open(&at("file"), 0o644);
    symlink(at("closed/file"), at("link")).unwrap();
    symlink(at("none"), at("dangling")).unwrap();
    symlink(at("loop"), at("loop")).unwrap();
    open(&at("closed"), 0o700);
    let read = format!("{THERE}{READ}");
    let stat = format!("{THERE}{STAT}");
    let link = format!("{IS_LINK}{THERE}{NO_LINK}");
    let code = |script: &str, name: &str, as_nobody| {
        ended(script, &at(name), as_nobody).map(|output| output.code.unwrap())
    };
    for as_nobody in [false, true] {
        for name in [
            "none",
            "none/none",
            "file/none",
            "dangling",
            ": Permission denied",
        ] {
            for script in [&read, &stat] {
                assert!(
                    matches!(code(script, name, as_nobody), Some(NOT_FOUND) | None),
                    "{name}"
                );
            }
        }
        for script in [&read, &stat] {
            assert!(matches!(code(script, "file", as_nobody), Some(0) | None));
            // Neither there nor not there.
            assert!(matches!(code(script, "loop", as_nobody), Some(1) | None));
        }
        for (name, wanted) in [
            ("link", 0),
            ("dangling", 0),
            ("file", NOT_FOUND),
            ("none", NOT_FOUND),
        ] {
            let found = code(&link, name, as_nobody);
            assert!(found.is_none_or(|code| code == wanted), "{name}: {found:?}");
        }
    }
    for name in ["closed/file", "closed/none", "link"] {
        for script in [&read, &stat] {
            let found = code(script, name, true);
            assert!(
                found.is_none_or(|code| code == NOT_READABLE),
                "{name}: {found:?}"
            );
        }
    }
    let found = code(&link, "closed/file", true);
    assert!(found.is_none_or(|code| code == NOT_READABLE), "{found:?}");
    let output = ended(&read, &at("closed/file"), false).unwrap();
    assert_eq!(output.stdout, b"text");
}
